//! Who is calling: an address in a query or a header is a claim, a token or the operator's key is proof.

use actors::shared::TenantId;
use serde_json::Value;

use super::admin_key::AdminKey;
use super::error::ApiError;
use super::jwt::Claims;
use super::known_keys::Holder;
use super::tokens::GUEST;
use crate::platform::config::IdentityMode;

/// Why the tenant is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    Token,
    /// An operator acts for the tenant; every such call is logged.
    Admin,
    /// Nothing proves it, and the mode does not ask.
    Asserted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub tenant: TenantId,
    pub proof: Proof,
    /// The id of the API key that proved it.
    pub api_key: Option<String>,
}

impl Caller {
    /// A tenant that an operator acts for.
    pub const fn named_by_operator(tenant: TenantId) -> Self {
        Self { tenant, proof: Proof::Admin, api_key: None }
    }

    /// Within what its idempotency keys, and its questions, are told from others of the tenant.
    pub const fn scope(&self) -> &'static str {
        match self.proof {
            Proof::Admin => "operator",
            Proof::Token | Proof::Asserted => "tenant",
        }
    }
}

/// What a request says of its caller. A token that was present and not good never gets here.
#[derive(Debug, Default)]
pub struct Evidence<'a> {
    pub query_email: Option<&'a str>,
    pub header_email: Option<&'a str>,
    pub claims: Option<&'a Claims>,
    /// Whose API key came along.
    pub holder: Option<&'a Holder>,
}

/// Decides who is calling; `None` when nothing was said at all.
///
/// # Errors
/// `InvalidEmail`, `IdentityUnproven`, `IdentityMismatch`, `TokenInvalid`, `Unauthorized`.
pub fn resolve(
    evidence: &Evidence<'_>,
    admin: AdminKey,
    mode: IdentityMode,
) -> Result<Option<Caller>, ApiError> {
    if admin == AdminKey::Invalid {
        return Err(ApiError::Unauthorized);
    }
    let api_key = evidence.holder.map(|holder| holder.key.clone());
    let proven = proven(evidence.claims, evidence.holder)?;
    let parse = |raw: &str| match &proven {
        // A guest may be called what its own account is called; it is still no address.
        Some(guest @ TenantId::Guest(label)) if is_guest_label(label) && raw.trim() == label => {
            Ok(guest.clone())
        }
        _ => named(raw, admin),
    };
    let Some(claimed) = agreed(evidence.query_email, evidence.header_email, parse)? else {
        return Ok(proven.map(|tenant| Caller { tenant, proof: Proof::Token, api_key }));
    };
    let proof = match (&proven, admin, mode) {
        (_, AdminKey::Valid(_), _) => Proof::Admin,
        (Some(tenant), _, _) if *tenant == claimed => Proof::Token,
        (None, _, IdentityMode::Asserted) => Proof::Asserted,
        (Some(_), _, _) => return Err(ApiError::IdentityMismatch),
        (None, _, IdentityMode::Verified) => return Err(ApiError::IdentityUnproven),
    };
    // An operator who acts for a tenant does not spend what one of its keys may.
    let api_key = api_key.filter(|_| proof == Proof::Token);
    Ok(Some(Caller { tenant: claimed, proof, api_key }))
}

/// Whose token or API key it is.
///
/// # Errors
/// `TokenInvalid` for a token that names nobody.
pub fn proven(claims: Option<&Claims>, holder: Option<&Holder>) -> Result<Option<TenantId>, ApiError> {
    match holder {
        Some(holder) => Ok(Some(holder.tenant.clone())),
        None => claims.map(tenant_of).transpose(),
    }
}

/// The address that query and header agree on.
///
/// # Errors
/// `InvalidEmail`; `IdentityMismatch` when they do not.
pub fn claimed(
    query: Option<&str>,
    header: Option<&str>,
    admin: AdminKey,
) -> Result<Option<TenantId>, ApiError> {
    agreed(query, header, |raw| named(raw, admin))
}

