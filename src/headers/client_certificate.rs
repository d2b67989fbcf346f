//! The certificate that a caller showed to the proxy in front, as that tells it.
//!
//! Only a trusted proxy may tell; who is one, and that no caller's word is taken for its, is up to
//! whoever asks here. What cannot be read is no certificate: a token that is bound to one is then
//! refused.

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::quoted::{Pieces, is_whole};
use crate::oauth::Thumbprint;

/// `client_certificate_header` of a listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateHeader {
    /// Where it stands.
    pub name: HeaderName,
    /// How it is written there.
    pub format: CertificateFormat,
}

/// How a proxy writes down a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CertificateFormat {
    /// Envoy's `x-forwarded-client-cert`: elements with commas between them, of pairs with semicolons
    /// between them, of which `Hash` (SHA-256 in hex) or else `Cert` counts (percent-encoded PEM).
    Envoy,
    /// nginx's `$ssl_client_escaped_cert`: percent-encoded PEM.
    Nginx,
}

impl CertificateHeader {
    /// The thumbprint of the certificate that a request's header section tells of.
    pub fn thumbprint(&self, headers: &HeaderMap) -> Option<Thumbprint> {
        let mut lines = headers.get_all(&self.name).iter();
        match self.format {
            CertificateFormat::Envoy => {
                let lines: Result<Vec<&str>, _> = lines.map(|line| line.to_str()).collect();
                of_envoy(&lines.ok()?.join(","))
            }
            CertificateFormat::Nginx => {
                let line = lines.next().filter(|_| lines.next().is_none())?;
                of_pem(line.as_bytes())
            }
        }
    }
}

/// What the last proxy added stands last: what is before it may be anybody's word, and where a quote
/// in it is not as Envoy writes them, nobody can say where that word ends.
fn of_envoy(lines: &str) -> Option<Thumbprint> {
    if !is_whole(lines, b",;") {
        return None;
    }
    let element = Pieces::of(lines, b',').last()?;
    let (mut hash, mut certificate) = (None, None);
    for pair in Pieces::of(element, b';') {
        let (key, value) = pair.trim().split_once('=')?;
        let place = if key.eq_ignore_ascii_case("Hash") {
            &mut hash
        } else if key.eq_ignore_ascii_case("Cert") {
            &mut certificate
        } else {
            continue;
        };
        // Twice has two readings.
        if place.replace(unquoted(value)).is_some() {
            return None;
        }
    }
    match (hash, certificate) {
        (Some(hash), _) => Thumbprint::from_hex(hash),
        (None, Some(certificate)) => of_pem(certificate.as_bytes()),
        (None, None) => None,
    }
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// The first certificate of a percent-encoded PEM text: the caller's own, before its issuers'.
fn of_pem(escaped: &[u8]) -> Option<Thumbprint> {
    let pem: Vec<u8> = percent_decode(escaped).collect();
    let certificate = CertificateDer::from_pem_slice(&pem).ok()?;
    Some(Thumbprint::of(&certificate))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn escaped(pem: &str) -> String {
        percent_encoding::utf8_percent_encode(pem, percent_encoding::NON_ALPHANUMERIC).to_string()
    }

    fn certificate() -> (String, Thumbprint) {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        let made = made.self_signed(&key).unwrap();
        (made.pem(), Thumbprint::of(made.der()))
    }

    fn read(format: CertificateFormat, lines: &[&str]) -> Option<Thumbprint> {
        let name = HeaderName::from_static("x-forwarded-client-cert");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_str(line).unwrap());
        }
        CertificateHeader { name, format }.thumbprint(&headers)
    }

    #[test]
    fn envoy_names_the_hash_or_the_certificate_and_its_last_element_counts() {
        let (pem, whose) = certificate();
        let hash: String = whose.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let other = "0".repeat(64);
        let pem = escaped(&pem);
        #[rustfmt::skip]
        let cases = [
            (format!("Hash={hash}"),                                        true),
            (format!("By=spiffe://a;Hash={hash};Subject=\"CN=a,O=b;c\";URI=spiffe://d"), true),
            (format!("hash={}", hash.to_uppercase()),                       true),
            (format!("Cert=\"{pem}\""),                                     true),
            (format!("Cert={pem};Chain=\"{pem}\""),                         true),
            (format!("Hash={other},By=x;Hash={hash}"),                      true),
            (format!("Subject=\"a\\\"b,Hash={other}\";Hash={hash}"),        true),
            (format!("Hash={hash},By=x;Hash={other}"),                      false),
            (format!("Hash={hash},By=x"),                                   false),
            (format!("Hash={hash};Hash={hash}"),                            false),
            (format!("Subject=\"Hash={hash}\""),                            false),
            (format!("Hash=\"{hash}"),                                      false),
            (format!("Hash={}", hash.get(1..).unwrap()),                                false),
            ("Hash=".to_owned(),                                            false),
            (String::new(),                                                 false),
        ];
        for (line, is_it) in cases {
            let found = read(CertificateFormat::Envoy, &[&line]);
            assert_eq!(found == Some(whose), is_it, "{line}");
        }
        let (strange, own) = (format!("Hash={other}"), format!("Hash={hash}"));
        assert_eq!(read(CertificateFormat::Envoy, &[&strange, &own]), Some(whose));
        assert_eq!(read(CertificateFormat::Envoy, &[]), None);
    }

    #[test]
    fn no_quote_of_a_caller_hides_what_envoy_adds() {
        let (pem, whose) = certificate();
        let hash: String = whose.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let other = "0".repeat(64);
        let pem = escaped(&pem);
        // What Envoy adds to a line that its caller sent.
        let added = [
            format!("By=spiffe://a;Hash={other}"),
            format!("By=spiffe://a;Hash={other};Subject=\"\";URI=spiffe://d"),
            format!("Hash={other};Cert=\"{pem}\";Subject=\"CN=a\\\"b,O=c\";URI=;DNS=a.test"),
        ];
        let sent = ["X=\"", "X=\"\\", "X=\"a\\\\", "X=\"a\"b\"", "X=a\"", "\"", "X=\"a\"\""];
        for sent in sent.map(|quote| format!("Hash={hash};{quote}")) {
            for added in &added {
                let one = format!("{sent},{added}");
                assert_eq!(read(CertificateFormat::Envoy, &[&one]), None, "{one}");
                assert_eq!(read(CertificateFormat::Envoy, &[&sent, added]), None, "{one}");
            }
            assert_eq!(read(CertificateFormat::Envoy, &[&sent]), None, "{sent}");
        }
        for line in ["\u{e9}", &format!("X=\"a\";Hash={other},\u{e9}")] {
            let lines = [line, &format!("Hash={hash}")];
            assert_eq!(read(CertificateFormat::Envoy, &lines), None, "{line}");
        }
    }

    #[test]
    fn nginx_escapes_the_certificate_which_stands_there_once() {
        let (pem, whose) = certificate();
        let line = escaped(&pem);
        assert_eq!(read(CertificateFormat::Nginx, &[&line]), Some(whose));
        assert_eq!(read(CertificateFormat::Nginx, &[&line, &line]), None);
        for line in ["", "%", "-----BEGIN%20CERTIFICATE-----", line.get(..line.len() / 2).unwrap()]
        {
            assert_eq!(read(CertificateFormat::Nginx, &[line]), None, "{line}");
        }
    }
}
