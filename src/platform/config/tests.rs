use std::collections::BTreeMap;

use super::parse::config;
use super::providers::base_url;
use super::*;
use actors::shared::{Micro, ModelPrice};

fn parsed(variables: &[(&str, &str)]) -> Config {
    let map: BTreeMap<_, _> = variables.iter().copied().collect();
    config(&|name| map.get(name).map(|text| (*text).to_owned()), true)
}

fn wrong(variables: &[(&str, &str)]) -> Vec<&'static str> {
    parsed(variables).problems.iter().map(|problem| problem.variable).collect()
}

#[test]
fn nothing_set_is_production_with_verified_identity_and_no_free_credit() {
    let config = parsed(&[]);
    assert_eq!(config.problems, []);
    assert_eq!(config.environment, Environment::Production);
    assert_eq!(config.identity_mode, IdentityMode::Verified);
    assert_eq!(config.policy.guest_grant, Micro::ZERO);
    let free = config.policy.plans.get("free").unwrap();
    assert_eq!(free.requests_per_minute, Some(600));
    assert_eq!((config.admin_key, config.admin_key_next), (None, None));
    assert_eq!(config.signing.err(), Some(SigningProblem::Missing));
    let names: Vec<_> = config.providers.iter().map(|provider| &*provider.name).collect();
    assert_eq!(names, ["cfai"], "the others have no key");
}

#[test]
fn asserted_identity_is_for_development_only() {
    assert_eq!(wrong(&[("IDENTITY_MODE", "asserted")]), ["IDENTITY_MODE"]);
    let asserted = [("IDENTITY_MODE", "asserted"), ("ENVIRONMENT", "development")];
    assert_eq!(parsed(&asserted).identity_mode, IdentityMode::Asserted);
}

