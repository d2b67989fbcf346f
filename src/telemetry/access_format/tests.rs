use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use super::*;
use crate::base::net::Peer;
use crate::oauth::{
    Audiences, Claims, Issuer, Plaintext, Principal, RawToken, ScopeSet, ServerId, TokenKind,
    TokenTexts, Validity, VerifiedToken,
};
use crate::telemetry::UpgradeEnd;
use crate::telemetry::access_log::{Line, Upgraded};
use crate::telemetry::testing::Memory;

const STAMP: &str = "2026-11-25T04:32:00.123456Z";

struct Stopped;

impl FormatTime for Stopped {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(STAMP)
    }
}

struct Ours(LogFormat, Memory);

impl Layer<Registry> for Ours {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, Registry>) {
        self.1.append(|all| write_line(all, self.0, STAMP.as_bytes(), event));
    }
}

fn of_subscriber(format: LogFormat, line: &Line<'_>) -> String {
    let written = Memory::default();
    let writer = written.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(move || writer.clone())
        .with_timer(Stopped)
        .with_ansi(false);
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    told(&tracing_subscriber::registry().with(layer).into(), line, &written)
}

fn of_ours(format: LogFormat, line: &Line<'_>) -> String {
    let written = Memory::default();
    let layer = Ours(format, written.clone());
    told(&tracing_subscriber::registry().with(layer).into(), line, &written)
}

fn told(to: &tracing::Dispatch, line: &Line<'_>, written: &Memory) -> String {
    tracing::dispatcher::with_default(to, || line.write());
    written.text()
}

fn token(issuer: &str, client_id: Option<&str>, scopes: &str) -> VerifiedToken {
    VerifiedToken {
        digest: RawToken::new("t").digest(),
        kind: TokenKind::Jwt,
        server: ServerId::new(1),
        issuer: Issuer::parse(issuer, Plaintext::Refused).unwrap(),
        texts: TokenTexts::saying(None, client_id, scopes),
        principal: Principal::Client,
        audiences: Audiences::Named([].into()),
        validity: Validity::new(None, None),
        claims: Claims::default().into(),
    }
}

/// A line with these texts, which callers and configurations choose.
fn with_line<T>(
    text: &str,
    peer: &str,
    token: Option<&VerifiedToken>,
    then: impl Fn(&Line<'_>) -> T,
) -> T {
    let peer: SocketAddr = peer.parse().unwrap();
    let required = ScopeSet::from_claim("orders:read orders:write");
    then(&Line {
        upgrade: token.map(|_| Upgraded { received_bytes: 7, end: UpgradeEnd::TokenEnded }),
        request_id: &HeaderValue::from_static("0123456789abcdef0123456789abcdef"),
        peer: if peer.port() == 0 { Peer::Unix } else { Peer::Ip(peer) },
        client: (peer.port() != 0).then(|| peer.ip()),
        method: &Method::GET,
        path: text,
        route: text,
        status: StatusCode::FORBIDDEN,
        reason: "scope_insufficient",
        token,
        required: token.map(|_| &required),
        upstream: text,
        head: Duration::from_micros(17),
        total: Duration::from_secs(1 << 40),
        sent_bytes: u64::MAX,
    })
}

#[test]
fn a_line_is_what_tracing_subscriber_writes() {
    let client = "a \"client\" \\ with\nline\u{7f}";
    let tokens = [
        None,
        Some(token("https://as.test/a", None, "")),
        Some(token("https://as.test", Some("shop"), "a:b c/d ~!#")),
        Some(token("https://as.test", Some(client), "read")),
    ];
    let control: String = (0..0x20).chain(0x7f..0xa1).filter_map(char::from_u32).collect();
    let texts = [
        "",
        "/orders/1",
        "/quoted/\"1\"/'2'",
        "\\",
        "\"",
        "/\u{1b}[2J\r\n2026-11-25T04:32:00.000000Z  INFO forged",
        "/ünï/日本語/🦀/\u{301}\u{200b}\u{202e}\u{feff}",
        &control,
    ];
    for format in [LogFormat::Text, LogFormat::Json] {
        for token in &tokens {
            for peer in ["192.0.2.1:4711", "[2001:db8::1]:4711", "0.0.0.0:0"] {
                for text in texts {
                    with_line(text, peer, token.as_ref(), |line| {
                        assert_eq!(of_ours(format, line), of_subscriber(format, line));
                    });
                }
            }
        }
    }
}

#[test]
fn what_a_caller_sends_makes_no_line_of_its_own_and_stays_what_it_is() {
    let path = "/a\n{\"status\":200}\r\u{0}\u{1b}\"\\é";
    with_line(path, "192.0.2.1:1", None, |line| {
        for format in [LogFormat::Text, LogFormat::Json] {
            let written = of_ours(format, line);
            assert_eq!(written.lines().count(), 1, "{written}");
            assert!(!written.trim_end().contains(char::is_control), "{written}");
        }
        let read: serde_json::Value =
            serde_json::from_str(&of_ours(LogFormat::Json, line)).unwrap();
        assert_eq!(read["path"], path);
        assert_eq!(read["client"], IpAddr::from([192, 0, 2, 1]).to_string());
        assert!(read.get("issuer").is_none() && read.get("scopes_held").is_none(), "{read}");
    });
}
