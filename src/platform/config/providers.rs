//! Which model providers may be called, in which order, at which address.

use std::rc::Rc;

use url::{Host, Url};

use super::offers::{self, Offers};
use super::provider_table::{self, Entry};
use super::reader::Reader;
use super::{AttemptDeadlines, Deadlines, Environment, Images, preference};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// OpenAI's paths and formats below a base.
    OpenAiCompatible,
    /// The Workers AI binding `AI`.
    WorkersAi,
    /// Cartesia's paths and frames below a base: it speaks and hears, and does nothing else.
    Cartesia,
}

/// A provider that can be called.
#[derive(Clone, PartialEq, Eq)]
pub struct Provider {
    /// The name clients see in `X-Provider`.
    pub name: Rc<str>,
    pub kind: ProviderKind,
    /// What its paths stand below, for all but [`ProviderKind::WorkersAi`]; no slash at its end.
    pub base: String,
    /// Sent to this provider and nobody else. No `Debug`: it must not reach a log.
    pub key: Option<String>,
    /// The model it is asked for.
    pub model: String,
    /// Every model it serves, `model` first.
    pub models: Rc<[String]>,
    /// Which models it can be asked for with a picture.
    pub images: Rc<Images>,
    pub deadlines: AttemptDeadlines,
    /// Its place in the order. Providers of one place stand beside each other and share it by their weights.
    pub place: usize,
    pub weight: u32,
}

impl Provider {
    /// The same provider, asked for `model`.
    pub fn with_model(&self, model: &str) -> Self {
        let others = self.models.iter().filter(|other| *other != model).cloned();
        let models = std::iter::once(model.to_owned()).chain(others).collect();
        Self { model: model.to_owned(), models, ..self.clone() }
    }

    /// Whether the model that it is asked for can be shown a picture.
    pub fn reads_images(&self) -> bool {
        self.images.read_by(&self.model)
    }
}

struct Known {
    name: &'static str,
    base: &'static str,
    base_default: &'static str,
    key: &'static str,
    key_needed: bool,
    model: &'static str,
    model_default: &'static str,
}

const COMPATIBLE: &[Known] = &[
    Known {
        name: "groq",
        base: "GROQ_BASE",
        base_default: "https://api.groq.com/openai/v1",
        key: "GROQ_API_KEY",
        key_needed: true,
        model: "GROQ_MODEL",
        model_default: "llama-3.1-8b-instant",
    },
    Known {
        name: "openai",
        base: "OPENAI_BASE",
        base_default: "https://api.openai.com/v1",
        key: "OPENAI_API_KEY",
        key_needed: true,
        model: "OPENAI_MODEL",
        model_default: "gpt-4o-mini",
    },
    Known {
        name: "local",
        base: "LOCAL_BASE",
        base_default: "",
        key: "LOCAL_API_KEY",
        key_needed: false,
        model: "LOCAL_MODEL",
        model_default: "",
    },
];

/// Cartesia, among those that speak and hear. Its model is the usual one where nobody names another.
const CARTESIA: Known = Known {
    name: "cartesia",
    base: "CARTESIA_BASE",
    base_default: "https://api.cartesia.ai",
    key: "CARTESIA_API_KEY",
    key_needed: true,
    model: "CARTESIA_MODEL",
    model_default: "sonic-3",
};

/// The name of the Workers AI binding among the providers.
const WORKERS_AI: &str = "cfai";
const WORKERS_AI_MODEL: &str = "@cf/meta/llama-3.1-8b-instruct";

/// Whether the name is one of those that have variables of their own.
pub(super) fn is_built_in(name: &str) -> bool {
    name == WORKERS_AI || name == CARTESIA.name || COMPATIBLE.iter().any(|known| known.name == name)
}

type Skipped = Vec<(String, &'static str)>;

/// Reads `PREFERRED_PROVIDER` and what it names. A provider that lacks its key is skipped and said so; one whose
/// address is dangerous is a problem.
pub(super) fn read(
    reader: &mut Reader<'_>,
    environment: Environment,
    ai_bound: bool,
    deadlines: Deadlines,
) -> (Vec<Provider>, Skipped, Offers) {
    let entries = provider_table::read(reader, environment);
    let all = Servers { entries: &entries, environment, ai_bound, deadlines };
    let preferred = preference::read(reader, |name| all.knows(name));
    let (mut providers, mut skipped) = (Vec::<Provider>::new(), Vec::new());
    for choice in preferred {
        match all.find(reader, &choice.name) {
            Ok(mut provider) => {
                (provider.place, provider.weight) = (choice.place, choice.weight);
                providers.push(provider);
            }
            Err(why) => skipped.push((choice.name, why)),
        }
    }
    let offers = offers::read(reader, &all);
    (providers, skipped, offers)
}

/// Every server that can be named.
pub(super) struct Servers<'a> {
    entries: &'a provider_table::Entries,
    environment: Environment,
    ai_bound: bool,
    deadlines: Deadlines,
}

