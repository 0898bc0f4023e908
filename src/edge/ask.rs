//! `POST /api/si/ask`: a question to a skill, answered whole or as a stream.

use std::rc::Rc;

use super::answering::{self, Asked};
use super::ask_form::Manner;
use super::attachments::{self, Named};
use super::catalog::{self, Known};
use super::context::Context;
use super::error::ApiError;
use super::form::Form;
use super::limits::JSON_BODY_BYTES_MAX;
use super::meter;
use super::question;
use super::reply::Reply;
use super::variant;
use crate::platform::detached;

pub async fn ask(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    // Before the body is read: a flood that is refused anyway should cost as little as it can.
    meter::refused_before(context, &caller)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let known = catalog::current(context).await;
    let (mut question, named) = question::parse(context, &known, &bytes)?;
    variant::assign(context, &caller, &mut question).await;
    question.text_within_skill()?;
    let streams = context.inbound.wants_events();
    let form = Form::Ask(Manner::of(&context.inbound));
    let digest = context.digest(&bytes);
    let asked = Asked { caller, question, form, streams, idempotency, digest };
    if named.is_empty() {
        return answer(context, &known, asked).await;
    }
    // Apart from the connection: of a client that goes away nothing is heard, and its files would stay in memory.
    let shared = Rc::clone(context);
    let reply = detached::first_value(&context.event, move |reply_to| async move {
        let _gone = reply_to.send(with_attachments(&shared, &known, asked, &named).await);
    });
    reply.await.unwrap_or(Err(ApiError::Unavailable))
}

async fn with_attachments(
    context: &Rc<Context>,
    known: &Known,
    mut asked: Asked,
    named: &[Named],
) -> Result<Reply, ApiError> {
    match attachments::read(context, &asked.caller.tenant, named).await {
        Ok(attached) => {
            attached.join(&mut asked.question)?;
            answer(context, known, asked).await
        }
        // What was answered once is answered again, also when its files were deleted since.
        Err(gone @ ApiError::AttachmentNotFound { .. }) => {
            answering::answered_before(context, asked).await?.ok_or(gone)
        }
        Err(wrong) => Err(wrong),
    }
}

async fn answer(context: &Rc<Context>, known: &Known, mut asked: Asked) -> Result<Reply, ApiError> {
    asked.question.take_terms();
    answering::answer(context, known, asked).await
}
