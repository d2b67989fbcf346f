//! `check --online`: whether what a configuration points to is there, and is what it should be.
//!
//! Everything goes the way it will go when the gateway runs: the same client, CA, proxy and
//! time-outs. The gateway's own clients authenticate, so that a wrong secret shows here and not with
//! the first caller.

use std::borrow::Cow;
use std::fmt;

use futures_util::future::join_all;
use http::{StatusCode, Uri};
use serde_json::Value;

use super::{online_client, probe};
use crate::base::time;
use crate::config::{
    self, AuthorizationServer, Config, Introspection, IntrospectionAnswer, KeySource,
};
use crate::oauth::{Claims, Issuer};
use crate::outbound::{Answer, FormRequest, OutboundClient, Tries};
use crate::verify::{self, metadata_addresses};

/// What was found about one thing: what it is, and a word about it, good or bad.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Finding {
    /// Its name in the configuration, what it is, and where.
    pub(super) subject: String,
    /// How it went.
    pub(super) outcome: Result<String, String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, detail) = match &self.outcome {
            Ok(detail) => ("ok", detail),
            Err(reason) => ("failed", reason),
        };
        write!(formatter, "{word:<8}{}: {detail}", self.subject)
    }
}

/// Looks at everything at once; the order is that of the configuration.
pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let servers = config.servers.iter().enumerate();
    let servers = servers.map(|(index, server)| {
        let clients = config.clients.iter().filter(|client| client.server == index).collect();
        of_server(server, needs(config, index), clients)
    });
    let upstreams = config.upstreams.iter().flat_map(|upstream| {
        upstream.endpoints.iter().map(move |endpoint| async move {
            Finding {
                subject: format!("upstreams.{} {endpoint}", upstream.name),
                outcome: probe::connect(upstream, endpoint).await,
            }
        })
    });
    let (servers, upstreams) = tokio::join!(join_all(servers), join_all(upstreams));
    servers.into_iter().flatten().chain(upstreams).collect()
}

/// Whether the configuration makes use of a server's token endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TokenEndpoint {
    Needed,
    Unused,
}

fn needs(config: &Config, server: usize) -> TokenEndpoint {
    let of_client = config.clients.iter().any(|client| client.server == server);
    let of_route = config.routes.iter().any(|route| route.basic_server == Some(server));
    if of_client || of_route { TokenEndpoint::Needed } else { TokenEndpoint::Unused }
}

async fn of_server(
    server: &AuthorizationServer,
    token: TokenEndpoint,
    clients: Vec<&config::Client>,
) -> Vec<Finding> {
    let mut found = Found { server, findings: Vec::new() };
    let client = match OutboundClient::new(&server.outbound) {
        Ok(client) => client,
        Err(error) => {
            found.add("outbound", Err(error.to_string()));
            return found.findings;
        }
    };
    let metadata = if needs_metadata(server, token) {
        let (address, outcome) = metadata(&client, &server.issuer).await;
        let said = outcome.as_ref().map(|_| "names this issuer".to_owned()).map_err(Clone::clone);
        found.add(&format!("metadata {address}"), said);
        outcome.ok()
    } else {
        None
    };
    let endpoint = |configured: &Option<Uri>, name| {
        configured.clone().or_else(|| metadata.as_ref()?.string(name).ok()??.parse().ok())
    };
    let endpoints = &server.endpoints;
    match &server.keys {
        KeySource::File(path, _) => {
            found.add("keys", Ok(format!("from the file {}", path.display())));
        }
        KeySource::Uri(uri) => found.keys(&client, Some(uri.clone())).await,
        KeySource::Discovery => found.keys(&client, endpoint(&None, "jwks_uri")).await,
    }
    if let Some(introspection) = &server.introspection {
        let alias = online_client::alias(
            &introspection.client,
            metadata.as_ref().filter(|_| endpoints.introspection.is_none()),
            "introspection_endpoint",
        );
        let uri = alias.or_else(|| endpoint(&endpoints.introspection, "introspection_endpoint"));
        let audience = endpoint(&endpoints.token, "token_endpoint");
        match online_client::showing(server, &introspection.client, &client) {
            Ok(client) => found.introspection(&client, introspection, uri, audience).await,
            Err(error) => found.add("introspection", Err(error)),
        }
    }
    let uri = endpoint(&endpoints.token, "token_endpoint");
    for one in &clients {
        let metadata = metadata.as_ref();
        let aliases = metadata.filter(|_| endpoints.token.is_none());
        let alias = online_client::alias(&one.authentication, aliases, "token_endpoint");
        let uri = alias.as_ref().or(uri.as_ref());
        let (what, outcome) = online_client::token_endpoint(server, one, (&client, uri)).await;
        found.add(&what, outcome);
        if let Some((what, outcome)) = online_client::grant(one, metadata) {
            found.add(&what, outcome);
        }
    }
    // Where a client asks, that tells it already.
    if token == TokenEndpoint::Needed && clients.is_empty() {
        found.token_endpoint(&client, uri).await;
    }
    found.findings
}

