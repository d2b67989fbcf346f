//! `access` of a route: public, or what a token must carry.

use super::rules;
use crate::config::problem::Told;
use crate::config::reader::{Form, Value, all};
use crate::config::table::Table;
use crate::config::value::{Zero, duration};
use crate::oauth::{Scope, ScopeSet};
use crate::policy::{Access, AuthenticationRequirement, ClaimRequirement, Requirement};

/// `access`; `audiences` and `principal` come from beside it.
pub(super) fn read(value: Value<'_>) -> Result<Access, Told> {
    match value.form(&[Form::Text, Form::Table]) {
        Some(Form::Table) => value.table(requirement).map(Access::Token),
        Some(_) if value.text()? == "public" => Ok(Access::Public),
        _ => Err(value.wrong("neither \"public\" nor what a token must carry", ACCESS)),
    }
}

/// A list of scopes, of which order and repeats mean nothing.
pub(super) fn scope_set(value: Value<'_>) -> Result<ScopeSet, Told> {
    scopes(value).map(ScopeSet::from_iter)
}

fn scopes(value: Value<'_>) -> Result<Vec<Scope>, Told> {
    value.each("write [\"orders:read\"]", |value| {
        // The parser says what is wrong; what it sees most often is two scopes in one string.
        value.parse("write each scope as a string of its own: [\"a\", \"b\"]", str::parse)
    })
}

fn requirement(table: &mut Table<'_>) -> Result<Requirement, Told> {
    let scopes = table.option("scopes", scope_set);
    let any_scope = table.option("any_scope", scopes_in_order);
    let claims = table.option("claims", claims);
    let rules = rules::read(table);
    let acr_values = table.or("acr_values", Vec::new(), acr_values);
    let max_age = table.option("max_age", |value| duration(&value, Zero::Refused));
    let (scopes, any_scope, claims, rules) = (scopes?, any_scope?, claims?, rules?);
    let (acr_values, max_age) = (acr_values?, max_age?);
    let authentication = (!acr_values.is_empty() || max_age.is_some())
        .then(|| Box::new(AuthenticationRequirement { acr_values, max_age }));
    let asks_for_nothing = scopes.is_none() && any_scope.is_none() && claims.is_none();
    if asks_for_nothing && authentication.is_none() && rules.is_none() {
        let what = "it asks for nothing, so any token would pass";
        return Err(table.lacks(&ASKING, what, ACCESS));
    }
    Ok(Requirement {
        scopes: scopes.unwrap_or_default(),
        any_scope: any_scope.unwrap_or_default(),
        claims: claims.unwrap_or_default(),
        rules: rules.map(Box::new),
        authentication,
        audiences: Vec::new(),
        principal: None,
    })
}

fn scopes_in_order(value: Value<'_>) -> Result<Vec<Scope>, Told> {
    let mut before = Vec::new();
    for scope in scopes(value)? {
        if !before.contains(&scope) {
            before.push(scope);
        }
    }
    Ok(before)
}

/// They stand in a challenge, between quotes and with a blank between two.
fn acr_values(value: Value<'_>) -> Result<Vec<Box<str>>, Told> {
    let write = "write acr_values = [\"urn:example:mfa\"], the preferred one first";
    value.each(write, |value| {
        value.parse(write, |text| {
            let is_allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
            match !text.is_empty() && text.bytes().all(is_allowed) {
                true => Ok(Box::from(text)),
                false => Err("an acr is printable ASCII without blanks, quotes and backslashes"),
            }
        })
    })
}

fn claims(value: Value<'_>) -> Result<Vec<ClaimRequirement>, Told> {
    let write = "write claims = { department = [\"it\"] }";
    let spot = value.spot().clone();
    let entries = value.entries(write)?;
    if entries.is_empty() {
        return Err(spot.wrong("an empty table", write));
    }
    all(entries.into_iter().map(|entry| {
        if entry.name == "aud" {
            let what = "the audience is checked by `audiences`";
            return Err(entry.key.wrong(what, "write audiences = [\"…\"] in the route"));
        }
        let any_of = entry.value.each("write [\"value\"]", |value| value.scalar())?;
        Ok(ClaimRequirement { name: entry.name.into(), any_of })
    }))
}

const ASKING: [&str; 8] =
    ["scopes", "any_scope", "claims", "all", "any", "not", "authorization_details", "cel"];

pub(super) const ACCESS: &str = "write access = \"public\", or what a token must carry: \
     access = { scopes = [\"orders:read\"] }, { any_scope = […] }, { claims = { … } }";
