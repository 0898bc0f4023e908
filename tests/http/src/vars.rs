//! The configuration of a stack under test, and the secrets in it.

use crate::cartesia;
use crate::keys;
use crate::secrets::Canaries;
use serde_json::{Map, Value, json};

pub const ISSUER: &str = "https://api.cognomega.test";
pub const KEY_ID: &str = "test-k1";
pub const ADMIN_KEY: &str = "admin-canary-7c1e0f5b9d2a4c6e8f0a1b2c3d4e5f60";
pub const NEXT_ADMIN_KEY: &str = "admin-next-canary-0a9b8c7d6e5f4a3b2c1d0e9f8a7b";
pub const GROQ_KEY: &str = "gsk-canary-52b1f0c9d8e7a6b5c4d3e2f1a0b9c8d7";
pub const OPENAI_KEY: &str = "sk-canary-91a2b3c4d5e6f708192a3b4c5d6e7f80";
/// Stands in every error page of a scripted provider; a client must never see it.
pub const PROVIDER_INTERNALS: &str = "provider-internals-canary-3f2e1d0c";

pub const GROQ_MODEL: &str = "llama-3.1-8b-instant";
pub const OPENAI_MODEL: &str = "gpt-4o-mini";
pub const LOCAL_MODEL: &str = "smollm2-135m-instruct";
pub const CF_AI_MODEL: &str = "@cf/meta/llama-3.1-8b-instruct";
/// Who turns texts into vectors.
pub const EMBEDDING_MODEL: &str = "text-embedding-3-small";
pub const CF_AI_EMBEDDING_MODEL: &str = "@cf/baai/bge-base-en-v1.5";
/// Who speaks, and who listens: two servers and the binding each.
pub const TTS_MODELS: [&str; 3] = ["tts-1", "playai-tts", "@cf/deepgram/aura-1"];
pub const STT_MODELS: [&str; 4] =
    ["whisper-1", "whisper-large-v3", "@cf/openai/whisper-large-v3-turbo", "@cf/deepgram/nova-3"];
/// What OpenAI is asked for in the tier `high`, and what one request of it counts as.
pub const HIGH_TIER_MODEL: &str = "gpt-4o";
pub const HIGH_TIER_WEIGHT: i64 = 4;

/// What a new guest has, and what a thousand tokens cost.
pub const GUEST_GRANT_CREDITS: f64 = 0.5;
pub const CREDIT_PER_1K: f64 = 0.05;

pub const APP_ORIGIN: &str = "https://app.cognomega.com";

/// How long a provider may take, and how the Worker is told so. Short, because tests wait for them;
/// long enough that two loaded cores do not cause what the tests assert.
pub const FIRST_BYTE_TIMEOUT_MS: u64 = 2_000;
pub const IDLE_TIMEOUT_MS: u64 = 2_000;
pub const ASK_TIMEOUT_MS: u64 = 7_000;

/// The variables of one stack: a base set with changes over it.
#[derive(Clone)]
pub struct Vars {
    map: Map<String, Value>,
}

/// `free` limits nothing that a test could reach by accident; the others are for tests that name them.
fn plans() -> Value {
    json!({
        "free": {},
        "few-requests": {"requests_per_minute": 3, "requests_burst": 3},
        "plain-tier": {"tiers": ["standard"]},
    })
}

/// `high` has other models, fewer providers and another order of them.
fn tiers() -> Value {
    json!({
        "standard": {"weight": 1},
        "high": {
            "weight": HIGH_TIER_WEIGHT,
            "providers": ["openai", "groq"],
            "models": {"openai": HIGH_TIER_MODEL},
        },
    })
}

/// Jobs that fail are tried again at once, and given up soon.
fn jobs() -> Value {
    json!({
        "JOB_LEASE_MS": "3000",
        "JOB_ATTEMPTS": "3",
        "JOB_WAIT_FIRST_MS": "100",
        "JOB_WAIT_MAX_MS": "400",
    })
}

fn offered<const N: usize>(providers: [&str; N], models: [&str; N]) -> String {
    let pairs = providers.iter().zip(models).map(|(provider, model)| format!("{provider}={model}"));
    pairs.collect::<Vec<_>>().join(",")
}

/// Where a stack finds its providers.
pub struct ProviderBases {
    pub groq: String,
    pub openai: String,
    pub local: String,
    pub cartesia: String,
}