fn needs_metadata(server: &AuthorizationServer, token: TokenEndpoint) -> bool {
    let keys = server.keys == KeySource::Discovery;
    let introspection = server.introspection.is_some() && server.endpoints.introspection.is_none();
    let is_audience =
        server.introspection.as_ref().is_some_and(|one| one.client.is_for_token_endpoint());
    let is_needed = is_audience || token == TokenEndpoint::Needed;
    let token = is_needed && server.endpoints.token.is_none();
    keys || introspection || token
}

/// What was found about one server so far.
struct Found<'a> {
    server: &'a AuthorizationServer,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, what: &str, outcome: Result<String, String>) {
        let subject = format!("authorization_servers.{} {what}", self.server.name);
        self.findings.push(Finding { subject, outcome });
    }

    async fn keys(&mut self, client: &OutboundClient, uri: Option<Uri>) {
        let Some(uri) = uri else {
            self.add("keys", Err(NOT_NAMED.to_owned()));
            return;
        };
        let outcome = document(client, &uri).await.and_then(|document| key_set(&document));
        self.add(&format!("keys {uri}"), outcome);
    }

    async fn introspection(
        &mut self,
        client: &OutboundClient,
        introspection: &Introspection,
        uri: Option<Uri>,
        token_endpoint: Option<Uri>,
    ) {
        let Some(uri) = uri else {
            self.add("introspection", Err(NOT_NAMED.to_owned()));
            return;
        };
        let request = FormRequest {
            endpoint: &uri,
            // No server has given such a token out, so a right answer is "not active".
            parameters: vec![(Cow::Borrowed("token"), Cow::Borrowed("scopegate-check"))],
            client: &introspection.client,
            issuer: &self.server.issuer,
            token_endpoint: token_endpoint.as_ref(),
            now: time::now().unix,
            tries: Tries::Two,
        };
        let is_signed = introspection.answer == IntrospectionAnswer::Jwt;
        let answer = match is_signed {
            true => client.post_for(request, verify::SIGNED_ANSWER).await,
            false => client.post(request).await,
        };
        let answer = answer.map_err(|failure| failure.to_string());
        let outcome = answer.and_then(|answer| introspected(&answer, is_signed));
        self.add(&format!("introspection {uri}"), outcome);
    }

    /// Only whether somebody answers: a token request would make a token that nobody needs.
    async fn token_endpoint(&mut self, client: &OutboundClient, uri: Option<Uri>) {
        let Some(uri) = uri else {
            self.add("token endpoint", Err(NOT_NAMED.to_owned()));
            return;
        };
        let answer = client.get(&uri).await.map_err(|failure| failure.to_string());
        let outcome = answer.and_then(|answer| answers(answer.status));
        self.add(&format!("token endpoint {uri}"), outcome);
    }
}

