//! Which provider answers: the first of the preferred ones that does, inside one budget of time.
//!
//! A provider is left for the next one only before anything of its answer was given away.

use worker::Env;

use super::{Answer, ChatRequest, Failure, PieceStream, openai_compatible, workers_ai};
use crate::platform::config::{Config, Deadlines, Provider, ProviderKind};
use crate::platform::{log, now_ms, timer};

/// No provider answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Every attempt as `provider: code`, in order.
    pub attempts: Vec<(&'static str, Failure)>,
}

impl Failed {
    /// Whether all who were asked call the request itself wrong.
    pub fn blames_request(&self) -> bool {
        !self.attempts.is_empty() && self.attempts.iter().all(|(_, failure)| failure.blames_request())
    }

    /// In words for a client: names and codes, nothing that a provider said.
    pub fn detail(&self) -> String {
        if self.attempts.is_empty() {
            return "no provider is configured".to_owned();
        }
        let attempts: Vec<String> =
            self.attempts.iter().map(|(name, failure)| format!("{name}: {}", failure.code())).collect();
        attempts.join("; ")
    }
}

/// Asks `providers` in their order until one answers.
///
/// # Errors
/// [`Failed`] with every attempt, when none does before `end_ms`.
pub async fn complete(
    env: &Env,
    config: &Config,
    providers: &[Provider],
    request: &ChatRequest,
    end_ms: i64,
) -> Result<(Provider, Answer), Failed> {
    let mut attempts = Vec::new();
    for provider in providers {
        let started_ms = now_ms();
        let outcome = once(env, config, provider, request, end_ms.saturating_sub(started_ms)).await;
        note(request, provider, started_ms, outcome.as_ref().err());
        match outcome {
            Ok(answer) => return Ok((provider.clone(), answer)),
            Err(failure) => attempts.push((provider.name, failure)),
        }
    }
    Err(Failed { attempts })
}

/// Asks one provider, outside the order.
///
/// # Errors
/// Its failure.
pub async fn complete_with(
    env: &Env,
    config: &Config,
    provider: &Provider,
    request: &ChatRequest,
) -> Result<Answer, Failure> {
    once(env, config, provider, request, config.deadlines.total_ms).await
}

async fn once(
    env: &Env,
    config: &Config,
    provider: &Provider,
    request: &ChatRequest,
    left_ms: i64,
) -> Result<Answer, Failure> {
    let wait_ms = config.deadlines.answer_ms.min(left_ms);
    let answer = timer::within(wait_ms, async {
        match provider.kind {
            ProviderKind::OpenAiCompatible => openai_compatible::complete(provider, request).await,
            ProviderKind::WorkersAi => workers_ai::complete(env, provider, request).await,
        }
    });
    answer.await.unwrap_or(Err(Failure::Timeout))
}

/// Opens a stream at the first provider whose first piece arrives.
///
/// # Errors
/// [`Failed`] with every attempt, when none does before `end_ms`.
pub async fn open_stream(
    env: &Env,
    config: &Config,
    providers: &[Provider],
    request: &ChatRequest,
    end_ms: i64,
) -> Result<(Provider, PieceStream), Failed> {
    let mut attempts = Vec::new();
    for provider in providers {
        let started_ms = now_ms();
        let outcome = first_piece(env, config.deadlines, provider, request, end_ms).await;
        note(request, provider, started_ms, outcome.as_ref().err());
        match outcome {
            Ok(stream) => return Ok((provider.clone(), stream)),
            Err(failure) => attempts.push((provider.name, failure)),
        }
    }
    Err(Failed { attempts })
}

async fn first_piece(
    env: &Env,
    deadlines: Deadlines,
    provider: &Provider,
    request: &ChatRequest,
    end_ms: i64,
) -> Result<PieceStream, Failure> {
    let wait_ms = deadlines.first_byte_ms.min(end_ms.saturating_sub(now_ms()));
    let opened = timer::within(wait_ms, async {
        let mut stream = match provider.kind {
            ProviderKind::OpenAiCompatible => openai_compatible::open(provider, request).await?,
            ProviderKind::WorkersAi => workers_ai::open(env, provider, request).await?,
        };
        // An answer may be empty; then its end is what was waited for.
        stream.begin(wait_ms).await?;
        Ok(stream)
    });
    opened.await.unwrap_or(Err(Failure::Timeout))
}

fn note(request: &ChatRequest, provider: &Provider, started_ms: i64, failure: Option<&Failure>) {
    let outcome = failure.map_or_else(|| "answered".to_owned(), |failure| failure.code());
    log::attempt(&log::AttemptLine {
        event: "provider_attempt",
        request_id: &request.request_id,
        provider: provider.name,
        outcome: &outcome,
        duration_ms: now_ms().saturating_sub(started_ms),
    });
}
