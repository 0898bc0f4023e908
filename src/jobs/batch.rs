//! `batch`: many asks in one job, one after the other. What is answered is kept in the job's checkpoint with what is owed
//! for it, so what was answered is not asked again, and is charged however the job ends.
//!
//! An attempt asks all that has no answer yet, also after one that nobody answered. While one of them may be answered the
//! next time, another attempt follows; in the last one, what has no answer is an error among the results.

use std::collections::BTreeMap;

use actors::credits::Usage;
use actors::jobs::{Job, Owed};
use actors::rate::Weight;
use actors::shared::Micro;
use futures::future::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::attempt::{Attempt, Unkept};
use super::kinds::{Done, Failure, Kind, Making, Prepared, RESULT_TOO_LARGE};
use super::si::{self, Answer, FINAL_ERRORS, asked, unreadable, whole};
use super::stored::Quote;
use crate::edge::attachments;
use crate::edge::error::ApiError;
use crate::edge::meter::{self, WorkEnd};
use crate::edge::offer;
use crate::platform::now_ms;

pub const KIND: Kind = Kind {
    name: "batch",
    prepare: |making, params| prepare(making, params).boxed_local(),
    run: |attempt| run(attempt).boxed_local(),
    rules: |usual| usual,
    final_errors: FINAL_ERRORS,
};

/// Asks of one job.
const INPUTS_MAX: usize = 50;
/// What the answers of a batch may take up, in bytes of JSON. The rest of a checkpoint is for what is charged.
const ITEMS_BYTES_MAX: usize = 458_752;
/// The room that is kept for an answer before it is asked for, in bytes of JSON: what is paid for is to be kept.
const ANSWER_BYTES: usize = 65_536;
/// How long one attempt begins to ask: it is over before a worker's longest one is.
const ASKING_MS_MAX: i64 = 600_000;

/// What an ask of this batch is, each in turn: the params with one input in the place of all.
fn asks(params: &str) -> Option<Vec<String>> {
    let mut members: Map<String, Value> = serde_json::from_str(params).ok()?;
    let Value::Array(inputs) = members.remove("inputs")? else { return None };
    let ask = |input: Value| {
        let mut ask = members.clone();
        ask.insert("input".to_owned(), input);
        Value::Object(ask).to_string()
    };
    (1..=INPUTS_MAX).contains(&inputs.len()).then(|| inputs.into_iter().map(ask).collect())
}

async fn prepare(making: &Making, params: &RawValue) -> Result<Prepared, ApiError> {
    let Making { operation, known, caller, .. } = making;
    let asks = asks(params.get())
        .ok_or(ApiError::InvalidField { field: "inputs", expected: "a list of 1 to 50 inputs" })?;
    let (mut amount, mut weight) = (Micro::ZERO, Weight::default());
    // All have the same attachments: they are read once.
    let named = asks.first().map(|ask| asked(operation, known, ask)).transpose()?.map(|(_, named)| named);
    let named = named.unwrap_or_default();
    let attached = attachments::read(operation, &caller.tenant, &named).await?;
    let file_bytes = (!named.is_empty()).then_some(attached.bytes);
    let mut prepared = None;
    for ask in &asks {
        let (question, _) = asked(operation, known, ask)?;
        let mut question = whole(question, attached.again())?;
        let pricing = known.pricing(question.answered_by.as_deref());
        let offer = offer::make(&operation.config, making.tier()?, pricing, &mut question, false)?;
        amount = Micro(amount.0.saturating_add(offer.hold.0));
        weight.requests = weight.requests.saturating_add(offer.weight.requests);
        weight.tokens = weight.tokens.saturating_add(offer.weight.tokens);
        weight.micro = amount;
        if prepared.is_none() {
            let owner = meter::owner(operation, caller, &offer);
            let quote = Quote::new(&offer.pricing, owner.models.iter());
            prepared = Some((owner, quote));
        }
    }
    let (mut owner, quote) = prepared.ok_or(ApiError::MissingInput)?;
    owner.weight = weight;
    Ok(Prepared { amount, owner, quote: Some(quote), file_bytes })
}

/// What clients are shown of it, in the order of the inputs.
#[derive(Default, Serialize, Deserialize)]
struct Shown {
    /// Null where nothing has come of an ask so far.
    items: Vec<Value>,
    /// How many of them are errors.
    failed: usize,
}

