//! One request under way: what it brought, the configuration, and the questions handlers ask of both.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use actors::tenant::{Command, Idempotency, Reply as ActorReply, Standing};
use sha2::{Digest, Sha256};
use wasm_bindgen::JsValue;
use worker::Env;

use super::address_limits::{self, Address};
use super::admin_key::{self, AdminKey};
use super::cookie::{self, Found};
use super::error::ApiError;
use super::identity::{self, Caller, Evidence, Proof};
use super::inbound::Inbound;
use super::{api_key, cors, idempotency_key, jwt, known_keys, tokens};
use crate::platform::config::Config;
use crate::platform::{log, now_ms, tenant_stub};

pub struct Context {
    pub env: Env,
    pub config: Rc<Config>,
    pub inbound: Inbound,
    pub request_id: String,
    /// The pattern of the route that was matched.
    pub route: &'static str,
    /// The runtime's handle on this event, for work that outlives the reply.
    pub event: JsValue,
    admin: OnceCell<AdminKey>,
    asserted: Cell<bool>,
    acting: OnceCell<Acting>,
    /// When the token ends that said who calls.
    token_ends_at_ms: Cell<Option<i64>>,
    standing: RefCell<Option<Standing>>,
}

/// For whom a request acted, as its log line says it.
#[derive(Debug, Clone)]
pub struct Acting {
    /// The name of the tenant's actor, a digest.
    pub actor: String,
    /// An operator acted for the tenant.
    pub operator: bool,
}

impl Context {
    pub fn new(
        env: Env,
        config: Rc<Config>,
        inbound: Inbound,
        request_id: String,
        route: &'static str,
        event: JsValue,
    ) -> Self {
        let (admin, asserted, acting) = (OnceCell::new(), Cell::new(false), OnceCell::new());
        let (standing, token_ends_at_ms) = (RefCell::default(), Cell::default());
        Self {
            env,
            config,
            inbound,
            request_id,
            route,
            event,
            admin,
            asserted,
            acting,
            token_ends_at_ms,
            standing,
        }
    }

