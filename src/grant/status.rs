//! What `/status` shows of a client.

use std::time::Duration;

use serde::Serialize;

use super::own_token::Granted;
use crate::config::Client;
use crate::oauth::ScopeSet;

/// A client of the gateway's own, as `/status` shows it. No secret and no token.
#[derive(Clone, Debug, Serialize)]
pub struct ClientStatus {
    name: String,
    client_id: String,
    authorization_server: String,
    /// `grant` of its table.
    grant: &'static str,
    asked_scopes: Vec<String>,
    granted_scopes: Option<Vec<String>>,
    missing_scopes: Vec<String>,
    /// By type, of those asked for.
    missing_authorization_details: Vec<String>,
    expires_in_s: Option<u64>,
    last_error: Option<&'static str>,
}

impl ClientStatus {
    /// `granted` is what the last answer gave; none before the first.
    pub(super) fn new(client: &Client, server: &str, granted: Option<&Granted>) -> Self {
        let missing = granted.map(|granted| client.scopes.missing_from(&granted.scopes));
        let details = granted.map(|granted| granted.missing_details.iter());
        Self {
            name: client.name.to_string(),
            client_id: client.authentication.client_id.to_string(),
            authorization_server: server.to_owned(),
            grant: client.grant.name(),
            asked_scopes: names(&client.scopes),
            granted_scopes: granted.map(|granted| names(&granted.scopes)),
            missing_scopes: missing.as_ref().map(names).unwrap_or_default(),
            missing_authorization_details: details
                .into_iter()
                .flatten()
                .map(|kind| kind.to_string())
                .collect(),
            expires_in_s: None,
            last_error: None,
        }
    }

    /// With what is left of a token that is held.
    pub(super) fn left(self, left: Option<Duration>) -> Self {
        Self { expires_in_s: left.map(|left| left.as_secs()), ..self }
    }

    /// With the stable word of what went wrong last, if that was not made good since.
    pub(super) fn error(self, last_error: Option<&'static str>) -> Self {
        Self { last_error, ..self }
    }
}

fn names(scopes: &ScopeSet) -> Vec<String> {
    scopes.iter().map(|scope| scope.to_string()).collect()
}
