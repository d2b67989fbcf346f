//! What `scopegate dev` prints first: what runs where, and curl lines that work as printed.

use std::fmt::{self, Display, Write as _};

use super::cast::{Cast, Tokens};

/// Where everything runs, as URLs without a path.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) gateway: String,
    pub(super) admin: String,
    pub(super) authorization_server: String,
    pub(super) api: String,
}

/// The whole text.
#[derive(Debug)]
pub(super) struct Story<'a> {
    pub(super) places: &'a Places,
    pub(super) tokens: &'a Tokens,
}

/// One line to try.
struct Scene<'a> {
    /// What to expect.
    status: u16,
    /// Why.
    why: &'static str,
    /// curl's arguments.
    arguments: String,
    /// The token to send, if any.
    token: Option<&'a str>,
}

impl Story<'_> {
    fn scenes(&self) -> Vec<Scene<'_>> {
        let Places { gateway, admin, authorization_server, .. } = self.places;
        let Tokens { good, profile, expired, tampered, opaque } = self.tokens;
        let Cast { id, secret, .. } = Cast::SHOP;
        let order = format!("{gateway}/orders/1");
        // Of a refusal one wants to see the header fields too.
        let refused = format!("-i {order}");
        let grant = "-d grant_type=client_credentials -d scope=orders:read";
        let scene = |status, why, arguments: &str, token| Scene {
            status,
            why,
            arguments: arguments.to_owned(),
            token,
        };
        vec![
            scene(200, "a token that carries orders:read", &order, Some(good.as_str())),
            scene(401, "no token", &refused, None),
            scene(403, "a good token without orders:read", &refused, Some(profile)),
            scene(401, "a token that has expired", &refused, Some(expired)),
            scene(401, "a token that somebody wrote a scope into", &refused, Some(tampered)),
            scene(
                200,
                "machine to machine: a key and a secret, which the gateway exchanges for a token",
                &format!("-u {id}:{secret} {order}"),
                None,
            ),
            scene(
                200,
                "an opaque token: the gateway asks the authorization server about it",
                &order,
                Some(opaque),
            ),
            scene(
                200,
                "the API gets the gateway's own token, not the caller's",
                &format!("-u {id}:{secret} {gateway}/reports"),
                None,
            ),
            scene(200, "a public route", &format!("{gateway}/health"), None),
            scene(
                200,
                "a token of your own, from the authorization server",
                &format!("-u {id}:{secret} {grant} {authorization_server}/token"),
                None,
            ),
            scene(200, "the gateway's status", &format!("{admin}/status"), None),
            scene(200, "its metrics", &format!("{admin}/metrics"), None),
        ]
    }
}

impl Display for Scene<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, why, arguments, token } = self;
        writeln!(formatter, "  {status}  {why}")?;
        write!(formatter, "       curl {arguments}")?;
        match token {
            Some(token) => writeln!(formatter, " -H 'Authorization: Bearer {token}'"),
            None => formatter.write_char('\n'),
        }
    }
}

impl Display for Story<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Places { gateway, admin, authorization_server, api } = self.places;
        writeln!(
            formatter,
            "An OAuth 2.0 gateway at work, all on this machine. Ctrl-C ends it.\n"
        )?;
        writeln!(formatter, "  gateway               {gateway}")?;
        writeln!(formatter, "  sample API behind it  {api}")?;
        writeln!(formatter, "  authorization server  {authorization_server}")?;
        writeln!(formatter, "  admin                 {admin}")?;
        writeln!(
            formatter,
            "\nTry it in another terminal; before each line stands what to expect.\n"
        )?;
        for scene in self.scenes() {
            writeln!(formatter, "{scene}")?;
        }
        writeln!(formatter, "Each decision shows up here as it happens:")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_curl_line_is_whole_and_follows_the_status_to_expect() {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let places = Places {
            gateway: url(8080),
            admin: url(9901),
            authorization_server: url(5000),
            api: url(6000),
        };
        let tokens = Tokens {
            good: "good".into(),
            profile: "profile".into(),
            expired: "expired".into(),
            tampered: "tampered".into(),
            opaque: "opaque".into(),
        };
        let text = Story { places: &places, tokens: &tokens }.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let mut statuses = Vec::new();
        for pair in lines.windows(2).filter(|pair| pair[1].starts_with("curl ")) {
            let status = pair[0].split(' ').next().unwrap();
            assert!(status.parse::<u16>().is_ok(), "{pair:?}");
            assert!(pair[1].contains(" http://127.0.0.1:"), "{pair:?}");
            statuses.push(status);
        }
        assert_eq!(&statuses[..7], ["200", "401", "403", "401", "401", "200", "200"]);
        assert!(text.contains("curl -u shop:shop-secret http://127.0.0.1:8080/orders/1\n"));
        let good = "curl http://127.0.0.1:8080/orders/1 -H 'Authorization: Bearer good'\n";
        assert!(text.contains(good), "{text}");
    }
}
