//! `[authorization_servers.NAME.introspection]`, and the keys beside it.

use std::time::Duration;

use http::Uri;

use super::authentication::{self, Authentication};
use super::client::cache_ttls;
use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::table::Table;
use crate::config::value::{Zero, duration, endpoint_url};
use crate::config::{Introspect, Introspection, IntrospectionAnswer, OnUnavailable};

/// What is asked, and how.
#[derive(Default)]
pub(super) struct Asking<'c> {
    pub(super) endpoint: Option<Uri>,
    pub(super) settings: Option<Introspection>,
    /// Where our client's own key is named, if it has one.
    pub(super) key_at: Option<Spot<'c>>,
}

/// The table, and the keys beside it that mean nothing without it.
pub(super) fn read<'c>(table: &mut Table<'c>) -> Result<Asking<'c>, Told> {
    let endpoint = table.option("introspection_endpoint", |value| {
        let spot = value.spot().clone();
        endpoint_url(&value).map(|url| (url, spot))
    });
    let introspect = table.option("introspect", |value| {
        let introspect = value.word(&[("opaque", Introspect::Opaque), ("all", Introspect::All)])?;
        Ok((introspect, value.spot().clone()))
    });
    let introspection = table.option("introspection", |value| value.table(introspection));
    let (endpoint, introspect, introspection) = (endpoint?, introspect?, introspection?);
    let Some((mut settings, key_at)) = introspection else {
        let beside = endpoint.map(|(_, spot)| spot).or(introspect.map(|(_, spot)| spot));
        return match beside {
            None => Ok(Asking::default()),
            Some(spot) => Err(spot.missing(
                "without a client of ours no server answers introspection (RFC 7662 §2.1)",
                "add [authorization_servers.NAME.introspection] with client_id and client_secret",
            )),
        };
    };
    settings.introspect = introspect.map_or(Introspect::Opaque, |(introspect, _)| introspect);
    let endpoint = endpoint.map(|(url, _)| url);
    Ok(Asking { endpoint, settings: Some(settings), key_at })
}

fn introspection<'c>(table: &mut Table<'c>) -> Result<(Introspection, Option<Spot<'c>>), Told> {
    let client = authentication::read(table);
    let (negative_cache_ttl, cache_ttl) = cache_ttls(table);
    let require_audience = table.or("require_audience", true, |value| value.boolean());
    let on_unavailable = on_unavailable(table);
    let answer = table.or("answer", IntrospectionAnswer::Json, |value| {
        value.word(&[("json", IntrospectionAnswer::Json), ("jwt", IntrospectionAnswer::Jwt)])
    });
    let Authentication { settings: client, key_at } = client?;
    let settings = Introspection {
        client,
        cache_ttl: cache_ttl?,
        negative_cache_ttl: negative_cache_ttl?,
        require_audience: require_audience?,
        on_unavailable: on_unavailable?,
        introspect: Introspect::Opaque,
        answer: answer?,
    };
    Ok((settings, key_at))
}

fn on_unavailable(table: &mut Table<'_>) -> Result<OnUnavailable, Told> {
    let serves_stale = table.or("on_unavailable", false, |value| {
        value.word(&[("refuse", false), ("serve_stale", true)])
    });
    let max_stale = table.option("max_stale", |value| {
        duration(&value, Zero::Refused).map(|max_stale| (max_stale, value.spot().clone()))
    });
    match (serves_stale?, max_stale?) {
        (true, max_stale) => {
            let max_stale = max_stale.map_or(MAX_STALE, |(max_stale, _)| max_stale);
            Ok(OnUnavailable::ServeStale { max_stale })
        }
        (false, None) => Ok(OnUnavailable::Refuse),
        (false, Some((_, spot))) => {
            let write = "write on_unavailable = \"serve_stale\", or take it out";
            Err(spot.wrong("nothing stale is served", write))
        }
    }
}

/// How long a stale verdict serves while nobody can be asked.
const MAX_STALE: Duration = Duration::from_secs(300);
