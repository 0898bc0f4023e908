//! `GET /v1/models`.

use http_tests::vars::{
    CF_AI_EMBEDDING_MODEL, CF_AI_MODEL, EMBEDDING_MODEL, GROQ_MODEL, HIGH_TIER_MODEL, LOCAL_MODEL,
    OPENAI_MODEL, STT_MODELS, TTS_MODELS,
};
use http_tests::world::{World, text};
use serde_json::Value;

#[tokio::test]
async fn models_are_listed_and_shown() {
    let world = World::verified().await;
    let tenant = world.tenant("models", 0.0).await;
    let list = tenant.get("/v1/models").send().await.expect(200).json();
    let data = list["data"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = data.iter().map(|model| text(model, "id")).collect();
    let mut expected = vec![
        "auto",
        GROQ_MODEL,
        CF_AI_MODEL,
        OPENAI_MODEL,
        LOCAL_MODEL,
        HIGH_TIER_MODEL,
        EMBEDDING_MODEL,
        CF_AI_EMBEDDING_MODEL,
    ];
    expected.extend(TTS_MODELS.into_iter().chain(STT_MODELS));
    assert_eq!(names, expected);
    for (name, path) in [(GROQ_MODEL, GROQ_MODEL.to_owned()), (CF_AI_MODEL, CF_AI_MODEL.replace('/', "%2F"))]
    {
        let shown = tenant.get(&format!("/v1/models/{path}")).send().await.expect(200).json();
        assert_eq!(data.iter().find(|model| text(model, "id") == name), Some(&shown));
    }
    tenant.get("/v1/models/gpt-99").send().await.expect_error(404, "model_not_found");
}

#[tokio::test]
async fn only_who_is_known_sees_them() {
    let world = World::verified().await;
    world.client().get("/v1/models").send().await.expect_error(400, "missing_email");
    let guest: Value = world.client().post("/auth/guest").send().await.expect(200).json();
    world.client().get("/v1/models").bearer(text(&guest, "token")).send().await.expect(200);
}
