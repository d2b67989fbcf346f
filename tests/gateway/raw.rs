//! The tables of raw requests (`tests/raw`, `tests/paths.toml`), each over plain TCP and over TLS.
//!
//! Behind each case, in the same write, stands a marked request: if a case is read in two ways, the
//! mark shows it. The upstream keeps every byte and reads by the letter.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::raw_table::{self, After, Case, Reach};
use crate::harness::recorder::{Record, Recorded, Recorder};
use crate::harness::tls::Authority;
use crate::harness::world::Setup;
use crate::harness::{Gateway, TestIssuer, in_time};

const MARKED: &[u8] = b"GET /marked HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n";

/// A gateway with a listener of each kind before the upstream.
struct Raw {
    upstream: Recorder,
    gateway: Gateway,
    authority: Authority,
    token: String,
}

impl Raw {
    async fn start() -> Self {
        let (issuer, upstream, authority) =
            (TestIssuer::new(), Recorder::start().await, Authority::new());
        let server = authority.certify(&["api.test", "other.test"]);
        let setup = Setup::new();
        setup.folder.write("tls.crt", &server.certificate);
        setup.folder.write("tls.key", &server.key);
        let limits = "limits = { header_timeout = \"2s\" }";
        let tls = "tls = { certificate = \"tls.crt\", key = \"tls.key\" }";
        let gateway = setup
            .issuer("main", &issuer, "")
            .upstream("api", upstream.url(), "")
            .listener(limits)
            .table(&format!("[[listeners]]\naddress = \"127.0.0.1:0\"\n{limits}\n{tls}"))
            .route(r#"path = "/", access = "public""#)
            .route(r#"path = "/{*rest}", access = "public""#)
            .route(r#"path = "/id", access = { scopes = ["orders:read"] }, identity_headers = { "x-subject" = "sub", "x-scopes" = "scope" }"#)
            .start()
            .await;
        let token = issuer.token().scopes("orders:read").sign();
        Self { upstream, gateway, authority, token }
    }

    /// Runs every case over both listeners; all that fail, at once.
    async fn run(&self, cases: &[Case]) {
        let (mut wrong, mut answered, mut reached) = (Vec::new(), 0, 0);
        // What may reach the upstream in part comes last: such a part can come after its case.
        let mut cases: Vec<_> = cases.iter().collect();
        cases.sort_by_key(|case| case.reach == Reach::Part);
        for case in cases {
            for over_tls in [false, true] {
                let address = self.gateway.addresses()[usize::from(over_tls)].parse().unwrap();
                let answers = if over_tls {
                    let alpn: &[&[u8]] = &[b"http/1.1"];
                    let stream = self.authority.connect(address, "api.test", alpn, None).await;
                    exchange(stream.unwrap(), case).await
                } else {
                    exchange(TcpStream::connect(address).await.unwrap(), case).await
                };
                let records = self.upstream.take();
                answered += answers.iter().filter(|status| **status == 200).count();
                reached += records.iter().filter(|one| matches!(one, Record::Whole(_))).count();
                let way = if over_tls { "TLS" } else { "plain" };
                match judge(case, &answers, &records) {
                    Ok(()) if case.open => {
                        wrong
                            .push(format!("{} ({way}): holds now, so take `open` away", case.name));
                    }
                    Err(why) if !case.open => {
                        wrong.push(format!("{} ({way}): {why}; answers {answers:?}", case.name));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        }
        let late = self.upstream.take();
        reached += late.iter().filter(|one| matches!(one, Record::Whole(_))).count();
        assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
        assert_eq!(answered, reached, "the upstream saw what the gateway did not decide");
    }
}

/// Sends a case and its mark; the statuses that come back until the other side closes.
async fn exchange(stream: impl AsyncRead + AsyncWrite, case: &Case) -> Vec<u16> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mark = if case.after == After::Cut { &[][..] } else { MARKED };
    let bytes = [&case.send, mark].concat();
    let send = async {
        drop(writer.write_all(&bytes).await);
        drop(writer.flush().await);
        if case.after == After::Cut {
            drop(writer.shutdown().await);
        }
    };
    let mut received = Vec::new();
    let receive = reader.read_to_end(&mut received);
    // That the other side resets after its answer is an end too.
    let _ = in_time(&case.name, async { tokio::join!(send, receive) }).await;
    statuses(&received)
}

/// The statuses of the answers, 1xx left out. All answers here tell their length.
fn statuses(received: &[u8]) -> Vec<u16> {
    let (text, mut at, mut statuses) = (String::from_utf8_lossy(received), 0, Vec::new());
    while let Some(end) = text[at..].find("\r\n\r\n") {
        let head = &text[at..at + end];
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no answer: {head:?}"));
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        at += end + 4 + length.map_or(0, |length| length.parse().unwrap());
        if status >= 200 {
            statuses.push(status);
        }
    }
    statuses
}

fn judge(case: &Case, answers: &[u16], records: &[Record]) -> Result<(), String> {
    let mut whole: Vec<&Recorded> = Vec::new();
    for record in records {
        match record {
            Record::Whole(request) => whole.push(request),
            Record::Part(_) if case.reach == Reach::Part => {}
            Record::Part(bytes) => return Err(format!("upstream got a part: {}", shown(bytes))),
            Record::Malformed(why, bytes) => {
                // The gateway stops in the middle of what the caller broke.
                if case.reach == Reach::None {
                    return Err(format!("upstream got no HTTP, {why}: {}", shown(bytes)));
                }
            }
        }
    }
    let is_marked = |one: &&Recorded| one.lines[0] == b"GET /marked HTTP/1.1";
    let marks = whole.iter().copied().filter(is_marked).count();
    whole.retain(|one| !is_marked(one));
    let own = case.answers.len().min(answers.len());
    let is_good = |(allowed, status): (&Vec<u16>, &u16)| allowed.contains(status);
    let is_silent = answers.is_empty() && case.answers[0].contains(&0);
    if !is_silent && (own < case.answers.len() || !case.answers.iter().zip(answers).all(is_good)) {
        return Err(format!("not answered as {:?}", case.answers));
    }
    let behind = &answers[own..];
    let (is_answered, is_unanswered) =
        (behind == [200] && marks == 1, behind.is_empty() && marks == 0);
    let is_after_good = match case.after {
        After::Kept => is_answered,
        After::Closed | After::Cut => is_unanswered,
        After::Either => is_answered || is_unanswered,
    };
    if !is_after_good {
        return Err(format!("the next request: {behind:?}, {marks} upstream; {:?}", case.after));
    }
    let passed = answers[..own].iter().filter(|status| **status == 200).count();
    if whole.len() != passed {
        return Err(format!("{} requests upstream for {passed} answers", whole.len()));
    }
    whole.into_iter().try_for_each(|request| check_seen(case, request))
}

/// Holds what the upstream saw against the table, line by line.
fn check_seen(case: &Case, request: &Recorded) -> Result<(), String> {
    let is_ours = |line: &&Vec<u8>| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()))
    };
    let (ours, theirs): (Vec<_>, Vec<_>) = request.lines.iter().partition(is_ours);
    let sorted = |lines: &[&Vec<u8>]| {
        let mut rest: Vec<_> = lines.iter().skip(1).map(|line| shown(line)).collect();
        rest.sort();
        (lines.first().map(|line| shown(line)), rest)
    };
    let (found, wanted) = (sorted(&theirs), sorted(&case.saw.iter().collect::<Vec<_>>()));
    if found != wanted {
        return Err(format!("upstream saw {found:?}, not {wanted:?}"));
    }
    if ours.len() != OURS.len() {
        return Err(format!("fields of ours: {:?}", sorted(&ours)));
    }
    if request.body != case.body {
        return Err(format!("body {}", shown(&request.body)));
    }
    let all = shown(&request.bytes);
    match case.unseen.iter().find(|text| all.contains(text.as_str())) {
        Some(text) => Err(format!("upstream saw {text:?}: {all}")),
        None => Ok(()),
    }
}

/// What the gateway puts into every request, each once.
const OURS: [&str; 6] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[tokio::test]
async fn rfc9112_framing_has_one_reading() {
    let raw = Raw::start().await;
    raw.run(&raw_table::cases(include_str!("../raw/framing.toml"), &raw.token)).await;
}

#[tokio::test]
async fn rfc9112_heads_have_one_reading() {
    let raw = Raw::start().await;
    raw.run(&raw_table::cases(include_str!("../raw/heads.toml"), &raw.token)).await;
}

#[tokio::test]
async fn rfc9110_7_6_what_a_caller_may_not_say_is_gone() {
    let raw = Raw::start().await;
    raw.run(&raw_table::cases(include_str!("../raw/fields.toml"), &raw.token)).await;
}

#[tokio::test]
async fn rfc9110_17_3_the_path_that_is_judged_is_the_path_that_is_sent() {
    let raw = Raw::start().await;
    raw.run(&raw_table::paths(include_str!("../paths.toml"))).await;
}
