//! The tables of raw requests in `tests/raw`, read: `tests/raw/README.md` says what they mean.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What becomes of the marked request that is sent behind a case, in the same write.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum After {
    /// It is answered or not; if it is, it was read as what it is.
    #[default]
    Either,
    /// It is answered.
    Kept,
    /// Nobody answers it and the upstream does not see it: the connection has ended.
    Closed,
    /// None is sent: the caller stops.
    Cut,
}

/// Whether the upstream may see the beginning of a request that is refused in the end.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// It sees nothing.
    #[default]
    None,
    /// It may see a part, and never the whole.
    Part,
}

/// A case, with what its group says of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Group and case, and the section that binds.
    pub name: String,
    /// What is sent.
    pub send: Vec<u8>,
    /// For each answer before the marked request's, which statuses will do; 0: closed without one.
    pub answers: Vec<Vec<u16>>,
    /// See [`After`].
    pub after: After,
    /// See [`Reach`].
    pub reach: Reach,
    /// Request line and fields at the upstream if it is let through, those left out that the
    /// gateway makes itself. Empty: it is never let through.
    pub saw: Vec<Vec<u8>>,
    /// The body there.
    pub body: Vec<u8>,
    /// What stands in no byte that the upstream gets.
    pub unseen: Vec<String>,
    /// It is demanded and does not hold yet. The day it does, the run says so.
    pub open: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    group: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    claim: String,
    rfc: String,
    #[serde(default)]
    status: Vec<u16>,
    #[serde(default)]
    after: After,
    #[serde(default)]
    upstream: Reach,
    #[serde(default)]
    saw: Vec<String>,
    #[serde(default)]
    unseen: Vec<String>,
    #[serde(default)]
    open: bool,
    cases: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    send: String,
    answers: Option<Vec<u16>>,
    saw: Option<Vec<String>>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    unseen: Vec<String>,
    #[serde(default)]
    open: bool,
}

/// Reads a table; `token` stands for `{token}`.
pub fn cases(text: &str, token: &str) -> Vec<Case> {
    let file: File = toml::from_str(text).unwrap();
    let of_group = |group: Group| {
        let Group { claim, rfc, status, after, upstream, saw, unseen, open, cases } = group;
        let case = move |row: Row| {
            let saw = row.saw.as_ref().unwrap_or(&saw);
            let answers = row.answers.map(|all| all.into_iter().map(|one| vec![one]).collect());
            Case {
                name: format!("RFC {rfc}: {claim}: {}", row.name),
                send: bytes(&row.send, token),
                answers: answers.unwrap_or_else(|| vec![status.clone()]),
                after,
                reach: upstream,
                saw: saw.iter().map(|line| bytes(line, token)).collect(),
                body: bytes(&row.body, token),
                unseen: [unseen.clone(), row.unseen].concat(),
                open: open || row.open,
            }
        };
        cases.into_iter().map(case).collect::<Vec<_>>()
    };
    file.group.into_iter().flat_map(of_group).collect()
}

/// The shared table of paths, each as a request.
pub fn paths(text: &str) -> Vec<Case> {
    #[derive(Deserialize)]
    struct Paths {
        refused: BTreeMap<String, Vec<String>>,
        rewritten: BTreeMap<String, String>,
        kept: BTreeMap<String, Vec<String>>,
    }
    let Paths { refused, rewritten, kept } = toml::from_str(text).unwrap();
    let refused = refused.into_values().flatten().map(|path| path_case(&path, None));
    let rewritten = rewritten.into_iter().map(|(path, normal)| path_case(&path, Some(&normal)));
    let kept = kept.into_values().flatten().map(|path| path_case(&path, Some(&path)));
    refused.chain(rewritten).chain(kept).collect()
}

fn path_case(path: &str, normal: Option<&str>) -> Case {
    let line = |path: &str| format!("GET {path} HTTP/1.1").into_bytes();
    Case {
        name: format!("path {path:?}"),
        send: [line(path), b"\r\nhost: api.test\r\n\r\n".to_vec()].concat(),
        answers: vec![vec![if normal.is_some() { 200 } else { 400 }]],
        after: if normal.is_some() { After::Kept } else { After::Closed },
        reach: Reach::None,
        saw: normal.map_or_else(Vec::new, |path| vec![line(path), b"host: api.test".to_vec()]),
        body: Vec::new(),
        unseen: Vec::new(),
        open: false,
    }
}

/// Escapes and what stands in braces, written out.
fn bytes(text: &str, token: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let (written, used) = match first {
            '\\' => escape(&rest[1..]),
            '{' => {
                let end = rest.find('}').expect("a closing brace");
                (braced(&rest[1..end], token), end + 1)
            }
            plain => (plain.to_string().into_bytes(), plain.len_utf8()),
        };
        out.extend(written);
        rest = &rest[used..];
    }
    out
}

fn escape(behind: &str) -> (Vec<u8>, usize) {
    let plain = match behind.as_bytes()[0] {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => return (vec![u8::from_str_radix(&behind[1..3], 16).unwrap()], 4),
        other => panic!("no such escape: {}", char::from(other)),
    };
    (vec![plain], 2)
}

fn braced(inside: &str, token: &str) -> Vec<u8> {
    if let Some((text, count)) = inside.rsplit_once('*') {
        return bytes(text, token).repeat(count.parse().unwrap());
    }
    let text = match inside {
        "token" => token.to_owned(),
        "get" => "GET /p HTTP/1.1\r\nhost: api.test\r\n".to_owned(),
        "post" => "POST /p HTTP/1.1\r\nhost: api.test\r\n".to_owned(),
        "chunked" => {
            "POST /p HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()
        }
        "id" => format!("GET /id HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n"),
        other => panic!("nothing stands for {other}"),
    };
    text.into_bytes()
}
