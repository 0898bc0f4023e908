//! Who plays in the table: a tenant of its own, a victim with credit, and the proofs they have.

use crate::table::Mode;
use http_tests::client::{Call, Client};
use http_tests::keys;
use http_tests::provider::Provider;
use http_tests::tokens::{honest_header, signed, signed_as, unsigned, user_claims, user_token, with};
use http_tests::world::{Tenant, World, text};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// What the victim has.
pub const VICTIM_CREDITS: f64 = 50.0;

pub struct Stage<'a> {
    pub world: &'a World,
    pub mode: Mode,
    pub client: Client,
    pub me: Tenant,
    pub victim: Tenant,
    pub guest_token: String,
    /// Where a forged header would have keys fetched from.
    pub lure: Provider,
}

impl<'a> Stage<'a> {
    pub async fn set(world: &'a World, mode: Mode) -> Self {
        let guest = world.client().post("/auth/guest").send().await.expect(200).json();
        Self {
            world,
            mode,
            client: world.client(),
            me: world.tenant("me", VICTIM_CREDITS).await,
            victim: world.tenant("victim", VICTIM_CREDITS).await,
            guest_token: text(&guest, "token").to_owned(),
            lure: Provider::start().await,
        }
    }

    /// An honest token of mine.
    pub fn mine(&self, call: Call) -> Call {
        call.user(&self.me.email)
    }

    /// A token with my claims, and these changes to header and claims, signed by the Worker's key.
    pub fn changed(&self, call: Call, header: Value, claims: Value) -> Call {
        let header = with(honest_header(), header);
        let claims = with(user_claims(&self.me.email), claims);
        call.bearer(&signed(&header, &claims, keys::worker()))
    }

    /// A token with my claims that nobody signed.
    pub fn unsigned(&self, call: Call) -> Call {
        let header = with(honest_header(), json!({"alg": "none"}));
        call.bearer(&format!("{}.", unsigned(&header, &user_claims(&self.me.email))))
    }

    /// The public key used as the secret of an HMAC.
    pub fn hmac(&self, call: Call) -> Call {
        let secret = EncodingKey::from_secret(keys::worker().public_pem().as_bytes());
        let header = with(honest_header(), json!({"alg": "HS256"}));
        call.bearer(&signed_as(&header, &user_claims(&self.me.email), &secret, Algorithm::HS256))
    }

    pub fn rs512(&self, call: Call) -> Call {
        let header = with(honest_header(), json!({"alg": "RS512"}));
        let claims = user_claims(&self.me.email);
        call.bearer(&signed_as(&header, &claims, &keys::worker().signing_key(), Algorithm::RS512))
    }

    pub fn strangers_key(&self, call: Call) -> Call {
        call.bearer(&signed(&honest_header(), &user_claims(&self.me.email), keys::foreign()))
    }

    /// My token as the cookie.
    pub fn cookie(&self, call: Call) -> Call {
        call.header("cookie", &format!("cog_auth_jwt={}", user_token(&self.me.email)))
    }
}
