//! Attachments of an ask: objects that its tenant uploaded, read from the bucket and put into the prompt.
//!
//! Everything is read before anything is held, so a hold is made for what the model will really read. What is missing,
//! another tenant's, or no key at all is told alike.

use actors::shared::safe_file_name;
use futures::future::join_all;
use serde_json::Value;

use super::attached_room::Room;
use super::attachment_content::{self as content, Content, Declared};
use super::attachment_frame as frame;
use super::context::Context;
use super::error::ApiError;
use super::identity::Caller;
use super::limits::{
    ATTACHED_BYTES_MAX, ATTACHED_TEXT_BYTES_MAX, ATTACHMENT_IMAGE_BYTES_MAX, ATTACHMENT_TEXT_BYTES_MAX,
    ATTACHMENTS_MAX,
};
use super::question::Question;
use super::upload_key;
use crate::platform::bucket::{self, BucketFailed};
use crate::providers::Prompt;

/// What a client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    key: String,
    /// What the model is told that it is called; without it, what it was uploaded as.
    name: Option<String>,
}

/// An object that is the tenant's, and may be read.
struct Found {
    /// Its place in the list, from zero.
    index: usize,
    key: String,
    name: String,
    content_type: String,
    declared: Declared,
    size: usize,
}

/// Reads the list.
///
/// # Errors
/// `InvalidField`.
pub fn parse(list: Option<&Value>) -> Result<Vec<Named>, ApiError> {
    const WRONG: ApiError = ApiError::InvalidField {
        field: "attachments",
        expected: "a list of at most 8 keys of uploads, or objects of a `key` and a `name`",
    };
    let list = match list {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= ATTACHMENTS_MAX => list,
        Some(_) => return Err(WRONG),
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let named = |entry: &Value| match entry {
        Value::String(key) => Some(Named { key: key.clone(), name: None }),
        Value::Object(members) => {
            let name = match members.get("name") {
                None | Some(Value::Null) => None,
                Some(name) => Some(safe_file_name(&text(name)?)),
            };
            Some(Named { key: text(members.get("key")?)?, name })
        }
        _ => None,
    };
    list.iter().map(|entry| named(entry).ok_or(WRONG)).collect()
}

/// Puts what is named into the question's prompt: texts after the input, pictures beside it.
///
/// # Errors
/// `R2NotBound`, `Unavailable`; of the first that is wrong `AttachmentNotFound`, `AttachmentUnsupported`,
/// `AttachmentTooLarge`; `InputTooLong` where the skill takes less text.
pub async fn attach(
    context: &Context,
    caller: &Caller,
    named: &[Named],
    question: &mut Question,
) -> Result<(), ApiError> {
    if named.is_empty() {
        return Ok(());
    }
    if !bucket::is_bound(&context.env) {
        return Err(ApiError::R2NotBound);
    }
    let found = find(context, caller, named).await?;
    within_limits(&found)?;
    let bytes = found.iter().fold(0_usize, |sum, one| sum.saturating_add(one.size));
    question.room = Some(Room::take(bytes).ok_or(ApiError::Unavailable)?);
    let read = join_all(found.iter().map(|one| bucket::bytes(&context.env, &one.key))).await;
    let Prompt::Plain { user, images, .. } = &mut question.chat.prompt else { return Ok(()) };
    for (one, bytes) in found.iter().zip(read) {
        let index = one.index;
        // It may have been deleted since.
        let bytes = bytes.map_err(unavailable)?.ok_or(ApiError::AttachmentNotFound { index })?;
        let content = content::read(one.declared, bytes).ok_or(ApiError::AttachmentUnsupported { index })?;
        let number = index.saturating_add(1);
        match content {
            Content::Text(text) => {
                user.push_str(&frame::text(number, &one.name, &content::essence(&one.content_type), &text));
            }
            Content::Image { media_type, image } => {
                images.push(image);
                user.push_str(&frame::image(number, &one.name, media_type, images.len()));
            }
        }
    }
    question.text_within_skill()
}

/// What each of them is, when all are the tenant's.
async fn find(context: &Context, caller: &Caller, named: &[Named]) -> Result<Vec<Found>, ApiError> {
    let owner = upload_key::owner(&caller.tenant);
    let mut names = Vec::with_capacity(named.len());
    for (index, Named { key, name }) in named.iter().enumerate() {
        // No look into the bucket for what cannot be the tenant's.
        let own = upload_key::name_in(&caller.tenant, key).ok_or(ApiError::AttachmentNotFound { index })?;
        names.push(name.clone().unwrap_or_else(|| own.to_owned()));
    }
    let heads = join_all(named.iter().map(|named| bucket::head(&context.env, &named.key))).await;
    let mut found = Vec::with_capacity(named.len());
    for (index, ((Named { key, .. }, name), head)) in named.iter().zip(names).zip(heads).enumerate() {
        let head = head.map_err(unavailable)?.filter(|head| head.owner == owner);
        let head = head.ok_or(ApiError::AttachmentNotFound { index })?;
        let declared = content::declared(&head.content_type);
        let declared = declared.ok_or(ApiError::AttachmentUnsupported { index })?;
        let (key, content_type, size) = (key.clone(), head.content_type, head.size);
        found.push(Found { index, key, name, content_type, declared, size });
    }
    Ok(found)
}

const fn unavailable(_: BucketFailed) -> ApiError {
    ApiError::Unavailable
}

/// # Errors
/// `AttachmentTooLarge` for the first that is larger than its kind may be, or with which all are larger than they may
/// be together.
fn within_limits(found: &[Found]) -> Result<(), ApiError> {
    let (mut texts, mut all) = (0_usize, 0_usize);
    for Found { index, declared, size, .. } in found {
        all = all.saturating_add(*size);
        let one = match declared {
            Declared::Text => {
                texts = texts.saturating_add(*size);
                ATTACHMENT_TEXT_BYTES_MAX
            }
            Declared::Image => ATTACHMENT_IMAGE_BYTES_MAX,
        };
        let limits = [(*size, one), (texts, ATTACHED_TEXT_BYTES_MAX), (all, ATTACHED_BYTES_MAX)];
        if let Some((_, max_bytes)) = limits.into_iter().find(|(size, max)| size > max) {
            return Err(ApiError::AttachmentTooLarge { index: *index, max_bytes });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_or_an_object_with_one_names_an_attachment() {
        let list = json!(["a", {"key": "b"}, {"key": "c", "name": "../d e.txt", "more": 1}, {"key": "e", "name": null}]);
        let named =
            |key: &str, name: Option<&str>| Named { key: key.to_owned(), name: name.map(str::to_owned) };
        let expected = [named("a", None), named("b", None), named("c", Some("d_e.txt")), named("e", None)];
        assert_eq!(parse(Some(&list)).unwrap(), expected);
        assert_eq!(parse(Some(&json!(null))).unwrap(), parse(None).unwrap());
        let many = json!(vec!["a"; ATTACHMENTS_MAX]);
        assert_eq!(parse(Some(&many)).unwrap().len(), ATTACHMENTS_MAX);
    }

    #[test]
    fn anything_else_is_refused() {
        let many = json!(vec!["a"; ATTACHMENTS_MAX + 1]);
        for wrong in [
            json!("a"),
            json!({"key": "a"}),
            json!([1]),
            json!([{}]),
            json!([{"key": 1}]),
            json!([null]),
            many,
        ] {
            let refused = parse(Some(&wrong)).unwrap_err();
            assert_eq!(refused.code(), "invalid_field", "{wrong}");
        }
        assert!(parse(Some(&json!([{"key": "a", "name": 1}]))).is_err());
        // The sentence says the limit.
        assert_eq!(ATTACHMENTS_MAX, 8);
    }

    #[test]
    fn each_and_all_together_have_their_limits() {
        use Declared::{Image, Text};
        let check = |sizes: &[(Declared, usize)]| {
            let found: Vec<Found> = sizes
                .iter()
                .enumerate()
                .map(|(index, (declared, size))| Found {
                    index,
                    key: String::new(),
                    name: String::new(),
                    content_type: String::new(),
                    declared: *declared,
                    size: *size,
                })
                .collect();
            within_limits(&found).err()
        };
        let large = |index, max_bytes| Some(ApiError::AttachmentTooLarge { index, max_bytes });
        let (text, image) = (ATTACHMENT_TEXT_BYTES_MAX, ATTACHMENT_IMAGE_BYTES_MAX);
        assert_eq!(check(&[(Text, text), (Text, text)]), None);
        assert_eq!(check(&[(Text, 1), (Text, text + 1)]), large(1, text));
        assert_eq!(check(&[(Text, text), (Text, text), (Text, 1)]), large(2, ATTACHED_TEXT_BYTES_MAX));
        assert_eq!(check(&[(Image, image), (Image, ATTACHED_BYTES_MAX - image)]), None);
        assert_eq!(check(&[(Image, image + 1)]), large(0, image));
        assert_eq!(
            check(&[(Image, image), (Text, text), (Text, text), (Image, 1)]),
            large(3, ATTACHED_BYTES_MAX)
        );
    }
}
