//! A stack with its four scripted providers, and the few questions nearly every test asks of it.

use crate::cartesia::Cartesia;
use crate::client::{Call, Client, Reply, unique_email};
use crate::poll::eventually;
use crate::provider::Provider;
use crate::stack::Stack;
use crate::vars::{ProviderBases, Vars};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// Stacks beside the shared one that may live at once. A machine with many cores runs many tests at once,
/// and each workerd is a process of a hundred megabytes.
const PRIVATE_STACKS_MAX: usize = 1;

/// How long a settled charge may take to show after the reply's last byte.
pub const SETTLE_BOUND: Duration = Duration::from_secs(10);

/// Rows of a page when a list is walked: the most there may be.
const PAGE_ROWS: usize = 100;

pub struct World {
    pub stack: Stack,
    pub groq: Provider,
    pub openai: Provider,
    pub local: Provider,
    /// Answers for the Workers AI binding.
    pub workers_ai: Provider,
    /// Speaks and hears; in the lists of who does only where a test puts it there.
    pub cartesia: Cartesia,
    /// What the stack was started with.
    pub vars: Vars,
    _permit: Option<OwnedSemaphorePermit>,
}

impl World {
    /// The stack all tests of a binary share: the base variables, `verified` mode.
    pub async fn verified() -> &'static World {
        static SHARED: OnceCell<World> = OnceCell::const_new();
        SHARED.get_or_init(|| World::start(json!({}), None, None)).await
    }

    /// The same in `asserted` mode. A test binary uses one of the two.
    pub async fn asserted() -> &'static World {
        static SHARED: OnceCell<World> = OnceCell::const_new();
        SHARED.get_or_init(|| World::start(json!({"IDENTITY_MODE": "asserted"}), None, None)).await
    }

    /// A stack of the test's own, with `changes` over the base variables.
    pub async fn private(changes: Value) -> World {
        World::start(changes, None, Some(Self::permit().await)).await
    }

    /// A stack for all tests of a binary that need other variables than the base ones. It is never dropped.
    pub async fn lasting(changes: Value) -> World {
        World::start(changes, None, None).await
    }

    /// The same with a second Worker beside it, which has `beside` over the first one's variables.
    pub async fn private_pair(changes: Value, beside: Value) -> World {
        World::start(changes, Some(beside), Some(Self::permit().await)).await
    }

    async fn permit() -> OwnedSemaphorePermit {
        static PERMITS: OnceCell<Arc<Semaphore>> = OnceCell::const_new();
        let permits = PERMITS.get_or_init(|| async { Arc::new(Semaphore::new(PRIVATE_STACKS_MAX)) }).await;
        permits.clone().acquire_owned().await.expect("never closed")
    }

    async fn start(changes: Value, beside: Option<Value>, permit: Option<OwnedSemaphorePermit>) -> World {
        let groq = Provider::start().await;
        let openai = Provider::start().await;
        let local = Provider::start().await;
        let workers_ai = Provider::start().await;
        let cartesia = Cartesia::start().await;
        let bases = ProviderBases {
            groq: groq.base(),
            openai: openai.base(),
            local: local.base(),
            cartesia: cartesia.origin().to_owned(),
        };
        let vars = Vars::base(&bases).with(changes);
        let stack = match beside {
            Some(changes) => Stack::start_pair(&vars, &vars.clone().with(changes), &workers_ai.base()),
            None => Stack::start(&vars, &workers_ai.base()),
        };
        World { stack, vars, groq, openai, local, workers_ai, cartesia, _permit: permit }
    }

    pub fn client(&self) -> Client {
        self.stack.client()
    }

    /// Every provider a request could reach.
    pub fn providers(&self) -> [&Provider; 4] {
        [&self.groq, &self.workers_ai, &self.openai, &self.local]
    }

    /// Calls with `marker` at all providers together.
    pub fn calls_anywhere(&self, marker: &str) -> usize {
        self.providers().iter().map(|provider| provider.calls(marker).len()).sum()
    }

    /// A new tenant with `credits`.
    pub async fn tenant(&self, name: &str, credits: f64) -> Tenant {
        let tenant = Tenant { email: unique_email(name), client: self.client() };
        if credits > 0.0 {
            tenant.set_balance(credits).await;
        }
        tenant
    }
}

/// One tenant and the client it calls with.
#[derive(Clone)]
pub struct Tenant {
    pub email: String,
    pub client: Client,
}

impl Tenant {
    pub async fn set_balance(&self, credits: f64) -> Reply {
        self.adjust(json!({"set": credits})).await.expect(200)
    }

