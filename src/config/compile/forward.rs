//! `forward` of a route: what the upstream gets in `Authorization`.

use super::Names;
use super::guard::{self, Guard};
use crate::config::problem::Told;
use crate::config::reader::{Form, Value};
use crate::config::{Forward, Grant};

pub(super) fn read(
    value: Value<'_>,
    names: &Names<'_, '_>,
    guard: &Result<Guard, Told>,
) -> Result<Forward, Told> {
    if value.form(&[Form::Text, Form::Table]) != Some(Form::Table) {
        return value.word(&[("token", Forward::Token), ("none", Forward::None)]);
    }
    let spot = value.spot().clone();
    value.table(|table| {
        let client = table.option("client", |value| {
            let write = "write forward = { exchange = \"NAME\" }, or name a client with grant = \
                         \"client_credentials\"";
            named(&value, names, Want::Own, write)
        });
        let exchange = table.option("exchange", |value| {
            guard::refuse_if_public(guard, value.spot())?;
            let write = "write grant = \"token_exchange\" or \"jwt_bearer\" in its table, or \
                         forward = { client = \"NAME\" } here";
            let index = named(&value, names, Want::Exchange, write)?;
            refuse_strangers(&value, index, names, guard)?;
            Ok(index)
        });
        let signed = table.option("signed", |value| {
            // On a public route nobody is known whom it could speak of.
            guard::refuse_if_public(guard, value.spot())?;
            names.signers.find(&value)
        });
        match (client?, exchange?, signed?) {
            (Some(index), None, None) => Ok(Forward::Client(index)),
            (None, Some(index), None) => Ok(Forward::Exchange(index)),
            (None, None, Some(index)) => Ok(Forward::Signed(index)),
            (None, None, None) => {
                let write = "write forward = { client = \"NAME\" } or { exchange = \"NAME\" } of a \
                             [clients.NAME], or { signed = \"NAME\" } of a [signers.NAME]";
                Err(table.lacks(&["client", "exchange", "signed"], "`client` is missing", write))
            }
            _ => Err(spot.wrong(
                "the upstream gets one token: of a client, of an exchange, or of a signer",
                "take all but one out",
            )),
        }
    })
}

/// The caller's token goes to the client's authorization server. One of another server could be used
/// there against the APIs that trust it, so whoever means that says so.
fn refuse_strangers(
    value: &Value<'_>,
    client: usize,
    names: &Names<'_, '_>,
    guard: &Result<Guard, Told>,
) -> Result<(), Told> {
    let (Some(client), Ok(guard)) = (names.clients.good(client), guard) else { return Ok(()) };
    let own = client.settings.server;
    if guard.names_servers || guard.servers.iter().all(|server| *server == own) {
        return Ok(());
    }
    let what = "tokens of all authorization servers would be sent to the one of this client";
    let write =
        format!("write authorization_servers = [\"{}\"] in the route", names.servers.name(own));
    Err(value.wrong(what, write))
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Want {
    Own,
    Exchange,
}

fn named(value: &Value<'_>, names: &Names<'_, '_>, want: Want, write: &str) -> Result<usize, Told> {
    let index = names.clients.find(value)?;
    let is = names.clients.good(index).map(|client| match client.settings.grant {
        Grant::ClientCredentials => Want::Own,
        Grant::Exchange(_) => Want::Exchange,
    });
    match is {
        Some(Want::Own) if want == Want::Exchange => {
            Err(value.wrong("this client has a token of its own, and exchanges none", write))
        }
        Some(Want::Exchange) if want == Want::Own => {
            Err(value.wrong("this client has no token of its own: it exchanges callers'", write))
        }
        // One with a mistake is told of where it stands.
        _ => Ok(index),
    }
}
