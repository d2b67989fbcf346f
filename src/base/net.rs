//! Addresses: where we listen, who calls, whom we trust.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use ipnet::IpNet;

/// Where a listener listens: `"0.0.0.0:8443"`, `"[::]:80"` or `"unix:/run/scopegate.sock"`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ListenAddress {
    /// An address and a port; port 0 lets the system pick.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only this machine can reach it: loopback, or a Unix socket.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// The text is no address to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidListenAddress;

impl fmt::Display for InvalidListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("write an IP address with a port, or unix: and a path")
    }
}

impl std::error::Error for InvalidListenAddress {}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        match text.strip_prefix("unix:") {
            Some("") => Err(InvalidListenAddress),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidListenAddress),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// The other end of a caller's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// An address that the kernel vouches for.
    Ip(SocketAddr),
    /// A process on this machine, over a Unix socket.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(SocketAddr::V4(address)) => {
                let mut text = V4Text::of(*address.ip());
                text.push(b":");
                text.push(itoa::Buffer::new().format(address.port()).as_bytes());
                formatter.write_str(text.as_str())
            }
            Self::Ip(address) => address.fmt(formatter),
            Self::Unix => formatter.write_str("unix"),
        }
    }
}

/// An address as [`IpAddr`] shows it, an IPv4 one for a fraction of the instructions: a line of the
/// access log has two.
#[derive(Clone, Copy, Debug)]
pub struct ShownIp(pub IpAddr);

impl fmt::Display for ShownIp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => formatter.write_str(V4Text::of(address).as_str()),
            IpAddr::V6(address) => address.fmt(formatter),
        }
    }
}

/// The text of an IPv4 address, with room for a port behind it.
struct V4Text {
    bytes: [u8; "255.255.255.255:65535".len()],
    length: usize,
}

impl V4Text {
    fn of(address: Ipv4Addr) -> Self {
        let mut text = Self { bytes: [0; _], length: 0 };
        for (index, octet) in address.octets().into_iter().enumerate() {
            if index > 0 {
                text.push(b".");
            }
            text.push(itoa::Buffer::new().format(octet).as_bytes());
        }
        text
    }

    fn push(&mut self, more: &[u8]) {
        let end = self.length + more.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(more);
            self.length = end;
        }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("")
    }
}

/// The proxies in front of us whose `Forwarded` and `X-Forwarded-*` count.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustedProxies(Box<[IpNet]>);

impl TrustedProxies {
    /// Trusts these networks, and nobody if there are none.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether `peer` may speak for others. IPv4 inside IPv6 counts as IPv4. A Unix socket is as
    /// open as its file mode says, so its peer is trusted only where any proxy is.
    pub fn trust(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => self.trust_ip(address.ip()),
            Peer::Unix => !self.0.is_empty(),
        }
    }

    /// Whether an address named in a forwarding header belongs to a trusted proxy.
    pub fn trust_ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }
}

/// Whether secrets and keys may travel to and from this URL: https to a name or a global or
/// private address, or plaintext http on loopback.
///
/// Link-local addresses are refused whatever the scheme: that is where clouds keep metadata, and a
/// discovered URL must not lead us there.
pub fn is_safe_endpoint(url: &Uri) -> bool {
    let Some(host) = url.host().filter(|host| !host.is_empty()) else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let has_userinfo = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if has_userinfo || ip.is_some_and(is_link_local) {
        return false;
    }
    let is_loopback = ip.map_or(bare.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback());
    match url.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback,
        _ => false,
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_the_standard_library_shows_them() {
        for text in ["0.0.0.0:0", "127.0.0.1:80", "255.255.255.255:65535", "9.10.99.100:1234"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Peer::Ip(address).to_string(), text);
            assert_eq!(ShownIp(address.ip()).to_string(), address.ip().to_string());
        }
        let address: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!(Peer::Ip(address).to_string(), "[2001:db8::1]:443");
        assert_eq!(ShownIp(address.ip()).to_string(), "2001:db8::1");
    }

    #[test]
    fn secrets_travel_over_tls_or_on_loopback_and_never_to_link_local_addresses() {
        for (url, safe) in [
            ("https://as.test/token", true),
            ("https://10.0.0.1/token", true),
            ("http://127.0.0.1:9000/token", true),
            ("http://[::1]:9000/token", true),
            ("http://localhost/token", true),
            ("http://as.test/token", false),
            ("http://10.0.0.1/token", false),
            ("https://169.254.169.254/latest", false),
            ("https://[::ffff:169.254.169.254]/latest", false),
            ("https://[fe80::1]/", false),
            ("http://0.0.0.0/", false),
            ("https://user@as.test/", false),
            ("ftp://as.test/", false),
            ("/token", false),
        ] {
            assert_eq!(is_safe_endpoint(&url.parse().unwrap()), safe, "{url}");
        }
    }

    #[test]
    fn a_listen_address_is_an_ip_with_a_port_or_a_unix_socket() {
        assert!(matches!("127.0.0.1:0".parse(), Ok(ListenAddress::Tcp(_))));
        assert!(matches!("unix:/run/a.sock".parse(), Ok(ListenAddress::Unix(_))));
        for wrong in ["", "unix:", "localhost:80", "127.0.0.1", ":80"] {
            assert_eq!(wrong.parse::<ListenAddress>(), Err(InvalidListenAddress), "{wrong}");
        }
    }

    #[test]
    fn nobody_is_trusted_unless_named() {
        let stranger = Peer::Ip("192.0.2.1:1".parse().unwrap());
        assert!(!TrustedProxies::default().trust(stranger));
        assert!(!TrustedProxies::default().trust(Peer::Unix));
        let trusted = TrustedProxies::new(["192.0.2.0/24".parse().unwrap()]);
        assert!(trusted.trust(stranger));
        assert!(trusted.trust_ip("::ffff:192.0.2.9".parse().unwrap()));
        assert!(!trusted.trust_ip("192.0.3.1".parse().unwrap()));
    }
}
