//! Certificates are renewed in place: new ones serve new connections, open ones live on.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::http2::Http2;
use crate::harness::tls::{Authority, Identity};
use crate::harness::world::ORDERS;
use crate::harness::{Backend, Reply, Setup, TestIssuer, World, eventually, unix_now};

const ROUTE: &str = r#"path = "/p", access = "public""#;
const OFTEN: &str = "certificate_refresh = \"100ms\"";

/// Changes a secret as Kubernetes does: its files are links to a link, which is swapped.
fn swap(secret: &Path, version: &str, certificate: &str, key: &str) {
    let folder = secret.join(version);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("tls.crt"), certificate).unwrap();
    std::fs::write(folder.join("tls.key"), key).unwrap();
    symlink(version, secret.join("..data_tmp")).unwrap();
    std::fs::rename(secret.join("..data_tmp"), secret.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        let _ = symlink(Path::new("..data").join(name), secret.join(name)); // is there already
    }
}

async fn renewals(world: &World, outcome: &str) -> f64 {
    let labels = [("outcome", outcome)];
    world.gateway.metric("scopegate_certificate_renewals_total", &labels).await
}

#[tokio::test]
async fn a_swapped_secret_serves_new_connections_and_a_broken_pair_leaves_the_old_one() {
    let authority = Authority::new();
    let pairs: Vec<Identity> = (0..3).map(|_| authority.certify(&["api.test"])).collect();
    let world = World::built(TestIssuer::new(), "", |setup| {
        let secret = setup.folder.path().join("secret");
        swap(&secret, "..0", &pairs[0].certificate, &pairs[0].key);
        let tls = "certificate = \"secret/tls.crt\"\nkey = \"secret/tls.key\"";
        setup.top(OFTEN).listener(&format!("[listeners.tls]\n{tls}")).route(ROUTE)
    })
    .await;
    let secret = world.gateway.folder().path().join("secret");
    let connect = async || {
        authority.connect(world.gateway.address(), "api.test", &[b"h2"], None).await.unwrap()
    };
    let shows = async |pair: &Identity| {
        eventually("the certificate", async || pair.is_shown_on(&connect().await).then_some(()))
            .await;
    };
    shows(&pairs[0]).await;
    let open = Http2::over(connect().await, "https").await;
    swap(&secret, "..1", &pairs[1].certificate, &pairs[1].key);
    shows(&pairs[1]).await;
    assert_eq!(open.get("/p", &[]).await.status, 200, "an open connection lives on");

    swap(&secret, "..2", &pairs[2].certificate, &pairs[1].key);
    eventually("the refusal", async || (renewals(&world, "refused").await > 0.0).then_some(()))
        .await;
    assert!(pairs[1].is_shown_on(&connect().await), "half of a pair");
    let status = world.gateway.admin("/status").await.json();
    let listener = &status["certificates"][0];
    assert_eq!(listener["used_by"], format!("listeners.{}", world.gateway.address()));
    let why = listener["refused"]["why"].as_str().unwrap();
    assert!(why.contains("certificate and key do not belong together"), "{why}");
    assert!(listener["files"][0]["file"].as_str().unwrap().ends_with("secret/tls.crt"));
    assert!(listener["files"][0]["not_after"].as_i64().unwrap() > unix_now());
    assert!(listener["read_at"].as_i64().unwrap() <= unix_now());

    swap(&secret, "..3", &pairs[2].certificate, &pairs[2].key);
    shows(&pairs[2]).await;
    eventually("nothing that is refused", async || {
        let status = world.gateway.admin("/status").await.json();
        status["certificates"][0]["refused"].is_null().then_some(())
    })
    .await;
    assert_eq!((renewals(&world, "accepted").await, renewals(&world, "refused").await), (2.0, 1.0));
    let end = world.gateway.metric("scopegate_certificate_not_after_seconds", &[]).await;
    assert!(end > 1.0e9, "{end}");
    assert_eq!(open.get("/p", &[]).await.status, 200, "and on");
}

#[tokio::test]
async fn an_upstreams_ca_is_renewed_too() {
    let (old, new) = (Authority::new(), Authority::new());
    let upstream = Backend::over_tls(&new, &[b"http/1.1"]).await;
    upstream.answer(|_| Reply::status(200));
    let setup = Setup::new().top(OFTEN).route(ROUTE);
    setup.folder.write("ca.pem", old.pem());
    let url = upstream.url().replace("http://", "https://");
    let gateway = setup.upstream("api", &url, "tls = { ca = \"ca.pem\" }").start().await;
    assert_eq!(gateway.get("/p").send().await.status, 502);
    gateway.folder().write("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    gateway.logs("there is no certificate in").await;
    gateway.folder().write("ca.pem", new.pem());
    eventually("the new CA", async || (gateway.get("/p").send().await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn an_authorization_servers_ca_is_renewed_too() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = Backend::over_tls(&new, &[b"http/1.1"]).await;
    let issuer = TestIssuer::named(&format!("https://{}", server.address()), &["ES256"]);
    let jwks = issuer.jwks().to_string();
    server.answer(move |_| {
        Reply::status(200).header("content-type", "application/json").body(jwks.clone())
    });
    let upstream = Backend::start().await;
    let setup = Setup::new().top(OFTEN).upstream("api", &upstream.url(), "");
    setup.folder.write("ca.pem", old.pem());
    let table = format!(
        "[authorization_servers.main]\nissuer = \"{0}\"\njwks_uri = \"{0}/keys\"\n\
         audiences = [\"https://api.test\"]\noutbound = {{ ca = \"ca.pem\" }}",
        issuer.name
    );
    let gateway = setup.table(&table).route(ORDERS).start_unready().await;
    let token = issuer.token().scopes("orders:read").sign();
    let ask = async || gateway.get("/orders/1").bearer(&token).send().await.status;
    assert_eq!(ask().await, 503);
    gateway.folder().write("ca.pem", new.pem());
    eventually("the new CA", async || (ask().await == 200).then_some(())).await;
    let status = gateway.admin("/status").await.json();
    assert_eq!(status["certificates"][0]["used_by"], "authorization_servers.main");
}
