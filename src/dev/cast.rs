//! Who plays in `scopegate dev`: four clients and the tokens that the curl lines carry.

use std::time::Duration;

use super::authorization_server::{
    AuthorizationServer, MintError, RegisteredClient, TokenFacts, TokenFormat, tampered,
};
use crate::base::secret::Secret;
use crate::base::time::UnixSeconds;
use crate::oauth::{Audience, ClientId, ScopeSet};

/// What the tokens are for: the `aud` of each.
pub(super) const RESOURCE: &str = "https://orders.example";

/// One client. The secrets are no secrets: they open nothing but this, and it is on loopback.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    pub(super) id: &'static str,
    pub(super) secret: &'static str,
    scopes: &'static str,
    format: TokenFormat,
}

impl Cast {
    /// A caller with signed tokens.
    pub(super) const SHOP: Self = Self {
        id: "shop",
        secret: "shop-secret",
        scopes: "orders:read orders:write",
        format: TokenFormat::Jwt,
    };
    /// A caller with opaque tokens.
    pub(super) const MOBILE: Self = Self {
        id: "mobile",
        secret: "mobile-secret",
        scopes: "orders:read",
        format: TokenFormat::Opaque,
    };
    /// The gateway, when it asks about opaque tokens.
    pub(super) const GATEWAY: Self =
        Self { id: "gateway", secret: "gateway-secret", scopes: "", format: TokenFormat::Jwt };
    /// The gateway, when it calls the API in its own name.
    pub(super) const REPORTS: Self = Self {
        id: "reports",
        secret: "reports-secret",
        scopes: "reports:read",
        format: TokenFormat::Jwt,
    };
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::SHOP, Self::MOBILE, Self::GATEWAY, Self::REPORTS];

    /// As it is registered at the authorization server.
    pub(super) fn registered(self) -> RegisteredClient {
        RegisteredClient {
            id: ClientId::new(self.id),
            secret: Secret::new(self.secret),
            scopes: ScopeSet::from_claim(self.scopes),
            format: self.format,
        }
    }
}

/// The tokens of the curl lines.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Opens `/orders/{id}`.
    pub(super) good: String,
    /// Is good and carries another scope.
    pub(super) profile: String,
    /// Was good until half an hour ago: longer than any clock skew.
    pub(super) expired: String,
    /// The good one with a scope written into it by hand.
    pub(super) tampered: String,
    /// Opens `/orders/{id}` too, and only the authorization server knows.
    pub(super) opaque: String,
}

impl Tokens {
    /// Makes them all.
    pub(super) fn mint(server: &AuthorizationServer, now: UnixSeconds) -> Result<Self, MintError> {
        let of = |client: Cast, scopes: &str, issued: UnixSeconds| TokenFacts {
            client_id: ClientId::new(client.id),
            scopes: ScopeSet::from_claim(scopes),
            audiences: vec![Audience::new(RESOURCE)],
            issued,
            expires: issued.plus(LIFETIME),
        };
        let good = server.jwt(&of(Cast::SHOP, "orders:read", now))?;
        let long_ago = now.minus(LIFETIME + HALF_AN_HOUR);
        Ok(Self {
            profile: server.jwt(&of(Cast::SHOP, "profile", now))?,
            expired: server.jwt(&of(Cast::SHOP, "orders:read", long_ago))?,
            tampered: tampered(&good).ok_or(MintError)?,
            opaque: server.opaque(of(Cast::MOBILE, "orders:read", now), now)?,
            good,
        })
    }
}

/// Long enough for an evening with it.
const LIFETIME: Duration = Duration::from_secs(8 * 3600);
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);
