//! Who is let in: users whom a backend or an issuer vouches for, people and not robots, and no address too often; how
//! large a request may be, and what of it is told to whom.

mod address_limits;
mod admin_keys;
mod api_keys;
mod canaries;
mod cookies;
mod credentials;
mod exchange;
mod limits;
mod log_lines;
mod oidc;
mod public_keys;
mod rotation;
mod turnstile;
mod user_tokens;
