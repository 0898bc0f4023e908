//! Pictures that are attached.

use crate::stage::{PNG, ask, bytes_in, in_order, picture, uploaded, user_content};
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::world::{World, text};
use serde_json::json;

#[tokio::test]
async fn a_picture_reaches_the_provider_byte_for_byte() {
    let world = World::verified().await;
    let tenant = world.tenant("picture", 50.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::answer("A cat.", Usage::new(1_200, 40))]);
    // The largest there may be, one that says nothing of itself, and one that is called another kind.
    let large = picture(5_242_880);
    let jpeg = [b"\xff\xd8\xff\xe0".as_slice(), &[0, 255, 7, 128].repeat(100)].concat();
    let gif = b"GIF89a\x01\x00\x01\x00;".to_vec();
    let webp = b"RIFF\x0a\x00\x00\x00WEBPVP8 ..".to_vec();
    let files = [
        ("large.png", "image/png", "image/png", large),
        ("photo", "application/octet-stream", "image/jpeg", jpeg),
        ("not.png", "image/png", "image/gif", gif),
        ("w.webp", "image/webp", "image/webp", webp),
    ];
    let mut keys = vec![uploaded(&tenant, "notes.txt", "text/plain", "Look.").await];
    for (name, declared, _, bytes) in &files {
        keys.push(uploaded(&tenant, name, declared, bytes.clone()).await);
    }
    let reply = ask(&tenant, &marker, json!(keys), json!({})).send().await.expect(200);
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-tokens-in")), ("groq", "1200"));
    let content = user_content(&world.groq.calls(&marker)[0]);
    let parts = content.as_array().expect("parts");
    assert_eq!((parts.len(), text(&parts[0], "type")), (1 + files.len(), "text"));
    let told = format!(
        "{marker}\n\nAttachment 1: notes.txt (text/plain)\n```\nLook.\n```\
         \n\nAttachment 2: large.png (image/png), image 1\n\nAttachment 3: photo (image/jpeg), image 2\
         \n\nAttachment 4: not.png (image/gif), image 3\n\nAttachment 5: w.webp (image/webp), image 4"
    );
    assert_eq!(text(&parts[0], "text"), told);
    for (part, (name, _, media_type, bytes)) in parts[1..].iter().zip(&files) {
        assert_eq!(text(part, "type"), "image_url");
        assert!(bytes_in(text(&part["image_url"], "url"), media_type) == *bytes, "{name} is another");
    }
    in_order(&tenant, 50.0 - 0.062).await;
}

#[tokio::test]
async fn who_cannot_be_shown_a_picture_is_passed_over() {
    let world = World::verified().await;
    let tenant = world.tenant("picture-binding", 50.0).await;
    let key = uploaded(&tenant, "a.png", "image/png", picture(200)).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::status(500)]);
    for stream in [false, true] {
        let call = ask(&tenant, &marker, json!([key]), json!({}));
        let provider = if stream {
            let opened = call.open().await.expect_stream().await;
            let provider = opened.header("x-provider").map(str::to_owned);
            opened.drain().await;
            provider
        } else {
            call.send().await.expect(200).header("x-provider").map(str::to_owned)
        };
        assert_eq!(provider.as_deref(), Some("openai"), "the binding comes before it in the order");
    }
    assert!(world.workers_ai.calls(&marker).is_empty());
    tenant.settled_balance().await;
    tenant.verified().await;
}

#[tokio::test]
async fn where_nobody_can_be_shown_one_the_ask_says_so() {
    let providers = json!({
        "groq": {"images": false},
        "openai": {"images": ["another-model"]},
        "local": {"images": []},
        "cfai": {"images": false},
    });
    let world = World::private(json!({"PROVIDERS": providers.to_string()})).await;
    let tenant = world.tenant("blind", 50.0).await;
    let key = uploaded(&tenant, "a.png", "image/png", picture(200)).await;
    let note = uploaded(&tenant, "a.txt", "text/plain", "text").await;
    let marker = unique_marker();
    let refused = ask(&tenant, &marker, json!([note, key]), json!({})).send().await;
    refused.expect_error(400, "images_unsupported");
    assert_eq!(world.calls_anywhere(&marker), 0);
    // In the tier whose model can see, and for a text, somebody answers.
    ask(&tenant, &marker, json!([note]), json!({})).send().await.expect(200);
    in_order(&tenant, 50.0 - 0.012).await;
    let sees = json!({"openai": {"images": ["gpt-4o"]}, "groq": {"images": false}});
    drop(world);
    let world = World::private(json!({"PROVIDERS": sees.to_string()})).await;
    let tenant = world.tenant("sees", 50.0).await;
    let key = uploaded(&tenant, "a.png", "image/png", picture(200)).await;
    let high = ask(&tenant, &marker, json!([key]), json!({})).header("x-intelligence-tier", "high");
    assert_eq!(high.send().await.expect(200).must_header("x-model"), "gpt-4o");
    let usual = ask(&tenant, &marker, json!([key]), json!({})).send().await.expect(200);
    assert_eq!(usual.must_header("x-provider"), "local");
}

#[tokio::test]
async fn what_is_no_picture_of_the_four_kinds_is_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("no-picture", 5.0).await;
    let fine = uploaded(&tenant, "a.txt", "text/plain", "fine").await;
    let marker = unique_marker();
    for (declared, bytes) in [
        ("image/png", b"no picture at all".as_slice()),
        ("image/bmp", b"BM6\x00\x00"),
        ("image/png", &PNG[..7]),
        ("application/octet-stream", b"just some words"),
        ("application/pdf", b"%PDF-1.7"),
        ("application/zip", b"PK\x03\x04"),
        ("text/plain", b"\xff\xfeu\0t\0f\0"),
        ("text/plain", b"a\0b"),
        ("application/json", PNG),
    ] {
        let key = uploaded(&tenant, "x.bin", declared, bytes).await;
        let refused = ask(&tenant, &marker, json!([fine, key]), json!({})).send().await;
        let refused = refused.expect_error(400, "attachment_unsupported").json();
        assert_eq!(refused["index"], 1, "{declared}: {refused}");
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
    in_order(&tenant, 5.0).await;
}
