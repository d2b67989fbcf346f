//! A client of the gateway's own, of either kind.

use std::sync::Arc;

use super::exchange::ExchangeClient;
use super::own_client::OwnClient;
use super::status::ClientStatus;
use crate::config;

/// One `[clients.NAME]`, live.
#[derive(Clone)]
pub enum Client {
    /// It has a token of its own.
    Own(Arc<OwnClient>),
    /// It exchanges callers' tokens.
    Exchange(Arc<ExchangeClient>),
}

impl Client {
    /// Its settings.
    pub fn settings(&self) -> &config::Client {
        match self {
            Self::Own(client) => client.settings(),
            Self::Exchange(client) => client.settings(),
        }
    }

    /// What `/status` shows.
    pub fn status(&self) -> ClientStatus {
        match self {
            Self::Own(client) => client.status(),
            Self::Exchange(client) => client.status(),
        }
    }
}
