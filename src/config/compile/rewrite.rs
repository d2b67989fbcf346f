//! `rewrite` of a route.

use crate::config::problem::Told;
use crate::config::reader::Value;
use crate::route::{InvalidRewrite, PathPattern, PrefixRewrite};

/// What comes in place of a prefix of `path`, the route's own, if that could be read.
pub(super) fn read(
    value: Value<'_>,
    path: Option<&PathPattern>,
) -> Result<Option<PrefixRewrite>, Told> {
    let spot = value.spot().clone();
    value.table(|table| {
        let mut prefix = |key| table.must(key, WRITE, |value| value.parse(WRITE, str::parse));
        let (prefix, to): (Result<PathPattern, _>, _) = (prefix("prefix"), prefix("to"));
        let (prefix, to) = (prefix?, to?);
        let Some(path) = path else { return Ok(None) };
        PrefixRewrite::new(path, &prefix, &to).map(Some).map_err(|error| match error {
            InvalidRewrite::NotOfThisRoute => {
                let what = format!("{path} does not begin with {prefix}, segment by segment");
                spot.wrong(what, WRITE)
            }
            error => spot.wrong(error, WRITE),
        })
    })
}

const WRITE: &str = "write rewrite = { prefix = \"/api\", to = \"/\" } in a route for /api/{*rest}";