/// What was answered so far: what another attempt goes on with. Errors are of an attempt, so none of them is here.
#[derive(Default, Serialize, Deserialize)]
struct Answered {
    result: Shown,
    /// What the answers take up, in bytes of JSON.
    items_bytes: usize,
    /// There is no room for another answer.
    full: bool,
    /// How often the job was begun anew before what follows was used: what came before is settled.
    redrives: u32,
    charged: Micro,
    tokens_in: i64,
    tokens_out: i64,
    /// Of each item that was answered, all that its charge is computed from.
    charges: Vec<Value>,
    /// The model of all, while it is one.
    model: Option<String>,
}

impl Answered {
    /// What an earlier attempt left. What it owed before the job was begun anew was charged when it ended.
    fn read(checkpoint: Option<&RawValue>, asks: usize, redrives: u32) -> Self {
        let left = checkpoint.and_then(|left| serde_json::from_str::<Self>(left.get()).ok());
        let mut left = left.unwrap_or_default();
        left.result.items.resize(asks, Value::Null);
        if left.redrives == redrives {
            return left;
        }
        let Self { result, items_bytes, full, .. } = left;
        Self { result, items_bytes, full, redrives, ..Self::default() }
    }

    fn has(&self, at: usize) -> bool {
        self.result.items.get(at).is_some_and(|item| !item.is_null())
    }

    fn count(&self) -> usize {
        self.result.items.iter().filter(|item| !item.is_null()).count()
    }

    /// Whether the next answer is sure of its room, so that it may be paid for.
    fn has_room(&self) -> bool {
        !self.full && self.items_bytes.saturating_add(ANSWER_BYTES) <= ITEMS_BYTES_MAX
    }

    /// Keeps an answer. For one that is too large all the same nothing is charged, and nothing more is asked.
    fn keep(&mut self, at: usize, answer: Answer) -> Result<(), Failure> {
        let Answer { mut shown, charge, usage } = answer;
        if let Some(members) = shown.as_object_mut() {
            members.insert("credits_used".to_owned(), json!(charge.credits()));
        }
        let items_bytes = self.items_bytes.saturating_add(shown.to_string().len());
        if items_bytes > ITEMS_BYTES_MAX {
            self.full = true;
            return Err(too_large());
        }
        self.items_bytes = items_bytes;
        self.charged = Micro(self.charged.0.saturating_add(charge.0));
        self.tokens_in = self.tokens_in.saturating_add(usage.tokens_in.unwrap_or(0));
        self.tokens_out = self.tokens_out.saturating_add(usage.tokens_out.unwrap_or(0));
        self.model = match self.charges.is_empty() {
            true => usage.model.clone(),
            false => self.model.take().filter(|model| usage.model.as_ref() == Some(model)),
        };
        let meta = usage.meta.as_ref().and_then(|meta| serde_json::from_str(meta.get()).ok());
        let mut meta: Map<String, Value> = meta.unwrap_or_default();
        meta.retain(|name, _| {
            !matches!(name.as_str(), "request_id" | "skill" | "skill_version" | "attempts" | "outcome")
        });
        meta.insert("due_micro".to_owned(), json!(charge));
        self.charges.push(Value::Object(meta));
        if let Some(item) = self.result.items.get_mut(at) {
            *item = shown;
        }
        Ok(())
    }

    fn usage(&self, attempt: &Attempt, end: WorkEnd, failed: usize) -> Usage {
        let meta = json!({
            "basis": "batch",
            "outcome": end.name(),
            "request_id": attempt.operation.request_id,
            "type": KIND.name,
            "charges": self.charges,
            "failed": failed,
        });
        Usage {
            route: Some(attempt.operation.route.to_owned()),
            tokens_in: Some(self.tokens_in),
            tokens_out: Some(self.tokens_out),
            model: self.model.clone(),
            meta: to_raw_value(&meta).ok(),
        }
    }

    /// Puts the errors of the last attempt in the places that have no answer.
    fn with_errors(mut self, failures: &BTreeMap<usize, Failure>) -> Self {
        for (at, failure) in failures {
            if let Some(item) = self.result.items.get_mut(*at) {
                *item = json!({ "error": failure.code, "message": failure.message });
            }
        }
        self.result.failed = failures.len();
        self
    }
}