impl Vars {
    /// `verified` mode, four providers, no budget a test could reach by accident.
    pub fn base(providers: &ProviderBases) -> Self {
        let base = json!({
            "ENVIRONMENT": "development",
            "IDENTITY_MODE": "verified",
            "PREFERRED_PROVIDER": "groq,cfai,openai,local",
            "GROQ_BASE": providers.groq,
            "GROQ_MODEL": GROQ_MODEL,
            "GROQ_API_KEY": GROQ_KEY,
            "OPENAI_BASE": providers.openai,
            "OPENAI_MODEL": OPENAI_MODEL,
            "OPENAI_API_KEY": OPENAI_KEY,
            "LOCAL_BASE": providers.local,
            "LOCAL_MODEL": LOCAL_MODEL,
            "CF_AI_MODEL": CF_AI_MODEL,
            "EMBEDDING_PROVIDERS": format!("openai={EMBEDDING_MODEL},cfai={CF_AI_EMBEDDING_MODEL}"),
            "TTS_PROVIDERS": offered(["openai", "groq", "cfai"], TTS_MODELS),
            "STT_PROVIDERS": offered(["openai", "groq", "cfai", "cfai"], STT_MODELS),
            "CREDIT_PER_1K": CREDIT_PER_1K.to_string(),
            "MODEL_PRICES": "{}",
            "GUEST_GRANT_CREDITS": GUEST_GRANT_CREDITS.to_string(),
            "GUEST_GRANT_TTL_SEC": "3600",
            "PLANS": plans().to_string(),
            "DEFAULT_PLAN": "free",
            "GUEST_PLAN": null,
            "TIERS": tiers().to_string(),
            "REQUESTS_PER_MINUTE": "100000",
            "DEFAULT_MAX_TOKENS": "256",
            "MAX_OUTPUT_TOKENS": "4096",
            "FIRST_BYTE_TIMEOUT_MS": FIRST_BYTE_TIMEOUT_MS.to_string(),
            "ANSWER_TIMEOUT_MS": FIRST_BYTE_TIMEOUT_MS.to_string(),
            "IDLE_TIMEOUT_MS": IDLE_TIMEOUT_MS.to_string(),
            "ASK_TIMEOUT_MS": ASK_TIMEOUT_MS.to_string(),
            "HOLD_TTL_MS": "60000",
            // Most tests count calls, and have providers fail as often as they like: what follows from failures beyond
            // the next provider is for tests that ask for it.
            "PROVIDER_RETRIES": "0",
            "BREAKER_FAILURES": "0",
            "ALLOWED_ORIGINS":
                "https://app.cognomega.com,https://www.cognomega.com,https://*.cognomega-frontend.pages.dev",
            "ISSUER": ISSUER,
            "JWT_TTL_SEC": "3600",
            "KID": KEY_ID,
            "PRIVATE_KEY_PEM": keys::worker().pkcs8_pem(),
            "ADMIN_API_KEY": ADMIN_KEY,
            "ADMIN_API_KEY_NEXT": NEXT_ADMIN_KEY,
        });
        let Value::Object(map) = base else {
            unreachable!("the base set is an object");
        };
        let voice = json!({"CARTESIA_BASE": providers.cartesia, "CARTESIA_API_KEY": cartesia::KEY});
        Self { map }.with(jobs()).with(voice)
    }

    /// Puts `changes` over the set. `null` stays in the file: the stack then removes its own default too.
    pub fn with(mut self, changes: Value) -> Self {
        let Value::Object(changes) = changes else {
            panic!("changes to the variables are a JSON object");
        };
        self.map.extend(changes);
        self
    }

    pub fn to_json(&self) -> String {
        Value::Object(self.map.clone()).to_string()
    }

    /// Every secret of this set.
    pub fn canaries(&self) -> Canaries {
        let mut canaries = Canaries::default();
        for name in [
            "GROQ_API_KEY",
            "OPENAI_API_KEY",
            "LOCAL_API_KEY",
            "CARTESIA_API_KEY",
            "ADMIN_API_KEY",
            "ADMIN_API_KEY_NEXT",
            "TURNSTILE_SECRET",
        ] {
            if let Some(secret) = self.map.get(name).and_then(Value::as_str) {
                canaries.add(name, secret);
            }
        }
        if let Some(pem) = self.map.get("PRIVATE_KEY_PEM").and_then(Value::as_str) {
            canaries.add_pem("PRIVATE_KEY_PEM", pem);
        }
        canaries
    }
}
