//! What a request is offered: which providers may answer it, what it may cost, and what it weighs.

use actors::catalog::SkillTerms;
use actors::rate::Weight;
use actors::shared::{Micro, ModelPrice, Units};

use super::context::Context;
use super::error::ApiError;
use super::models;
use super::pricing::Pricing;
use super::question::{OnHoldUsed, Question};
use super::variant;
use crate::platform::config::{Config, Provider, Tier};
use crate::providers::ChatRequest;

/// A stream that is topped up begins with the prompt and so many tokens of answer at least: with less it would ask for
/// more before it has said a sentence.
const TOP_UP_TOKENS_MIN: u32 = 64;
/// With how many it begins when the client does not say what to set aside at first.
const TOP_UP_TOKENS_DEFAULT: u32 = 256;

pub struct Offer {
    /// In the order they are asked.
    pub providers: Vec<Provider>,
    pub pricing: Pricing,
    pub tier: Option<String>,
    /// What is set aside before the work.
    pub hold: Micro,
    /// What it could cost at most, with everything it asked for.
    pub hold_max: Micro,
    /// The client's own limit: no more is charged, whatever a provider reports. `None` without one.
    pub cost_max: Option<Micro>,
    pub weight: Weight,
}

/// Works out what the question may cost at the dearest provider that may answer it, by `pricing`. With a
/// limit of credits and no topping up, the question's `max_tokens` becomes what they can pay. Only a stream is
/// topped up: an answer that comes whole is paid for by its hold alone.
///
/// # Errors
/// `UnknownModel`; `AskFailed` without a provider; `ImagesUnsupported`; `InvalidField` for credits that do not even pay the
/// prompt.
pub fn make(
    config: &Config,
    tier: Option<&Tier>,
    pricing: Pricing,
    question: &mut Question,
    streams: bool,
) -> Result<Offer, ApiError> {
    let usual = if question.chat.vectors().is_some() { &config.offers.embeddings } else { &config.providers };
    let providers = match tier {
        Some(tier) if question.chat.vectors().is_none() => tier.providers.clone(),
        _ => usual.clone(),
    };
    let providers = match &question.model {
        Some(model) => models::serving(&providers, model)?,
        None => providers,
    };
    let providers = match &question.answered_by {
        Some(skill) => preferred(providers, &skill.terms),
        None => providers,
    };
    let providers = variant::providers(question.variant.as_ref(), providers);
    if providers.is_empty() {
        return Err(ApiError::AskFailed { detail: "no provider is configured".to_owned() });
    }
    let providers = readers_of_images(providers, &question.chat)?;
    let rates = Rates(providers.iter().map(|provider| pricing.price_of(&provider.model)).collect());
    let images = question.chat.images();
    let prompt = Units { images, ..Units::tokens(question.chat.prompt_tokens_held(), 0) };
    if !streams {
        question.on_hold_used = OnHoldUsed::Cut;
    }
    let asked = Asked {
        rates: &rates,
        prompt,
        answers: question.chat.answers(),
        on_hold_used: question.on_hold_used,
    };
    let terms = asked.terms(question.chat.max_tokens, question.max_credits)?;
    let Terms { max_tokens, hold, hold_max, cost_max } = terms;
    question.chat.max_tokens = max_tokens;
    let tokens = prompt.tokens_in.saturating_add(question.chat.tokens_out_max());
    let weight = Weight {
        requests: tier.map_or(1, |tier| tier.weight),
        tokens: i64::try_from(tokens).unwrap_or(i64::MAX),
        micro: hold,
    };
    let tier = tier.map(|tier| tier.name.clone());
    Ok(Offer { providers, pricing, tier, hold, hold_max, cost_max, weight })
}

/// The usual order, with what a skill prefers in front: its models first, and of equals its providers. What nobody
/// here serves is passed over, and who is not preferred still answers when the others do not.
fn preferred(mut usual: Vec<Provider>, terms: &SkillTerms) -> Vec<Provider> {
    let place =
        |list: &[String], name: &str| list.iter().position(|listed| listed == name).unwrap_or(usize::MAX);
    let rank = |provider: &Provider| {
        (place(&terms.models, &provider.model), place(&terms.providers, &provider.name))
    };
    // The sort keeps the order of equals.
    usual.sort_by_key(rank);
    // Only those that are preferred alike go on sharing a place.
    let (mut last, mut at) = (None, 0_usize);
    for provider in &mut usual {
        let key = (rank(provider), provider.place);
        if last.is_some_and(|last| last != key) {
            at = at.saturating_add(1);
        }
        (last, provider.place) = (Some(key), at);
    }
    usual
}

/// Those that can be shown the pictures of an ask. A client that names its model itself knows what it can.
///
/// # Errors
/// `ImagesUnsupported` when nobody can.
fn readers_of_images(mut providers: Vec<Provider>, chat: &ChatRequest) -> Result<Vec<Provider>, ApiError> {
    if chat.images() > 0 && !chat.is_whole() {
        providers.retain(Provider::reads_images);
    }
    if providers.is_empty() { Err(ApiError::ImagesUnsupported) } else { Ok(providers) }
}