fn too_large() -> Failure {
    Failure::new(RESULT_TOO_LARGE, "the answers of the batch are as large as a job's may be")
}

async fn run(attempt: &Attempt) -> Result<Done, Failure> {
    let stored = attempt.stored.as_ref().ok_or_else(unreadable)?;
    let asks = asks(stored.params.get()).ok_or_else(unreadable)?;
    let Job { terms, life, .. } = &attempt.job;
    let mut answered = Answered::read(attempt.checkpoint.as_deref(), asks.len(), life.redrives);
    let mut failures: BTreeMap<usize, Failure> = BTreeMap::new();
    let until_ms = now_ms().saturating_add(ASKING_MS_MAX);
    for (at, ask) in asks.iter().enumerate() {
        if answered.has(at) {
            continue;
        }
        let held = Micro(terms.amount.0.saturating_sub(answered.charged.0));
        let came = if !answered.has_room() {
            Err(too_large())
        } else if now_ms() >= until_ms {
            Err(Failure::new("timeout", "the attempt had no time left for it"))
        } else {
            let answer = si::ask(attempt, (ask, stored), held).await;
            answer.and_then(|answer| answered.keep(at, answer))
        };
        // What was not asked is told at the end, all at once.
        let asked = !came.as_ref().is_err_and(|failure| matches!(failure.code, RESULT_TOO_LARGE | "timeout"));
        if let Err(failure) = came {
            failures.insert(at, failure);
        }
        if asked || at.saturating_add(1) == asks.len() {
            say(attempt, &mut answered, (&failures, asks.len())).await?;
        }
    }
    let is_last = life.attempts >= terms.attempts_max;
    if let Some(failure) = unfinished(&failures)
        && !is_last
    {
        return Err(failure);
    }
    if answered.count() == 0 {
        return Err(none_answered(failures.values().next()));
    }
    let usage = answered.usage(attempt, WorkEnd::Complete, failures.len());
    let charge = answered.charged;
    let result = to_raw_value(&answered.with_errors(&failures).result);
    let result = result.map_err(|_| Failure::new("unavailable", "the answers could not be kept"))?;
    Ok(Done { result, charge, usage })
}

/// Leaves what was answered, and what is owed for it, with the job.
async fn say(
    attempt: &Attempt,
    answered: &mut Answered,
    (failures, asks): (&BTreeMap<usize, Failure>, usize),
) -> Result<(), Failure> {
    let failed = failures.len();
    let said = json!({ "done": answered.count().saturating_add(failed), "of": asks, "failed": failed });
    let usage = answered.usage(attempt, WorkEnd::Interrupted, failed);
    let owed = Owed { charge: answered.charged, usage };
    let (said, kept) = (to_raw_value(&said).ok(), to_raw_value(&answered).ok());
    match attempt.beat(said, kept, Some(owed)).await {
        Err(Unkept::LeaseLost) => Err(Failure::new("lease_lost", "another worker has the job")),
        // What comes now would be lost with this attempt, and be paid for again.
        Err(Unkept::Refused) => {
            answered.full = true;
            Ok(())
        }
        // The next word brings it all.
        Ok(()) | Err(Unkept::Unreached) => Ok(()),
    }
}

/// Why another attempt is worth it: the first failure that may not be met again, after the longest wait of all.
fn unfinished(failures: &BTreeMap<usize, Failure>) -> Option<Failure> {
    let is_final =
        |failure: &&Failure| failure.code == RESULT_TOO_LARGE || FINAL_ERRORS.contains(&failure.code);
    let mut open = failures.values().filter(|failure| !is_final(failure));
    let first = open.next()?;
    let retry_after_ms = open.filter_map(|failure| failure.retry_after_ms).chain(first.retry_after_ms).max();
    Some(Failure { retry_after_ms, ..first.clone() })
}

