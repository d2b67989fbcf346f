//! `all`, `any`, `not`, `authorization_details` and `cel` in a route's `access`.

use crate::config::problem::Told;
use crate::config::reader::{Value, all};
use crate::config::table::Table;
use crate::policy::ClaimRules;
use crate::policy::cel::Expression;
use crate::policy::condition::{COUNT_MAX, Condition, DEPTH_MAX};
use crate::policy::details::{DETAILS_MAX, DetailRequirement, LISTS};
use crate::policy::pointer::Pointer;

/// `None` where none of them is written.
pub(super) fn read(table: &mut Table<'_>) -> Result<Option<ClaimRules>, Told> {
    let mut count = 0;
    let conditions = joined(table, &mut Nest { depth: 1, count: &mut count });
    let details = table.or("authorization_details", Vec::new(), details);
    let expression = table.option("cel", expression);
    let (conditions, authorization_details) = (conditions?, details?);
    let rules = ClaimRules { conditions, authorization_details, expression: expression? };
    Ok((rules != ClaimRules::default()).then_some(rules))
}

/// How deep a condition stands, and how many there are so far.
struct Nest<'n> {
    depth: usize,
    count: &'n mut usize,
}

/// What joins conditions, where it is written: `all`, `any`, `not`.
fn joined(table: &mut Table<'_>, nest: &mut Nest<'_>) -> Result<Vec<Condition>, Told> {
    let of_all = table.option("all", |value| conditions(value, nest).map(Condition::All));
    let of_any = table.option("any", |value| conditions(value, nest).map(Condition::Any));
    let none_of = table.option("not", |value| conditions(value, nest).map(Condition::Not));
    Ok([of_all?, of_any?, none_of?].into_iter().flatten().collect())
}

fn conditions(value: Value<'_>, nest: &mut Nest<'_>) -> Result<Box<[Condition]>, Told> {
    if DEPTH_MAX < nest.depth {
        return Err(value.wrong("nested deeper than 8", "write fewer conditions in each other"));
    }
    // They mean the same wherever they stand.
    let value = value.known_as("condition");
    let items = value.items("write [{ pointer = \"/realm_access/roles\", has = [\"admin\"] }]")?;
    let read = items.into_iter().map(|item| {
        *nest.count += 1;
        if COUNT_MAX < *nest.count {
            let what = "more than 64 conditions in one route";
            return Err(item.wrong(what, "ask the authorization server for a claim that says it"));
        }
        let mut inner = Nest { depth: nest.depth + 1, count: nest.count };
        item.table(|table| condition(table, &mut inner))
    });
    all(read).map(Vec::into_boxed_slice)
}

/// A test of one value, or several conditions joined.
fn condition(table: &mut Table<'_>, nest: &mut Nest<'_>) -> Result<Condition, Told> {
    let pointer = table.option("pointer", |value| {
        value.parse("write \"/realm_access/roles\"", str::parse::<Pointer>)
    });
    let has = table.option("has", |value| {
        value.each("write [\"value\"]", |value| value.scalar()).map(Vec::into_boxed_slice)
    });
    let present = table.option("present", |value| value.boolean());
    let inner = joined(table, nest);
    let (pointer, has, present, inner) = (pointer?, has?, present?, inner?);
    let is_joined = !inner.is_empty();
    match (pointer, has, present) {
        (Some(pointer), Some(has), None) if !is_joined => Ok(Condition::Has(pointer, has)),
        (Some(pointer), None, Some(yes)) if !is_joined => Ok(Condition::Present(pointer, yes)),
        (None, None, None) if is_joined => Ok(Condition::All(inner.into())),
        (Some(_), None, None) if !is_joined => {
            Err(table.lacks(&["has", "present"], "`has` is missing", CONDITION))
        }
        (None, None, None) => {
            Err(table.lacks(&["pointer", "all", "any", "not"], "it asks for nothing", CONDITION))
        }
        (None, ..) if !is_joined => {
            Err(table.lacks(&["pointer"], "`pointer` is missing", CONDITION))
        }
        _ => {
            let what = "a condition is about one value, or it joins others";
            Err(table.spot().wrong(what, CONDITION))
        }
    }
}

const CONDITION: &str = "write { pointer = \"/realm_access/roles\", has = [\"admin\"] }, \
     { pointer = \"/suspended\", present = false } or { any = [ … ] }";

/// Also those that a client of the gateway's own asks for.
pub(super) fn details(value: Value<'_>) -> Result<Vec<DetailRequirement>, Told> {
    let write = "write [{ type = \"payment_initiation\", actions = [\"initiate\"] }]";
    // They are written alike wherever they stand.
    let value = value.known_as("authorization_details");
    let spot = value.spot().clone();
    let details = value.each(write, |value| value.table(detail))?;
    match details.len() {
        count if DETAILS_MAX < count => Err(spot.wrong("more than 16 objects", "ask for fewer")),
        _ => Ok(details),
    }
}

fn detail(table: &mut Table<'_>) -> Result<DetailRequirement, Told> {
    let kind = table.must("type", "write type = \"payment_initiation\"", text);
    let identifier = table.option("identifier", text);
    let lists = LISTS.map(|name| {
        let texts = table.option(name, |value| value.each("write [\"…\"]", text));
        texts.map(|texts| texts.map(|texts| (name, texts.into_boxed_slice())))
    });
    let (kind, identifier, lists) = (kind?, identifier?, all(lists.into_iter())?);
    Ok(DetailRequirement { kind, identifier, lists: lists.into_iter().flatten().collect() })
}

fn text(value: Value<'_>) -> Result<Box<str>, Told> {
    value.text().map(Box::from)
}

/// It may stand on several lines.
fn expression(value: Value<'_>) -> Result<Expression, Told> {
    let source = value.lines()?;
    Expression::compile(source).map_err(|wrong| {
        let write =
            "write cel = 'claims.level >= 3 && \"read\" in scopes'; the README has the rest";
        value.spot().inside(source, wrong.at).wrong(wrong, write)
    })
}
