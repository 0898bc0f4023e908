//! What is asked of providers in the words of chat: a whole answer, or a stream from its first piece on.
//!
//! A provider is left for the next one only before anything of its answer was given away.

use worker::Env;

use super::attempts::{self, Answered, Failed, Form, Plan};
use super::failure::Deadline;
use super::{Answer, ChatRequest, Failure, PieceStream, openai_compatible, workers_ai};
use crate::platform::config::{Config, Provider, ProviderKind};
use crate::platform::{now_ms, timer};

/// Asks `providers` until one answers.
///
/// # Errors
/// [`Failed`] with every attempt, when none does before `end_ms`.
pub async fn complete(
    env: &Env,
    config: &Config,
    providers: &[Provider],
    request: &ChatRequest,
    end_ms: i64,
) -> Result<Answered<Answer>, Failed> {
    let plan = Plan { config, providers, request_id: &request.request_id, end_ms, form: Form::Whole };
    attempts::run(plan, async |provider, _| once(env, provider, request).await).await
}

/// Asks one provider, outside the order and beside its breaker.
///
/// # Errors
/// Its failure.
pub async fn complete_with(
    env: &Env,
    config: &Config,
    provider: &Provider,
    request: &ChatRequest,
) -> Result<Answer, Failure> {
    let wait_ms = provider.deadlines.answer_ms.min(config.deadlines.total_ms);
    let answer = timer::within(wait_ms, once(env, provider, request)).await;
    answer.unwrap_or(Err(Failure::Timeout(Deadline::Total)))
}

async fn once(env: &Env, provider: &Provider, request: &ChatRequest) -> Result<Answer, Failure> {
    match provider.kind {
        ProviderKind::OpenAiCompatible => openai_compatible::complete(provider, request).await,
        ProviderKind::WorkersAi => workers_ai::complete(env, provider, request).await,
        // The configuration lets it answer no chat.
        ProviderKind::Cartesia => Err(Failure::Status(404)),
    }
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
) -> Result<Answered<PieceStream>, Failed> {
    let plan = Plan { config, providers, request_id: &request.request_id, end_ms, form: Form::Stream };
    attempts::run(plan, async |provider, wait_ms| first_piece(env, provider, request, wait_ms).await).await
}

async fn first_piece(
    env: &Env,
    provider: &Provider,
    request: &ChatRequest,
    wait_ms: i64,
) -> Result<PieceStream, Failure> {
    let end_ms = now_ms().saturating_add(wait_ms);
    let opened = timer::within(wait_ms.min(provider.deadlines.connect_ms), async {
        match provider.kind {
            ProviderKind::OpenAiCompatible => openai_compatible::open(provider, request).await,
            ProviderKind::WorkersAi => workers_ai::open(env, provider, request).await,
            ProviderKind::Cartesia => Err(Failure::Status(404)),
        }
    });
    let mut stream = opened.await.unwrap_or(Err(Failure::Timeout(Deadline::Connect)))?;
    // An answer may be empty; then its end is what was waited for.
    match stream.begin(end_ms.saturating_sub(now_ms())).await {
        Ok(()) => {}
        Err(Failure::Timeout(_)) => return Err(Failure::Timeout(Deadline::FirstToken)),
        Err(failure) => return Err(failure),
    }
    Ok(stream)
}
