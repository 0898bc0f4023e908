//! One request under way: what it brought, the configuration, and the questions handlers ask of both.

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Deref;

use actors::shared::TenantId;
use actors::tenant::{Command, Idempotency, Reply as ActorReply, Standing};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::address_limits::Address;
use super::admin_key::{self, AdminKey, Slot};
use super::cookie::{self, Found};
use super::credentials::{self, Liveness};
use super::error::ApiError;
use super::identity::{self, Caller, Evidence, Proof};
use super::inbound::Inbound;
use super::jwt::Claims;
use super::known_keys::Holder;
use super::operation::Operation;
use super::{api_key, cors, idempotency_key, jwt, known_keys, tokens};
use crate::platform::{log, tenant_stub};

/// A request. What is the same for any work, its [`Operation`] has; it is read as if it were here.
pub struct Context {
    operation: Operation,
    pub inbound: Inbound,
    admin: OnceCell<AdminKey>,
    presented: OnceCell<Presented>,
    asserted: Cell<bool>,
    operates: Cell<bool>,
    /// The name of the tenant's actor.
    acts_for: OnceCell<String>,
    standing: RefCell<Option<Standing>>,
}

/// Who acted in a request, and for whom, as its log line says it.
#[derive(Debug, Clone, Default)]
pub struct Acting {
    /// What the log calls the tenant.
    pub tenant: Option<String>,
    /// An operator acted, for a tenant or for none.
    pub operator: bool,
    /// Which operator's key came along.
    pub admin_key: Option<&'static str>,
}

/// The token or API key that a request presents, found good.
pub enum Presented {
    Nothing,
    Token(Claims),
    Key(Holder),
}

impl Presented {
    const fn claims(&self) -> Option<&Claims> {
        match self {
            Self::Token(claims) => Some(claims),
            _ => None,
        }
    }

    const fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Key(holder) => Some(holder),
            _ => None,
        }
    }

    /// Whose it is.
    ///
    /// # Errors
    /// `TokenInvalid` for a token that names nobody.
    pub fn tenant(&self) -> Result<Option<TenantId>, ApiError> {
        identity::proven(self.claims(), self.holder())
    }
}

impl Deref for Context {
    type Target = Operation;

    fn deref(&self) -> &Operation {
        &self.operation
    }
}

impl Context {
    pub fn new(operation: Operation, inbound: Inbound) -> Self {
        Self {
            operation,
            inbound,
            admin: OnceCell::new(),
            presented: OnceCell::new(),
            asserted: Cell::new(false),
            operates: Cell::new(false),
            acts_for: OnceCell::new(),
            standing: RefCell::default(),
        }
    }

    /// Where the request comes from.
    pub fn address(&self) -> Address {
        Address::of(&self.inbound)
    }

    /// Notes for whom the request acts, for its log line.
    fn acts_for(&self, caller: &Caller) {
        if caller.proof == Proof::Admin {
            self.operates.set(true);
        }
        self.acts_for.get_or_init(|| tenant_stub::name_of(&caller.tenant));
    }

    /// Notes the actor of a request whose tenant only that actor knows.
    pub fn acts_for_actor(&self, actor: String) {
        self.acts_for.get_or_init(|| actor);
    }

    /// When the token ends that the caller was found by; `None` where no token did that.
    pub fn token_ends_at_ms(&self) -> Option<i64> {
        let claims = self.presented.get().and_then(Presented::claims);
        claims.and_then(|claims| claims.exp).map(|ends_s| ends_s.saturating_mul(1_000))
    }