    /// This request, for the actors it asks.
    pub fn origin(&self) -> tenant_stub::Origin<'_> {
        tenant_stub::Origin { env: &self.env, request_id: &self.request_id }
    }

    /// Notes for whom the request acts, for its log line.
    pub fn acts_for(&self, caller: &Caller) {
        let operator = caller.proof == Proof::Admin;
        self.acting.get_or_init(|| Acting { actor: tenant_stub::name_of(&caller.tenant), operator });
    }

    /// Notes the actor of a request whose tenant only that actor knows.
    pub fn acts_for_actor(&self, actor: String) {
        self.acting.get_or_init(|| Acting { actor, operator: false });
    }

    /// When the token ends that said who calls; `None` where no token did.
    pub const fn token_ends_at_ms(&self) -> Option<i64> {
        self.token_ends_at_ms.get()
    }

    /// For whom it acted, once that is known.
    pub fn acting(&self) -> Option<Acting> {
        self.acting.get().cloned()
    }

    /// Sends a metered command, and remembers where the tenant stands for the reply's headers.
    pub async fn send_metered(&self, caller: &Caller, command: Command) -> tenant_stub::Answer {
        let key = caller.api_key.as_deref();
        let answered = tenant_stub::send_metered(self.origin(), &caller.tenant, key, command).await;
        if answered.standing.is_some() {
            self.standing.replace(answered.standing);
        }
        answered.answer
    }

    /// Where the tenant of a metered request stands, when its reply did not say so.
    pub fn take_standing(&self) -> Option<Standing> {
        self.standing.take()
    }

    /// Whether the caller was believed without proof; the response then says so.
    pub fn was_asserted(&self) -> bool {
        self.asserted.get()
    }

    pub fn admin_key(&self) -> AdminKey {
        *self.admin.get_or_init(|| {
            let key = self.inbound.header("x-admin-key");
            let token = self.inbound.header("x-admin-token");
            let judged = admin_key::judge(key.as_deref(), token.as_deref(), &self.config.admin_key_digests);
            if judged != AdminKey::Invalid {
                return judged;
            }
            address_limits::admin_failure(Address::of(&self.inbound), now_ms())
        })
    }

    /// # Errors
    /// `Unauthorized` unless the operator's key is there and valid.
    pub fn require_admin(&self) -> Result<(), ApiError> {
        match self.admin_key() {
            AdminKey::Valid => Ok(()),
            other => Err(other.refusal().unwrap_or(ApiError::Unauthorized)),
        }
    }

    /// Who is calling.
    ///
    /// # Errors
    /// `MissingEmail` when nothing is said at all; otherwise as [`identity::resolve`].
    pub async fn caller(&self) -> Result<Caller, ApiError> {
        let (claims, holder) = match self.token()? {
            Some(token) if api_key::is_meant(&token) => {
                let address = Address::of(&self.inbound);
                (None, Some(known_keys::holder(self.origin(), &token, address, now_ms()).await?))
            }
            Some(token) => {
                let verified = tokens::verify(&self.env, &self.config, &token).await;
                (Some(verified.map_err(|_| ApiError::TokenInvalid)?), None)
            }
            None => (None, None),
        };
        let query_email = self.inbound.query.get("email");
        let header_email = self.inbound.header_filled("x-user-email");
        let evidence = Evidence {
            query_email: query_email.as_deref(),
            header_email: header_email.as_deref(),
            claims: claims.as_ref(),
            holder: holder.as_ref(),
        };
        let found = identity::resolve(&evidence, self.admin_key(), self.config.identity_mode)?;
        let caller = found.ok_or(ApiError::MissingEmail)?;
        let ends_s = claims.as_ref().and_then(|claims| claims.exp);
        self.token_ends_at_ms.set(ends_s.map(|ends_s| ends_s.saturating_mul(1_000)));
        self.asserted.set(caller.proof == Proof::Asserted);
        self.acts_for(&caller);
        Ok(caller)
    }

    /// The token or API key that came along; one that is not good is never passed over.
    fn token(&self) -> Result<Option<String>, ApiError> {
        match self.inbound.header_filled("authorization") {
            Some(header) => jwt::bearer(&header).map(Some).ok_or(ApiError::TokenInvalid),
            None => self.cookie_token(),
        }
    }

    /// A browser sends a cookie by itself, so for anything but reading the page must be one of ours. Opening a socket
    /// is no reading, though its method is: what comes after it can do anything.
    fn cookie_token(&self) -> Result<Option<String>, ApiError> {
        let found = self.inbound.header_filled("cookie").map_or(Found::None, |header| cookie::find(&header));
        if found == Found::None {
            return Ok(None);
        }
        let reads = matches!(self.inbound.method.as_str(), "GET" | "HEAD");
        if !reads || self.inbound.header("upgrade").is_some() {
            self.require_our_page()?;
        }
        match found {
            Found::Token(token) => Ok(Some(token)),
            Found::None | Found::Ambiguous => Err(ApiError::TokenInvalid),
        }
    }

    /// The page that sends this; `None` where it is no page's.
    ///
    /// # Errors
    /// `OriginForbidden` for a page that is not of an allowed origin.
    pub fn page(&self) -> Result<Option<String>, ApiError> {
        let origin = self.inbound.header("origin");
        if origin.is_some() {
            self.require_our_page()?;
        }
        Ok(origin)
    }

    /// # Errors
    /// `OriginForbidden` unless a page of an allowed origin sent this.
    pub fn require_our_page(&self) -> Result<(), ApiError> {
        let origin = self.inbound.header("origin");
        let ours = origin.is_some_and(|origin| cors::is_allowed(&origin, &self.config.allowed_origins));
        if ours { Ok(()) } else { Err(ApiError::OriginForbidden) }
    }

    /// The key a client gave this request, with the digest of what it asked.
    ///
    /// # Errors
    /// `InvalidIdempotencyKey`.
    pub fn idempotency(&self, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
        self.scoped_idempotency("tenant", body)
    }

    /// The same for what an operator does to a tenant: its keys and the tenant's own never meet.
    ///
    /// # Errors
    /// `InvalidIdempotencyKey`.
    pub fn operator_idempotency(&self, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
        self.scoped_idempotency("operator", body)
    }

    fn scoped_idempotency(&self, scope: &str, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
        let Some(key) = self.inbound.header("idempotency-key") else {
            return Ok(None);
        };
        let key = idempotency_key::read(&key)?;
        Ok(Some(Idempotency { key: format!("{scope}:{key}"), body_hash: self.digest(body) }))
    }

    /// Digest of what a request asks: its route and its body, in hexadecimal digits.
    pub fn digest(&self, body: &[u8]) -> String {
        let mut digest = Sha256::new();
        digest.update(self.route);
        digest.update([0]);
        digest.update(body);
        format!("{:x}", digest.finalize())
    }

    /// Asks the caller's actor.
    ///
    /// # Errors
    /// The actor's refusal, as clients see it.
    pub async fn ask_actor(&self, caller: &Caller, command: Command) -> Result<ActorReply, ApiError> {
        let answer =
            tenant_stub::send(self.origin(), &caller.tenant, caller.api_key.as_deref(), command).await;
        Self::heard(caller, answer)
    }

    /// An actor's answer to `caller`, its refusals as clients see them.
    ///
    /// # Errors
    /// The refusal. A key that is no longer live is forgotten here too.
    pub fn heard(caller: &Caller, answer: tenant_stub::Answer) -> Result<ActorReply, ApiError> {
        answer.map_err(|refusal| known_keys::refused(&refusal, caller).unwrap_or_else(|| refusal.into()))
    }
}

/// An actor that answers another question than was asked is a fault of ours.
pub fn unexpected() -> ApiError {
    log::fault("unexpected_reply", "an actor answered another command");
    ApiError::Unavailable
}
