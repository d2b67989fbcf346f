//! `grant` of a client, and what belongs to one grant alone.

use std::time::Duration;

use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::reader::{Form, Value};
use crate::config::table::Table;
use crate::config::{Exchange, ExchangeGrant, Grant, TokenExchange, TokenType};

#[derive(Clone, Copy, Eq, PartialEq)]
enum Word {
    ClientCredentials,
    TokenExchange,
    JwtBearer,
}

/// The grant, and `actor` as it is written: the client that it names may not be read yet.
/// `cache_ttl` is what is written, if anything is.
pub(super) fn read<'c>(
    table: &mut Table<'c>,
    cache_ttl: Option<Duration>,
) -> Result<(Grant, Option<Value<'c>>), Told> {
    let word = table.or("grant", Word::ClientCredentials, |value| value.word(&GRANTS));
    let audiences = table.placed("audience", audiences);
    let subject = table.placed("subject_token_type", |value| token_type(&value));
    let requested = table.placed("requested_token_type", |value| token_type(&value));
    let actor = table.placed("actor", Ok);
    let (word, audiences, subject) = (word?, audiences?, subject?);
    let (requested, actor) = (requested?, actor?);
    let exchange = |by| {
        let cap = cache_ttl.unwrap_or(CAP).min(CAP);
        Grant::Exchange(Exchange { by, cap })
    };
    if word == Word::TokenExchange {
        let settings = TokenExchange {
            subject_token_type: subject.map_or(TokenType::AccessToken, |(one, _)| one),
            requested_token_type: requested.map(|(one, _)| one),
            audiences: audiences.map(|(audiences, _)| audiences).unwrap_or_default(),
            actor: None,
        };
        let actor = actor.map(|(actor, _)| actor);
        return Ok((exchange(ExchangeGrant::TokenExchange(settings)), actor));
    }
    unused(audiences)?;
    unused(subject)?;
    unused(requested)?;
    unused(actor)?;
    let is_own = word == Word::ClientCredentials;
    let grant = if is_own { Grant::ClientCredentials } else { exchange(ExchangeGrant::JwtBearer) };
    Ok((grant, None))
}

fn unused<T>(value: Option<(T, Spot<'_>)>) -> Result<(), Told> {
    let Some((_, spot)) = value else { return Ok(()) };
    let write = "write grant = \"token_exchange\", or take this key out";
    Err(spot.wrong("only a token exchange makes use of it (RFC 8693 §2.1)", write))
}

fn audiences(value: Value<'_>) -> Result<Vec<Box<str>>, Told> {
    match value.form(&[Form::Text, Form::List]) {
        Some(Form::List) => {
            value.each("write audience = [\"…\"]", |value| value.text().map(Into::into))
        }
        _ => value.text().map(|audience| vec![audience.into()]),
    }
}

fn token_type(value: &Value<'_>) -> Result<TokenType, Told> {
    value.word(&[("access_token", TokenType::AccessToken), ("jwt", TokenType::Jwt)])
}

const GRANTS: [(&str, Word); 3] = [
    ("client_credentials", Word::ClientCredentials),
    ("token_exchange", Word::TokenExchange),
    ("jwt_bearer", Word::JwtBearer),
];

/// No token is used for longer without a new look at the authorization server.
const CAP: Duration = Duration::from_secs(86_400);