/// The prices of all who may answer. Whoever does, the hold must cover it.
struct Rates(Vec<ModelPrice>);

impl Rates {
    fn hold(&self, prompt: Units, tokens_out: u64) -> Micro {
        let units = Units { tokens_out, ..prompt };
        self.0.iter().map(|price| price.hold(&units)).max().unwrap_or(Micro::ZERO)
    }

    /// The tokens of answer that `limit` pays for beside the prompt, whoever answers.
    fn affordable(&self, limit: Micro, prompt: Units) -> u64 {
        let affordable = self.0.iter().map(|price| price.affordable_tokens_out(limit, &prompt).unwrap_or(0));
        affordable.min().unwrap_or(0)
    }
}

/// What an answer may cost, and how long it may be for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    max_tokens: u32,
    hold: Micro,
    hold_max: Micro,
    cost_max: Option<Micro>,
}

/// What decides the terms.
#[derive(Clone, Copy)]
struct Asked<'a> {
    rates: &'a Rates,
    /// What is held for the prompt: its tokens and its pictures.
    prompt: Units,
    answers: u32,
    on_hold_used: OnHoldUsed,
}

impl Asked<'_> {
    /// What the prompt costs at most with answers of `tokens` each.
    fn cost(self, tokens: u32) -> Micro {
        self.rates.hold(self.prompt, u64::from(tokens).saturating_mul(u64::from(self.answers)))
    }

    /// # Errors
    /// `InvalidField` for a limit that does not pay the prompt and a beginning of an answer.
    fn terms(self, max_tokens: u32, limit: Option<Micro>) -> Result<Terms, ApiError> {
        let expected = "more than the prompt alone may cost";
        let too_little = ApiError::InvalidField { field: "max_credits", expected };
        match (self.on_hold_used, limit) {
            (OnHoldUsed::Cut, None) => {
                let hold = self.cost(max_tokens);
                Ok(Terms { max_tokens, hold, hold_max: hold, cost_max: None })
            }
            (OnHoldUsed::Cut, Some(limit)) => {
                let affordable = self.rates.affordable(limit, self.prompt);
                let each = affordable.checked_div(u64::from(self.answers)).unwrap_or(affordable);
                let max_tokens = u32::try_from(each).unwrap_or(u32::MAX).min(max_tokens);
                if max_tokens == 0 {
                    return Err(too_little);
                }
                let hold = self.cost(max_tokens).min(limit);
                Ok(Terms { max_tokens, hold, hold_max: hold, cost_max: Some(limit) })
            }
            (OnHoldUsed::TopUp, limit) => {
                let hold_max = self.cost(max_tokens);
                if limit.is_some_and(|limit| limit < self.cost(max_tokens.min(TOP_UP_TOKENS_MIN))) {
                    return Err(too_little);
                }
                let first = limit.unwrap_or_else(|| self.cost(max_tokens.min(TOP_UP_TOKENS_DEFAULT)));
                let cost_max = limit.map(|limit| limit.max(hold_max));
                Ok(Terms { max_tokens, hold: first.min(hold_max), hold_max, cost_max })
            }
        }
    }
}

/// The tier a request asks for, when it does.
///
/// # Errors
/// `UnknownTier`.
pub fn tier<'a>(context: &Context, config: &'a Config) -> Result<Option<&'a Tier>, ApiError> {
    tier_named(config, context.inbound.header_filled("x-intelligence-tier").as_deref())
}

