//! A caller: requests by hand over HTTP/1.1, one connection each, and what came back.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::http1::Connection;

/// An answer as it came.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Fields in order, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body, decoded from its framing.
    pub body: Vec<u8>,
    /// Fields behind the body.
    pub trailers: Vec<(String, String)>,
    /// Whether the message ended as its framing says.
    pub complete: bool,
}

impl Response {
    /// The value of a field that stands there once, or "".
    pub fn header(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} stands there {} times: {all:?}", all.len());
        all.first().copied().unwrap_or_default()
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a trailer, or "".
    pub fn trailer(&self, name: &str) -> &str {
        let found = self.trailers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}: {:?}", self.status, self.text()))
    }

    /// The parameters of the challenge for a scheme, if there is one.
    pub fn challenge(&self, scheme: &str) -> Option<BTreeMap<String, String>> {
        let mut found = self.all("www-authenticate").into_iter().filter_map(|line| {
            let (name, parameters) = line.split_once(' ').unwrap_or((line, ""));
            name.eq_ignore_ascii_case(scheme).then(|| auth_parameters(parameters))
        });
        let challenge = found.next();
        assert!(found.next().is_none(), "two challenges for {scheme}");
        challenge
    }

    /// The `error` of the Bearer challenge: "" where it has none, "-" without a challenge.
    pub fn error(&self) -> String {
        match self.challenge("Bearer") {
            None => "-".to_owned(),
            Some(parameters) => parameters.get("error").cloned().unwrap_or_default(),
        }
    }
}

/// A request in the making.
pub struct Request {
    to: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request without a body.
    pub fn new(to: SocketAddr, method: &str, target: &str) -> Self {
        let host = ("host".to_owned(), "api.test".to_owned());
        Self { to, method: method.into(), target: target.into(), headers: vec![host], body: None }
    }

    /// Adds a field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("host") {
            self.headers.retain(|(name, _)| name != "host");
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Adds key and secret.
    pub fn basic(self, key: &str, secret: &str) -> Self {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{key}:{secret}"));
        self.header("authorization", &format!("Basic {pair}"))
    }

    /// Adds a body of known length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        if let Some(body) = &self.body {
            bytes.extend(format!("content-length: {}\r\n", body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body.iter().flatten());
        bytes
    }

    /// Sends it on a connection of its own and reads the answer.
    pub async fn send(self) -> Response {
        let mut connection = Connection::open(self.to).await;
        connection.write(&self.bytes()).await;
        connection.response(&self.method).await
    }
}

/// `name="value", …` of one challenge (RFC 9110 §11.2), each name once, each value quoted.
fn auth_parameters(text: &str) -> BTreeMap<String, String> {
    let (mut parameters, mut rest) = (BTreeMap::new(), text.trim());
    while let Some((name, value)) = rest.split_once('=') {
        let value = value.strip_prefix('"').unwrap_or_else(|| panic!("no quote in {text}"));
        let (mut characters, mut unescaped, mut end) = (value.char_indices(), String::new(), None);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    end = Some(at + 1);
                    break;
                }
                '\\' => unescaped.extend(characters.next().map(|(_, escaped)| escaped)),
                other => unescaped.push(other),
            }
        }
        let name = name.trim().to_ascii_lowercase();
        assert!(parameters.insert(name, unescaped).is_none(), "a parameter twice in {text}");
        rest = value[end.expect("the end of a quoted string")..].trim_start_matches([',', ' ']);
    }
    assert!(rest.is_empty(), "{rest:?} behind the parameters of {text}");
    parameters
}
