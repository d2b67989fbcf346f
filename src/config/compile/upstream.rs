//! `[upstreams.NAME]`.

use std::time::Duration;

use http::HeaderName;
use http::uri::PathAndQuery;
use rustls_pki_types::ServerName;

use crate::config::files;
use crate::config::problem::Told;
use crate::config::reader::{Form, Value};
use crate::config::table::Table;
use crate::config::tls::client_config;
use crate::config::value::{Zero, duration, parse_endpoint};
use crate::config::{
    Balance, Ejection, Endpoint, EndpointAddress, EndpointProtocol, HashKey, Health, Retries,
    Upstream, UpstreamLimits, UpstreamTimeouts, UpstreamTls,
};

pub(super) fn read(name: &str, value: Value<'_>) -> Result<Upstream, Told> {
    value.table(|table| upstream(name, table))
}

fn upstream(name: &str, table: &mut Table<'_>) -> Result<Upstream, Told> {
    let spot = table.spot().clone();
    let endpoints = table.must("endpoints", ENDPOINTS, endpoints);
    let tls = table.option("tls", |value| {
        let spot = value.spot().clone();
        value.table(tls).map(|tls| (tls, spot))
    });
    let timeouts = table.section("timeouts", timeouts);
    let limits = table.section("limits", limits);
    let resolve = table.or("resolve", RESOLVE, |value| duration(&value, Zero::Refused));
    let balance = table.or("balance", Balance::default(), balance);
    let eject = table.section("eject", eject);
    let health = table.option("health", |value| value.table(health));
    let slow_start =
        table.or("slow_start", Duration::ZERO, |value| duration(&value, Zero::Allowed));
    let retries = table.section("retries", retries);
    let (endpoints, tls, timeouts, limits) = (endpoints?, tls?, timeouts?, limits?);
    let (resolve, balance, eject) = (resolve?, balance?, eject?);
    let (health, slow_start, retries) = (health?, slow_start?, retries?);
    let is_tls = endpoints.iter().any(|one| one.protocol == EndpointProtocol::Tls);
    let tls = match tls {
        Some((_, spot)) if !is_tls => {
            let write = "write an endpoint with https:, or take this table out";
            return Err(spot.wrong("no endpoint of this upstream speaks TLS", write));
        }
        Some((tls, spot)) => client_config(&tls).map(|_| tls).map_err(|error| (error, spot)),
        None if is_tls => {
            let tls = UpstreamTls::default();
            client_config(&tls).map(|_| tls).map_err(|error| (error, spot))
        }
        None => Ok(UpstreamTls::default()),
    };
    let tls = tls.map_err(|(error, spot)| {
        spot.wrong(error, "write tls = { ca = \"ca.pem\" }; certificate and key must be a pair")
    })?;
    Ok(Upstream {
        name: name.into(),
        endpoints,
        tls,
        timeouts,
        limits,
        resolve,
        balance,
        eject,
        health,
        slow_start,
        retries,
    })
}

fn endpoints(value: Value<'_>) -> Result<Vec<Endpoint>, Told> {
    let mut before: Vec<Endpoint> = Vec::new();
    value.each(ENDPOINTS, |value| {
        let endpoint = value.parse(ENDPOINTS, parse_endpoint)?;
        if before.contains(&endpoint) {
            return Err(value.wrong("this endpoint is already in the list", "take one of them out"));
        }
        if endpoint.protocol != EndpointProtocol::Tls && !is_local(&endpoint.address) {
            value.spot().warn(
                "tokens travel to this upstream in plaintext",
                "write https:, or make sure that nobody is on the way",
            );
        }
        before.push(endpoint.clone());
        Ok(endpoint)
    })
}

fn is_local(address: &EndpointAddress) -> bool {
    match address {
        EndpointAddress::Ip(address) => address.ip().to_canonical().is_loopback(),
        EndpointAddress::Name(name, _) => &**name == "localhost",
        EndpointAddress::Unix(_) => true,
    }
}

fn tls(table: &mut Table<'_>) -> Result<UpstreamTls, Told> {
    let spot = table.spot().clone();
    let ca = table.option("ca", |value| files::with_path(&value, files::authorities));
    let certificate =
        table.option("certificate", |value| files::with_path(&value, files::certificates));
    let key = table.option("key", |value| files::with_path(&value, files::private_key));
    let server_name = table.option("server_name", |value| {
        value.parse("write a host name such as \"orders.example.com\"", |text| {
            ServerName::try_from(text).map(|_| Box::from(text))
        })
    });
    let (ca, certificate, key, server_name) = (ca?, certificate?, key?, server_name?);
    let (ca, ca_file) = ca.unzip();
    let (identity, identity_files) = match (certificate, key) {
        (Some((certificate, certificate_file)), Some((key, key_file))) => {
            (Some((certificate, key)), Some((certificate_file, key_file)))
        }
        (None, None) => (None, None),
        _ => {
            let what = "`certificate` and `key` go together";
            return Err(spot.wrong(what, "write both, or none of the two"));
        }
    };
    Ok(UpstreamTls { ca, identity, server_name, ca_file, identity_files })
}