/// Where the first ask is wrong itself, as all are whose attachments are gone, so is the batch.
fn none_answered(first: Option<&Failure>) -> Failure {
    let code = first.map(|failure| failure.code).filter(|code| FINAL_ERRORS.contains(code));
    Failure::new(code.unwrap_or("si_ask_failed"), "none of the asks was answered")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ask_has_what_the_batch_says_of_all() {
        let asks = asks(r#"{"skill":"s","max_tokens":5,"inputs":["a",{"b":1}]}"#).unwrap();
        let asks: Vec<Value> = asks.iter().map(|ask| serde_json::from_str(ask).unwrap()).collect();
        let first = json!({ "skill": "s", "max_tokens": 5, "input": "a" });
        assert_eq!(asks, [first, json!({ "skill": "s", "max_tokens": 5, "input": { "b": 1 } })]);
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let of = |count: usize| asks(&json!({ "inputs": vec!["x"; count] }).to_string());
        assert!(
            of(0).is_none() && of(1).is_some() && of(INPUTS_MAX).is_some() && of(INPUTS_MAX + 1).is_none()
        );
        assert!(asks("{}").is_none() && asks(r#"{"inputs":"x"}"#).is_none());
    }

    fn failures(codes: &[(usize, &'static str)]) -> BTreeMap<usize, Failure> {
        codes.iter().map(|(at, code)| (*at, Failure::new(code, ""))).collect()
    }

    fn answer(bytes: usize, charge: i64) -> Answer {
        Answer {
            shown: json!({ "content": "x".repeat(bytes) }),
            charge: Micro(charge),
            usage: Usage::default(),
        }
    }

    #[test]
    fn a_batch_of_which_nothing_came_is_tried_again_unless_it_is_wrong_itself() {
        let code = |codes: &[(usize, &'static str)]| none_answered(failures(codes).values().next()).code;
        assert_eq!(code(&[(0, "attachment_not_found"), (1, "attachment_not_found")]), "attachment_not_found");
        assert_eq!(code(&[(0, "si_ask_failed"), (1, "attachment_not_found")]), "si_ask_failed");
        assert_eq!(code(&[]), "si_ask_failed");
    }

    #[test]
    fn another_attempt_is_for_what_may_be_answered_then() {
        let code = |codes: &[(usize, &'static str)]| unfinished(&failures(codes)).map(|failure| failure.code);
        assert_eq!(code(&[]), None);
        assert_eq!(code(&[(0, "request_refused"), (1, RESULT_TOO_LARGE)]), None);
        assert_eq!(code(&[(0, "request_refused"), (1, "si_ask_failed")]), Some("si_ask_failed"));
        let mut failures = failures(&[(0, "si_ask_failed"), (1, "si_ask_failed")]);
        failures.get_mut(&1).unwrap().retry_after_ms = Some(60_000);
        assert_eq!(unfinished(&failures).unwrap().retry_after_ms, Some(60_000), "the longest wait of all");
    }

    #[test]
    fn answers_stay_when_it_is_begun_anew_and_what_was_settled_goes() {
        let mut first = Answered::read(None, 2, 0);
        first.keep(0, answer(1, 7)).unwrap();
        let left = to_raw_value(&first).unwrap();
        let again = Answered::read(Some(&left), 2, 0);
        assert_eq!(
            (again.has(0), again.has(1), again.charged, again.charges.len()),
            (true, false, Micro(7), 1)
        );
        let anew = Answered::read(Some(&left), 2, 1);
        assert_eq!(
            (anew.has(0), anew.has(1), anew.charged, anew.charges.len()),
            (true, false, Micro::ZERO, 0)
        );
        let shown = anew.with_errors(&failures(&[(1, "timeout")])).result;
        assert_eq!((shown.failed, &shown.items[1]), (1, &json!({ "error": "timeout", "message": "" })));
    }

    #[test]
    fn what_is_kept_fits_and_what_does_not_is_not_charged() {
        let mut kept = Answered::read(None, INPUTS_MAX, 0);
        let mut asked = 0;
        while kept.has_room() {
            kept.keep(asked, answer(30_000, 1)).unwrap();
            asked += 1;
        }
        assert!((12..16).contains(&asked), "{asked}");
        assert!(kept.keep(asked, answer(ANSWER_BYTES + 1, 1)).is_err() && kept.full);
        assert_eq!(
            (kept.charged, kept.count(), kept.has(asked)),
            (Micro(i64::try_from(asked).unwrap()), asked, false)
        );
        // The charges of a batch of the most asks have room beside its answers.
        let bytes = to_raw_value(&kept).unwrap().get().len();
        assert!(bytes + INPUTS_MAX * 1_024 <= actors::jobs::CHECKPOINT_BYTES_MAX, "{bytes}");
    }
}
