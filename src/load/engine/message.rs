//! What is sent: made once, so that a request costs a copy of its bytes.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::answer::Asked;
use crate::load::plan::Plan;
use crate::load::supply::Credential;

/// The request of a run for HTTP/1.1: everything but the credential, as bytes.
pub(super) struct Template {
    before: Box<[u8]>,
    after: Box<[u8]>,
    asked: Asked,
}

impl Template {
    /// Of this plan.
    pub(super) fn new(plan: &Plan) -> Self {
        let method = &plan.request.method;
        let mut before = format!("{method} {} HTTP/1.1\r\n", plan.target.path()).into_bytes();
        for (name, value) in &fields(plan) {
            write_field(&mut before, name, value);
        }
        let mut after = b"\r\n".to_vec();
        after.extend_from_slice(&plan.request.body);
        Self { before: before.into(), after: after.into(), asked: asked(method) }
    }

    /// Whether answers have a body.
    pub(super) const fn asked(&self) -> Asked {
        self.asked
    }

    /// Puts a whole request into `buffer`, in place of what is there.
    pub(super) fn fill(&self, buffer: &mut Vec<u8>, credential: &Credential) {
        buffer.clear();
        buffer.extend_from_slice(&self.before);
        if let Some(value) = credential.authorization() {
            write_field(buffer, &AUTHORIZATION, value);
        }
        buffer.extend_from_slice(&self.after);
    }
}

/// The request of a run for HTTP/2: everything but the credential.
pub(super) struct Head {
    uri: Uri,
    method: Method,
    fields: HeaderMap,
    /// The body; none if empty.
    pub(super) body: Bytes,
}

impl Head {
    /// Of this plan.
    pub(super) fn new(plan: &Plan) -> Self {
        let mut fields = fields(plan);
        // It is `:authority` here (RFC 9113 §8.3.1), and of connections nothing is said (§8.2.2).
        for name in [HOST, CONNECTION, UPGRADE, HeaderName::from_static("keep-alive")] {
            fields.remove(name);
        }
        let uri = plan.target.to_string().parse().unwrap_or_default();
        Self { uri, method: plan.request.method.clone(), fields, body: plan.request.body.clone() }
    }

    /// The head of a request with this credential.
    pub(super) fn with(&self, credential: &Credential) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.fields.clone();
        if let Some(value) = credential.authorization() {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        request
    }
}

/// All fields but the credential: what the generator must say, and what the plan adds or replaces.
fn fields(plan: &Plan) -> HeaderMap {
    let mut fields = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_str(plan.target.authority().as_str()) {
        fields.insert(HOST, host);
    }
    fields.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let mut last = None;
    for (name, value) in plan.request.headers.clone() {
        // A name that was given twice comes once, then without it.
        match (name, &last) {
            (Some(name), _) => {
                fields.insert(&name, value);
                last = Some(name);
            }
            (None, Some(name)) => {
                fields.append(name, value);
            }
            (None, None) => {}
        }
    }
    let length = plan.request.body.len();
    if 0 < length || [Method::POST, Method::PUT, Method::PATCH].contains(&plan.request.method) {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    fields
}

fn asked(method: &Method) -> Asked {
    if method == Method::HEAD { Asked::HeadAlone } else { Asked::Whole }
}

fn write_field(to: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    to.extend_from_slice(name.as_str().as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value.as_bytes());
    to.extend_from_slice(b"\r\n");
}

const AGENT: &str = concat!("scopegate-load/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::supply::Supply;

    fn plan() -> Plan {
        let target = "http://a.test:81/b?c".parse().unwrap();
        let mut plan = Plan::new(target, Supply::bearer(["t"], "good").unwrap());
        plan.request.headers.append("x-a", HeaderValue::from_static("1"));
        plan.request.headers.append("x-a", HeaderValue::from_static("2"));
        plan
    }

    #[test]
    fn a_request_is_whole_and_replaces_the_one_before() {
        let mut plan = plan();
        plan.request.method = Method::POST;
        plan.request.body = Bytes::from_static(b"hello");
        let (template, mut buffer) = (Template::new(&plan), b"old".to_vec());
        template.fill(&mut buffer, plan.credentials.take(0));
        let expected = format!(
            "POST /b?c HTTP/1.1\r\nhost: a.test:81\r\nuser-agent: {AGENT}\r\nx-a: 1\r\nx-a: 2\r\n\
             content-length: 5\r\nauthorization: Bearer t\r\n\r\nhello"
        );
        assert_eq!(String::from_utf8(buffer).unwrap(), expected);
    }

    #[test]
    fn over_http2_there_is_no_host_field() {
        let plan = plan();
        let request = Head::new(&plan).with(plan.credentials.take(0));
        assert_eq!(request.uri(), "http://a.test:81/b?c");
        assert!(!request.headers().contains_key(HOST));
        assert_eq!(request.headers()["authorization"], "Bearer t");
    }
}
