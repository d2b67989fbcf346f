//! `check --online` of the gateway's own clients: whether the token endpoint knows them.

use std::borrow::Cow;

use http::{StatusCode, Uri};
use serde_json::Value;

use super::online::NOT_NAMED;
use crate::base::time;
use crate::config::{AuthorizationServer, Client, ClientAuthentication, ExchangeGrant, Grant};
use crate::oauth::Claims;
use crate::outbound::{Answer, FormRequest, OutboundClient, Tries};

/// What was looked at, and how it went.
type Found = (String, Result<String, String>);

/// Asks the token endpoint as this client, with a refresh token that no server has given out: no token
/// is made that nobody needs, and a server that knows the client says that the token is worth nothing
/// (RFC 6749 §5.2).
///
/// Why not a grant that no server has: some look at that before they look at the client, and so call a
/// client good that they do not know.
pub(super) async fn token_endpoint(
    server: &AuthorizationServer,
    client: &Client,
    (plain, uri): (&OutboundClient, Option<&Uri>),
) -> Found {
    let what = format!("clients.{} at the token endpoint", client.name);
    let Some(uri) = uri else { return (what, Err(NOT_NAMED.to_owned())) };
    let what = format!("{what} {uri}");
    let request = FormRequest {
        endpoint: uri,
        parameters: vec![
            (Cow::Borrowed("grant_type"), Cow::Borrowed("refresh_token")),
            (Cow::Borrowed("refresh_token"), Cow::Borrowed("scopegate-check")),
        ],
        client: &client.authentication,
        issuer: &server.issuer,
        token_endpoint: Some(uri),
        now: time::now().unix,
        tries: Tries::Two,
    };
    let outbound = match showing(server, &client.authentication, plain) {
        Ok(outbound) => outbound,
        Err(error) => return (what, Err(error)),
    };
    let answer = outbound.post(request).await.map_err(|failure| failure.to_string());
    (what, answer.and_then(|answer| answers(&answer)))
}

/// What the metadata says of a grant that is not everywhere. It need not say everything, so that
/// its silence is no failure.
pub(super) fn grant(client: &Client, metadata: Option<&Claims>) -> Option<Found> {
    let Some(Value::Array(listed)) = metadata?.value("grant_types_supported") else { return None };
    let uri = grant_uri(&client.grant)?;
    let said = match listed.iter().any(|one| one == uri) {
        true => "the metadata lists it",
        false => "the metadata does not list it: it may have to be switched on there",
    };
    let what = format!("grant {} of clients.{}", client.grant.name(), client.name);
    Some((what, Ok(said.to_owned())))
}

/// RFC 8705 §5: where clients go that show a certificate.
pub(super) fn alias(
    client: &ClientAuthentication,
    metadata: Option<&Claims>,
    name: &'static str,
) -> Option<Uri> {
    client.identity()?;
    let aliases = metadata?.object("mtls_endpoint_aliases").ok()??;
    aliases.string(name).ok()??.parse().ok()
}

/// The client by which a client of ours proves who it is.
pub(super) fn showing(
    server: &AuthorizationServer,
    client: &ClientAuthentication,
    plain: &OutboundClient,
) -> Result<OutboundClient, String> {
    match client.identity() {
        None => Ok(plain.clone()),
        Some(identity) => OutboundClient::showing(&server.outbound, identity)
            .map_err(|error| format!("its certificate cannot be used: {error}")),
    }
}

/// Only `invalid_grant` says that the client is known. Other refusals may come before anybody looked
/// at it; and `unauthorized_client` some servers say of a wrong secret, too.
fn answers(answer: &Answer) -> Result<String, String> {
    let status = answer.status;
    let body = answer.json().ok();
    let code = body.as_ref().and_then(|body| body.string("error").ok()?);
    let is_refused = status == StatusCode::UNAUTHORIZED || code == Some("invalid_client");
    if is_refused {
        return Err(format!("the client is refused: it answers {status}"));
    }
    if status == StatusCode::NOT_FOUND || answer.is_outage() {
        return Err(format!("it answers {status}"));
    }
    let said = match code {
        Some("invalid_grant") => "it knows the client",
        _ => "it answers; it does not say whether it knows the client",
    };
    Ok(said.to_owned())
}

/// The grants that RFC 6749 does not have.
fn grant_uri(grant: &Grant) -> Option<&'static str> {
    let Grant::Exchange(exchange) = grant else { return None };
    Some(match exchange.by {
        ExchangeGrant::TokenExchange(_) => "urn:ietf:params:oauth:grant-type:token-exchange",
        ExchangeGrant::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::testing::answer_of;

    #[test]
    fn a_client_that_is_refused_is_told_apart_from_a_grant_that_is() {
        let (known, unsaid) = (Some("it knows the client"), Some("it does not say"));
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_grant"}"#, known),
            (400, r#"{"error":"unsupported_grant_type"}"#, unsaid),
            (400, r#"{"error":"invalid_request"}"#, unsaid),
            (400, r#"{"error":"unauthorized_client"}"#, unsaid),
            (405, "", unsaid),
            (400, r#"{"error":"invalid_client"}"#, None),
            (401, r#"{"error":"invalid_client"}"#, None),
            (401, r#"{"error":"unauthorized_client"}"#, None),
            (401, "", None),
            (404, "", None),
            (503, "", None),
        ] {
            let said = answers(&answer_of(status, body)).ok();
            assert_eq!(said.is_some(), expected.is_some(), "{status} {body}");
            let said = said.unwrap_or_default();
            assert!(said.contains(expected.unwrap_or_default()), "{status} {body}: {said}");
        }
    }
}
