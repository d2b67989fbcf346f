//! Which hosts a listener's certificate speaks for (RFC 9110 §7.4).

use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName};

/// A listener's own certificate, in a form that can be asked.
#[derive(Debug)]
pub struct OwnCertificate(CertificateDer<'static>);

impl OwnCertificate {
    /// Takes the first certificate of a chain.
    ///
    /// # Errors
    /// When there is none, or it cannot be parsed.
    pub fn new(chain: &[CertificateDer<'static>]) -> Result<Self, String> {
        let own = chain.first().ok_or("there is no certificate")?;
        ParsedCertificate::try_from(own).map_err(|error| error.to_string())?;
        Ok(Self(own.clone()))
    }

    /// Whether the certificate names this host, given in its normal form.
    ///
    /// Parses the certificate: a connection asks once per host, not once per request.
    pub fn speaks_for(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(name) = ServerName::try_from(bare) else {
            return false;
        };
        ParsedCertificate::try_from(&self.0)
            .is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_speaks_for_the_names_in_it_and_for_no_other() {
        let names = ["api.test", "*.wild.test", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let own = OwnCertificate::new(&[made.cert.der().clone()]).unwrap();
        for (host, expected) in [
            ("api.test", true),
            ("one.wild.test", true),
            ("127.0.0.1", true),
            ("two.one.wild.test", false),
            ("evil.test", false),
            ("[::1]", false),
            ("not a host", false),
        ] {
            assert_eq!(own.speaks_for(host), expected, "{host}");
        }
        assert!(OwnCertificate::new(&[]).is_err());
    }
}
