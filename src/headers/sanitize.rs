//! What a caller must not say, because only we may.

use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRAILER,
};
use http::{HeaderMap, HeaderName};

use super::hop;
use crate::reject::Rejection;

/// Takes away what a caller must not send to an upstream. One per snapshot: a name that any route
/// sets from claims is taken from callers on every route, public ones too.
#[derive(Clone, Debug)]
pub struct Sanitizer {
    identity: Box<[HeaderName]>,
}

/// Whether the peer is a trusted proxy, whose word on forwarding counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// What it says of other hops is kept.
    Proxy,
    /// It speaks for itself alone.
    Stranger,
}

impl Sanitizer {
    /// For these names of identity headers.
    pub fn new(identity: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut identity: Vec<HeaderName> = identity.into_iter().collect();
        identity.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        identity.dedup();
        Self { identity: identity.into() }
    }

    /// Cleans a request's header section: fields of the connection, identity headers, certificates
    /// that the caller claims to have, forwarding fields of strangers; each in every spelling that
    /// a reader like CGI folds together.
    ///
    /// # Errors
    /// When `Connection` names a field that must travel end to end.
    pub fn request(&self, headers: &mut HeaderMap, trust: Trust) -> Result<(), Rejection> {
        hop::strip_request(headers, |name| self.is_identity(name))?;
        self.take(headers, |name| self.is_taken(name, trust));
        Ok(())
    }

    /// Cleans a request's trailers: they are no place for a credential, and for nothing that the
    /// header section decides (RFC 9110 §6.5.1).
    pub fn request_trailers(&self, trailers: &mut HeaderMap) {
        hop::strip_response(trailers);
        self.take(trailers, |name| self.is_taken(name, Trust::Stranger) || is_decisive(name));
    }

    /// Cleans a response's header section; its trailers are cleaned where they are streamed.
    pub fn response(&self, headers: &mut HeaderMap) {
        hop::strip_response(headers);
    }

    fn take(&self, headers: &mut HeaderMap, is_taken: impl Fn(&str) -> bool) {
        // Does not allocate while nothing is taken, which is the usual case.
        let taken: Vec<HeaderName> =
            headers.keys().filter(|name| is_taken(name.as_str())).cloned().collect();
        for name in taken {
            headers.remove(name);
        }
    }

    fn is_taken(&self, name: &str, trust: Trust) -> bool {
        if name.bytes().any(|byte| fold(byte) != byte) {
            // A spelling that nobody needs and that some readers take for the other.
            let folded = folded(name);
            return self.is_ours(&folded) || is_forwarding(&folded) || is_decisive(&folded);
        }
        self.is_ours(name) || (trust == Trust::Stranger && is_forwarding(name))
    }

    fn is_ours(&self, name: &str) -> bool {
        self.is_identity(name) || CLAIMED.contains(&name)
    }

    fn is_identity(&self, name: &str) -> bool {
        self.identity.iter().any(|identity| is_spelling_of(identity.as_str(), name))
    }
}

/// Cleans a response's trailers of what has done its work, or its harm, before they come: fields
/// about the connection, the framing, the routing and the authentication of a message (RFC 9110
/// §6.5.1).
pub fn response_trailers(trailers: &mut HeaderMap) {
    hop::strip_response(trailers);
    for name in
        [AUTHORIZATION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRAILER]
    {
        trailers.remove(name);
    }
}

/// Whether two names are one to a reader that folds names as CGI does.
pub fn is_spelling_of(ours: &str, name: &str) -> bool {
    ours.len() == name.len() && ours.bytes().map(fold).eq(name.bytes().map(fold))
}

/// A name in small letters as such a reader has it: the one spelling of all that it takes alike.
pub fn folded(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold(byte))).collect()
}

/// RFC 3875 §4.1.18 makes one of `-` and `_`; servers that go further make one of every byte that
/// cannot stand in a variable's name, so that `x.subject` is `HTTP_X_SUBJECT` there as well.
const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte } else { b'-' }
}

/// Fields by which proxies tell where a request came from, and what some servers take for its
/// real target.
fn is_forwarding(name: &str) -> bool {
    name.starts_with(X_FORWARDED) || FORWARDING.contains(&name)
}