fn agreed(
    query: Option<&str>,
    header: Option<&str>,
    parse: impl Fn(&str) -> Result<TenantId, ApiError>,
) -> Result<Option<TenantId>, ApiError> {
    let query = query.map(&parse).transpose()?;
    let header = header.map(&parse).transpose()?;
    match (query, header) {
        (Some(query), Some(header)) if query != header => Err(ApiError::IdentityMismatch),
        (query, header) => Ok(query.or(header)),
    }
}

/// A guest's subject holds a UUID in its hyphenated form; other forms would name other tenants.
const UUID_CHARS: usize = 36;

fn is_guest_label(text: &str) -> bool {
    text.strip_prefix("guest:").is_some_and(|id| id.len() == UUID_CHARS && uuid::Uuid::try_parse(id).is_ok())
}

/// A tenant by name. An operator may also name a guest, by the subject of its token.
fn named(raw: &str, admin: AdminKey) -> Result<TenantId, ApiError> {
    let raw = raw.trim();
    if admin.is_valid() && is_guest_label(raw) {
        return Ok(TenantId::Guest(raw.to_ascii_lowercase()));
    }
    TenantId::from_email(raw).map_err(|_| ApiError::InvalidEmail)
}

/// A tenant as the body of an operator's request names it.
///
/// # Errors
/// `MissingEmail` when it is not there, `InvalidEmail` when it is none.
pub fn named_in_body(email: Option<&Value>, admin: AdminKey) -> Result<TenantId, ApiError> {
    match email.map(Value::as_str) {
        None => Err(ApiError::MissingEmail),
        Some(None) => Err(ApiError::InvalidEmail),
        Some(Some(email)) if email.trim().is_empty() => Err(ApiError::MissingEmail),
        Some(Some(email)) => named(email, admin),
    }
}

/// Whose token it is. A guest stays a guest whatever its subject looks like.
fn tenant_of(claims: &Claims) -> Result<TenantId, ApiError> {
    if claims.role.as_deref() == Some(GUEST) {
        let subject = claims.sub.as_ref().filter(|subject| !subject.is_empty() && subject.len() <= 255);
        return subject.cloned().map(TenantId::Guest).ok_or(ApiError::TokenInvalid);
    }
    let address = claims.email.as_ref().or(claims.em.as_ref()).or(claims.sub.as_ref());
    let address = address.ok_or(ApiError::TokenInvalid)?;
    TenantId::from_email(address).map_err(|_| ApiError::TokenInvalid)
}

#[cfg(test)]
mod tests {
    use super::super::admin_key::Slot;
    use super::*;

    fn user(email: &str) -> Claims {
        Claims { email: Some(email.to_owned()), ..Claims::default() }
    }

    fn guest(sub: &str) -> Claims {
        Claims { sub: Some(sub.to_owned()), role: Some("guest".to_owned()), ..Claims::default() }
    }

    struct Case {
        query: Option<&'static str>,
        header: Option<&'static str>,
        claims: Option<Claims>,
        admin: AdminKey,
        mode: IdentityMode,
    }

    const BARE: Case = Case {
        query: None,
        header: None,
        claims: None,
        admin: AdminKey::Absent,
        mode: IdentityMode::Verified,
    };

    fn run(case: &Case) -> Result<Option<(String, Proof)>, ApiError> {
        let evidence = Evidence {
            query_email: case.query,
            header_email: case.header,
            claims: case.claims.as_ref(),
            holder: None,
        };
        let caller = resolve(&evidence, case.admin, case.mode)?;
        Ok(caller.map(|caller| (caller.tenant.label().to_owned(), caller.proof)))
    }

    fn is(email: &str, proof: Proof) -> Result<Option<(String, Proof)>, ApiError> {
        Ok(Some((email.to_owned(), proof)))
    }

    #[test]
    fn an_address_alone_proves_nothing() {
        assert_eq!(run(&Case { query: Some("v@x.io"), ..BARE }), Err(ApiError::IdentityUnproven));
        assert_eq!(run(&Case { header: Some("v@x.io"), ..BARE }), Err(ApiError::IdentityUnproven));
        assert_eq!(run(&BARE), Ok(None));
    }

