//! The contract's table of answers: each case on HTTP/1.1, on HTTP/2 and to a gRPC call.

use serde_json::json;

use crate::harness::issuer::AUDIENCE;
use crate::harness::world::{endpoints, endpoints_of};
use crate::harness::{Backend, Gateway, RawBackend, Reply, Response, Setup, TestIssuer};
use crate::harness::{backend::Then, unix_now};

/// A gateway with one route for each kind of answer, and what it needs around it.
struct Table {
    gateway: Gateway,
    issuer: TestIssuer,
    upstream: Backend,
    _server: Backend,
    _broken: (RawBackend, RawBackend),
}

/// A case: name, target, `Authorization` fields, and the answer: status, the Bearer challenge's
/// error ("-": no challenge), `grpc-status`.
type Case = (&'static str, &'static str, Vec<String>, u16, &'static str, u8);

impl Table {
    async fn start() -> Self {
        let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
        let server = Backend::answering(|seen| match seen.target.as_str() {
            "/token" if String::from_utf8_lossy(&seen.body).contains("wide") => {
                Reply::status(200).header("content-type", "application/json").body(
                    r#"{"access_token":"a","token_type":"Bearer","expires_in":60,"scope":"less"}"#,
                )
            }
            "/token" => Reply::status(401)
                .header("content-type", "application/json")
                .body(r#"{"error":"invalid_client"}"#),
            _ => Reply::status(200)
                .header("content-type", "application/json")
                .body(r#"{"active":false}"#),
        })
        .await;
        let resets = RawBackend::start("", Then::Close).await;
        let hangs = RawBackend::start("", Then::Hang).await;
        let dead = TestIssuer::named("https://dead.test", &["ES256"]);
        let gateway = Setup::new()
            .secret("gateway", "gateway-secret")
            .issuer("main", &issuer, &endpoints(&server.url(), ""))
            .issuer("dead", &dead, &endpoints_of("dead", "http://127.0.0.1:1", ""))
            .table(&client("refused", "narrow"))
            .table(&client("partial", "wide more"))
            .upstream("api", &upstream.url(), "")
            .upstream("closed", "http://127.0.0.1:1", "")
            .upstream("resets", &resets.url(), "")
            .upstream("hangs", &hangs.url(), "timeouts = { header = \"300ms\" }")
            .route(r#"path = "/orders", access = { scopes = ["a", "b"] }, authorization_servers = ["main"]"#)
            .route(r#"path = "/claims", access = { claims = { department = ["it"] } }, authorization_servers = ["main"]"#)
            .route(r#"path = "/basic", access = { scopes = ["a"] }, accept = ["basic"], authorization_servers = ["main"]"#)
            .route(r#"path = "/dead", access = { scopes = ["a"] }, authorization_servers = ["dead"]"#)
            .route(r#"path = "/posts", methods = ["POST"], access = "public""#)
            .route(r#"path = "/refused", access = "public", forward = { client = "refused" }"#)
            .route(r#"path = "/partial", access = "public", forward = { client = "partial" }"#)
            .route(r#"path = "/closed", access = "public", upstream = "closed""#)
            .route(r#"path = "/resets", access = "public", upstream = "resets""#)
            .route(r#"path = "/hangs", access = "public", upstream = "hangs""#)
            .start_unready()
            .await;
        Self { gateway, issuer, upstream, _server: server, _broken: (resets, hangs) }
    }

    fn cases(&self) -> Vec<Case> {
        let good = self.issuer.token().scopes("a b");
        let bearer = |token: &str| vec![format!("Bearer {token}")];
        let basic = || vec!["Basic a2V5OnNlY3JldA==".to_owned()];
        let two = vec![format!("Bearer {}", good.sign()), format!("Bearer {}", good.sign())];
        let expired = good.clone().claim("exp", unix_now() - 3600).sign();
        let foreign = good.clone().claim("iss", "https://other.test").sign();
        let elsewhere = good.clone().claim("aud", format!("{AUDIENCE}/other")).sign();
        let unsigned = good.sign_by(|_| vec![7; 64]);
        #[rustfmt::skip]
        let cases = vec![
            // case                      target      authorization        status error                gRPC
            ("no credential",            "/orders",  vec![],               401, "",                   16),
            ("Basic where it is none",   "/orders",  basic(),              401, "",                   16),
            ("malformed credential",     "/orders",  bearer("a b"),        400, "invalid_request",    16),
            ("two credentials",          "/orders",  two,                  400, "invalid_request",    16),
            ("a token in the query",     "/orders?access_token=x", vec![], 400, "invalid_request",    16),
            ("expired",                  "/orders",  bearer(&expired),     401, "invalid_token",      16),
            ("another issuer's",         "/orders",  bearer(&foreign),     401, "invalid_token",      16),
            ("for another audience",     "/orders",  bearer(&elsewhere),   401, "invalid_token",      16),
            ("a bad signature",          "/orders",  bearer(&unsigned),    401, "invalid_token",      16),
            ("revoked",                  "/orders",  bearer("opaque"),     401, "invalid_token",      16),
            ("a scope is missing",       "/orders",  bearer(&self.issuer.token().scopes("b").sign()), 403, "insufficient_scope", 7),
            ("a claim is missing",       "/claims",  bearer(&good.sign()), 403, "",                    7),
            ("nobody to ask",            "/dead",    bearer("opaque"),     503, "-",                  14),
            ("key and secret refused",   "/basic",   basic(),              401, "-",                  16),
            ("own client refused",       "/refused", vec![],               502, "-",                  14),
            ("own client got less",      "/partial", vec![],               502, "-",                  14),
            ("the upstream refuses",     "/closed",  vec![],               502, "-",                  14),
            ("the upstream resets",      "/resets",  vec![],               502, "-",                  14),
            ("the upstream is late",     "/hangs",   vec![],               504, "-",                  14),
            ("no route",                 "/nowhere", vec![],               404, "-",                  12),
        ];
        cases
    }
}

fn client(name: &str, scopes: &str) -> String {
    let scopes: Vec<_> = scopes.split(' ').map(|scope| format!("\"{scope}\"")).collect();
    format!(
        "[clients.{name}]\nauthorization_server = \"main\"\nclient_id = \"{name}\"\n\
         client_secret = {{ file = \"secrets/gateway\" }}\nscopes = [{}]\n",
        scopes.join(", ")
    )
}

fn holds(case: &str, response: &Response, status: u16, error: &str) {
    assert_eq!(response.status, status, "{case}: {}", response.text());
    assert_eq!(response.error(), error, "{case}: {:?}", response.headers);
    assert_eq!(response.header("content-type"), "application/problem+json", "{case}");
    assert_eq!(response.json()["status"], json!(status), "{case}: RFC 9457 section 3.1.2");
    assert_eq!(response.header("cache-control"), "no-store", "{case}");
    assert!(!response.header("x-request-id").is_empty(), "{case}: no x-request-id");
    assert_eq!(status == 503, !response.header("retry-after").is_empty(), "{case}: Retry-After");
    assert_eq!(response.header("x-upstream"), "", "{case}: answered by the upstream");
}

#[tokio::test]
async fn each_case_has_its_answer_over_http1() {
    let table = Table::start().await;
    for (case, target, credentials, status, error, _) in table.cases() {
        let request = credentials.iter().fold(table.gateway.get(target), |request, value| {
            request.header("authorization", value)
        });
        holds(case, &request.send().await, status, error);
    }
    assert_eq!(table.upstream.count(), 0, "a refused request must not reach the upstream");
}

#[tokio::test]
async fn each_case_has_its_answer_over_http2() {
    let table = Table::start().await;
    let client = table.gateway.http2().await;
    for (case, target, credentials, status, error, _) in table.cases() {
        let headers: Vec<_> =
            credentials.iter().map(|value| ("authorization", value.as_str())).collect();
        holds(case, &client.get(target, &headers).await, status, error);
    }
    assert_eq!(table.upstream.count(), 0, "a refused request must not reach the upstream");
}

#[tokio::test]
async fn each_case_has_its_grpc_status() {
    let table = Table::start().await;
    let client = table.gateway.http2().await;
    for (case, target, credentials, _, error, expected) in table.cases() {
        let mut headers: Vec<_> =
            credentials.iter().map(|value| ("authorization", value.as_str())).collect();
        headers.extend([("content-type", "application/grpc"), ("te", "trailers")]);
        let response = client.send("POST", target, &headers, b"\0\0\0\0\0").await.unwrap();
        assert_eq!(response.status, 200, "{case}");
        assert_eq!(response.header("content-type"), "application/grpc", "{case}");
        assert_eq!(response.header("grpc-status"), expected.to_string(), "{case}");
        assert!(response.body.is_empty(), "{case}: Trailers-Only has no body");
        assert_eq!(response.error(), error, "{case}: the challenge stands there all the same");
        assert!(!response.header("x-request-id").is_empty(), "{case}: no x-request-id");
    }
    assert_eq!(table.upstream.count(), 0, "a refused request must not reach the upstream");
}

#[tokio::test]
async fn rfc9110_15_5_6_a_route_for_other_methods_answers_405_with_allow() {
    let table = Table::start().await;
    let response = table.gateway.get("/posts").send().await;
    holds("another method", &response, 405, "-");
    assert_eq!(response.header("allow"), "POST");
}

#[tokio::test]
async fn the_refusals_request_id_stands_in_the_log() {
    let table = Table::start().await;
    let response = table.gateway.get("/orders").send().await;
    table.gateway.logs(response.header("x-request-id")).await;
}

#[tokio::test]
async fn own_client_failures_tell_the_operator_which_client_and_scopes() {
    let table = Table::start().await;
    for (target, client, scopes) in [("/refused", "refused", ""), ("/partial", "partial", "more")] {
        let response = table.gateway.get(target).send().await;
        let text = response.text();
        assert!(!text.contains(&format!("\"{client}\"")), "the caller need not know: {text}");
        table.gateway.logs(client).await;
        table.gateway.logs(scopes).await;
    }
    let missing = [("client", "partial")];
    assert_eq!(table.gateway.metric("scopegate_client_missing_scopes", &missing).await, 2.0);
}
