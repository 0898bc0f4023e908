//! Who serves what is no chat, in which order and with which models: `EMBEDDING_PROVIDERS`, `TTS_PROVIDERS` and
//! `STT_PROVIDERS`.

use super::providers::Servers;
use super::reader::Reader;
use super::{Provider, ProviderKind};

/// A voice that Cartesia's own documentation speaks with.
const CARTESIA_VOICE: &str = "a0e99841-438c-4a64-b679-ae501e7d6091";
/// Entries of one list.
const ENTRIES_MAX: usize = 32;

/// In order of preference; only those that can be called.
#[derive(Default)]
pub struct Offers {
    pub embeddings: Vec<Provider>,
    /// Those that speak.
    pub speech: Vec<Provider>,
    /// Those that write down what they hear.
    pub transcription: Vec<Provider>,
    /// Cartesia, as it stands among those that speak, else with its usual model; empty without its key.
    pub cartesia: Vec<Provider>,
    /// The voice that Cartesia speaks with where nobody names one of its own, by its id.
    pub cartesia_voice: String,
}

impl Offers {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Provider> {
        self.embeddings.iter().chain(&self.speech).chain(&self.transcription)
    }
}

pub(super) fn read(reader: &mut Reader<'_>, servers: &Servers<'_>) -> Offers {
    let text = |name: &str| servers.knows(name);
    let voice = |name: &str| servers.knows_voice(name);
    let embeddings = list(reader, servers, text, ("EMBEDDING_PROVIDERS", "openai=text-embedding-3-small"));
    let speech = list(reader, servers, voice, ("TTS_PROVIDERS", "openai=gpt-4o-mini-tts"));
    let transcription = list(reader, servers, voice, ("STT_PROVIDERS", "openai=whisper-1"));
    let of_cartesia = |provider: &&Provider| provider.kind == ProviderKind::Cartesia;
    let mut cartesia: Vec<Provider> = speech.iter().filter(of_cartesia).cloned().collect();
    if cartesia.is_empty() {
        cartesia.extend(servers.cartesia(reader));
    }
    let cartesia_voice = reader.text("CARTESIA_VOICE", CARTESIA_VOICE);
    if !is_voice(&cartesia_voice) {
        reader.problem("CARTESIA_VOICE", "give the id of a voice, 36 hexadecimal digits and hyphens");
    }
    Offers { embeddings, speech, transcription, cartesia, cartesia_voice }
}

/// Whether `name` can be the id of a voice of Cartesia's.
pub fn is_voice(name: &str) -> bool {
    let hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    name.len() == 36
        && name
            .bytes()
            .enumerate()
            .all(|(at, byte)| if hyphen(at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// Reads `name=model,…`. A provider may stand in it with several models. One that cannot be called is left out, as it is
/// of the usual order.
fn list(
    reader: &mut Reader<'_>,
    servers: &Servers<'_>,
    knows: impl Fn(&str) -> bool,
    (variable, example): (&'static str, &str),
) -> Vec<Provider> {
    let text = reader.text(variable, "");
    let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    for word in &words {
        let named =
            word.split_once('=').map(|(name, model)| (name.trim().to_ascii_lowercase(), model.trim()));
        match named {
            Some((name, model)) if knows(&name) && !model.is_empty() => {
                if let Ok(provider) = servers.find(reader, &name) {
                    let (model, models) = (model.to_owned(), [model.to_owned()].into());
                    // Each has a place of its own: nobody shares one by weight here.
                    found.push(Provider { model, models, place: found.len(), ..provider });
                }
            }
            _ => reader.problem(variable, format!("list providers with a model each, as in `{example}`")),
        }
    }
    if words.len() > ENTRIES_MAX {
        reader.problem(variable, format!("list no more than {ENTRIES_MAX}"));
    }
    found
}
