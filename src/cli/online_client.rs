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

/// Asks the token endpoint as this client, for a grant that no server has: who is refused as a client
/// is refused for any other grant, too, and no token is made that nobody needs.
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
        parameters: vec![(Cow::Borrowed("grant_type"), Cow::Borrowed("urn:scopegate:check"))],
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

/// Which refusal it is, is a matter of the server's taste; but not that of the client.
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
    Ok("it answers, and does not refuse the client".to_owned())
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
        for (status, body, is_good) in [
            (400, r#"{"error":"unsupported_grant_type"}"#, true),
            (400, r#"{"error":"invalid_request"}"#, true),
            (400, r#"{"error":"unauthorized_client"}"#, true),
            (405, "", true),
            (400, r#"{"error":"invalid_client"}"#, false),
            (401, r#"{"error":"invalid_client"}"#, false),
            (401, "", false),
            (404, "", false),
            (503, "", false),
        ] {
            assert_eq!(answers(&answer_of(status, body)).is_ok(), is_good, "{status} {body}");
        }
    }
}