    /// Adjusts as the admin; `change` is `{set}` or `{delta}`.
    pub async fn adjust(&self, mut change: Value) -> Reply {
        if let Some(members) = change.as_object_mut() {
            members.insert("email".to_owned(), json!(self.email));
        }
        self.client.post("/api/credits/adjust").admin().json(&change).send().await
    }

    pub fn get(&self, path: &str) -> Call {
        self.client.get(path).user(&self.email)
    }

    pub fn post(&self, path: &str) -> Call {
        self.client.post(path).user(&self.email)
    }

    pub fn ask(&self, body: &Value) -> Call {
        self.post("/api/si/ask").json(body)
    }

    pub async fn balance(&self) -> f64 {
        let reply = self.get("/api/credits").send().await.expect(200);
        number(&reply.json(), "balance")
    }

    /// The items of a list route, newest first.
    pub async fn items(&self, path: &str) -> Vec<Value> {
        let reply = self.get(path).send().await.expect(200);
        let items = reply.json().get("items").and_then(Value::as_array).cloned();
        items.unwrap_or_else(|| panic!("no items in {reply:?}"))
    }

    /// All items of a list route, over as many pages as there are.
    pub async fn walk(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let call = self.get(path).query("limit", &PAGE_ROWS.to_string());
            let call = match &cursor {
                Some(cursor) => call.query("cursor", cursor),
                None => call,
            };
            let page = call.send().await.expect(200).json();
            let rows = page.get("items").and_then(Value::as_array).cloned();
            items.extend(rows.unwrap_or_else(|| panic!("no items in {page}")));
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = Some(next.to_owned()),
                None => return items,
            }
        }
    }

    /// Entries, newest first.
    pub async fn ledger(&self) -> Vec<Value> {
        self.walk("/api/credits/ledger").await
    }

    pub async fn notices(&self) -> Vec<Value> {
        self.walk("/api/credits/notices").await
    }

    /// Sets what this tenant may do, as the operator; replaces what was set before.
    pub async fn put_limits(&self, mut settings: Value) -> Reply {
        if let Some(members) = settings.as_object_mut() {
            members.insert("email".to_owned(), json!(self.email));
        }
        let call = self.client.call(Method::PUT, "/api/credits/limits");
        call.admin().json(&settings).send().await
    }

    pub async fn limits(&self) -> Value {
        self.get("/api/credits/limits").send().await.expect(200).json()
    }

    /// The tenant's own audit, which must find nothing wrong.
    pub async fn verified(&self) -> Value {
        let found = self.get("/api/credits/verify").send().await.expect(200).json();
        assert_eq!(found.get("ok"), Some(&json!(true)), "{found}");
        assert_eq!(found.get("complete"), Some(&json!(true)), "{found}");
        assert_eq!(found.get("problems"), Some(&json!([])), "{found}");
        found
    }

    pub async fn usage(&self) -> Vec<Value> {
        self.items("/api/billing/usage?limit=100").await
    }

    pub async fn open_holds(&self) -> Vec<Value> {
        self.items("/api/credits/holds").await
    }

    /// Waits until every hold has ended, then gives the balance.
    pub async fn settled_balance(&self) -> f64 {
        eventually(SETTLE_BOUND, "every hold has ended", || async {
            let holds = self.open_holds().await;
            if holds.is_empty() { Ok(()) } else { Err(holds) }
        })
        .await;
        self.balance().await
    }

    /// Waits until `count` usage items are there, and gives them newest first.
    pub async fn usage_of(&self, count: usize) -> Vec<Value> {
        eventually(SETTLE_BOUND, "the usage items are recorded", || async {
            let items = self.usage().await;
            if items.len() == count { Ok(items) } else { Err(items) }
        })
        .await
    }
}

/// A member that must be a number.
pub fn number(value: &Value, member: &str) -> f64 {
    value.get(member).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number {member} in {value}"))
}

/// A member that must be a whole number.
pub fn whole(value: &Value, member: &str) -> i64 {
    value.get(member).and_then(Value::as_i64).unwrap_or_else(|| panic!("no whole number {member} in {value}"))
}

/// A member that must be a text.
pub fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or_else(|| panic!("no text {member} in {value}"))
}

/// Credits have three decimals on the wire; two amounts are the same when their thousandths are.
pub fn same_credits(left: f64, right: f64) -> bool {
    (left * 1000.0).round() == (right * 1000.0).round() && (left - right).abs() < 1e-9
}

#[track_caller]
pub fn assert_credits(actual: f64, expected: f64, what: &str) {
    assert!(same_credits(actual, expected), "{what}: {actual} credits where {expected} were expected");
}
