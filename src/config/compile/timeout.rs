//! `timeout` of a route.

use crate::config::RouteTimeouts;
use crate::config::problem::Told;
use crate::config::reader::{Form, Value};
use crate::config::value::{Zero, duration};

/// One duration is that of the answer's head.
pub(super) fn read(value: Value<'_>) -> Result<RouteTimeouts, Told> {
    match value.form(&[Form::Text, Form::Table]) {
        Some(Form::Table) => value.table(|table| {
            let mut timeout = |key| table.option(key, |value| duration(&value, Zero::Refused));
            let (connect, header) = (timeout("connect"), timeout("header"));
            let (idle, total) = (timeout("idle"), timeout("total"));
            let timeouts =
                RouteTimeouts { connect: connect?, header: header?, idle: idle?, total: total? };
            if timeouts == RouteTimeouts::default() {
                return Err(table.spot().wrong("an empty table", WRITE));
            }
            Ok(timeouts)
        }),
        _ => {
            let header = duration(&value, Zero::Refused)?;
            Ok(RouteTimeouts { header: Some(header), ..RouteTimeouts::default() })
        }
    }
}

const WRITE: &str = "write timeout = { connect = \"1s\", header = \"30s\", idle = \"60s\", total = \"5m\" }, or less of it";
