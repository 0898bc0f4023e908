//! Signing keys rotate with overlap, as `ops/keys/README.md` says, while clients go on: no token is refused.

use http_tests::client::Client;
use http_tests::key_tool;
use http_tests::keys;
use http_tests::tokens::{decoded, honest_header, signed, user_claims, with};
use http_tests::vars::KEY_ID;
use http_tests::world::{World, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

const NEW_KID: &str = "k-next";
const JWKS: &str = "/.well-known/jwks.json";
/// Clients at work all the while.
const CLIENTS: usize = 6;
/// How long each state of the deployment lasts under load.
const PHASE: Duration = Duration::from_secs(3);
/// The operator's wait, six minutes in production: an isolate here looks for a key id it does not know every ten seconds.
const WAIT: Duration = Duration::from_millis(10_500);

/// Which Workers serve now: traffic is moved by changing this.
struct Traffic {
    serving: Mutex<Vec<Client>>,
    tokens: Mutex<Vec<String>>,
    /// Tokens that were accepted, by the number of the Worker and the key that signed them.
    accepted: Mutex<BTreeMap<(usize, String), usize>>,
    refused: Mutex<Vec<String>>,
    /// Requests that nobody answered, which is right only while a Worker is replaced.
    unanswered: Mutex<usize>,
}

impl Traffic {
    fn new(serving: Vec<Client>) -> Arc<Self> {
        Arc::new(Self {
            serving: Mutex::new(serving),
            tokens: Mutex::default(),
            accepted: Mutex::default(),
            refused: Mutex::default(),
            unanswered: Mutex::default(),
        })
    }

    fn move_to(&self, serving: Vec<Client>) {
        *self.serving.lock().expect("who serves") = serving;
    }

    /// One of those who serve, and its number.
    fn pick(&self, turn: usize) -> Option<(usize, Client)> {
        let serving = self.serving.lock().expect("who serves");
        let at = turn.checked_rem(serving.len())?;
        serving.get(at).cloned().map(|client| (at, client))
    }

    /// Mints a token at one Worker, and has it and an older one verified at others, until the task is ended.
    async fn go_on(self: Arc<Self>, mut turn: usize) {
        loop {
            turn = turn.wrapping_mul(31).wrapping_add(7) % 1_000_003;
            let Some((_, minting)) = self.pick(turn) else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            // While a Worker is replaced there is nobody to answer. That is no refusal, and clients try again.
            let Ok(minted) = minting.post("/auth/guest").try_send().await else {
                *self.unanswered.lock().expect("a number") += 1;
                continue;
            };
            if minted.status != 200 {
                self.refused.lock().expect("refusals").push(format!("no token: {minted:?}"));
                continue;
            }
            let token = text(&minted.json(), "token").to_owned();
            let older = {
                let mut tokens = self.tokens.lock().expect("the tokens");
                tokens.push(token.clone());
                tokens[turn % tokens.len()].clone()
            };
            for (step, token) in [(1, token.clone()), (2, token), (3, older)] {
                self.verify(turn / 7 + step, &token).await;
            }
        }
    }

    async fn verify(&self, turn: usize, token: &str) {
        let Some((number, verifying)) = self.pick(turn) else { return };
        let Ok(reply) = verifying.get("/api/credits").bearer(token).try_send().await else {
            *self.unanswered.lock().expect("a number") += 1;
            return;
        };
        let kid = text(&decoded(token).0, "kid").to_owned();
        if reply.status == 200 {
            *self.accepted.lock().expect("acceptances").entry((number, kid)).or_default() += 1;
        } else {
            self.refused.lock().expect("refusals").push(format!("{kid} at {number}: {reply:?}"));
        }
    }

    #[track_caller]
    fn none_refused(&self, when: &str) {
        let refused = self.refused.lock().expect("refusals");
        assert!(refused.is_empty(), "{when}: {} refused, first {}", refused.len(), refused[0]);
    }

    fn accepted(&self, worker: usize, kid: &str) -> usize {
        self.accepted.lock().expect("acceptances").get(&(worker, kid.to_owned())).copied().unwrap_or(0)
    }

    fn last_token_of(&self, wanted: &str) -> String {
        let tokens = self.tokens.lock().expect("the tokens");
        let found = tokens.iter().rev().find(|token| text(&decoded(token).0, "kid") == wanted);
        found.unwrap_or_else(|| panic!("no token of {wanted}")).clone()
    }
}

fn kids(set: &Value) -> Vec<String> {
    let keys = set.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut kids: Vec<String> = keys.iter().map(|key| text(key, "kid").to_owned()).collect();
    kids.sort();
    kids
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load_and_no_token_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text");
    // What is published before: the set that the Worker serves from its own key.
    let now = json!({"keys": [keys::worker().public_jwk(KEY_ID)]});
    let published = folder.path().join("published.json");
    std::fs::write(&published, now.to_string()).expect("written");
    let published = published.to_str().expect("text");
    key_tool::run(&["new", "--kid", NEW_KID, "--out", out, "--jwks", published]);
    let (pem, set) = (read(folder.path(), &format!("{NEW_KID}.pem")), read(folder.path(), "jwks.json"));

    // Both versions of the rolling deployment. KID stays as it was: the key brings its name.
    let unlimited = json!({"GUEST_TOKENS_PER_MINUTE": "0", "GUEST_GRANT_CREDITS": "0"});
    let mut world = World::private_pair(unlimited, json!({"PRIVATE_KEY_PEM": pem})).await;
    let (old, new) = (world.client(), world.stack.beside_client());
    assert_eq!(kids(&old.get(JWKS).send().await.expect(200).json()), [KEY_ID]);
    let traffic = Traffic::new(vec![old.clone()]);
    let clients: Vec<JoinHandle<()>> =
        (0..CLIENTS).map(|number| tokio::spawn(Arc::clone(&traffic).go_on(number))).collect();
    tokio::time::sleep(PHASE).await;
    traffic.none_refused("before");

    world.stack.put_kv("KEYS", "jwks", Some(&set));
    assert_eq!(kids(&old.get(JWKS).send().await.expect(200).json()), [NEW_KID, KEY_ID]);
    tokio::time::sleep(WAIT).await;
    traffic.move_to(vec![old.clone(), new.clone()]);
    tokio::time::sleep(PHASE).await;
    traffic.none_refused("while both versions serve");
    for (worker, kid) in [(0, KEY_ID), (0, NEW_KID), (1, KEY_ID), (1, NEW_KID)] {
        assert!(traffic.accepted(worker, kid) > 10, "{:?}", traffic.accepted.lock());
    }
    assert_eq!(*traffic.unanswered.lock().expect("a number"), 0, "nothing was down");

    // The old version is gone: the whole stack starts again on the same storage, with the new key alone.
    traffic.move_to(vec![]);
    let after = world.vars.clone().with(json!({"PRIVATE_KEY_PEM": pem}));
    world.stack.redeploy(&after);
    let client = world.client();
    traffic.move_to(vec![client.clone()]);
    let overlap = traffic.accepted(0, KEY_ID);
    tokio::time::sleep(PHASE).await;
    traffic.none_refused("after the switch");
    assert!(traffic.accepted(0, KEY_ID) > overlap, "old tokens were still sent");
    let ready = client.get("/ready").send().await.expect(200).json();
    assert_eq!(text(&ready, "kid"), NEW_KID);
    for task in clients {
        assert!(!task.is_finished(), "a client stopped by itself");
        task.abort();
    }
    println!("accepted, by Worker and key: {:?}", traffic.accepted.lock().expect("acceptances"));

    // Retired: what an isolate has seen and found good ends with its key.
    let (dead, live) = (traffic.last_token_of(KEY_ID), traffic.last_token_of(NEW_KID));
    for token in [&dead, &live] {
        client.get("/api/credits").bearer(token).send().await.expect(200);
    }
    key_tool::run(&["retire", KEY_ID, "--jwks", &format!("{out}/jwks.json"), "--out", out]);
    world.stack.put_kv("KEYS", "jwks", Some(&read(folder.path(), "jwks.json")));
    assert_eq!(kids(&client.get(JWKS).send().await.expect(200).json()), [NEW_KID]);
    tokio::time::sleep(WAIT).await;
    // Six minutes in production; a key id that nobody has makes this isolate look now.
    let header = with(honest_header(), json!({"kid": "nobody"}));
    let stranger = signed(&header, &user_claims("me@x.io"), keys::foreign());
    client.get("/api/credits").bearer(&stranger).send().await.expect_error(401, "token_invalid");
    client.get("/api/credits").bearer(&dead).send().await.expect_error(401, "token_invalid");
    client.get("/api/credits").bearer(&live).send().await.expect(200);
}

#[tokio::test]
async fn private_members_in_kv_are_never_served() {
    let mut world = World::private(json!({})).await;
    let client = world.client();
    let stored = keys::foreign().private_jwk("leaked");
    let secrets: Vec<String> = ["d", "p", "q"].map(|name| text(&stored, name).to_owned()).to_vec();
    let set = json!({"keys": [stored, {"kty": "oct", "kid": "hmac", "k": "c2VjcmV0LXNlY3JldA"}]});
    world.stack.put_kv("KEYS", "jwks", Some(&set.to_string()));
    let reply = client.get(JWKS).send().await.expect(200);
    assert_eq!(kids(&reply.json()), ["leaked", KEY_ID]);
    for key in reply.json().get("keys").and_then(Value::as_array).expect("keys") {
        let mut members: Vec<&str> = key.as_object().expect("a key").keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"]);
    }
    let shown = reply.text();
    assert!(
        secrets.iter().all(|secret| !shown.contains(secret.as_str())) && !shown.contains("hmac"),
        "{shown}"
    );
    // The key is one of ours all the same, and verifies.
    let header = with(honest_header(), json!({"kid": "leaked"}));
    let token = signed(&header, &user_claims("me@x.io"), keys::foreign());
    client.get("/api/credits").bearer(&token).send().await.expect(200);
    // What is no key in it takes nothing down.
    world.stack.put_kv("KEYS", "jwks", Some("{\"keys\":[7,null,{}]}"));
    assert_eq!(kids(&client.get(JWKS).send().await.expect(200).json()), [KEY_ID]);
    world.stack.put_kv("KEYS", "jwks", None);
    assert_eq!(kids(&client.get(JWKS).send().await.expect(200).json()), [KEY_ID]);
}

#[tokio::test]
async fn the_tool_writes_no_secret_into_a_repository_and_over_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let repository = folder.path().join("checkout");
    std::fs::create_dir_all(repository.join(".git")).expect("a repository");
    std::fs::create_dir_all(repository.join("deep")).expect("a folder in it");
    let outside = folder.path().join("keys");
    let outside = outside.to_str().expect("text");
    let refused = |arguments: &[&str], from: &Path, what: &str| {
        let output = key_tool::try_run(arguments, from);
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && says.contains(what) && says.contains("cure:"),
            "{arguments:?}: {says}"
        );
        assert!(output.stdout.is_empty());
    };
    for inside in [".", "new-folder", "../../checkout/keys"] {
        refused(&["new", "--first", "--out", inside], &repository.join("deep"), "inside the repository");
    }
    assert_eq!(std::fs::read_dir(repository.join("deep")).expect("a folder").count(), 0);
    let said = key_tool::run(&["new", "--first", "--kid", "a", "--out", outside]);
    assert!(!said.contains("PRIVATE KEY-----"), "{said}");
    let secret = Path::new(outside).join("a.pem");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&secret).expect("the key")) & 0o777;
    assert_eq!(mode, 0o600, "for its owner only");
    let before = std::fs::read(&secret).expect("the key");
    refused(&["new", "--first", "--kid", "a", "--out", outside], folder.path(), "is there already");
    refused(&["new", "--kid", "b", "--out", outside], folder.path(), "which keys are published");
    refused(&["new", "--first", "--kid", "a b", "--out", outside], folder.path(), "no name for a key");
    let published = format!("{outside}/jwks.json");
    refused(
        &["new", "--jwks", &published, "--kid", "a", "--out", outside],
        folder.path(),
        "published already",
    );
    refused(&["retire", "z", "--jwks", &published, "--out", outside], folder.path(), "no key 'z'");
    assert_eq!(std::fs::read(&secret).expect("the key"), before);
    // What it makes is what the Worker takes.
    let pem = String::from_utf8(before).expect("text");
    let world = World::private(json!({"PRIVATE_KEY_PEM": pem, "KID": "another"})).await;
    let guest = world.client().post("/auth/guest").send().await.expect(200).json();
    assert_eq!(text(&decoded(text(&guest, "token")).0, "kid"), "a");
    world.client().get("/api/credits").bearer(text(&guest, "token")).send().await.expect(200);
    let admin = key_tool::run(&["admin"]);
    assert_eq!(admin.trim().len(), 64);
}