/// The tier of that name, where one is named.
///
/// # Errors
/// `UnknownTier`.
pub fn tier_named<'a>(config: &'a Config, name: Option<&str>) -> Result<Option<&'a Tier>, ApiError> {
    let Some(name) = name else { return Ok(None) };
    let found = config.tiers.iter().find(|tier| tier.name.eq_ignore_ascii_case(name.trim()));
    found.map(Some).ok_or(ApiError::UnknownTier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::config::{AttemptDeadlines, Images, ProviderKind};

    fn rates() -> Rates {
        Rates(vec![ModelPrice::flat(50_000)])
    }

    fn cut(rates: &Rates, answers: u32) -> Asked<'_> {
        Asked { rates, prompt: Units::tokens(100, 0), answers, on_hold_used: OnHoldUsed::Cut }
    }

    #[test]
    fn several_answers_are_paid_for_each() {
        let made = cut(&rates(), 4).terms(300, None).unwrap();
        assert_eq!((made.max_tokens, made.hold), (300, Micro(65_000)));
        let made = cut(&rates(), 4).terms(300, Some(Micro(25_000))).unwrap();
        assert_eq!((made.max_tokens, made.hold), (100, Micro(25_000)));
        assert!(cut(&rates(), 4).terms(300, Some(Micro(5_100))).is_err());
    }

    #[test]
    fn a_whole_answer_is_never_longer_than_its_hold_pays_for() {
        let made = cut(&rates(), 1).terms(4_096, Some(Micro(10_000))).unwrap();
        assert_eq!((made.max_tokens, made.hold, made.cost_max), (100, Micro(10_000), Some(Micro(10_000))));
        let made = cut(&rates(), 1).terms(300, None).unwrap();
        assert_eq!((made.max_tokens, made.hold, made.hold_max), (300, Micro(20_000), Micro(20_000)));
        assert!(cut(&rates(), 1).terms(4_096, Some(Micro(5_000))).is_err());
    }

    #[test]
    fn what_is_topped_up_begins_with_a_step_of_some_size() {
        let rates = rates();
        let asked = Asked { on_hold_used: OnHoldUsed::TopUp, ..cut(&rates, 1) };
        let top_up = |limit| asked.terms(4_096, limit);
        for too_little in [1, 5_000, 8_999] {
            assert!(top_up(Some(Micro(too_little))).is_err(), "{too_little}");
        }
        let least = top_up(Some(Micro(9_000))).unwrap();
        assert_eq!((least.max_tokens, least.hold, least.hold_max), (4_096, Micro(9_000), Micro(210_000)));
        let usual = top_up(None).unwrap();
        assert_eq!((usual.hold, usual.hold_max, usual.cost_max), (Micro(18_000), Micro(210_000), None));
        let short = asked.terms(5, Some(Micro(6_000))).unwrap();
        assert_eq!((short.hold, short.hold_max), (Micro(6_000), Micro(6_000)), "no more than it may cost");
    }

    #[test]
    fn a_skill_moves_what_it_prefers_to_the_front_and_leaves_nobody_out() {
        let provider = |name: &str, model: &str| Provider {
            name: name.into(),
            kind: ProviderKind::OpenAiCompatible,
            base: String::new(),
            key: None,
            model: model.to_owned(),
            models: [model.to_owned()].into(),
            images: Images::All(true).into(),
            deadlines: AttemptDeadlines {
                connect_ms: 1,
                first_token_ms: 1,
                idle_ms: 1,
                answer_ms: 1,
                stream_ms: 1,
            },
            place: 0,
            weight: 1,
        };
        let usual = || vec![provider("groq", "small"), provider("openai", "big"), provider("local", "small")];
        let names = |models: &[&str], providers: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
            let terms =
                SkillTerms { models: owned(models), providers: owned(providers), ..SkillTerms::default() };
            let chosen = preferred(usual(), &terms);
            let places: Vec<usize> = chosen.iter().map(|provider| provider.place).collect();
            assert!(places.is_sorted() && places.first() == Some(&0), "{places:?}");
            let beside = places.windows(2).filter(|pair| pair[0] == pair[1]).count();
            let names: Vec<&str> = chosen.iter().map(|provider| &*provider.name).collect();
            (names.join(" "), beside)
        };
        assert_eq!(names(&[], &[]), ("groq openai local".to_owned(), 2));
        assert_eq!(names(&["big"], &[]), ("openai groq local".to_owned(), 1));
        assert_eq!(names(&["unknown", "small"], &["local"]), ("local groq openai".to_owned(), 0));
        assert_eq!(names(&["unknown"], &["nobody"]), ("groq openai local".to_owned(), 2));
        assert_eq!(names(&["big"], &["local", "groq"]), ("openai local groq".to_owned(), 0));
    }

    #[test]
    fn what_is_free_is_affordable() {
        let prompt = Units::tokens(9_999, 0);
        assert_eq!(Rates(vec![ModelPrice::flat(0)]).affordable(Micro(1), prompt), u64::MAX);
    }

    #[test]
    fn the_dearest_decides_and_which_that_is_depends_on_the_length() {
        // One asks much for the prompt, the other for the answer.
        let prompt = ModelPrice { output_per_1k_micro: 0, ..ModelPrice::flat(1_000_000) };
        let answer = ModelPrice { input_per_1k_micro: 0, ..ModelPrice::flat(1_000_000) };
        let rates = Rates(vec![prompt, answer]);
        let fifty = Units::tokens(50, 0);
        assert_eq!((rates.hold(fifty, 10), rates.hold(fifty, 60)), (Micro(50_000), Micro(60_000)));
        assert_eq!(rates.affordable(Micro(70_000), fifty), 70);
        assert_eq!(rates.affordable(Micro(49_000), fifty), 0, "the prompt alone is more");
    }

    #[test]
    fn pictures_have_their_price_in_the_hold() {
        let rates = Rates(vec![ModelPrice { per_image_micro: 7_000, ..ModelPrice::flat(50_000) }]);
        let prompt = Units { images: 2, ..Units::tokens(100, 0) };
        assert_eq!(rates.hold(prompt, 100), Micro(24_000));
        assert_eq!(rates.affordable(Micro(24_000), prompt), 100);
        let asked = Asked { prompt, ..cut(&rates, 1) };
        assert!(asked.terms(300, Some(Micro(19_000))).is_err(), "it does not even pay the prompt");
    }
}