    #[test]
    fn a_token_may_not_be_contradicted() {
        let me = || Some(user("me@x.io"));
        assert_eq!(
            run(&Case { claims: me(), header: Some("v@x.io"), ..BARE }),
            Err(ApiError::IdentityMismatch)
        );
        assert_eq!(
            run(&Case { claims: me(), header: Some(" ME@x.io"), ..BARE }),
            is("me@x.io", Proof::Token)
        );
        let asserted = Case { claims: me(), query: Some("v@x.io"), mode: IdentityMode::Asserted, ..BARE };
        assert_eq!(run(&asserted), Err(ApiError::IdentityMismatch));
        let disagree = Case { claims: me(), query: Some("me@x.io"), header: Some("v@x.io"), ..BARE };
        assert_eq!(run(&disagree), Err(ApiError::IdentityMismatch));
    }

    #[test]
    fn a_guest_is_its_own_tenant_and_no_address() {
        let token = || Some(guest("victim@x.io"));
        assert_eq!(run(&Case { claims: token(), ..BARE }), is("victim@x.io", Proof::Token));
        let claims = guest("victim@x.io");
        let evidence = Evidence { claims: Some(&claims), ..Evidence::default() };
        let caller = resolve(&evidence, AdminKey::Absent, IdentityMode::Verified);
        assert!(caller.unwrap().unwrap().tenant.is_guest());
        assert_eq!(
            run(&Case { claims: token(), header: Some("victim@x.io"), ..BARE }),
            Err(ApiError::IdentityMismatch)
        );
    }

    #[test]
    fn a_guest_may_say_what_its_account_is_called_and_no_other_guests_name() {
        let own = "guest:7f0c1e0a-0000-4000-8000-000000000000";
        for mode in [IdentityMode::Verified, IdentityMode::Asserted] {
            let named = |query| Case { query: Some(query), claims: Some(guest(own)), mode, ..BARE };
            assert_eq!(run(&named(own)), is(own, Proof::Token));
            assert_eq!(run(&Case { header: Some(own), ..named(own) }), is(own, Proof::Token));
            let mixed = Case { header: Some("v@x.io"), ..named(own) };
            assert_eq!(run(&mixed), Err(ApiError::IdentityMismatch));
            let other = named("guest:7f0c1e0a-0000-4000-8000-000000000001");
            assert_eq!(run(&other), Err(ApiError::InvalidEmail));
            assert_eq!(run(&Case { claims: None, ..named(own) }), Err(ApiError::InvalidEmail));
            let user = Case { claims: Some(user("me@x.io")), ..named(own) };
            assert_eq!(run(&user), Err(ApiError::InvalidEmail));
        }
    }

    #[test]
    fn development_believes_an_address() {
        let asserted = Case { header: Some("dev@x.io"), mode: IdentityMode::Asserted, ..BARE };
        assert_eq!(run(&asserted), is("dev@x.io", Proof::Asserted));
        let beside_guest = Case { claims: Some(guest("guest:1")), ..asserted };
        assert_eq!(run(&beside_guest), Err(ApiError::IdentityMismatch), "a guest is somebody, too");
    }

    #[test]
    fn an_operator_acts_for_anybody_and_a_wrong_key_for_nobody() {
        let operator = Case { header: Some("v@x.io"), admin: AdminKey::Valid(Slot::First), ..BARE };
        assert_eq!(run(&operator), is("v@x.io", Proof::Admin));
        let named = "guest:7f0c1e0a-0000-4000-8000-000000000000";
        assert_eq!(run(&Case { header: Some(named), ..operator }), is(named, Proof::Admin));
        let wrong = Case { claims: Some(user("me@x.io")), admin: AdminKey::Invalid, ..BARE };
        assert_eq!(run(&wrong), Err(ApiError::Unauthorized));
    }

    #[test]
    fn odd_addresses_and_empty_tokens_are_told_apart() {
        assert_eq!(run(&Case { header: Some("a,b@x.io"), ..BARE }), Err(ApiError::InvalidEmail));
        assert_eq!(run(&Case { claims: Some(user("nobody")), ..BARE }), Err(ApiError::TokenInvalid));
        assert_eq!(run(&Case { claims: Some(Claims::default()), ..BARE }), Err(ApiError::TokenInvalid));
    }
}
