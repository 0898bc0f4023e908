//! A real OpenID provider in a process of its own, and the sign-in of a person there: the authorization code flow with
//! PKCE, as a browser and an app do it together.

use crate::artifacts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Response, Url, redirect};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

const REDIRECT: &str = "https://app.example/callback";
/// Redirects of one sign-in: to the login page, back, and to the app.
const STEPS_MAX: usize = 8;

/// Clients that the provider knows: ours, one that we do not trust, one whose ID tokens live for a second, and one
/// whose ID tokens are signed with its own secret.
pub const OUR_APP: &str = "our-app";
pub const ANOTHER_APP: &str = "another-app";
pub const BRIEF_APP: &str = "brief-app";
pub const HMAC_APP: &str = "hmac-app";
const HMAC_SECRET: &str = "a-secret-of-this-client-for-hmac-signatures";

/// A running provider. Dropping it ends its process.
pub struct OidcProvider {
    process: Child,
    lines: BufReader<ChildStdout>,
    issuer: String,
}

impl OidcProvider {
    pub fn start() -> Self {
        let root = artifacts::repository_root();
        let mut process = Command::new(root.join("node_modules/.bin/node"))
            .arg("tests/http/oidc/provider.mjs")
            .current_dir(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let lines = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let mut provider = Self { process, lines, issuer: String::new() };
        let ready = provider.next_line();
        provider.issuer = ready.get("issuer").and_then(Value::as_str).expect("an issuer").to_owned();
        provider
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs with a new key from now on.
    pub fn rotate(&mut self, kid: &str, keep_old: bool) {
        assert_eq!(self.obey(&json!({"rotate": kid, "keep": keep_old})), json!({"rotated": kid}));
    }

    /// How often its key set was read.
    pub fn key_reads(&mut self) -> u64 {
        self.obey(&json!({"reads": true})).get("reads").and_then(Value::as_u64).expect("a number")
    }

    fn obey(&mut self, command: &Value) -> Value {
        let stdin = self.process.stdin.as_mut().expect("the provider listens");
        writeln!(stdin, "{command}").expect("the provider listens");
        self.next_line()
    }

    fn next_line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the provider says something");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the provider said {line:?}"))
    }

    /// Signs `account` in for `client_id`: its ID token.
    pub async fn id_token(&self, client_id: &str, account: &str) -> String {
        let verifier = format!("{0}{0}", uuid::Uuid::new_v4().simple());
        let code = self.code(client_id, account, &verifier).await;
        let answer = self.redeem(client_id, &code, &verifier).await;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.expect("JSON");
        let token = body.get("id_token").and_then(Value::as_str);
        token.unwrap_or_else(|| panic!("no ID token: {status} {body}")).to_owned()
    }

    /// The app's part: a code, and the proof that it is the app that began, for tokens.
    pub async fn redeem(&self, client_id: &str, code: &str, verifier: &str) -> Response {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("redirect_uri", REDIRECT),
            ("code", code),
            ("code_verifier", verifier),
        ];
        if client_id == HMAC_APP {
            form.push(("client_secret", HMAC_SECRET));
        }
        let sent = browser().post(format!("{}/token", self.issuer)).form(&form).send();
        sent.await.expect("the provider answers")
    }

    /// The browser's part: from the app to the login page and back, with the code.
    pub async fn code(&self, client_id: &str, account: &str, verifier: &str) -> String {
        let state = uuid::Uuid::new_v4().to_string();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let asked = [
            ("client_id", client_id),
            ("response_type", "code"),
            ("scope", "openid email"),
            ("redirect_uri", REDIRECT),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", &state),
            ("nonce", &state),
            ("login_hint", account),
        ];
        let mut at = Url::parse_with_params(&format!("{}/auth", self.issuer), asked).expect("an address");
        let (browser, mut jar) = (browser(), BTreeMap::new());
        for _ in 0..STEPS_MAX {
            let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = browser.get(at.clone()).header("cookie", cookies.join("; ")).send().await;
            let answer = answer.expect("the provider answers");
            keep_cookies(&mut jar, &answer);
            let Some(location) = answer.headers().get("location").and_then(|value| value.to_str().ok())
            else {
                panic!("the sign-in ends at {at}: {:?}", answer.text().await);
            };
            at = at.join(location).expect("an address");
            if at.as_str().starts_with(REDIRECT) {
                let found: BTreeMap<_, _> = at.query_pairs().into_owned().collect();
                assert_eq!(found.get("state"), Some(&state), "{at}");
                return found.get("code").unwrap_or_else(|| panic!("no code: {at}")).clone();
            }
        }
        panic!("the sign-in does not end: {at}");
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn browser() -> reqwest::Client {
    reqwest::Client::builder().redirect(redirect::Policy::none()).build().expect("an HTTP client")
}

fn keep_cookies(jar: &mut BTreeMap<String, String>, answer: &Response) {
    for cookie in answer.headers().get_all("set-cookie") {
        let pair = cookie.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        match pair.split_once('=') {
            Some((name, "")) => drop(jar.remove(name)),
            Some((name, value)) => drop(jar.insert(name.to_owned(), value.to_owned())),
            None => {}
        }
    }
}
