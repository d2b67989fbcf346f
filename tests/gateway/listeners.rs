//! Listeners: certificates by name (RFC 6066 §3), resumed sessions, several of them at once.

use std::net::SocketAddr;
use std::process::Command;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::http1::Connection;
use crate::harness::tls::{Authority, Caller, Identity};
use crate::harness::{Setup, TestIssuer, World, eventually, in_time, program};

const ROUTE: &str = r#"path = "/p", access = "public""#;

/// Writes a pair as `NAME.crt` and `NAME.key`.
fn write(setup: &Setup, name: &str, identity: &Identity) {
    setup.folder.write(&format!("{name}.crt"), &identity.certificate);
    setup.folder.write(&format!("{name}.key"), &identity.key);
}

/// A listener with these pairs: the first one plain, the others in `certificates`.
async fn with_pairs(pairs: &[&Identity]) -> World {
    World::built(TestIssuer::new(), "", |setup| {
        let mut more = Vec::new();
        for (index, pair) in pairs.iter().enumerate() {
            write(&setup, &format!("{index}"), pair);
            if index > 0 {
                more.push(format!("{{ certificate = \"{index}.crt\", key = \"{index}.key\" }}"));
            }
        }
        let setup = setup.listener("[listeners.tls]\ncertificate = \"0.crt\"\nkey = \"0.key\"");
        let more = format!("certificates = [{}]", more.join(", "));
        let setup = if pairs.len() > 1 { setup.listener(&more) } else { setup };
        setup.route(ROUTE)
    })
    .await
}

/// The status of a GET for a host, over TLS to that name.
async fn get(caller: &Caller, to: SocketAddr, name: &str, host: &str) -> (u16, HandshakeKind) {
    let mut stream = caller.connect(to, name).await.unwrap();
    let request = format!("GET /p HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    in_time("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, stream.get_ref().1.handshake_kind().unwrap())
}

#[tokio::test]
async fn rfc6066_3_the_certificate_is_chosen_by_name_and_bounds_what_may_be_asked_for() {
    let authority = Authority::new();
    let first = authority.certify(&["first.test", "127.0.0.1"]);
    let wild = authority.certify(&["*.wild.test"]);
    let exact = authority.certify(&["exact.wild.test", "other.test"]);
    let world = with_pairs(&[&first, &wild, &exact]).await;
    let to = world.gateway.address();
    let caller = authority.caller(rustls::ALL_VERSIONS, &[], None);
    #[rustfmt::skip]
    let cases = [
        // name              shown    a host of it      another one
        ("first.test",       &first,  "first.test",      "one.wild.test"),
        ("one.wild.test",    &wild,   "two.wild.test",   "exact.other.test"),
        ("exact.wild.test",  &exact,  "other.test",      "first.test"),
        ("127.0.0.1",        &first,  "127.0.0.1",       "exact.wild.test"),
    ];
    for (name, shown, host, other) in cases {
        let stream = caller.connect(to, name).await.unwrap();
        assert!(shown.is_shown_on(&stream), "{name}");
        assert_eq!(get(&caller, to, name, host).await.0, 200, "{name} for {host}");
        assert_eq!(get(&caller, to, name, other).await.0, 421, "{name} for {other}");
    }
}

/// What OpenSSL's client prints of a connection on which it asks for one page.
async fn openssl(to: SocketAddr, arguments: &str) -> String {
    let request = r"GET /p HTTP/1.1\r\nhost: second.test\r\nconnection: close\r\n\r\n";
    let client = format!("openssl s_client -connect {to} -ign_eof {arguments}");
    let (_, output, errors) = program::run(
        Command::new("sh").arg("-c").arg(format!("printf '{request}' | timeout 20 {client}")),
    )
    .await;
    format!("{output}\n{errors}")
}

#[tokio::test]
async fn rfc6066_3_odd_names_are_read_as_what_they_mean() {
    let authority = Authority::new();
    let (first, second) = (authority.certify(&["first.test"]), authority.certify(&["second.test"]));
    let world = with_pairs(&[&first, &second]).await;
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    for (arguments, shown, status) in [
        ("-servername SeCoNd.TeSt", &second, "200"),
        ("-servername second.test.", &second, "200"),
        ("-servername xsecond.test", &first, "421"),
        ("-servername 127.0.0.1", &first, "421"),
        ("-noservername", &first, "421"),
    ] {
        let output = openssl(world.gateway.address(), arguments).await;
        assert!(bare(&output).contains(&bare(&shown.certificate)), "{arguments}: {output}");
        assert!(output.contains(&format!("HTTP/1.1 {status}")), "{arguments}: {output}");
    }
}

