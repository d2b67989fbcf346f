//! Keys that are not known: what was probably meant.

/// What is wrong with an unknown key, and what to write.
pub(super) fn explain(table: &str, key: &str, known: &[&'static str]) -> (String, String) {
    let schema = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
    if NOT_BUILT.contains(&schema.as_str()) {
        return (format!("`{key}` is not built yet"), "take it out".to_owned());
    }
    let what = format!("unknown key `{key}`");
    if let Some((_, write)) = MISPLACED.iter().find(|(place, _)| *place == schema) {
        return (what, (*write).to_owned());
    }
    let write = match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    (what, write)
}

/// The word that `text` was probably meant to be.
pub(super) fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A dash for an underscore, or another case, is the word all the same.
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let text = plain(text);
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    words
        .into_iter()
        .map(|word| (strsim::osa_distance(&text, &plain(word)), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Keys that are promised and that nothing reads yet. To accept one would be to say that it works.
const NOT_BUILT: [&str; 6] = [
    "telemetry",
    "upstreams.*.openapi",
    "routes[].credential",
    "routes[].mode",
    "routes[].rate_limit",
    "routes[].token_from",
];

/// Keys that belong elsewhere.
const MISPLACED: [(&str, &str); 10] = [
    ("routes[].scopes", "write access = { scopes = [\"…\"] }"),
    ("routes[].any_scope", "write access = { any_scope = [\"…\"] }"),
    ("routes[].claims", "write access = { claims = { name = [\"…\"] } }"),
    ("routes[].public", "write access = \"public\""),
    ("routes[].access.audiences", "write audiences = [\"…\"] in the route, beside access"),
    ("routes[].endpoints", "write them into [upstreams.NAME], and upstream = \"NAME\" here"),
    ("listeners[].certificate", "write it into [listeners.tls]"),
    ("listeners[].key", "write it into [listeners.tls]"),
    (
        "authorization_servers.*.client_id",
        "write it into [authorization_servers.NAME.introspection]",
    ),
    (
        "authorization_servers.*.client_secret",
        "write it into [authorization_servers.NAME.introspection]",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_offered_and_a_far_one_is_not() {
        let words = ["upstream", "access", "client_secret"];
        for (text, expected) in [
            ("upstraem", Some("upstream")),
            ("acces", Some("access")),
            ("Client-Secret", Some("client_secret")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, words), expected, "{text}");
        }
    }

    #[test]
    fn what_is_promised_and_not_built_is_told_as_that() {
        let (what, write) = explain("routes[]", "mode", &["path"]);
        assert_eq!((what.as_str(), write.as_str()), ("`mode` is not built yet", "take it out"));
    }
}
