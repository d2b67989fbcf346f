//! `[[listeners]]` and `[admin]`.

use std::time::Duration;

use super::binding;
use crate::base::net::{ListenAddress, TrustedProxies};
use crate::config::context::Spot;
use crate::config::files;
use crate::config::problem::Told;
use crate::config::reader::all as read_all;
use crate::config::table::Table;
use crate::config::tls::{ListenerTlsError, TlsError, server_config};
use crate::config::value::{Zero, duration, size};
use crate::config::{
    Admin, CertificatePair, ClientCertificates, Listener, ListenerLimits, ListenerTls,
};

/// Every listener, with the place of its address.
pub(super) fn all<'c>(top: &mut Table<'c>) -> Result<Vec<(Listener, Spot<'c>)>, Told> {
    let write = "write [[listeners]] with address = \"0.0.0.0:8443\"";
    let listeners = top.must("listeners", write, |value| value.items(write))?;
    read_all(listeners.into_iter().map(|value| value.table(listener)))
}

/// The admin listener.
pub(super) fn admin(top: &mut Table<'_>) -> Result<Option<Admin>, Told> {
    top.option("admin", |value| {
        value.table(|table| {
            let address = address(table);
            let token = table.option("authorization", |value| {
                value.table(|table| {
                    let write = "write authorization = { token = { file = \"secrets/admin\" } }";
                    table.must("token", write, files::secret)
                })
            });
            let refusals = table.or("refusals", 0, |value| {
                value.whole(0..=REFUSALS_MAX).map(|number| number as usize)
            });
            Ok(Admin { address: address?.0, token: token?, refusals: refusals? })
        })
    })
}

fn listener<'c>(table: &mut Table<'c>) -> Result<(Listener, Spot<'c>), Told> {
    let address = address(table);
    let tls = table.option("tls", |value| {
        let spot = value.spot().clone();
        value.table(|table| tls(table, &spot))
    });
    let trusted_proxies = table.or("trusted_proxies", TrustedProxies::default(), |value| {
        let write = "write networks such as [\"10.0.0.0/8\", \"192.0.2.1/32\"]";
        value.each(write, |value| value.parse(write, network)).map(TrustedProxies::new)
    });
    let certificate_header = table.option("client_certificate_header", |value| {
        let spot = value.spot().clone();
        value.table(binding::certificate_header).map(|header| (header, spot))
    });
    let proxy_protocol = table.or("proxy_protocol", (false, None), |value| {
        value.boolean().map(|is_on| (is_on, Some(value.spot().clone())))
    });
    let limits = table.section("limits", limits);
    let (address, spot) = address?;
    let (tls, trusted_proxies, limits) = (tls?, trusted_proxies?, limits?);
    let (proxy_protocol, proxy_spot) = proxy_protocol?;
    let (client_certificate_header, header_spot) = certificate_header?.unzip();
    let trusts_nobody = trusted_proxies == TrustedProxies::default();
    let write = "write trusted_proxies = [\"10.0.0.0/8\"]: from where the proxies connect";
    if proxy_protocol && trusts_nobody {
        let what = "without `trusted_proxies` anybody could choose an address";
        return Err(proxy_spot.as_ref().unwrap_or(&spot).wrong(what, write));
    }
    if let Some(spot) = header_spot.filter(|_| trusts_nobody) {
        return Err(spot.wrong("without `trusted_proxies` it counts from nobody", write));
    }
    let listener = Listener {
        address,
        tls,
        trusted_proxies,
        client_certificate_header,
        proxy_protocol,
        limits,
    };
    Ok((listener, spot))
}

fn address<'c>(table: &mut Table<'c>) -> Result<(ListenAddress, Spot<'c>), Told> {
    let write =
        "write address = \"0.0.0.0:8443\", \"127.0.0.1:8080\" or \"unix:/run/scopegate.sock\"";
    table.must("address", write, |value| {
        let address: ListenAddress = value.parse(write, str::parse)?;
        let spot = value.spot().clone();
        // Port 0 is another one each time.
        if !matches!(&address, ListenAddress::Tcp(address) if address.port() == 0) {
            spot.only("address", &address.to_string(), "give each listener an address of its own")?;
        }
        Ok((address, spot))
    })
}

