//! `batch`: many asks in one job, one after the other. What is answered is kept in the job's checkpoint, so an attempt
//! goes on where the one before it stopped, and what was asked once is not asked again.
//!
//! An ask that is wrong itself is an error among the results. One that nobody answers ends the attempt; in the last
//! attempt it is an error among the results too, so that the others are not lost.

use actors::credits::Usage;
use actors::rate::Weight;
use actors::shared::Micro;
use futures::future::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::attempt::Attempt;
use super::kinds::{Done, Failure, Kind, Making, Prepared};
use super::si::{self, Answer, FINAL_ERRORS, asked, unreadable, whole};
use super::stored::Quote;
use crate::edge::attachments;
use crate::edge::error::ApiError;
use crate::edge::meter;
use crate::edge::offer;

pub const KIND: Kind = Kind {
    name: "batch",
    prepare: |making, params| prepare(making, params).boxed_local(),
    run: |attempt| run(attempt).boxed_local(),
    rules: |usual| usual,
    final_errors: FINAL_ERRORS,
};

/// Asks of one job: with answers of the usual length they fit into a checkpoint.
const INPUTS_MAX: usize = 50;

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

/// What is done so far.
#[derive(Default, Serialize, Deserialize)]
struct Progress {
    items: Vec<Value>,
    charged: Micro,
    tokens_in: i64,
    tokens_out: i64,
    /// Of each item that was answered, all that its charge is computed from.
    charges: Vec<Value>,
    /// The model of all, while it is one.
    model: Option<String>,
    failed: usize,
}

impl Progress {
    fn answered(&mut self, answer: Answer) {
        let Answer { mut shown, charge, usage } = answer;
        let charged = self.charged.0.saturating_add(charge.0);
        self.charged = Micro(charged);
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
        if let Some(members) = shown.as_object_mut() {
            members.insert("credits_used".to_owned(), json!(charge.credits()));
        }
        self.items.push(shown);
    }

    fn refused(&mut self, failure: &Failure) {
        self.failed = self.failed.saturating_add(1);
        self.items.push(json!({ "error": failure.code, "message": failure.message }));
    }
}

async fn run(attempt: &Attempt) -> Result<Done, Failure> {
    let stored = attempt.stored.as_ref().ok_or_else(unreadable)?;
    let asks = asks(stored.params.get()).ok_or_else(unreadable)?;
    let kept = attempt.checkpoint.as_ref().and_then(|kept| serde_json::from_str(kept.get()).ok());
    let mut progress: Progress = kept.unwrap_or_default();
    let terms = &attempt.job.terms;
    let is_last = attempt.job.life.attempts >= terms.attempts_max;
    for ask in asks.iter().skip(progress.items.len()) {
        let held = Micro(terms.amount.0.saturating_sub(progress.charged.0));
        match si::ask(attempt, (ask, stored), held).await {
            Ok(answer) => progress.answered(answer),
            Err(failure) if is_last || FINAL_ERRORS.contains(&failure.code) => progress.refused(&failure),
            Err(failure) => return Err(failure),
        }
        let said = json!({ "done": progress.items.len(), "of": asks.len(), "failed": progress.failed });
        let (said, kept) = (to_raw_value(&said).ok(), to_raw_value(&progress).ok());
        if attempt.beat(said, kept).await.is_err() {
            return Err(Failure::new("lease_lost", "another worker has the job"));
        }
    }
    if progress.charges.is_empty() {
        return Err(none_answered(&progress.items));
    }
    done(attempt, progress).ok_or_else(|| Failure::new("unavailable", "the answers could not be kept"))
}

/// Where the first ask is wrong itself, as all are whose attachments are gone, so is the batch.
fn none_answered(items: &[Value]) -> Failure {
    let said = items.first().and_then(|item| item.get("error")).and_then(Value::as_str);
    let code = FINAL_ERRORS.iter().find(|code| said == Some(code)).copied();
    Failure::new(code.unwrap_or("si_ask_failed"), "none of the asks was answered")
}

fn done(attempt: &Attempt, progress: Progress) -> Option<Done> {
    let Progress { items, charged, tokens_in, tokens_out, charges, model, failed } = progress;
    let meta = json!({
        "basis": "batch",
        "outcome": "complete",
        "request_id": attempt.operation.request_id,
        "type": KIND.name,
        "charges": charges,
        "failed": failed,
    });
    let usage = Usage {
        route: Some(attempt.operation.route.to_owned()),
        tokens_in: Some(tokens_in),
        tokens_out: Some(tokens_out),
        model,
        meta: to_raw_value(&meta).ok(),
    };
    let result = to_raw_value(&json!({ "items": items, "failed": failed })).ok()?;
    Some(Done { result, charge: charged, usage })
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

    #[test]
    fn a_batch_of_which_nothing_came_is_tried_again_unless_it_is_wrong_itself() {
        let code = |items: Value| none_answered(items.as_array().unwrap()).code;
        let gone = json!({ "error": "attachment_not_found", "message": "" });
        let failed = json!({ "error": "si_ask_failed", "message": "" });
        assert_eq!(code(json!([gone, gone])), "attachment_not_found");
        assert_eq!(code(json!([failed, gone])), "si_ask_failed");
        assert_eq!(code(json!([])), "si_ask_failed");
    }
}