impl Servers<'_> {
    /// Whether it is one of those that answer in text.
    pub(super) fn knows(&self, name: &str) -> bool {
        name != CARTESIA.name && self.knows_voice(name)
    }

    /// Whether it is one of those that may speak or hear.
    pub(super) fn knows_voice(&self, name: &str) -> bool {
        is_built_in(name) || self.entries.contains_key(name)
    }

    /// Cartesia with its usual model, when it has its key.
    pub(super) fn cartesia(&self, reader: &mut Reader<'_>) -> Option<Provider> {
        self.find(reader, CARTESIA.name).ok()
    }

    /// # Errors
    /// Why it cannot be called.
    pub(super) fn find(&self, reader: &mut Reader<'_>, name: &str) -> Result<Provider, &'static str> {
        let entry = self.entries.get(name);
        let server = match (COMPATIBLE.iter().find(|known| known.name == name), entry) {
            (Some(known), _) => compatible(reader, known, self.environment),
            (None, _) if name == CARTESIA.name => cartesia(reader, self.environment),
            (None, _) if name == WORKERS_AI => workers_ai(reader, self.ai_bound),
            (None, Some(entry)) => further(reader, entry, self.environment),
            (None, None) => Err("it is not known"),
        };
        Ok(server?.named(name, entry, self.deadlines))
    }
}

/// What is called and how, without its terms.
struct Server {
    kind: ProviderKind,
    base: String,
    key: Option<String>,
    model: String,
}

impl Server {
    fn named(self, name: &str, entry: Option<&Entry>, deadlines: Deadlines) -> Provider {
        let Self { kind, base, key, model } = self;
        let mut models = vec![model.clone()];
        for further in entry.iter().flat_map(|entry| &entry.models) {
            if !models.contains(further) {
                models.push(further.clone());
            }
        }
        let deadlines = entry.map_or(AttemptDeadlines::of(deadlines), |entry| entry.deadlines(deadlines));
        // A server of OpenAI's format says so itself when its model cannot, and the next one is asked; most models
        // behind the binding are for text, and some of them answer as if there were no picture.
        let usual = Images::All(kind == ProviderKind::OpenAiCompatible);
        let images = entry.and_then(|entry| entry.images.clone()).unwrap_or(usual);
        let (models, images) = (models.into(), Rc::new(images));
        Provider { name: name.into(), kind, base, key, model, models, images, deadlines, place: 0, weight: 1 }
    }
}

fn cartesia(reader: &mut Reader<'_>, environment: Environment) -> Result<Server, &'static str> {
    let server = compatible(reader, &CARTESIA, environment)?;
    Ok(Server { kind: ProviderKind::Cartesia, ..server })
}

fn workers_ai(reader: &Reader<'_>, ai_bound: bool) -> Result<Server, &'static str> {
    if !ai_bound {
        return Err("the binding AI is absent");
    }
    let model = (reader.look_up)("CF_AI_MODEL");
    Ok(workers_ai_server(model.as_deref()))
}

fn workers_ai_server(model: Option<&str>) -> Server {
    let model = model.unwrap_or(WORKERS_AI_MODEL).trim().to_owned();
    Server { kind: ProviderKind::WorkersAi, base: String::new(), key: None, model }
}

/// Workers AI by itself, wherever it stands in the order.
pub(super) fn workers_ai_provider(model: Option<&str>, deadlines: Deadlines) -> Provider {
    workers_ai_server(model).named(WORKERS_AI, None, deadlines)
}

fn compatible(
    reader: &mut Reader<'_>,
    known: &Known,
    environment: Environment,
) -> Result<Server, &'static str> {
    let key = (reader.look_up)(known.key).map(|key| key.trim().to_owned());
    if known.key_needed && key.is_none() {
        return Err("its API key is not set");
    }
    let base = reader.text(known.base, known.base_default);
    if base.is_empty() {
        return Err("its base URL is not set");
    }
    let model = reader.text(known.model, known.model_default);
    if model.is_empty() {
        return Err("its model is not set");
    }
    let Some(base) = base_url(&base, environment) else {
        reader.problem(
            known.base,
            "give an https URL with a host name, without user, password, query or fragment; plain http is for \
             loopback in development",
        );
        return Err("its base URL is refused");
    };
    Ok(Server { kind: ProviderKind::OpenAiCompatible, base, key, model })
}

/// A server of `PROVIDERS`, which was checked when that was read.
fn further(reader: &Reader<'_>, entry: &Entry, environment: Environment) -> Result<Server, &'static str> {
    let key = match &entry.key_name {
        None => None,
        Some(name) => {
            let key = (reader.look_up)(name).ok_or("its API key is not set")?;
            Some(key.trim().to_owned())
        }
    };
    let base = base_url(&entry.base, environment).ok_or("its base URL is refused")?;
    Ok(Server { kind: ProviderKind::OpenAiCompatible, base, key, model: entry.model.clone() })
}

/// What paths stand below, without a slash at its end; `None` for an address that a key must not be sent to.
pub(super) fn base_url(base: &str, environment: Environment) -> Option<String> {
    let url = safe_url(base, environment).filter(|url| url.query().is_none())?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

/// An address that this service may call: https to a host with a name, nothing that points inside. Plain http is
/// for loopback in development.
pub fn safe_url(address: &str, environment: Environment) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let local = |name: &str| name == "localhost" || name.ends_with(".localhost") || name.ends_with('.');
    let named = matches!(url.host(), Some(Host::Domain(name)) if !local(name));
    let loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let reachable = match url.scheme() {
        "https" => named,
        "http" => loopback && environment == Environment::Development,
        _ => false,
    };
    (plain && reachable).then_some(url)
}
