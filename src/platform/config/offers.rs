//! Who serves what is no chat, in which order and with which models: `EMBEDDING_PROVIDERS`, `TTS_PROVIDERS` and
//! `STT_PROVIDERS`.

use super::Provider;
use super::providers::Servers;
use super::reader::Reader;

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
}

impl Offers {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Provider> {
        self.embeddings.iter().chain(&self.speech).chain(&self.transcription)
    }
}

pub(super) fn read(reader: &mut Reader<'_>, servers: &Servers<'_>) -> Offers {
    Offers {
        embeddings: list(reader, servers, "EMBEDDING_PROVIDERS", "openai=text-embedding-3-small"),
        speech: list(reader, servers, "TTS_PROVIDERS", "openai=gpt-4o-mini-tts"),
        transcription: list(reader, servers, "STT_PROVIDERS", "openai=whisper-1"),
    }
}

/// Reads `name=model,…`. A provider may stand in it with several models. One that cannot be called is left out, as it is
/// of the usual order.
fn list(
    reader: &mut Reader<'_>,
    servers: &Servers<'_>,
    variable: &'static str,
    example: &str,
) -> Vec<Provider> {
    let text = reader.text(variable, "");
    let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    for word in &words {
        let named =
            word.split_once('=').map(|(name, model)| (name.trim().to_ascii_lowercase(), model.trim()));
        match named {
            Some((name, model)) if servers.knows(&name) && !model.is_empty() => {
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
