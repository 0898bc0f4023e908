//! Who else is believed about who is calling: issuers of ID tokens, and the service that tells people from robots.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use super::Environment;
use super::providers::safe_url;
use super::reader::Reader;

/// An issuer whose ID tokens are exchanged for ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// Exactly as its tokens say it.
    pub issuer: String,
    /// Client ids that its tokens may be for.
    pub audiences: Vec<String>,
    /// Domains whose addresses it may vouch for, in lower case; `None` is any.
    pub email_domains: Option<Vec<String>>,
    /// Where it publishes what it is.
    pub discovery: Url,
}

impl TrustedIssuer {
    /// Whether it is believed about `email`, an address in its canonical form. A domain's subdomains are others.
    pub fn may_vouch_for(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| domain);
        match &self.email_domains {
            None => true,
            Some(domains) => domains.iter().any(|known| Some(known.as_str()) == domain),
        }
    }
}

/// Cloudflare Turnstile. No `Debug`: the secret must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Turnstile {
    pub secret: String,
    pub verify_url: Url,
    /// Names of the pages that may show the challenge.
    pub hostnames: Vec<String>,
}

/// Issuers that may be trusted at one time.
const ISSUERS_MAX: usize = 16;
const VERIFY_URL: &str = "https://challenges.cloudflare.com/turnstile/v0/siteverify";

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

/// An issuer as it is configured: the client id, or ids, alone, or with the domains it may vouch for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Terms {
    Plain(Audiences),
    Full(FullTerms),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullTerms {
    audiences: Audiences,
    email_domains: Option<Vec<String>>,
}

/// Domains that one issuer may vouch for.
const EMAIL_DOMAINS_MAX: usize = 64;

/// Reads `TRUSTED_ISSUERS`: a JSON object, an issuer's URL to the client id, or ids, that its tokens must be for, or to
/// `{audiences, email_domains}`.
pub(super) fn trusted_issuers(reader: &mut Reader<'_>, environment: Environment) -> Vec<TrustedIssuer> {
    let Some(text) = (reader.look_up)("TRUSTED_ISSUERS") else {
        return Vec::new();
    };
    let table: BTreeMap<String, Terms> = serde_json::from_str(&text).unwrap_or_default();
    let found = table.into_iter().map(|(issuer, terms)| {
        let (audiences, domains) = match terms {
            Terms::Plain(audiences) => (audiences, None),
            Terms::Full(full) => (full.audiences, full.email_domains),
        };
        let audiences = match audiences {
            Audiences::One(one) => vec![one],
            Audiences::Several(several) => several,
        };
        let email_domains = match domains {
            None => None,
            Some(domains) => Some(email_domains(&domains)?),
        };
        let named = !audiences.is_empty() && audiences.iter().all(|audience| !audience.trim().is_empty());
        let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let discovery = safe_url(&discovery, environment).filter(|_| named && !issuer.contains('?'))?;
        Some(TrustedIssuer { issuer, audiences, email_domains, discovery })
    });
    let found: Option<Vec<TrustedIssuer>> = found.collect();
    match found.filter(|issuers| !issuers.is_empty() && issuers.len() <= ISSUERS_MAX) {
        Some(issuers) => issuers,
        None => {
            reader.problem(
                "TRUSTED_ISSUERS",
                format!(
                    "give a JSON object of at most {ISSUERS_MAX} issuers: an https URL to the client id, or a list of \
                     them, that its tokens are for, or to {{\"audiences\": …, \"email_domains\": [\"example.com\"]}} with \
                     1 to {EMAIL_DOMAINS_MAX} domains"
                ),
            );
            Vec::new()
        }
    }
}

/// Domains as addresses have them; `None` when one is none, or there are none at all: such an issuer would be believed
/// about nobody.
fn email_domains(listed: &[String]) -> Option<Vec<String>> {
    let domains: Option<Vec<String>> = listed
        .iter()
        .map(|domain| {
            let address = actors::shared::TenantId::from_email(&format!("x@{}", domain.trim())).ok()?;
            address.label().rsplit_once('@').map(|(_, domain)| domain.to_owned())
        })
        .collect();
    domains.filter(|domains| (1..=EMAIL_DOMAINS_MAX).contains(&domains.len()))
}

/// Reads `TURNSTILE_SECRET` and, with it, where the challenge may be shown: `TURNSTILE_HOSTNAMES`, or the hosts of
/// the allowed origins.
pub(super) fn turnstile(
    reader: &mut Reader<'_>,
    environment: Environment,
    origins: &[String],
) -> Option<Turnstile> {
    let secret = (reader.look_up)("TURNSTILE_SECRET").filter(|secret| !secret.trim().is_empty())?;
    let mut address = VERIFY_URL.to_owned();
    if environment == Environment::Development {
        address = reader.text("TURNSTILE_VERIFY_URL", VERIFY_URL);
    }
    let Some(verify_url) = safe_url(&address, environment) else {
        reader
            .problem("TURNSTILE_VERIFY_URL", "give an https URL; plain http is for loopback in development");
        return None;
    };
    let listed = reader.text("TURNSTILE_HOSTNAMES", "");
    let mut hostnames: Vec<String> = listed
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    if hostnames.is_empty() {
        let concrete = origins.iter().filter(|origin| !origin.contains('*'));
        let hosts = concrete.filter_map(|origin| Url::parse(origin).ok()?.host_str().map(str::to_owned));
        hostnames = hosts.collect();
    }
    if hostnames.is_empty() {
        reader.problem("TURNSTILE_HOSTNAMES", "name the hosts of the pages that show the challenge");
        return None;
    }
    Some(Turnstile { secret: secret.trim().to_owned(), verify_url, hostnames })
}
