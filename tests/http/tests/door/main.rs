//! Who is let in: users whom a backend or an issuer vouches for, people and not robots, and no address too often. Each
//! test has a configuration, and so a stack, of its own.

mod address_limits;
mod admin_keys;
mod api_keys;
mod cookies;
mod exchange;
mod oidc;
mod rotation;
mod turnstile;
mod user_tokens;
