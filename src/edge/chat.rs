//! `POST /v1/chat/completions`: a chat as any client of OpenAI's sends it, metered as an ask is.

use std::rc::Rc;

use super::answering::{self, Asked};
use super::chat_question::{self, Chat};
use super::context::Context;
use super::error::ApiError;
use super::form::Form;
use super::limits::CHAT_BODY_BYTES_MAX;
use super::meter;
use super::reply::Reply;

pub async fn complete(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    meter::refused_before(context, &caller)?;
    let bytes = context.inbound.json_bytes(CHAT_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let Chat { question, streams, include_usage } = chat_question::parse(context, &bytes)?;
    let form = Form::Chat { include_usage };
    let asked = Asked { caller, question, form, streams, idempotency, digest: context.digest(&bytes) };
    answering::answer(context, asked).await
}