/// The metadata, and where it is.
async fn metadata(client: &OutboundClient, issuer: &Issuer) -> (String, Result<Claims, String>) {
    let mut last = (issuer.to_string(), Err("the issuer makes no address".to_owned()));
    for address in metadata_addresses(issuer) {
        let outcome = document(client, &address).await;
        let outcome = outcome.and_then(|claims| names_issuer(claims, issuer));
        let is_found = outcome.is_ok();
        // The first place is the one that the RFC asks for: its failure is the one worth telling,
        // unless a later one answers.
        if is_found || last.0 == issuer.as_str() {
            last = (address.to_string(), outcome);
        }
        if is_found {
            break;
        }
    }
    last
}

/// RFC 8414 §3.3: code point by code point.
fn names_issuer(claims: Claims, issuer: &Issuer) -> Result<Claims, String> {
    match claims.string("issuer") {
        Ok(Some(named)) if named == issuer.as_str() => Ok(claims),
        Ok(Some(named)) => Err(format!(
            "it names another issuer, {named:?}; write exactly that one if it is meant"
        )),
        Ok(None) | Err(_) => Err("it names no issuer".to_owned()),
    }
}

async fn document(client: &OutboundClient, uri: &Uri) -> Result<Claims, String> {
    let answer = client.get(uri).await.map_err(|failure| failure.to_string())?;
    if answer.status != StatusCode::OK {
        return Err(format!("it answers {}", answer.status));
    }
    answer.json().map_err(|error| format!("its answer is {error}"))
}

fn key_set(document: &Claims) -> Result<String, String> {
    match document.value("keys") {
        Some(Value::Array(keys)) if !keys.is_empty() => {
            let ending = if keys.len() == 1 { "" } else { "s" };
            Ok(format!("{} key{ending}", keys.len()))
        }
        Some(Value::Array(_)) => Err("there is no key in it".to_owned()),
        _ => Err("it is no key set (RFC 7517 §5)".to_owned()),
    }
}

fn introspected(answer: &Answer, is_signed: bool) -> Result<String, String> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(format!("the gateway's client is refused: it answers {}", answer.status));
        }
        status => return Err(format!("it answers {status}")),
    }
    if is_signed {
        // Who signed it is not looked at: keys have a line of their own.
        return match answer.media_type().is_some_and(|found| verify::SIGNED_ANSWER == found) {
            true => Ok("it answers with a signed JWT".to_owned()),
            false => Err("its answer is no signed JWT (RFC 9701 §5)".to_owned()),
        };
    }
    let claims = answer.json().map_err(|error| format!("its answer is {error}"))?;
    match claims.value("active") {
        Some(Value::Bool(_)) => Ok("it answers, and knows the gateway's client".to_owned()),
        _ => Err("its answer has no active of true or false (RFC 7662 §2.2)".to_owned()),
    }
}

/// Whatever is said about a GET, somebody is there; but not when it is that nobody is.
fn answers(status: StatusCode) -> Result<String, String> {
    if status == StatusCode::NOT_FOUND || status.is_server_error() {
        return Err(format!("it answers {status}"));
    }
    Ok("it answers".to_owned())
}