#[tokio::test]
async fn sessions_are_resumed_by_ticket_and_by_id_in_both_versions() {
    let authority = Authority::new();
    let server = authority.certify(&["second.test"]);
    let world = with_pairs(&[&server]).await;
    let to = world.gateway.address();
    for version in [&TLS12, &TLS13] {
        let caller = authority.caller(&[version], &[], None);
        let get = async || get(&caller, to, "second.test", "second.test").await;
        assert_eq!(get().await, (200, HandshakeKind::Full), "{version:?}");
        assert_eq!(get().await, (200, HandshakeKind::Resumed), "{version:?}");
    }
    let session = world.gateway.folder().path().join("session");
    let session = session.display();
    for options in ["-tls1_2", "-tls1_2 -no_ticket", "-tls1_3"] {
        let options = format!("-servername second.test {options}");
        let first = openssl(to, &format!("{options} -sess_out {session}")).await;
        assert!(first.contains("New, TLSv1"), "{options}: {first}");
        assert!(!first.contains("Max Early Data: 1"), "{options}: {first}");
        let second = openssl(to, &format!("{options} -sess_in {session}")).await;
        assert!(second.contains("Reused, TLSv1"), "{options}: {second}");
    }
}

#[tokio::test]
async fn a_session_of_one_listener_is_none_at_another_and_brings_no_certificate_there() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = ours.certify(&["api.test"]);
    let world = World::built(TestIssuer::new(), "", |setup| {
        write(&setup, "tls", &server);
        setup.folder.write("ours.pem", ours.pem());
        setup.folder.write("theirs.pem", theirs.pem());
        let tls = "[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n";
        let with_ca = |ca: &str| format!("{tls}client_ca = \"{ca}.pem\"\n");
        let more = |text: &str| format!("[[listeners]]\naddress = \"127.0.0.1:0\"\n{text}");
        setup
            .listener(&format!("{}{}{}", with_ca("ours"), more(&with_ca("theirs")), more(tls)))
            .route(ROUTE)
    })
    .await;
    let at = |index: usize| world.gateway.addresses()[index].parse::<SocketAddr>().unwrap();
    for version in [&TLS12, &TLS13] {
        let caller = ours.caller(&[version], &[], Some(&ours.certify(&["caller.test"])));
        let get = async |index| get(&caller, at(index), "api.test", "api.test").await;
        assert_eq!(get(0).await, (200, HandshakeKind::Full));
        assert_eq!(get(0).await, (200, HandshakeKind::Resumed));
        // In TLS 1.3 a caller hears of its refusal with its first read.
        let refused = match caller.connect(at(1), "api.test").await {
            Ok(mut stream) => stream.read_u8().await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "{version:?}");
        assert_eq!(get(2).await.1, HandshakeKind::Full, "a listener without client_ca");
    }
}

#[tokio::test]
async fn a_reload_gives_a_listener_no_more_places() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup.listener("limits.connections = 2").route(r#"path = "/p", access = "public""#)
    })
    .await;
    let gateway = &world.gateway;
    let served = async |connection: &mut Connection| {
        connection.write(&gateway.get("/p").bytes()).await;
        assert_eq!(connection.response("GET").await.status, 200);
    };
    let (mut first, mut second) = (gateway.connect().await, gateway.connect().await);
    served(&mut first).await;
    served(&mut second).await;
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let mut reloads = 0.0;
    let mut reload = async |from: &str, to: &str| {
        std::fs::write(gateway.config(), text.replace(from, to)).unwrap();
        gateway.signal("HUP");
        reloads += 1.0;
        eventually("the reload", async || {
            let accepted = [("outcome", "accepted")];
            let count = gateway.metric("scopegate_reloads_total", &accepted).await;
            (count == reloads).then_some(())
        })
        .await;
    };
    reload("realm = \"test\"", "realm = \"other\"").await;
    let mut third = gateway.connect().await;
    third.write(&gateway.get("/p").bytes()).await;
    served(&mut first).await;
    assert_eq!(world.upstream.count(), 3, "the third one waits");

    reload("limits.connections = 2", "limits.connections = 1").await;
    drop(first);
    eventually("the end of the first", async || {
        let open = gateway.admin("/status").await.json()["connections"].as_i64();
        (open == Some(1)).then_some(())
    })
    .await;
    served(&mut second).await;
    assert_eq!(world.upstream.count(), 4, "the third one waits on: there is one place now");
    drop(second);
    assert_eq!(third.response("GET").await.status, 200);
    reload("limits.connections = 2", "limits.connections = 3").await;
    served(&mut gateway.connect().await).await;
}