/// A network; a lone address is the network of itself.
fn network(text: &str) -> Result<ipnet::IpNet, &'static str> {
    let network = text.parse().ok();
    let network = network.or_else(|| text.parse::<std::net::IpAddr>().ok().map(Into::into));
    network.ok_or("neither an IP address nor a network")
}

fn tls(table: &mut Table<'_>, spot: &Spot<'_>) -> Result<ListenerTls, Told> {
    let first = pair(table);
    let write = "write certificates = [{ certificate = \"tls/b.crt\", key = \"tls/b.key\" }]";
    let more = table.option("certificates", |value| {
        value.each(write, |value| {
            let spot = value.spot().clone();
            value.table(pair).map(|pair| (pair, spot))
        })
    });
    let client_ca = table.option("client_ca", |value| files::with_path(&value, files::authorities));
    let client_certificates =
        table.or("client_certificates", ClientCertificates::default(), |value| {
            value.word(&[("request", ClientCertificates::Request)])
        });
    let (first, more, client_ca) = (first?, more?.unwrap_or_default(), client_ca?);
    let client_certificates = client_certificates?;
    let (more, spots): (Vec<_>, Vec<_>) = more.into_iter().unzip();
    let (client_ca, client_ca_file) = client_ca.unzip();
    let pairs = std::iter::once(first).chain(more).collect();
    let tls = ListenerTls { pairs, client_ca, client_ca_file, client_certificates };
    match server_config(&tls) {
        Ok(_) => Ok(tls),
        Err(ListenerTlsError { pair, error }) => {
            let at = pair.and_then(|pair| pair.checked_sub(1)).and_then(|more| spots.get(more));
            let write = match error {
                TlsError::NameTwice(_) | TlsError::NoName => {
                    "each certificate answers to the names in it: take one of them out"
                }
                _ => "name a certificate chain, and the key of its first",
            };
            Err(at.unwrap_or(spot).wrong(error, write))
        }
    }
}

fn pair(table: &mut Table<'_>) -> Result<CertificatePair, Told> {
    let certificate = table.must("certificate", "write certificate = \"tls/tls.crt\"", |value| {
        files::with_path(&value, files::certificates)
    });
    let key = table.must("key", "write key = \"tls/tls.key\"", |value| {
        files::with_path(&value, files::private_key)
    });
    let ((certificate, certificate_file), (key, key_file)) = (certificate?, key?);
    Ok(CertificatePair { certificate, key, certificate_file, key_file })
}

fn limits(table: &mut Table<'_>) -> Result<ListenerLimits, Told> {
    let connections = table.or("connections", 10_000, |value| {
        value.whole(1..=CONNECTIONS_MAX).map(|number| number as usize)
    });
    let header_max = table.or("header_max", 64 * 1024, |value| {
        usize::try_from(size(&value)?)
            .ok()
            .filter(|bytes| (HEADER_MAX_LEAST..=HEADER_MAX_MOST).contains(bytes))
            .ok_or_else(|| value.wrong("out of bounds", "write a size from \"8KiB\" to \"1MiB\""))
    });
    let header_timeout = table
        .or("header_timeout", Duration::from_secs(10), |value| duration(&value, Zero::Refused));
    let idle_timeout =
        table.or("idle_timeout", Duration::from_secs(75), |value| duration(&value, Zero::Refused));
    Ok(ListenerLimits {
        connections: connections?,
        header_max: header_max?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
    })
}

/// More than a process gets file descriptors for.
const CONNECTIONS_MAX: u32 = 1_000_000;

/// Some 3 KiB each at most.
const REFUSALS_MAX: u32 = 100_000;

/// hyper's HTTP/1 buffer has at least so much.
const HEADER_MAX_LEAST: usize = 8 * 1024;

/// Times the number of connections, it is what callers can make us hold.
const HEADER_MAX_MOST: usize = 1024 * 1024;
