//! `PROVIDERS`: further servers by configuration, and what the built-in ones do otherwise than usual.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::providers::{base_url, is_built_in};
use super::reader::Reader;
use super::{AttemptDeadlines, Deadlines, Environment, Images};

/// Entries at one time. A request asks no more than some of them anyway.
const ENTRIES_MAX: usize = 32;
/// Models that one provider may be said to serve besides its own.
const MODELS_MAX: usize = 64;
/// The longest name of a provider, of a model and of a secret, in bytes. Names of the first two go into headers.
const NAME_BYTES_MAX: usize = 32;
const MODEL_BYTES_MAX: usize = 128;
const KEY_NAME_BYTES_MAX: usize = 64;
/// Bounds of a deadline.
const DEADLINE_MS_MIN: i64 = 10;
const DEADLINE_MS_MAX: i64 = 900_000;

/// What the name of a secret ends in that may be sent to a further server, so that no other secret of this
/// deployment can be sent anywhere by a slip of the pen.
const KEY_SUFFIX: &str = "_API_KEY";
/// Those of that form that are somebody else's.
const OTHERS_KEYS: &[&str] =
    &["ADMIN_API_KEY", "GROQ_API_KEY", "OPENAI_API_KEY", "LOCAL_API_KEY", "CARTESIA_API_KEY"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEntry {
    base: Option<String>,
    model: Option<String>,
    key: Option<String>,
    #[serde(default)]
    models: Vec<String>,
    images: Option<Images>,
    connect_ms: Option<i64>,
    first_token_ms: Option<i64>,
    idle_ms: Option<i64>,
    total_ms: Option<i64>,
}

/// What is said of one provider.
pub(super) struct Entry {
    /// Empty for a built-in provider, as is `model`: those have variables of their own.
    pub base: String,
    pub model: String,
    /// The secret that holds its key.
    pub key_name: Option<String>,
    pub models: Vec<String>,
    /// Which models can be shown a picture, where it is said.
    pub images: Option<Images>,
    connect_ms: Option<i64>,
    first_token_ms: Option<i64>,
    idle_ms: Option<i64>,
    total_ms: Option<i64>,
}

impl Entry {
    /// The usual deadlines, with its own over them.
    pub fn deadlines(&self, usual: Deadlines) -> AttemptDeadlines {
        let usual = AttemptDeadlines::of(usual);
        let first_token_ms = self.first_token_ms.unwrap_or(usual.first_token_ms);
        // Where headers may come with the first token, they may here too.
        let together = usual.connect_ms == usual.first_token_ms;
        AttemptDeadlines {
            connect_ms: self.connect_ms.unwrap_or(if together { first_token_ms } else { usual.connect_ms }),
            first_token_ms,
            idle_ms: self.idle_ms.unwrap_or(usual.idle_ms),
            answer_ms: self.total_ms.unwrap_or(usual.answer_ms),
            stream_ms: self.total_ms.unwrap_or(usual.stream_ms),
        }
    }
}

pub(super) type Entries = BTreeMap<String, Entry>;

/// Reads `PROVIDERS`. One wrong entry makes the whole a problem: half a table would be another order of fallback.
pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> Entries {
    let Some(text) = (reader.look_up)("PROVIDERS") else {
        return Entries::new();
    };
    let Ok(table) = serde_json::from_str::<BTreeMap<String, WireEntry>>(&text) else {
        reader.problem(
            "PROVIDERS",
            "give a JSON object: a provider's name to {\"base\", \"model\", \"key\", \"models\", \"images\", \"connect_ms\", \
             \"first_token_ms\", \"idle_ms\", \"total_ms\"}",
        );
        return Entries::new();
    };
    if table.len() > ENTRIES_MAX {
        reader.problem("PROVIDERS", format!("give at most {ENTRIES_MAX} providers"));
        return Entries::new();
    }
    let mut entries = Entries::new();
    for (name, wire) in table {
        match entry(&name, wire, environment) {
            Ok(entry) => drop(entries.insert(name, entry)),
            // Only what is wrong is said: a key that was written where its name belongs must not be shown.
            Err(cure) => {
                reader.problem("PROVIDERS", cure);
                return Entries::new();
            }
        }
    }
    entries
}

fn entry(name: &str, wire: WireEntry, environment: Environment) -> Result<Entry, String> {
    let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(of_name) {
        return Err(format!("name providers with a-z, 0-9 and -, at most {NAME_BYTES_MAX} characters"));
    }
    if is_built_in(name) {
        if wire.base.is_some() || wire.model.is_some() || wire.key.is_some() {
            return Err(format!(
                "{name} has its address, model and key in variables of its own; give `models`, `images` and deadlines only"
            ));
        }
    } else {
        if wire.base.as_deref().is_none_or(|base| base_url(base, environment).is_none()) {
            return Err(format!(
                "{name}: give as `base` an https URL with a host name, without user, password, query or fragment; \
                 plain http is for loopback in development"
            ));
        }
        if wire.model.is_none() {
            return Err(format!("{name}: give the `model` it is asked for"));
        }
        if !wire.key.as_deref().is_none_or(is_key_name) {
            return Err(format!(
                "{name}: give as `key` the name of a secret of its own, in capitals and ending in {KEY_SUFFIX}, \
                 that is no other provider's and not the operator's"
            ));
        }
    }
    if wire.models.len() > MODELS_MAX || !wire.models.iter().chain(&wire.model).all(|model| is_model(model)) {
        return Err(format!(
            "{name}: give models as visible ASCII of at most {MODEL_BYTES_MAX} characters, {MODELS_MAX} at most"
        ));
    }
    if let Some(Images::Of(models)) = &wire.images
        && (models.len() > MODELS_MAX || !models.iter().all(|model| is_model(model)))
    {
        return Err(format!(
            "{name}: give as `images` true, false, or {MODELS_MAX} models at most that can be shown a picture"
        ));
    }
    let deadlines = [wire.connect_ms, wire.first_token_ms, wire.idle_ms, wire.total_ms];
    if !deadlines.iter().flatten().all(|ms| (DEADLINE_MS_MIN..=DEADLINE_MS_MAX).contains(ms)) {
        return Err(format!(
            "{name}: give deadlines as whole numbers, {DEADLINE_MS_MIN} to {DEADLINE_MS_MAX}"
        ));
    }
    Ok(Entry {
        base: wire.base.unwrap_or_default(),
        model: wire.model.unwrap_or_default(),
        key_name: wire.key,
        models: wire.models,
        images: wire.images,
        connect_ms: wire.connect_ms,
        first_token_ms: wire.first_token_ms,
        idle_ms: wire.idle_ms,
        total_ms: wire.total_ms,
    })
}

fn is_model(model: &str) -> bool {
    (1..=MODEL_BYTES_MAX).contains(&model.len()) && model.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_key_name(name: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= KEY_NAME_BYTES_MAX
        && name.bytes().all(of_name)
        && name.strip_suffix(KEY_SUFFIX).is_some_and(|own| !own.is_empty())
        && !OTHERS_KEYS.contains(&name)
}