pub(super) const NOT_NAMED: &str =
    "its address is not known: the configuration does not name it, nor metadata";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::secret::Secret;
    use crate::config::{
        self, BasicEncoding, ClientAuthentication, ClientAuthenticationMethod, Introspect,
        IntrospectionAnswer, OnUnavailable, Source,
    };
    use crate::dev::authorization_server::{AuthorizationServer, RegisteredClient, TokenFormat};
    use crate::dev::sample_api::SampleApi;
    use crate::oauth::{Audience, ClientId, Plaintext, ScopeSet};
    use crate::outbound::testing::answer_of;

    #[test]
    fn rfc9701_5_an_answer_in_json_is_none_where_signed_ones_are_asked_for() {
        let answer = answer_of(200, r#"{"active":false}"#);
        assert!(introspected(&answer, false).is_ok());
        assert!(introspected(&answer, true).unwrap_err().contains("RFC 9701"));
        assert!(introspected(&answer_of(401, ""), true).unwrap_err().contains("refused"));
    }

    fn introspection(secret: &str) -> Introspection {
        let method =
            ClientAuthenticationMethod::SecretBasic(Secret::new(secret), BasicEncoding::Form);
        Introspection {
            client: ClientAuthentication {
                client_id: ClientId::new("gateway"),
                method,
                parameters: Default::default(),
            },
            cache_ttl: Duration::ZERO,
            negative_cache_ttl: Duration::ZERO,
            require_audience: true,
            on_unavailable: OnUnavailable::Refuse,
            introspect: Introspect::Opaque,
            answer: IntrospectionAnswer::Json,
        }
    }

    fn config(issuer: &str, api: &str) -> Config {
        let text = format!(
            r#"
            [[listeners]]
            address = "127.0.0.1:0"
            [authorization_servers.main]
            issuer = "{issuer}"
            audiences = ["a"]
            [upstreams.api]
            endpoints = ["http://{api}"]
            [[routes]]
            path = "/a"
            upstream = "api"
            access = {{ scopes = ["a"] }}
            accept = ["bearer", "basic"]
            "#
        );
        let source = Source { path: "scopegate.toml".into(), text };
        config::parse(vec![source], Plaintext::Allowed).unwrap().config
    }

    #[tokio::test]
    async fn what_is_there_is_ok_and_what_is_not_is_told_apart() {
        let gateway = RegisteredClient {
            id: ClientId::new("gateway"),
            secret: Secret::new("right"),
            scopes: ScopeSet::default(),
            format: TokenFormat::Jwt,
        };
        let server = AuthorizationServer::start(vec![gateway], vec![Audience::new("a")]);
        let server = server.await.unwrap();
        let api = SampleApi::start().await.unwrap();
        let mut config = config(server.issuer(), &api.address().to_string());
        let outcomes = async |config: &Config| {
            let findings = findings(config).await;
            findings.iter().map(|finding| finding.outcome.is_ok()).collect::<Vec<_>>()
        };
        // Metadata, keys, introspection, token endpoint, upstream.
        config.servers[0].introspection = Some(introspection("right"));
        assert_eq!(outcomes(&config).await, [true; 5]);
        config.servers[0].introspection = Some(introspection("wrong"));
        assert_eq!(outcomes(&config).await, [true, true, false, true, true]);
        drop(api);
        assert_eq!(outcomes(&config).await, [true, true, false, true, false]);
        drop(server);
        assert_eq!(outcomes(&config).await, [false; 5]);
    }

    fn issuer(text: &str) -> Issuer {
        Issuer::parse(text, Plaintext::Allowed).unwrap()
    }

    #[test]
    fn rfc8414_3_3_the_issuer_is_named_code_point_by_code_point() {
        let named = |json: &str| {
            let claims = Claims::parse(json.as_bytes()).unwrap();
            names_issuer(claims, &issuer("https://as.test")).map(drop)
        };
        assert_eq!(named(r#"{"issuer":"https://as.test"}"#), Ok(()));
        assert!(named(r#"{"issuer":"https://as.test/"}"#).unwrap_err().contains("as.test/"));
        assert!(named("{}").is_err());
        assert!(named(r#"{"issuer":1}"#).is_err());
    }

    #[test]
    fn a_key_set_has_a_key() {
        let said = |json: &str| key_set(&Claims::parse(json.as_bytes()).unwrap());
        assert_eq!(said(r#"{"keys":[{}]}"#), Ok("1 key".to_owned()));
        for wrong in [r#"{"keys":[]}"#, r#"{"keys":{}}"#, "{}"] {
            assert!(said(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_finding_begins_with_how_it_went() {
        let finding = |outcome| Finding { subject: "upstreams.api http://a:1".into(), outcome };
        assert_eq!(finding(Ok("b".into())).to_string(), "ok      upstreams.api http://a:1: b");
        assert_eq!(finding(Err("b".into())).to_string(), "failed  upstreams.api http://a:1: b");
    }

    #[test]
    fn a_token_endpoint_that_refuses_a_get_is_there() {
        for (status, is_there) in
            [(405, true), (400, true), (200, true), (404, false), (502, false)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(answers(status).is_ok(), is_there, "{status}");
        }
    }
}