    /// Who acted, and for whom, as far as that is known.
    pub fn acting(&self) -> Acting {
        Acting {
            tenant: self.acts_for.get().and_then(|actor| self.config.log_names.name(actor)),
            operator: self.operates.get(),
            // Where it was not judged, it was not read.
            admin_key: self.admin.get().and_then(|judged| judged.slot()).map(Slot::name),
        }
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
            let (first, second) = (self.config.admin_key.as_ref(), self.config.admin_key_next.as_ref());
            admin_key::judge(key.as_deref(), token.as_deref(), first, second)
        })
    }

    /// # Errors
    /// `Unauthorized` unless the operator's key is there and valid.
    pub fn require_admin(&self) -> Result<(), ApiError> {
        if !self.admin_key().is_valid() {
            return Err(ApiError::Unauthorized);
        }
        self.operates.set(true);
        Ok(())
    }

    /// The token or API key that came along, found good; judged once.
    ///
    /// # Errors
    /// `TokenInvalid`, `OriginForbidden`, `RateLimited`, `Unavailable`.
    pub async fn presented(&self, liveness: Liveness) -> Result<&Presented, ApiError> {
        if let Some(presented) = self.presented.get() {
            return Ok(presented);
        }
        let presented = match self.token()? {
            Some(token) if api_key::is_meant(&token) => {
                Presented::Key(credentials::holder(self, &token, liveness).await?)
            }
            Some(token) => {
                let verified = tokens::verify(&self.env, &self.config, &token, &self.request_id).await;
                Presented::Token(verified?)
            }
            None => Presented::Nothing,
        };
        Ok(self.presented.get_or_init(|| presented))
    }

    /// Who is calling, by credentials that [`credentials::judge`] found good.
    ///
    /// # Errors
    /// `MissingEmail` when nothing is said at all; otherwise as [`identity::resolve`].
    pub async fn caller(&self) -> Result<Caller, ApiError> {
        let presented = self.presented(Liveness::Now).await?;
        let (query_email, header_email) = self.named()?;
        let evidence = Evidence {
            query_email: query_email.as_deref(),
            header_email: header_email.as_deref(),
            claims: presented.claims(),
            holder: presented.holder(),
        };
        let found = identity::resolve(&evidence, self.admin_key(), self.config.identity_mode)?;
        let caller = found.ok_or(ApiError::MissingEmail)?;
        self.asserted.set(caller.proof == Proof::Asserted);
        self.acts_for(&caller);
        Ok(caller)
    }

    /// The tenant that an operator names in a body. A query or a header beside it must name the same one.
    ///
    /// # Errors
    /// `MissingEmail`, `InvalidEmail`, `IdentityMismatch`.
    pub fn named_by_operator(&self, email: Option<&Value>) -> Result<Caller, ApiError> {
        let (query_email, header_email) = self.named()?;
        let beside = identity::claimed(query_email.as_deref(), header_email.as_deref(), self.admin_key())?;
        let tenant = identity::named_in_body(email, self.admin_key())?;
        if beside.is_some_and(|beside| beside != tenant) {
            return Err(ApiError::IdentityMismatch);
        }
        let caller = Caller::named_by_operator(tenant);
        self.acts_for(&caller);
        Ok(caller)
    }

    /// The addresses in the query and in the header.
    fn named(&self) -> Result<(Option<String>, Option<String>), ApiError> {
        Ok((self.inbound.query.email()?, self.inbound.header_filled("x-user-email")))
    }

    /// Whom query and header name without any proof.
    ///
    /// # Errors
    /// `InvalidEmail`; `IdentityMismatch` when they do not agree.
    pub fn claimed(&self) -> Result<Option<TenantId>, ApiError> {
        let (query_email, header_email) = self.named()?;
        identity::claimed(query_email.as_deref(), header_email.as_deref(), AdminKey::Absent)
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
            // A key for programs has no business in a browser.
            Found::Token(token) if !api_key::is_meant(&token) => Ok(Some(token)),
            Found::Token(_) | Found::None | Found::Ambiguous => Err(ApiError::TokenInvalid),
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

    /// The key that the request was given, with the digest of what it asks. What an operator does for a tenant has a
    /// scope of its own: its keys and the tenant's never meet.
    ///
    /// # Errors
    /// `InvalidIdempotencyKey`.
    pub fn idempotency(&self, caller: &Caller, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
        let Some(key) = self.inbound.header("idempotency-key") else {
            return Ok(None);
        };
        let (scope, key) = (caller.scope(), idempotency_key::read(&key)?);
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
