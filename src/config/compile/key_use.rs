//! For which authorization servers a key signs.
//!
//! The token endpoint that a server names is only what that server says of itself. A bad one can
//! name another's, and present there the assertion that it was sent (RFC 9700 §2.1): a key whose
//! assertions are for a token endpoint must be of no use anywhere else.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::Tables;
use super::client::Client;
use super::server::Server;
use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::reader::all;
use crate::config::{
    AssertionAudience, AssertionKey, ClientAuthentication, ClientAuthenticationMethod,
};

/// One place where a key signs for a server.
struct Use<'a, 'c> {
    server: usize,
    audience: AssertionAudience,
    key: Box<[u8]>,
    at: &'a Spot<'c>,
}

/// One mistake for each place whose key also signs for another server, if either for its token
/// endpoint. It names the first such place before it.
pub(super) fn check(
    servers: &Tables<Server<'_>>,
    clients: &Tables<Client<'_>>,
) -> Result<(), Told> {
    let of_servers = servers.good_ones().filter_map(|(index, server)| {
        let introspection = server.settings.introspection.as_ref()?;
        Use::of(index, &introspection.client, server.key_at.as_ref()?)
    });
    let of_clients = clients.good_ones().filter_map(|(_, client)| {
        let settings = &client.settings;
        Use::of(settings.server, &settings.authentication, client.key_at.as_ref()?)
    });
    let uses: Vec<Use<'_, '_>> = of_servers.chain(of_clients).collect();
    let told = uses.iter().enumerate().filter_map(|(index, one)| {
        let other = uses.iter().take(index).find(|other| one.clashes_with(other))?;
        let what = format!(
            "this key also signs for another authorization server, at {}, and one of the two takes \
             assertions for its token endpoint, which the other could present there (RFC 9700 §2.1)",
            other.at.shown()
        );
        Some(one.at.wrong(what, "use a key of its own for each authorization server"))
    });
    all(told.map(Err::<(), Told>)).map(drop)
}

impl<'a, 'c> Use<'a, 'c> {
    fn of(server: usize, client: &ClientAuthentication, at: &'a Spot<'c>) -> Option<Self> {
        match &client.method {
            ClientAuthenticationMethod::PrivateKeyJwt(key) => {
                Some(Self { server, audience: key.audience, key: identity(key), at })
            }
            // A handshake proves a key to the one that it is made with, and to nobody else.
            ClientAuthenticationMethod::SecretBasic(..)
            | ClientAuthenticationMethod::SecretPost(_)
            | ClientAuthenticationMethod::Tls(_) => None,
        }
    }

    fn clashes_with(&self, other: &Self) -> bool {
        let is_for_endpoint =
            [self.audience, other.audience].contains(&AssertionAudience::TokenEndpoint);
        is_for_endpoint && self.server != other.server && self.key == other.key
    }
}

/// What makes it the same key, however it is written down: its public half. Two files can have one
/// key in them, in PEMs that differ.
fn identity(key: &AssertionKey) -> Box<[u8]> {
    let pem = key.pem.expose().as_bytes();
    let public = || {
        let private = PrivateKeyDer::from_pem_slice(pem).ok()?;
        Some(any_supported_type(&private).ok()?.public_key()?.to_vec())
    };
    // A key that only the library that signs can read is compared as it stands.
    public().unwrap_or_else(|| pem.to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::oauth::{Algorithm, SignatureAlgorithm};

    #[test]
    fn a_key_is_the_same_however_its_pem_is_written() {
        let key = |pem: String| AssertionKey {
            pem: Secret::new(pem),
            algorithm: Algorithm::Signature(SignatureAlgorithm::Es256),
            key_id: None,
            audience: AssertionAudience::Issuer,
        };
        for kind in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
            let pem = || rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem();
            let (one, other) = (pem(), pem());
            let written_anew = format!("# of 2025\n{}\n\n", one.replace('\n', "\r\n"));
            assert_eq!(identity(&key(one.clone())), identity(&key(written_anew)));
            assert_ne!(identity(&key(one.clone())), identity(&key(other)));
            assert!(
                identity(&key(one.clone())).len() < one.len(),
                "the public half, and not the PEM"
            );
        }
    }
}
