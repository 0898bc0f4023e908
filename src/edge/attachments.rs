//! Attachments of an ask: objects that its tenant uploaded, read from the bucket and put into the prompt.
//!
//! Everything is read before anything is held, so a hold is made for what the model will really read. What is missing,
//! another tenant's, or no key at all is told alike.

use actors::shared::{TenantId, safe_file_name};
use futures::future::join_all;
use serde_json::Value;

use super::attached_room::Room;
use super::attachment_content::{self as content, Content, Declared};
use super::attachment_frame as frame;
use super::error::ApiError;
use super::limits::{
    ATTACHED_BYTES_MAX, ATTACHED_TEXT_BYTES_MAX, ATTACHMENT_IMAGE_BYTES_MAX, ATTACHMENT_TEXT_BYTES_MAX,
    ATTACHMENTS_MAX,
};
use super::operation::Operation;
use super::question::Question;
use super::upload_key;
use crate::platform::bucket::{self, BucketFailed, ObjectHead};
use crate::providers::{Image, Prompt};

/// What a client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    key: String,
    /// What the model is told that it is called; without it, what it was uploaded as.
    name: Option<String>,
}

impl Named {
    /// A key, or an object with one.
    pub fn of(entry: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match entry {
            Value::String(key) => Some(Self { key: key.clone(), name: None }),
            Value::Object(members) => {
                let name = match members.get("name") {
                    None | Some(Value::Null) => None,
                    Some(name) => Some(safe_file_name(&text(name)?)),
                };
                Some(Self { key: text(members.get("key")?)?, name })
            }
            _ => None,
        }
    }
}

/// An object that is the tenant's.
pub struct Own {
    pub key: String,
    pub name: String,
    pub head: ObjectHead,
}

/// One that may be read with a question.
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
    list.iter().map(|entry| Named::of(entry).ok_or(WRONG)).collect()
}

/// What was read, as it stands in a prompt.
#[derive(Debug, Default)]
pub struct Attached {
    /// What follows the input.
    text: String,
    images: Vec<Image>,
    /// As it is in the bucket.
    pub bytes: usize,
    room: Option<Room>,
}

impl Attached {
    /// Puts it into the question's prompt: texts after the input, pictures beside it.
    ///
    /// # Errors
    /// `InputTooLong` where the skill takes less text.
    pub fn join(self, question: &mut Question) -> Result<(), ApiError> {
        question.room = self.room;
        if let Prompt::Plain { user, images, .. } = &mut question.chat.prompt {
            user.push_str(&self.text);
            images.extend(self.images);
        }
        question.text_within_skill()
    }

    /// The same, for another question. The room stays here.
    pub fn again(&self) -> Self {
        Self { text: self.text.clone(), images: self.images.clone(), bytes: self.bytes, room: None }
    }
}

/// Reads what is named.
///
/// # Errors
/// `R2NotBound`, `Unavailable`; of the first that is wrong `AttachmentNotFound`, `AttachmentUnsupported`,
/// `AttachmentTooLarge`.
pub async fn read(operation: &Operation, tenant: &TenantId, named: &[Named]) -> Result<Attached, ApiError> {
    if named.is_empty() {
        return Ok(Attached::default());
    }
    let found: Vec<Found> = own(operation, tenant, named)
        .await?
        .into_iter()
        .enumerate()
        .map(readable)
        .collect::<Result<_, _>>()?;
    within_limits(&found)?;
    let bytes = found.iter().fold(0_usize, |sum, one| sum.saturating_add(one.size));
    let room = Some(Room::take(bytes).ok_or(ApiError::Unavailable)?);
    let mut attached = Attached { bytes, room, ..Attached::default() };
    let read = join_all(found.iter().map(|one| bucket::bytes(&operation.env, &one.key))).await;
    for (one, bytes) in found.iter().zip(read) {
        let index = one.index;
        // It may have been deleted since.
        let bytes = bytes.map_err(unavailable)?.ok_or(ApiError::AttachmentNotFound { index })?;
        let content = content::read(one.declared, bytes).ok_or(ApiError::AttachmentUnsupported { index })?;
        let number = index.saturating_add(1);
        let framed = match content {
            Content::Text(text) => {
                frame::text(number, &one.name, &content::essence(&one.content_type), &text)
            }
            Content::Image { media_type, image } => {
                attached.images.push(image);
                frame::image(number, &one.name, media_type, attached.images.len())
            }
        };
        attached.text.push_str(&framed);
    }
    Ok(attached)
}

/// What each of them is; `AttachmentNotFound` for one that is not there, or does not bear its tenant.
///
/// # Errors
/// `R2NotBound`; `AttachmentNotFound` of the first whose key cannot be the tenant's, whatever the others are.
pub async fn own(
    operation: &Operation,
    tenant: &TenantId,
    named: &[Named],
) -> Result<Vec<Result<Own, ApiError>>, ApiError> {
    if !bucket::is_bound(&operation.env) {
        return Err(ApiError::R2NotBound);
    }
    let owner = upload_key::owner(tenant);
    let mut names = Vec::with_capacity(named.len());
    for (index, Named { key, name }) in named.iter().enumerate() {
        // No look into the bucket for what cannot be the tenant's.
        let own = upload_key::name_in(tenant, key).ok_or(ApiError::AttachmentNotFound { index })?;
        names.push(name.clone().unwrap_or_else(|| own.to_owned()));
    }
    let heads = join_all(named.iter().map(|named| bucket::head(&operation.env, &named.key))).await;
    let all =
        named.iter().zip(names).zip(heads).enumerate().map(|(index, ((Named { key, .. }, name), head))| {
            let head = head.map_err(unavailable)?.filter(|head| head.owner == owner);
            let head = head.ok_or(ApiError::AttachmentNotFound { index })?;
            Ok(Own { key: key.clone(), name, head })
        });
    Ok(all.collect())
}

/// # Errors
/// `AttachmentUnsupported` for one of a type that is never read.
fn readable((index, own): (usize, Result<Own, ApiError>)) -> Result<Found, ApiError> {
    let Own { key, name, head } = own?;
    let declared = content::declared(&head.content_type);
    let declared = declared.ok_or(ApiError::AttachmentUnsupported { index })?;
    Ok(Found { index, key, name, content_type: head.content_type, declared, size: head.size })
}

/// What the bucket does not do now, it may do later.
pub const fn unavailable(_: BucketFailed) -> ApiError {
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
