//! The small tables: `[log]`, `[caches]`, `[drain]`, and the keys beside them.

use std::num::NonZero;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::problem::Told;
use crate::config::table::Table;
use crate::config::value::{Zero, duration};
use crate::config::{Caches, Drain, Log, LogFormat};
use crate::reject::Realm;

pub(super) fn log(table: &mut Table<'_>) -> Result<Log, Told> {
    let level = table.or("level", "info".into(), |value| {
        value.parse("write \"info\", \"debug\", or a filter: \"info,scopegate=debug\"", |text| {
            EnvFilter::builder().parse(text).map(|_| Box::from(text))
        })
    });
    let format = table.or("format", LogFormat::Text, |value| {
        value.word(&[("text", LogFormat::Text), ("json", LogFormat::Json)])
    });
    let access = table.or("access", true, |value| value.boolean());
    Ok(Log { level: level?, format: format?, access: access? })
}

pub(super) fn caches(table: &mut Table<'_>) -> Result<Caches, Told> {
    let mut entries = |key, default: u64| {
        table.or(key, default, |value| value.whole(1..=ENTRIES_MAX).map(u64::from))
    };
    let tokens = entries("tokens", 100_000);
    let negative = entries("negative", 10_000);
    let basic = entries("basic", 10_000);
    let exchanged = entries("exchanged", 10_000);
    let signed = entries("signed", 10_000);
    Ok(Caches {
        tokens: tokens?,
        negative: negative?,
        basic: basic?,
        exchanged: exchanged?,
        signed: signed?,
    })
}

pub(super) fn drain(table: &mut Table<'_>) -> Result<Drain, Told> {
    let delay = table.or("delay", Duration::from_secs(5), |value| duration(&value, Zero::Allowed));
    let timeout =
        table.or("timeout", Duration::from_secs(30), |value| duration(&value, Zero::Allowed));
    Ok(Drain { delay: delay?, timeout: timeout? })
}

pub(super) fn workers(top: &mut Table<'_>) -> Result<usize, Told> {
    let here = std::thread::available_parallelism().map_or(1, NonZero::get);
    top.or("workers", here, |value| value.whole(1..=WORKERS_MAX).map(|number| number as usize))
}

pub(super) fn certificate_refresh(top: &mut Table<'_>) -> Result<Duration, Told> {
    top.or("certificate_refresh", CERTIFICATE_REFRESH, |value| duration(&value, Zero::Allowed))
}

pub(super) fn realm(top: &mut Table<'_>) -> Result<Realm, Told> {
    top.or("realm", Realm::default(), |value| {
        value.parse("write a short name such as \"api\"", str::parse)
    })
}

/// Soon enough for a certificate that is renewed days before its end, and seldom enough for a disk.
const CERTIFICATE_REFRESH: Duration = Duration::from_secs(10);

/// A hundred million entries are tens of gigabytes.
const ENTRIES_MAX: u32 = 100_000_000;

/// More threads than any machine has processors.
const WORKERS_MAX: u32 = 1_024;