fn timeouts(table: &mut Table<'_>) -> Result<UpstreamTimeouts, Told> {
    let mut timeout = |key, default_s| {
        table.or(key, Duration::from_secs(default_s), |value| duration(&value, Zero::Refused))
    };
    let (connect, header, idle) =
        (timeout("connect", 2), timeout("header", 60), timeout("idle", 60));
    Ok(UpstreamTimeouts { connect: connect?, header: header?, idle: idle? })
}

fn limits(table: &mut Table<'_>) -> Result<UpstreamLimits, Told> {
    let requests = table.or("requests", 10_000, |value| {
        value.whole(1..=REQUESTS_MAX).map(|number| number as usize)
    });
    let connections = table
        .option("connections", |value| value.whole(1..=REQUESTS_MAX).map(|number| number as usize));
    let idle_connections = table.or("idle_connections", 1024, |value| {
        value.whole(0..=IDLE_CONNECTIONS_MAX).map(|number| number as usize)
    });
    let (requests, connections, idle_connections) = (requests?, connections?, idle_connections?);
    Ok(UpstreamLimits { requests, connections: connections.unwrap_or(requests), idle_connections })
}

fn balance(value: Value<'_>) -> Result<Balance, Told> {
    match value.form(&[Form::Text, Form::Table]) {
        Some(Form::Table) => {
            value.table(|table| table.must("hash", HASH, hash_key)).map(Balance::Hash)
        }
        _ => value.word(&[("p2c", ByLoad::P2c), ("round_robin", ByLoad::RoundRobin)]).map(|word| {
            match word {
                ByLoad::P2c => Balance::P2c,
                ByLoad::RoundRobin => Balance::RoundRobin,
            }
        }),
    }
}

/// What a word can say about balancing.
#[derive(Clone, Copy)]
enum ByLoad {
    P2c,
    RoundRobin,
}

fn hash_key(value: Value<'_>) -> Result<HashKey, Told> {
    match value.form(&[Form::Text, Form::Table]) {
        Some(Form::Table) => value.table(|table| {
            table.must("header", HASH, |value| {
                value.parse("write a header name such as \"x-tenant\"", |text| {
                    HeaderName::try_from(text)
                })
            })
        }),
        _ => {
            let is_subject = value.word(&[("client_id", false), ("subject", true)])?;
            return Ok(if is_subject { HashKey::Subject } else { HashKey::ClientId });
        }
    }
    .map(HashKey::Header)
}

fn eject(table: &mut Table<'_>) -> Result<Ejection, Told> {
    let default = Ejection::default();
    let failures = table.or("failures", default.failures, |value| value.whole(0..=FAILURES_MAX));
    let time = table.or("for", default.time, |value| duration(&value, Zero::Refused));
    let server_errors = table.or("server_errors", default.server_errors, |value| value.boolean());
    Ok(Ejection { failures: failures?, time: time?, server_errors: server_errors? })
}

fn health(table: &mut Table<'_>) -> Result<Health, Told> {
    let write = "write path = \"/healthz\"";
    let path = table.must("path", write, |value| value.parse(write, origin_form));
    let mut time = |key, default_s| {
        table.or(key, Duration::from_secs(default_s), |value| duration(&value, Zero::Refused))
    };
    let (interval, timeout) = (time("interval", 5), time("timeout", 2));
    let mut count = |key, default| table.or(key, default, |value| value.whole(1..=CHECKS_MAX));
    let (unhealthy_after, healthy_after) = (count("unhealthy_after", 3), count("healthy_after", 2));
    Ok(Health {
        path: path?,
        interval: interval?,
        timeout: timeout?,
        unhealthy_after: unhealthy_after?,
        healthy_after: healthy_after?,
    })
}

fn origin_form(text: &str) -> Result<Box<str>, &'static str> {
    let is_one = text.starts_with('/') && !text.contains('#');
    match text.parse::<PathAndQuery>() {
        Ok(target) if is_one => Ok(target.as_str().into()),
        _ => Err("not a path that begins with /"),
    }
}

fn retries(table: &mut Table<'_>) -> Result<Retries, Told> {
    let default = Retries::default();
    let attempts = table.or("attempts", default.attempts, |value| value.whole(0..=ATTEMPTS_MAX));
    let budget_percent = table.or("budget", default.budget_percent, |value| {
        value.parse("write a share of the requests such as \"20%\"", percent)
    });
    Ok(Retries { attempts: attempts?, budget_percent: budget_percent? })
}

fn percent(text: &str) -> Result<u32, &'static str> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    number.filter(|number| *number <= 100).ok_or("not a whole number from 0 to 100 with a %")
}

const RESOLVE: Duration = Duration::from_secs(30);

const HASH: &str = "write { hash = \"client_id\" }, { hash = \"subject\" } or \
                    { hash = { header = \"x-tenant\" } }";

/// Failures that nobody would wait for.
const FAILURES_MAX: u32 = 1_000_000;

/// Checks in a row that nobody would wait for.
const CHECKS_MAX: u32 = 1000;

/// A request that was refused so often will not be taken.
const ATTEMPTS_MAX: u32 = 3;

const ENDPOINTS: &str = "write endpoints = [\"http://127.0.0.1:9000\"]; also https://host:port, \
                         h2c://host:port and unix:/path";

/// More than a process gets file descriptors for.
const REQUESTS_MAX: u32 = 1_000_000;

/// More than there are ports towards one address.
const IDLE_CONNECTIONS_MAX: u32 = 65_535;