/// Fields that decide who is asking for what, and how a message is framed.
fn is_decisive(name: &str) -> bool {
    DECISIVE.contains(&name)
}

const X_FORWARDED: &str = "x-forwarded-";

/// What only the holder of a connection can say: certificates (RFC 9440 §2.4) and what is meant
/// for this proxy (RFC 9110 §11.7.2).
const CLAIMED: [&str; 7] = [
    "client-cert",
    "client-cert-chain",
    "proxy-authorization",
    "ssl-client-cert",
    "x-client-cert",
    "x-forwarded-client-cert",
    "x-ssl-client-cert",
];

const FORWARDING: [&str; 8] = [
    "forwarded",
    "x-client-ip",
    "x-host",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

const DECISIVE: [&str; 15] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "dpop",
    "expect",
    "host",
    "max-forwards",
    "origin",
    "te",
    "trailer",
    "transfer-encoding",
    "via",
    "x-request-id",
];

#[cfg(test)]
mod tests {
    use http::header::{CONNECTION, TE};
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, any};
    use proptest::sample::select;

    use super::*;
    use crate::base::property::for_all;

    /// Fields that nobody but the caller and the upstream makes anything of.
    const HARMLESS: [&str; 8] = [
        "accept",
        "authorization",
        "content-type",
        "x-a",
        "x.b",
        "x_c",
        "x-forwarder",
        "x-subject-too",
    ];

    /// A field's name as a caller may write it: one that means something, in a spelling that some
    /// reader takes for it, or one that is harmless.
    fn a_name() -> impl Strategy<Value = String> {
        let hop =
            ["connection", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings"];
        let ours = ["x-subject", "x-scopes", "x-forwarded-for", "x-forwarded-else"];
        let known: Vec<&str> =
            hop.into_iter().chain(ours).chain(CLAIMED).chain(FORWARDING).chain(DECISIVE).collect();
        let spelling = vec(any::<u8>(), 32);
        let spelled = (select(known), spelling).prop_map(|(name, spelling)| {
            let spell = |(character, choice): (char, u8)| match (character, choice) {
                ('-', 0..64) => ['_', '.', '~', '!'][usize::from(choice % 4)],
                (letter, 64..128) => letter.to_ascii_uppercase(),
                (character, _) => character,
            };
            name.chars().zip(spelling).map(spell).collect::<String>()
        });
        // Most as their owners write them: or else hardly one would be met in that spelling.
        let harmless = select(&HARMLESS[..]).prop_map(str::to_owned);
        proptest::prop_oneof![2 => spelled, 1 => select(ours.to_vec()).prop_map(str::to_owned), 2 => harmless]
    }

    /// A header section without `Connection`, and what such a field lists.
    fn a_section() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
        let listed = proptest::prop_oneof![Just(vec![]), vec(a_name(), 1..3)];
        (vec(a_name(), 0..10), listed)
    }

    #[test]
    fn invariant_8_whatever_a_caller_sends_only_what_it_may_say_goes_on() {
        let identity = ["x-subject", "x_scopes"].map(HeaderName::from_static);
        let sanitizer = Sanitizer::new(identity.clone());
        let is_mine = |name: &str| {
            let is_identity = identity.iter().any(|own| folded(own.as_str()) == folded(name));
            is_identity || CLAIMED.contains(&folded(name).as_str())
        };
        let trust = select(&[Trust::Stranger, Trust::Proxy][..]);
        for_all(&(a_section(), trust), |((names, listed), trust)| {
            let mut sent = HeaderMap::new();
            for (number, name) in names.iter().enumerate() {
                let name: HeaderName = name.parse().unwrap();
                if name != CONNECTION {
                    sent.append(name, number.to_string().parse().unwrap());
                }
            }
            if !listed.is_empty() {
                sent.append(CONNECTION, listed.join(" , ").parse().unwrap());
            }
            let listed: Vec<String> = listed.iter().map(|name| name.to_ascii_lowercase()).collect();
            let is_identity =
                |name: &str| identity.iter().any(|own| folded(own.as_str()) == folded(name));
            let may_not =
                |name: &String| hop::END_TO_END.contains(&name.as_str()) || is_identity(name);
            let mut left = sent.clone();
            let outcome = sanitizer.request(&mut left, trust);
            assert_eq!(outcome.is_err(), listed.iter().any(may_not), "{sent:?}");
            if outcome.is_err() {
                return;
            }
            assert!(!left.contains_key(TE), "nobody asked for trailers");
            for name in left.keys().map(HeaderName::as_str) {
                let plain = folded(name);
                let (is_odd, plain) = (plain != name, plain.as_str());
                assert!(!hop::is_hop_by_hop(name), "{name} belongs to the connection");
                assert!(!listed.iter().any(|one| one == name), "{name} is named in Connection");
                assert!(!is_mine(name), "{name} is ours");
                let tells = plain.starts_with("x-forwarded-") || FORWARDING.contains(&plain);
                assert!(!tells || (trust == Trust::Proxy && !is_odd), "{name} tells where from");
                assert!(!is_odd || !DECISIVE.contains(&plain), "{name} decides");
            }
            for name in HARMLESS.into_iter().filter(|name| !listed.iter().any(|one| one == name)) {
                let values =
                    |from: &HeaderMap| from.get_all(name).iter().cloned().collect::<Vec<_>>();
                assert_eq!(values(&left), values(&sent), "{name} was to go on as it came");
            }
        });
    }

    fn left(trust: Trust, lines: &[&str]) -> String {
        let names = ["x-subject", "x_scopes"].map(HeaderName::from_static);
        let mut headers: HeaderMap = lines
            .iter()
            .map(|name| (name.parse::<HeaderName>().unwrap(), "1".parse().unwrap()))
            .collect();
        Sanitizer::new(names).request(&mut headers, trust).unwrap();
        headers.keys().map(HeaderName::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn invariant_8_identity_headers_go_in_every_spelling() {
        let spellings = [
            "x-subject",
            "X-Subject",
            "x_subject",
            "X_SUBJECT",
            "x.subject",
            "x!Subject",
            "x-scopes",
            "x_scopes",
            "X-SCOPES",
            "x~scopes",
        ];
        for trust in [Trust::Stranger, Trust::Proxy] {
            for spelling in spellings {
                assert_eq!(left(trust, &[spelling, "accept"]), "accept", "{spelling}");
            }
        }
        assert_eq!(left(Trust::Stranger, &["x-subject-too", "subject"]), "x-subject-too subject");
    }

    #[test]
    fn a_stranger_cannot_say_where_it_came_from_and_a_trusted_proxy_can() {
        let forwarding = [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-prefix",
            "x-forwarded-uri",
            "x-forwarded-user",
            "x-real-ip",
            "x-original-url",
            "x-rewrite-url",
        ];
        assert_eq!(left(Trust::Stranger, &forwarding), "");
        assert_eq!(left(Trust::Proxy, &forwarding), forwarding.join(" "));
    }

    #[test]
    fn nobody_can_say_it_in_another_spelling() {
        let spellings = [
            "x_forwarded_for",
            "x-forwarded_proto",
            "content_length",
            "transfer_encoding",
            "cookie_",
            "x_request_id",
            "authorization",
            "client-cert",
            "X_Forwarded_Client_Cert",
            "proxy-authorization",
            "x-ssl_client_cert",
            "x.forwarded.for",
            "content.length",
        ];
        for trust in [Trust::Stranger, Trust::Proxy] {
            assert_eq!(left(trust, &spellings), "cookie_ authorization");
        }
    }

    #[test]
    fn rfc9110_6_5_1_trailers_decide_nothing() {
        let mut trailers = HeaderMap::new();
        for name in ["authorization", "dpop", "x-subject", "content-length", "host", "x-sum", "te"]
        {
            trailers.insert(name.parse::<HeaderName>().unwrap(), "1".parse().unwrap());
        }
        Sanitizer::new([HeaderName::from_static("x-subject")]).request_trailers(&mut trailers);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    }
    #[test]
    fn rfc9110_7_6_1_the_fields_of_a_connection_leave_trailers_too() {
        let mut trailers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("authorization", "Bearer t"),
            ("grpc-status", "0"),
        ] {
            trailers.append(name, value.parse().unwrap());
        }
        response_trailers(&mut trailers);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
    }
}
