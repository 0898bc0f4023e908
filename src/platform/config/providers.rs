//! Which model providers may be called, in which order, at which address.

use url::{Host, Url};

use super::Environment;
use super::reader::Reader;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// `POST {base}/chat/completions` in OpenAI's format.
    OpenAiCompatible,
    /// The Workers AI binding `AI`.
    WorkersAi,
}

/// A provider that can be called.
#[derive(Clone, PartialEq, Eq)]
pub struct Provider {
    /// The name clients see in `X-Provider`.
    pub name: &'static str,
    pub kind: ProviderKind,
    /// Where to post, for [`ProviderKind::OpenAiCompatible`].
    pub url: String,
    /// Sent to this provider and nobody else. No `Debug`: it must not reach a log.
    pub key: Option<String>,
    pub model: String,
}

struct Known {
    name: &'static str,
    base: &'static str,
    base_default: &'static str,
    key: &'static str,
    key_needed: bool,
    model: &'static str,
    model_default: &'static str,
}

const COMPATIBLE: &[Known] = &[
    Known {
        name: "groq",
        base: "GROQ_BASE",
        base_default: "https://api.groq.com/openai/v1",
        key: "GROQ_API_KEY",
        key_needed: true,
        model: "GROQ_MODEL",
        model_default: "llama-3.1-8b-instant",
    },
    Known {
        name: "openai",
        base: "OPENAI_BASE",
        base_default: "https://api.openai.com/v1",
        key: "OPENAI_API_KEY",
        key_needed: true,
        model: "OPENAI_MODEL",
        model_default: "gpt-4o-mini",
    },
    Known {
        name: "local",
        base: "LOCAL_BASE",
        base_default: "",
        key: "LOCAL_API_KEY",
        key_needed: false,
        model: "LOCAL_MODEL",
        model_default: "",
    },
];

type Skipped = Vec<(String, &'static str)>;

/// Reads `PREFERRED_PROVIDER`. A provider that lacks its key is skipped and said so; one whose address is
/// dangerous is a problem.
pub(super) fn read(
    reader: &mut Reader<'_>,
    environment: Environment,
    ai_bound: bool,
) -> (Vec<Provider>, Skipped) {
    let preferred = reader.text("PREFERRED_PROVIDER", "groq,cfai,openai");
    let (mut providers, mut skipped) = (Vec::<Provider>::new(), Vec::new());
    for name in preferred.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|n| !n.is_empty()) {
        if providers.iter().any(|provider| provider.name == name) {
            continue;
        }
        let found = match COMPATIBLE.iter().find(|known| known.name == name) {
            Some(known) => compatible(reader, known, environment),
            None if name == "cfai" => workers_ai(reader, ai_bound),
            None => {
                reader.problem(
                    "PREFERRED_PROVIDER",
                    "list some of groq, cfai, openai, local, separated by commas",
                );
                continue;
            }
        };
        match found {
            Ok(provider) => providers.push(provider),
            Err(why) => skipped.push((name, why)),
        }
    }
    (providers, skipped)
}

fn workers_ai(reader: &Reader<'_>, ai_bound: bool) -> Result<Provider, &'static str> {
    if !ai_bound {
        return Err("the binding AI is absent");
    }
    Ok(workers_ai_provider((reader.look_up)("CF_AI_MODEL").as_deref()))
}

pub(super) fn workers_ai_provider(model: Option<&str>) -> Provider {
    Provider {
        name: "cfai",
        kind: ProviderKind::WorkersAi,
        url: String::new(),
        key: None,
        model: model.unwrap_or("@cf/meta/llama-3.1-8b-instruct").trim().to_owned(),
    }
}

fn compatible(
    reader: &mut Reader<'_>,
    known: &Known,
    environment: Environment,
) -> Result<Provider, &'static str> {
    let key = (reader.look_up)(known.key).map(|key| key.trim().to_owned());
    if known.key_needed && key.is_none() {
        return Err("its API key is not set");
    }
    let base = reader.text(known.base, known.base_default);
    if base.is_empty() {
        return Err("its base URL is not set");
    }
    let model = reader.text(known.model, known.model_default);
    if model.is_empty() {
        return Err("its model is not set");
    }
    let Some(url) = chat_url(&base, environment) else {
        reader.problem(
            known.base,
            "give an https URL with a host name, without user, password, query or fragment; plain http is for \
             loopback in development",
        );
        return Err("its base URL is refused");
    };
    Ok(Provider { name: known.name, kind: ProviderKind::OpenAiCompatible, url, key, model })
}

/// Where to post chats below `base`; `None` for an address that a key must not be sent to.
pub(super) fn chat_url(base: &str, environment: Environment) -> Option<String> {
    let url = safe_url(base, environment).filter(|url| url.query().is_none())?;
    Some(format!("{}/chat/completions", url.as_str().trim_end_matches('/')))
}

/// An address that this service may call: https to a host with a name, nothing that points inside. Plain http is
/// for loopback in development.
pub fn safe_url(address: &str, environment: Environment) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let local = |name: &str| name == "localhost" || name.ends_with(".localhost") || name.ends_with('.');
    let named = matches!(url.host(), Some(Host::Domain(name)) if !local(name));
    let loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let reachable = match url.scheme() {
        "https" => named,
        "http" => loopback && environment == Environment::Development,
        _ => false,
    };
    (plain && reachable).then_some(url)
}
