//! When a certificate ends (RFC 5280 §4.1.2.5).

use x509_parser::parse_x509_certificate;

use super::time::UnixSeconds;

/// The last moment at which a certificate is good; `None` if it cannot be read.
///
/// For showing it alone: whether to trust a certificate is decided by the TLS library.
pub fn not_after(certificate: &[u8]) -> Option<UnixSeconds> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    Some(UnixSeconds::new(certificate.validity().not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 2, 3);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn rfc5280_4_1_2_5_the_end_is_read_in_both_notations() {
        for (year, end) in [(2030, 1_896_307_200), (2049, 2_495_923_200), (2060, 2_842_992_000)] {
            assert_eq!(not_after(&certificate(year)), Some(UnixSeconds::new(end)), "{year}");
        }
    }

    #[test]
    fn what_is_cut_short_or_changed_has_no_end_or_another_one_and_never_panics() {
        let whole = certificate(2030);
        for length in 0..whole.len() {
            let _ = not_after(&whole[..length]);
            let mut changed = whole.clone();
            changed[length] ^= 0xff;
            let _ = not_after(&changed);
        }
        assert_eq!(not_after(&whole[..100]), None);
    }
}
