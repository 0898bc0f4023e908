//! `POST /api/si/ask`: a question to a skill, answered whole or as a stream.

use std::rc::Rc;

use super::answering;
use super::ask_form::Manner;
use super::attachments;
use super::catalog;
use super::context::Context;
use super::error::ApiError;
use super::form::Form;
use super::limits::JSON_BODY_BYTES_MAX;
use super::meter;
use super::question;
use super::reply::Reply;
use super::variant;

pub async fn ask(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    // Before the body is read: a flood that is refused anyway should cost as little as it can.
    meter::refused_before(context, &caller)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let known = catalog::current(context).await;
    let (mut question, named) = question::parse(context, &known, &bytes)?;
    let attached = attachments::attach(context, &caller, &named, &mut question).await;
    if attached.is_ok() {
        variant::assign(context, &caller, &mut question).await;
    }
    let accepts = context.inbound.header("accept").unwrap_or_default().to_ascii_lowercase();
    let streams = accepts.contains("text/event-stream");
    let form = Form::Ask(Manner::of(&context.inbound));
    let digest = context.digest(&bytes);
    let asked = answering::Asked { caller, question, form, streams, idempotency, digest };
    match attached {
        Ok(()) => answering::answer(context, &known, asked).await,
        // What was answered once is answered again, also when its files were deleted since.
        Err(gone @ ApiError::AttachmentNotFound { .. }) => {
            answering::answered_before(context, asked).await?.ok_or(gone)
        }
        Err(wrong) => Err(wrong),
    }
}