#[test]
fn mistakes_are_problems_and_not_defaults() {
    for (name, value) in [
        ("CREDIT_PER_1K", "cheap"),
        ("CREDIT_PER_1K", "-1"),
        ("CREDIT_PER_1K", "NaN"),
        ("MODEL_PRICES", "[]"),
        ("MODEL_PRICES", r#"{"m":"x"}"#),
        ("MODEL_PRICES", r#"{"m":{"input":1,"cached_input":2}}"#),
        ("MODEL_PRICES", r#"{"m":{"input":1,"exit":2}}"#),
        ("MODEL_PRICES", r#"{"a b":1}"#),
        ("MODEL_PRICES", "0.5"),
        ("CATALOG_TTL_MS", "9"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_UPLOAD_BYTES", "10 MB"),
        ("REQUESTS_PER_MINUTE", "-1"),
        ("JWT_TTL_SEC", "59"),
        ("GUEST_GRANT_CREDITS", "-1"),
        ("GUEST_GRANT_TTL_SEC", "0"),
        ("PLANS", "[]"),
        ("PLANS", r#"{"free":{"requests":1}}"#),
        ("PLANS", r#"{"free":{"in_flight":-1}}"#),
        ("PLANS", r#"{"free":{"tiers":["high"]}}"#),
        ("DEFAULT_PLAN", "gold"),
        ("GUEST_PLAN", "gold"),
        ("TIERS", "[]"),
        ("TIERS", r#"{"high":{"weight":0}}"#),
        ("ADMIN_API_KEY", "short"),
        ("PREFERRED_PROVIDER", "groq,gorq"),
        ("PREFERRED_PROVIDER", "groq:0"),
        ("PREFERRED_PROVIDER", "groq:1001|cfai"),
        ("PREFERRED_PROVIDER", "groq:x"),
        ("PREFERRED_PROVIDER", "groq:3:4"),
        ("PREFERRED_PROVIDER", "groq,mine"),
        ("PROVIDER_RETRIES", "6"),
        ("HEDGE_AFTER_MS", "-1"),
        ("BREAKER_FAILURES", "-1"),
        ("BREAKER_ERROR_PERCENT", "0"),
        ("BREAKER_OPEN_MS", "1"),
        ("BREAKER_OPEN_MAX_MS", "4999"),
        ("CONNECT_TIMEOUT_MS", "0"),
        ("HOLD_TTL_MS", "60000"),
        ("ENVIRONMENT", "staging"),
        ("ISSUER", "not a url"),
        ("DEFAULT_MAX_TOKENS", "4097"),
        ("ALLOWED_ORIGINS", "https://app.example.com,null"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://*"),
        ("ALLOWED_ORIGINS", "https://*.com"),
        ("ALLOWED_ORIGINS", "https://a.*.example.com"),
        ("ALLOWED_ORIGINS", "https://app.example.com/path"),
        ("ALLOWED_ORIGINS", "foo"),
        ("EXCHANGES_PER_MINUTE", "-1"),
        ("TRUSTED_ISSUERS", "[]"),
        ("TRUSTED_ISSUERS", r#"{"https://id.example":""}"#),
        ("TRUSTED_ISSUERS", r#"{"http://id.example":"app"}"#),
        ("TRUSTED_ISSUERS", r#"{"https://id.example":{"audiences":"app","email_domains":[]}}"#),
        ("TRUSTED_ISSUERS", r#"{"https://id.example":{"audiences":"app","email_domains":["a@b.io"]}}"#),
        ("TRUSTED_ISSUERS", r#"{"https://id.example":{"audiences":"app","email_domains":"x.io"}}"#),
        ("TRUSTED_ISSUERS", r#"{"https://id.example":{"audiences":"app","domains":["x.io"]}}"#),
        ("TRUSTED_ISSUERS", r#"{"https://id.example":{"email_domains":["x.io"]}}"#),
    ] {
        assert_eq!(wrong(&[(name, value)]), [name], "{name}={value}");
    }
}

#[test]
fn origins_are_read_as_browsers_write_them() {
    let csv = "https://app.example.com/, http://localhost:5173,https://*.pages.example.com";
    let config = parsed(&[("ALLOWED_ORIGINS", csv)]);
    assert_eq!(config.problems, []);
    let expected = ["https://app.example.com", "http://localhost:5173", "https://*.pages.example.com"];
    assert_eq!(config.allowed_origins, expected);
}

#[test]
fn keys_go_only_to_safe_addresses() {
    let development = Environment::Development;
    for (base, environment, good) in [
        ("https://api.groq.com/openai/v1", Environment::Production, true),
        ("https://api.groq.com/openai/v1/", Environment::Production, true),
        ("http://api.groq.com/v1", development, false),
        ("http://127.0.0.1:9/v1", development, true),
        ("http://localhost:9/v1", development, true),
        ("http://127.0.0.1:9/v1", Environment::Production, false),
        ("https://127.0.0.1/v1", Environment::Production, false),
        ("https://localhost./v1", Environment::Production, false),
        ("https://a.localhost/v1", Environment::Production, false),
        ("https://[::1]/v1", Environment::Production, false),
        ("https://2130706433/v1", Environment::Production, false),
        ("https://user@api.groq.com/v1", Environment::Production, false),
        ("https://api.groq.com/v1?x=1", Environment::Production, false),
        ("file:///etc/passwd", development, false),
        ("not a url", development, false),
    ] {
        assert_eq!(base_url(base, environment).is_some(), good, "{base}");
    }
    let url = base_url("https://api.groq.com/openai/v1/", Environment::Production);
    assert_eq!(url.as_deref(), Some("https://api.groq.com/openai/v1"));
}

#[test]
fn what_is_no_chat_has_lists_of_its_own() {
    let some = ("EMBEDDING_PROVIDERS", "openai=small, cfai=@cf/baai/bge-base-en-v1.5,openai=large,groq=x");
    let config = parsed(&[some, ("OPENAI_API_KEY", "k"), ("PREFERRED_PROVIDER", "cfai")]);
    assert_eq!(config.problems, []);
    let listed: Vec<_> =
        config.offers.embeddings.iter().map(|provider| (&*provider.name, provider.model.as_str())).collect();
    let expected = [("openai", "small"), ("cfai", "@cf/baai/bge-base-en-v1.5"), ("openai", "large")];
    assert_eq!(listed, expected, "groq has no key");
    let places: Vec<usize> = config.offers.embeddings.iter().map(|provider| provider.place).collect();
    assert_eq!(places, [0, 1, 2], "nobody shares a place by chance");
    for variable in ["EMBEDDING_PROVIDERS", "TTS_PROVIDERS", "STT_PROVIDERS"] {
        for wrong_list in ["openai", "nobody=x", "openai="] {
            assert_eq!(wrong(&[(variable, wrong_list)]), [variable], "{wrong_list}");
        }
    }
    let (tts, stt) = (("TTS_PROVIDERS", "cfai=aura, openai=tts"), ("STT_PROVIDERS", "cfai=whisper"));
    let config = parsed(&[tts, stt, some, ("OPENAI_API_KEY", "k"), ("PREFERRED_PROVIDER", "cfai")]);
    let models: Vec<&str> = config.offers.all().map(|provider| provider.model.as_str()).collect();
    assert_eq!(models, ["small", "@cf/baai/bge-base-en-v1.5", "large", "aura", "tts", "whisper"]);
}

#[test]
fn cartesia_speaks_and_hears_and_answers_nothing_else() {
    let key = ("CARTESIA_API_KEY", "k");
    let (tts, stt) = (("TTS_PROVIDERS", "cartesia=sonic-3, cfai=aura"), ("STT_PROVIDERS", "cartesia=ink-2"));
    let terms = ("PROVIDERS", r#"{"cartesia":{"connect_ms":500}}"#);
    let config = parsed(&[key, tts, stt, terms]);
    assert_eq!(config.problems, []);
    let [cartesia, aura] = config.offers.speech.as_slice() else { panic!("two speak") };
    assert_eq!((cartesia.kind, aura.kind), (ProviderKind::Cartesia, ProviderKind::WorkersAi));
    assert_eq!(cartesia.base, "https://api.cartesia.ai");
    assert_eq!((cartesia.model.as_str(), cartesia.deadlines.connect_ms), ("sonic-3", 500));
    assert!(!cartesia.reads_images());
    assert_eq!(config.offers.transcription.first().map(|one| one.kind), Some(ProviderKind::Cartesia));
    let models =
        |config: &Config| config.offers.cartesia.iter().map(|one| one.model.clone()).collect::<Vec<_>>();
    assert_eq!(models(&config), ["sonic-3"], "as it is listed");
    assert_eq!(models(&parsed(&[key, ("CARTESIA_MODEL", "sonic-9")])), ["sonic-9"], "its usual model");
    let none: [String; 0] = [];
    assert_eq!(models(&parsed(&[tts])), none, "it has no key");
    for (variable, value) in [
        ("PREFERRED_PROVIDER", "cfai,cartesia"),
        ("EMBEDDING_PROVIDERS", "cartesia=sonic-3"),
        ("CARTESIA_BASE", "http://api.cartesia.ai"),
        ("CARTESIA_VOICE", "Brooke"),
    ] {
        assert_eq!(wrong(&[key, (variable, value)]), [variable], "{value}");
    }
}

#[test]
fn an_issuer_vouches_for_the_domains_it_is_trusted_with() {
    let table = r#"{
        "https://any.example": "app",
        "https://one.example": {"audiences": ["app", "app-2"], "email_domains": [" Example.COM ", "x.io"]}
    }"#;
    let config = parsed(&[("TRUSTED_ISSUERS", table)]);
    assert_eq!(config.problems, []);
    let [any, one] = config.trusted_issuers.as_slice() else { panic!("two issuers") };
    assert!(any.may_vouch_for("ada@anywhere.io"));
    assert_eq!(one.audiences, ["app", "app-2"]);
    for (email, vouched) in [
        ("ada@example.com", true),
        ("ada@x.io", true),
        ("ada@sub.example.com", false),
        ("ada@notexample.com", false),
        ("ada@example.com.evil.io", false),
        ("example.com@evil.io", false),
    ] {
        assert_eq!(one.may_vouch_for(email), vouched, "{email}");
    }
}

#[test]
fn each_wrong_key_is_told_apart() {
    for (pem, problem) in [
        ("-----BEGIN RSA PRIVATE KEY-----\nAA==\n-----END RSA PRIVATE KEY-----", SigningProblem::Pkcs1),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----",
            SigningProblem::Encrypted,
        ),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", SigningProblem::Garbage),
        ("hello", SigningProblem::Garbage),
    ] {
        let found = parsed(&[("PRIVATE_KEY_PEM", pem)]).signing.err();
        assert_eq!(found, Some(problem));
        assert!(problem.cure().contains("openssl"), "{problem:?} names no cure");
    }
}

#[test]
fn a_model_has_its_own_price_or_the_general_one() {
    let prices = r#"{"big":"0.5","free":0,"split":{"input":0.1,"output":0.4,"cached_input":0.01}}"#;
    let config = parsed(&[("CREDIT_PER_1K", "0.05"), ("MODEL_PRICES", prices)]);
    assert_eq!(config.problems, []);
    assert_eq!(config.prices.price_of("big"), ModelPrice::flat(500_000));
    assert_eq!(config.prices.price_of("free"), ModelPrice::flat(0));
    assert_eq!(config.prices.price_of("other"), ModelPrice::flat(50_000));
    let split = config.prices.price_of("split");
    assert_eq!((split.input_per_1k_micro, split.output_per_1k_micro), (100_000, 400_000));
    assert_eq!(split.cached_input_per_1k_micro, Some(10_000));
}

#[test]
fn plans_build_on_the_usual_limits() {
    let plans =
        r#"{"free":{"in_flight":2,"credits_per_day":1.5},"pro":{"requests_per_minute":0,"tiers":["high"]}}"#;
    let tiers = r#"{"high":{"weight":4,"models":{"cfai":"big"}},"other":{"providers":["groq"]}}"#;
    let config = parsed(&[
        ("PLANS", plans),
        ("TIERS", tiers),
        ("REQUESTS_PER_MINUTE", "30"),
        ("GUEST_PLAN", "pro"),
        ("GUEST_GRANT_CREDITS", "0.5"),
    ]);
    assert_eq!(config.problems, []);
    let free = config.policy.plans.get("free").unwrap();
    assert_eq!((free.requests_per_minute, free.in_flight), (Some(30), Some(2)));
    assert_eq!(free.credits_per_day, Some(Micro(1_500_000)));
    assert_eq!(config.policy.plans.get("pro").unwrap().requests_per_minute, Some(0));
    assert_eq!((config.policy.default_plan.as_str(), config.policy.guest_plan.as_str()), ("free", "pro"));
    assert_eq!(config.policy.guest_grant_ttl_ms, 86_400_000);
    let tiers: Vec<_> = config
        .tiers
        .iter()
        .map(|tier| {
            (tier.name.as_str(), tier.weight, tier.providers.iter().map(|p| p.model.as_str()).collect())
        })
        .collect::<Vec<(_, _, Vec<_>)>>();
    assert!(config.tiers.iter().flat_map(|tier| &tier.providers).all(|p| p.models.first() == Some(&p.model)));
    assert_eq!(tiers, [("high", 4, vec!["big"]), ("other", 1, vec![])], "groq has no key here");
}

#[test]
fn providers_of_a_tier_share_places_by_weight_as_in_the_usual_order() {
    let of = |tiers: &str| {
        let config = parsed(&[
            ("GROQ_API_KEY", "k"),
            ("OPENAI_API_KEY", "k"),
            ("LOCAL_BASE", "https://llm.example/v1"),
            ("LOCAL_MODEL", "m"),
            ("PREFERRED_PROVIDER", "groq:9|openai,local"),
            ("TIERS", tiers),
        ]);
        let terms = config.tiers.iter().flat_map(|tier| &tier.providers);
        let terms: Vec<_> = terms.map(|p| format!("{}@{}x{}", p.name, p.place, p.weight)).collect();
        (terms.join(" "), config.problems.iter().map(|problem| problem.variable).collect::<Vec<_>>())
    };
    for (tiers, expected) in [
        (r#"{"t":{}}"#, "groq@0x9 openai@0x1 local@1x1"),
        (r#"{"t":{"providers":["local","groq"]}}"#, "local@0x1 groq@1x1"),
        (r#"{"t":{"providers":["local:3 | groq", "openai"]}}"#, "local@0x3 groq@0x1 openai@1x1"),
        (r#"{"t":{"providers":["nobody|groq:2","local"]}}"#, "groq@0x2 local@1x1"),
        (r#"{"t":{"providers":[]}}"#, ""),
    ] {
        assert_eq!(of(tiers), (expected.to_owned(), vec![]), "{tiers}");
    }
    for wrong in [r#"{"t":{"providers":["groq:0"]}}"#, r#"{"t":{"providers":["groq:1001|local"]}}"#] {
        assert_eq!(of(wrong).1, ["TIERS"], "{wrong}");
    }
}

#[test]
fn limits_read_what_they_write() {
    let json = serde_json::json!({"tokens_per_minute": 9, "credits_burst": 0.25, "tiers": ["a"]});
    let limits = limits_from_json(&json).unwrap();
    assert_eq!(limits_to_json(&limits), json);
    assert!(limits_from_json(&serde_json::json!({"credits_per_day": 1e30})).is_err());
}

fn order(config: &Config) -> Vec<(&str, usize, u32)> {
    config.providers.iter().map(|provider| (&*provider.name, provider.place, provider.weight)).collect()
}

#[test]
fn the_order_has_places_and_weights() {
    let keys = [("GROQ_API_KEY", "g"), ("OPENAI_API_KEY", "o")];
    for (preferred, expected) in [
        ("groq,cfai", vec![("groq", 0, 1), ("cfai", 1, 1)]),
        ("groq:3|openai:1,cfai", vec![("groq", 0, 3), ("openai", 0, 1), ("cfai", 1, 1)]),
        (" Groq : 3 | openai ,, CFAI,", vec![("groq", 0, 3), ("openai", 0, 1), ("cfai", 2, 1)]),
        ("cfai|cfai:5,groq,cfai", vec![("cfai", 0, 1), ("groq", 1, 1)]),
    ] {
        let mut variables = vec![("PREFERRED_PROVIDER", preferred)];
        variables.extend(keys);
        let config = parsed(&variables);
        assert_eq!(config.problems, [], "{preferred}");
        assert_eq!(order(&config), expected, "{preferred}");
    }
}

#[test]
fn further_servers_come_by_configuration() {
    let table = r#"{
        "mine": {"base": "https://llm.example/v1/", "model": "big", "key": "MINE_API_KEY",
                 "models": ["small", "big", "mid"], "connect_ms": 100, "total_ms": 9000},
        "free": {"base": "https://free.example/v1", "model": "f", "first_token_ms": 700},
        "keyless": {"base": "https://other.example/v1", "model": "f", "key": "OTHER_API_KEY"},
        "unused": {"base": "https://unused.example/v1", "model": "f"},
        "cfai": {"models": ["@cf/other"], "idle_ms": 50}
    }"#;
    let config = parsed(&[
        ("PROVIDERS", table),
        ("PREFERRED_PROVIDER", "mine:2|free,cfai,keyless"),
        ("MINE_API_KEY", " secret "),
        ("FIRST_BYTE_TIMEOUT_MS", "5000"),
    ]);
    assert_eq!(config.problems, []);
    assert_eq!(order(&config), [("mine", 0, 2), ("free", 0, 1), ("cfai", 1, 1)]);
    let [mine, free, cfai] = config.providers.as_slice() else { panic!("three providers") };
    assert_eq!(mine.base, "https://llm.example/v1");
    assert_eq!((mine.key.as_deref(), free.key.as_deref()), (Some("secret"), None));
    assert_eq!(*mine.models, ["big", "small", "mid"]);
    let usual = config.deadlines;
    let expected = AttemptDeadlines {
        connect_ms: 100,
        answer_ms: 9_000,
        stream_ms: 9_000,
        ..AttemptDeadlines::of(usual)
    };
    assert_eq!(mine.deadlines, expected);
    assert_eq!(
        (free.deadlines.connect_ms, free.deadlines.first_token_ms),
        (700, 700),
        "headers with the first token"
    );
    assert_eq!((cfai.deadlines.idle_ms, cfai.deadlines.first_token_ms), (50, 5_000));
    assert_eq!(*cfai.models, [cfai.model.clone(), "@cf/other".to_owned()]);
    assert_eq!(config.skipped_providers, [("keyless".to_owned(), "its API key is not set")]);
    assert_eq!(*mine.with_model("mid").models, ["mid", "big", "small"]);
}

#[test]
fn who_is_shown_a_picture_is_said_or_usual() {
    let table = r#"{
        "groq": {"images": ["llama-4-scout"]},
        "mine": {"base": "https://llm.example/v1", "model": "m", "images": false},
        "free": {"base": "https://free.example/v1", "model": "f"}
    }"#;
    let order = [("PREFERRED_PROVIDER", "groq,mine,free,cfai"), ("GROQ_API_KEY", "k")];
    let reads = |table: &str| -> Vec<bool> {
        let config = parsed(&[order[0], order[1], ("PROVIDERS", table)]);
        assert_eq!(config.problems, []);
        config.providers.iter().map(Provider::reads_images).collect()
    };
    assert_eq!(reads(table), [false, false, true, false]);
    assert_eq!(reads(&table.replace("llama-4-scout", "llama-3.1-8b-instant")), [true, false, true, false]);
    let bound = table.replace(r#""groq": {"images": ["llama-4-scout"]}"#, r#""cfai": {"images": true}"#);
    assert_eq!(reads(&bound), [true, false, true, true], "the usual, and the binding when it is said");
    let groq = parsed(&[order[0], order[1], ("PROVIDERS", table)]).providers[0].with_model("llama-4-scout");
    assert!(groq.reads_images(), "of another model it may be true");
}

#[test]
fn a_wrong_entry_is_a_problem_that_shows_nothing_of_it() {
    let good = r#""base":"https://llm.example/v1","model":"m""#;
    for entry in [
        "[]".to_owned(),
        r#"{"Mine":{"base":"https://llm.example/v1","model":"m"}}"#.to_owned(),
        r#"{"":{"base":"https://llm.example/v1","model":"m"}}"#.to_owned(),
        r#"{"mine":{"base":"http://llm.example/v1","model":"m"}}"#.to_owned(),
        r#"{"mine":{"base":"http://127.0.0.1:1/v1","model":"m"}}"#.to_owned(),
        r#"{"mine":{"base":"https://10.0.0.1/v1","model":"m"}}"#.to_owned(),
        r#"{"mine":{"base":"https://me:canary@llm.example/v1","model":"m"}}"#.to_owned(),
        r#"{"mine":{"base":"https://llm.example/v1?key=canary","model":"m"}}"#.to_owned(),
        r#"{"mine":{"base":"https://llm.example/v1"}}"#.to_owned(),
        r#"{"mine":{"model":"m"}}"#.to_owned(),
        format!(r#"{{"mine":{{{good},"key":"sk-canary"}}}}"#),
        format!(r#"{{"mine":{{{good},"key":"ADMIN_API_KEY"}}}}"#),
        format!(r#"{{"mine":{{{good},"key":"GROQ_API_KEY"}}}}"#),
        format!(r#"{{"mine":{{{good},"key":"PRIVATE_KEY_PEM"}}}}"#),
        format!(r#"{{"mine":{{{good},"key":"_API_KEY"}}}}"#),
        format!(r#"{{"mine":{{{good},"models":["a b"]}}}}"#),
        format!(r#"{{"mine":{{{good},"models":["x\r\ny"]}}}}"#),
        format!(r#"{{"mine":{{{good},"images":"m"}}}}"#),
        format!(r#"{{"mine":{{{good},"images":["a b"]}}}}"#),
        format!(r#"{{"mine":{{{good},"idle_ms":9}}}}"#),
        format!(r#"{{"mine":{{{good},"token":"canary"}}}}"#),
        r#"{"groq":{"base":"https://llm.example/v1"}}"#.to_owned(),
        r#"{"openai":{"key":"MINE_API_KEY"}}"#.to_owned(),
    ] {
        let found = parsed(&[("PROVIDERS", &entry)]).problems;
        let [problem] = found.as_slice() else { panic!("{entry}: {found:?}") };
        assert_eq!(problem.variable, "PROVIDERS", "{entry}");
        assert!(!problem.cure.contains("canary"), "{}", problem.cure);
    }
}
