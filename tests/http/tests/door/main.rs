//! Who is let in: users whom a backend or an issuer vouches for, people and not robots, and no address too often. Each
//! test has a configuration, and so a stack, of its own.

mod address_limits;
mod api_keys;
mod exchange;
mod turnstile;
mod user_tokens;
