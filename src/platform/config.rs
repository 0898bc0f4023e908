//! Configuration: read from the environment once per isolate, checked as a whole, and from then on typed.
//!
//! Parsing is a pure function of a look-up, so every rule is tested without a runtime.

use std::cell::OnceCell;
use std::rc::Rc;

use actors::shared::PriceTable;
use actors::tenant::Policy;
use wasm_bindgen::JsValue;
use worker::Env;

mod fallback;
mod identity;
mod images;
mod jobs;
mod log_names;
mod offers;
mod parse;
mod plans;
mod preference;
mod provider_table;
mod providers;
mod reader;
mod response_cache;
mod signing;
mod tiers;

#[cfg(test)]
mod tests;

pub use fallback::{AttemptDeadlines, BreakerRules, Fallback};
pub use identity::{TrustedIssuer, Turnstile};
pub use images::Images;
pub use jobs::JobRules;
pub use log_names::LogNames;
pub use offers::{Offers, is_voice as is_cartesia_voice};
pub use plans::{limits_from_json, limits_to_json};
pub use providers::{Provider, ProviderKind, safe_url};
pub use response_cache::ResponseCache;
pub use signing::{SigningKey, SigningProblem};
pub use tiers::Tier;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    Development,
    Production,
}

/// What a bare `?email=` or `X-User-Email` is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityMode {
    /// A claim that a token or an operator must prove.
    Verified,
    /// Believed. For development on loopback only.
    Asserted,
}

/// A mistake in the configuration, in a sentence that tells the cure. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub variable: &'static str,
    pub cure: String,
}

/// Deadlines of one ask, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From sending to a provider until the headers of its stream.
    pub connect_ms: i64,
    /// From sending to a provider until its first byte.
    pub first_byte_ms: i64,
    /// From sending to a provider until the whole of an answer that is not streamed.
    pub answer_ms: i64,
    /// Between two pieces of a stream.
    pub idle_ms: i64,
    /// The whole ask, all providers together.
    pub total_ms: i64,
    /// How long a hold lives that nobody settles; always longer than `total_ms`.
    pub hold_ttl_ms: i64,
}

pub struct Config {
    pub environment: Environment,
    /// `LOG_LEVEL=debug`: a log line for each command of an actor too.
    pub logs_commands: bool,
    pub identity_mode: IdentityMode,
    pub allowed_origins: Vec<String>,
    pub issuer: String,
    pub token_ttl_s: i64,
    pub trusted_issuers: Vec<TrustedIssuer>,
    pub turnstile: Option<Turnstile>,
    /// Guest tokens one network address is given in a minute; zero is no limit.
    pub guest_tokens_per_minute: i64,
    /// Guest tokens that all addresses together are given in a day; zero is no limit.
    pub guest_tokens_per_day: i64,
    /// ID tokens one network address may exchange in a minute; zero is no limit.
    pub exchanges_per_minute: i64,
    pub kid: String,
    pub signing: Result<SigningKey, SigningProblem>,
    /// SHA-256 digests of the live admin keys, so that comparing takes the same time for every guess.
    pub admin_key: Option<[u8; 32]>,
    pub admin_key_next: Option<[u8; 32]>,
    /// How tenants are called in the log.
    pub log_names: LogNames,
    /// In order of preference; only those that can be called.
    pub providers: Vec<Provider>,
    /// Listed providers that cannot be called, and why.
    pub skipped_providers: Vec<(String, &'static str)>,
    /// What is kept of answers, when anything is.
    pub response_cache: Option<ResponseCache>,
    /// Who serves what is no chat.
    pub offers: Offers,
    /// What models cost, until an operator edits it at run time.
    pub prices: Rc<PriceTable>,
    /// How old what an isolate knows of the catalog may be before it is read again.
    pub catalog_ttl_ms: i64,
    /// The longest recording that is transcribed, in seconds.
    pub audio_seconds_max: u32,
    /// The largest file that is taken, in bytes.
    pub upload_bytes_max: usize,
    pub default_max_tokens: u32,
    pub max_output_tokens: u32,
    pub deadlines: Deadlines,
    pub fallback: Fallback,
    pub policy: Policy,
    pub jobs: JobRules,
    /// How long an isolate goes by its list of the skills that have an experiment; zero: it asks each time.
    pub experiments_ttl_ms: i64,
    /// What `X-Intelligence-Tier` may name.
    pub tiers: Vec<Tier>,
    /// Mistakes that forbid serving anything.
    pub problems: Vec<Problem>,
}

thread_local! {
    static CONFIG: OnceCell<Rc<Config>> = const { OnceCell::new() };
}

/// The configuration of this isolate; parsed, and its problems logged, on first use.
pub fn get(env: &Env) -> Rc<Config> {
    CONFIG.with(|cell| {
        let config = cell.get_or_init(|| {
            let config = parse::config(&|name| variable(env, name), has_binding(env, "AI"));
            for problem in &config.problems {
                super::log::fault("misconfigured", &format!("{}: {}", problem.variable, problem.cure));
            }
            if let Err(problem) = &config.signing {
                super::log::fault("signing_unconfigured", problem.cure());
            }
            Rc::new(config)
        });
        Rc::clone(config)
    })
}

/// A variable or secret; absent and empty are the same.
pub fn variable(env: &Env, name: &str) -> Option<String> {
    let value = js_sys::Reflect::get(env, &JsValue::from_str(name)).ok()?;
    value.as_string().filter(|text| !text.trim().is_empty())
}

pub fn has_binding(env: &Env, name: &str) -> bool {
    js_sys::Reflect::get(env, &JsValue::from_str(name)).is_ok_and(|value| value.is_object())
}

/// Workers AI by itself, wherever it stands in the preferred order; `None` when the binding is absent.
pub fn workers_ai(env: &Env, deadlines: Deadlines) -> Option<Provider> {
    let model = variable(env, "CF_AI_MODEL");
    has_binding(env, "AI").then(|| providers::workers_ai_provider(model.as_deref(), deadlines))
}
