//! The gateway's own clients of a new snapshot: one whose settings are equal is the same one, with
//! its tokens, as long as its authorization server and the client that acts for it are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::snapshot::{BuildError, Building, Snapshot};
use crate::config::{self, Grant};
use crate::grant::{Client, ExchangeClient, OwnClient};
use crate::outbound::OutboundError;
use crate::verify::Server;

impl Building<'_> {
    /// In the order of the configuration; those that another one's token names as actors first.
    pub(super) fn clients(&self, servers: &[Arc<Server>]) -> Result<Vec<Client>, BuildError> {
        let failed =
            |settings: &config::Client, error| BuildError::Client(settings.name.clone(), error);
        let mut own = BTreeMap::new();
        for (index, settings) in self.config.clients.iter().enumerate() {
            if settings.grant == Grant::ClientCredentials
                && let Some(server) = servers.get(settings.server)
            {
                let client = self.own_client(settings, server);
                own.insert(index, client.map_err(|error| failed(settings, error))?);
            }
        }
        let mut clients = Vec::with_capacity(self.config.clients.len());
        for (index, settings) in self.config.clients.iter().enumerate() {
            if let Some(client) = own.get(&index) {
                clients.push(Client::Own(Arc::clone(client)));
            } else if let Some(server) = servers.get(settings.server) {
                let client = self.exchange_client(settings, server, &own);
                let client = client.map_err(|error| failed(settings, error))?;
                clients.extend(client.map(Client::Exchange));
            }
        }
        Ok(clients)
    }

    fn own_client(
        &self,
        settings: &config::Client,
        server: &Arc<Server>,
    ) -> Result<Arc<OwnClient>, OutboundError> {
        let kept = self.clients_before().find_map(|client| match client {
            Client::Own(client) => Some(client).filter(|client| {
                client.settings() == settings && Arc::ptr_eq(client.server(), server)
            }),
            Client::Exchange(_) => None,
        });
        match kept {
            Some(kept) => Ok(Arc::clone(kept)),
            None => OwnClient::start(settings.clone(), Arc::clone(server), self.shared),
        }
    }

    fn exchange_client(
        &self,
        settings: &config::Client,
        server: &Arc<Server>,
        own: &BTreeMap<usize, Arc<OwnClient>>,
    ) -> Result<Option<Arc<ExchangeClient>>, OutboundError> {
        let actor = settings.grant.actor().and_then(|index| own.get(&index));
        let kept = self.clients_before().find_map(|client| match client {
            Client::Exchange(client) => Some(client).filter(|client| {
                client.settings() == settings
                    && Arc::ptr_eq(client.server(), server)
                    && client.actor().map(Arc::as_ptr) == actor.map(Arc::as_ptr)
            }),
            Client::Own(_) => None,
        });
        if let Some(kept) = kept {
            return Ok(Some(Arc::clone(kept)));
        }
        let bound = (self.config.caches.exchanged, self.shared);
        ExchangeClient::start(settings.clone(), Arc::clone(server), actor.map(Arc::clone), bound)
    }

    fn clients_before(&self) -> impl Iterator<Item = &Client> {
        self.before.into_iter().flat_map(Snapshot::clients)
    }
}
