//! How the certificates in use stand, for `/status` and `/metrics`.

use std::path::PathBuf;

use crate::base::certificate::not_after;
use crate::base::time::UnixSeconds;
use crate::config::{ClientIdentity, ListenerTls, UpstreamTls};

/// The certificates of a listener, or ours at an upstream; none where there is only a CA.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateStatus {
    /// `listeners.ADDRESS`, `upstreams.NAME`, `authorization_servers.NAME`, that with
    /// `.introspection`, or `clients.NAME`.
    pub used_by: String,
    /// When the files were read that are in use.
    pub read_at: UnixSeconds,
    /// Each file, and the end of the certificate in it.
    pub certificates: Vec<(PathBuf, Option<UnixSeconds>)>,
    /// What has stood in the files since and cannot be used: why, and since when.
    pub refused: Option<(UnixSeconds, String)>,
}

impl CertificateStatus {
    /// Of a listener.
    pub fn of_listener(used_by: String, tls: &ListenerTls, read_at: UnixSeconds) -> Self {
        let certificates = tls.pairs.iter().map(|pair| {
            let own = pair.certificate.first();
            (pair.certificate_file.clone(), own.and_then(|own| not_after(own)))
        });
        Self { used_by, read_at, certificates: certificates.collect(), refused: None }
    }

    /// Of an upstream.
    pub fn of_upstream(used_by: String, tls: &UpstreamTls, read_at: UnixSeconds) -> Self {
        let certificates = tls.identity.iter().zip(&tls.identity_files).map(|(ours, files)| {
            let own = ours.0.first();
            (files.0.clone(), own.and_then(|own| not_after(own)))
        });
        Self { used_by, read_at, certificates: certificates.collect(), refused: None }
    }

    /// Of a client of ours at an authorization server.
    pub fn of_client(used_by: String, identity: &ClientIdentity, read_at: UnixSeconds) -> Self {
        let own = identity.certificate.first();
        let end = own.and_then(|own| not_after(own));
        let certificates = vec![(identity.certificate_file.clone(), end)];
        Self { used_by, read_at, certificates, refused: None }
    }

    /// Of an authorization server: we show it none.
    pub fn of_server(used_by: String, read_at: UnixSeconds) -> Self {
        Self { used_by, read_at, certificates: Vec::new(), refused: None }
    }

    /// The first moment at which one of them is no longer good.
    pub fn first_end(&self) -> Option<UnixSeconds> {
        self.certificates.iter().filter_map(|(_, end)| *end).min()
    }
}
