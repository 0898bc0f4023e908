//! Which cookie is set depends on how browsers reach the deployment: without TLS they refuse a `__Host-` one.

use http_tests::vars::APP_ORIGIN;
use http_tests::world::{World, text};
use serde_json::{Value, json};

async fn set_by(world: &World) -> (String, String) {
    let call = world.client().post("/auth/guest").header("origin", APP_ORIGIN).json(&json!({"cookie": true}));
    let reply = call.send().await.expect(200);
    (text(&reply.json(), "cookie").to_owned(), reply.must_header("set-cookie").to_owned())
}

#[tokio::test]
async fn on_a_developer_s_machine_the_cookie_has_its_plain_name() {
    let world = World::private(json!({"ISSUER": "http://127.0.0.1:8787"})).await;
    let (name, header) = set_by(&world).await;
    assert_eq!(name, "cog_auth_jwt");
    assert!(header.starts_with("cog_auth_jwt=eyJ") && !header.contains("Secure"), "{header}");
    assert!(header.contains("; HttpOnly") && header.contains("; SameSite=Strict"), "{header}");
}

#[tokio::test]
async fn in_production_it_is_the_host_s_whatever_the_issuer_is_called() {
    // The one provider that production reaches from here is the Workers AI binding.
    let none = Value::Null;
    let world = World::private(json!({
        "ENVIRONMENT": "production", "ISSUER": "http://api.cognomega.test", "PREFERRED_PROVIDER": "cfai",
        "GROQ_BASE": none, "GROQ_API_KEY": none, "OPENAI_BASE": none, "OPENAI_API_KEY": none, "LOCAL_BASE": none,
        "CARTESIA_BASE": none, "CARTESIA_API_KEY": none, "TIERS": none, "PLANS": none, "DEFAULT_PLAN": none,
    }))
    .await;
    let (name, header) = set_by(&world).await;
    assert_eq!(name, "__Host-cog_auth_jwt");
    assert!(header.starts_with("__Host-cog_auth_jwt=eyJ") && header.ends_with("; Secure"), "{header}");
}
