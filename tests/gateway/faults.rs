//! Two minutes under load while everything around the gateway dies and comes back: upstreams, one
//! and all of them, and the authorization server; while certificates and configuration are taken up
//! anew each second.
//!
//! What must hold: nothing wrong is let through. What a fault does not explain is answered as
//! always. No request that must not be done twice is. And at the end memory, tasks and file
//! descriptors are what they were at the beginning.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::client::Request;
use crate::harness::http2::Http2;
use crate::harness::mortal::Mortal;
use crate::harness::tls::Authority;
use crate::harness::{AuthServer, Backend, DEADLINE, Gateway, Reply, Scratch, TestIssuer};

/// What a caller does over and over, and what it must get.
#[derive(Clone, Debug)]
struct Habit {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    authorization: String,
    /// What it gets where nothing is at fault.
    status: u16,
    /// What else it may get while something is.
    faults: &'static [u16],
    over: Over,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Over {
    Http1,
    Tls,
    Http2,
}

/// An upstream is at fault.
const UPSTREAM: &[u16] = &[502, 503, 504];
/// Nobody can judge the credential.
const JUDGE: &[u16] = &[503];
const BOTH: &[u16] = &[502, 503, 504];

/// When something was at fault, and how things went.
#[derive(Default)]
struct Diary {
    faults: Mutex<Vec<(Instant, Option<Instant>)>>,
    complaints: Mutex<Vec<String>>,
    answered: AtomicU64,
    excused: AtomicU64,
}

impl Diary {
    fn fault_begins(&self) {
        self.faults.lock().unwrap().push((Instant::now(), None));
    }

    fn fault_ends(&self) {
        self.faults.lock().unwrap().last_mut().unwrap().1 = Some(Instant::now());
    }

    /// Whether anything was at fault in that time, or had been a moment before it.
    fn excuses(&self, began: Instant, ended: Instant) -> bool {
        let faults = self.faults.lock().unwrap();
        faults.iter().rev().take(3).any(|(from, until)| {
            *from <= ended && until.is_none_or(|until| began <= until + RECOVERY)
        })
    }

    fn note(&self, habit: &Habit, began: Instant, got: Option<u16>) {
        if got == Some(habit.status) {
            self.answered.fetch_add(1, Relaxed);
            return;
        }
        let may_be = got.is_none_or(|status| habit.faults.contains(&status));
        if may_be && !habit.faults.is_empty() && self.excuses(began, Instant::now()) {
            self.excused.fetch_add(1, Relaxed);
            return;
        }
        let name = habit.name;
        self.complaints.lock().unwrap().push(format!("{name} over {:?}: {got:?}", habit.over));
    }
}

/// The gateway as callers reach it.
struct Doors {
    plain: SocketAddr,
    tls: SocketAddr,
    authority: Arc<Authority>,
}

impl Doors {
    /// The status of one request; `None`: its answer broke off, or none came.
    async fn ask(&self, habit: &Habit, serial: &str) -> Option<u16> {
        let request = Request::new(self.plain, habit.method, habit.path)
            .header("authorization", &habit.authorization)
            .header("x-serial", serial)
            .header("connection", "close");
        let bytes = match habit.method {
            "POST" => request.body("once").bytes(),
            _ => request.bytes(),
        };
        match habit.over {
            Over::Http1 => exchange(TcpStream::connect(self.plain).await.unwrap(), &bytes).await,
            Over::Tls => {
                let stream = self.authority.connect(self.tls, "api.test", &[b"http/1.1"], None);
                exchange(stream.await.expect("a handshake"), &bytes).await
            }
            Over::Http2 => {
                let headers = [("authorization", &*habit.authorization), ("x-serial", serial)];
                let client = Http2::open(self.plain).await;
                let body: &[u8] = if habit.method == "POST" { b"once" } else { b"" };
                client
                    .send(habit.method, habit.path, &headers, body)
                    .await
                    .ok()
                    .map(|one| one.status)
            }
        }
    }
}

/// Sends a request, reads to the end of the connection, and gives the status of a whole answer.
async fn exchange(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    request: &[u8],
) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.ok()?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    (length.parse() == Ok(body.len())).then(|| head.split(' ').nth(1)?.parse().ok()).flatten()
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Holds {
    descriptors: usize,
    threads: usize,
    tasks: f64,
    resident_kib: u64,
}

impl Holds {
    async fn of(gateway: &mut Gateway) -> Self {
        let id = gateway.program().id();
        let count = |folder| std::fs::read_dir(format!("/proc/{id}/{folder}")).unwrap().count();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            tasks: gateway.gauge("scopegate_tasks").await,
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

/// Everything that the gateway stands between.
struct Stage {
    server: AuthServer,
    judge: Mortal,
    upstream: Backend,
    ends: [Mortal; 2],
    authority: Arc<Authority>,
    gateway: Gateway,
}

impl Stage {
    async fn set() -> Self {
        let server = AuthServer::start().await;
        let port = server.issuer.rsplit(':').next().unwrap().parse::<u16>().unwrap();
        let judge = Mortal::before(([127, 0, 0, 1], port).into()).await;
        let upstream =
            Backend::answering(|_| Reply::status(200).header("content-length", "5").body("hello"))
                .await;
        let ends =
            [Mortal::before(upstream.address()).await, Mortal::before(upstream.address()).await];
        let (folder, authority) = (Scratch::new(), Arc::new(Authority::new()));
        certify(&folder, &authority);
        folder.write("secrets/gateway", "gateway-secret");
        let text = configuration(&server, &judge, &ends);
        let gateway = Gateway::start_in(folder, &text).await.ready().await;
        Self { server, judge, upstream, ends, authority, gateway }
    }

    async fn habits(&self) -> Vec<Habit> {
        let mint = async |order| format!("Bearer {}", self.server.mint(order).await);
        let opaque = "https://api.test/opaque";
        let good = mint(json!({ "ttl": 3600 })).await;
        let unscoped = mint(json!({ "scope": "reports:read", "ttl": 3600 })).await;
        let known = mint(json!({ "resource": opaque, "ttl": 3600 })).await;
        let poor = mint(json!({ "resource": opaque, "scope": "reports:read", "ttl": 3600 })).await;
        let stranger = TestIssuer::named(&self.server.issuer, &["ES256"]);
        let forged = format!("Bearer {}", stranger.token().scopes("orders:read").sign());
        let pair = |secret: &str| {
            use base64::Engine;
            let pair = format!("reports:{secret}");
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        };
        let habit = |name, method, authorization: &str, status, faults, over| Habit {
            name,
            method,
            path: "/orders",
            authorization: authorization.to_owned(),
            status,
            faults,
            over,
        };
        #[rustfmt::skip]
        let habits = vec![
            habit("a good JWT",              "GET",  &good,                 200, UPSTREAM, Over::Http1),
            habit("a good JWT",              "GET",  &good,                 200, UPSTREAM, Over::Tls),
            habit("a good JWT",              "GET",  &good,                 200, UPSTREAM, Over::Http2),
            habit("an order",                "POST", &good,                 200, UPSTREAM, Over::Http1),
            habit("an order",                "POST", &good,                 200, UPSTREAM, Over::Http2),
            habit("a good opaque token",     "GET",  &known,                200, BOTH,     Over::Http1),
            habit("a right pair",            "GET",  &pair("reports-secret"), 200, BOTH,   Over::Http1),
            habit("a forged JWT",            "GET",  &forged,               401, JUDGE,    Over::Http1),
            habit("a forged JWT",            "GET",  &forged,               401, JUDGE,    Over::Tls),
            habit("a JWT without the scope", "GET",  &unscoped,             403, &[],      Over::Http2),
            habit("an opaque one without",   "GET",  &poor,                 403, JUDGE,    Over::Http1),
            habit("an unknown opaque token", "GET",  "Bearer unheard-of",   401, JUDGE,    Over::Http1),
            habit("a wrong pair",            "GET",  &pair("wrong"),        401, JUDGE,    Over::Http1),
            habit("nobody",                  "GET",  "Digest x",            401, &[],      Over::Http2),
        ];
        habits
    }

    /// Takes up another certificate and another configuration each second, one way and the other.
    async fn renew(&self, stop: &AtomicBool) -> u64 {
        let path = self.gateway.config().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut round = 0;
        while !stop.load(Relaxed) {
            certify(self.gateway.folder(), &self.authority);
            let more = "[[routes]]\npath = \"/round\"\nupstream = \"api\"\naccess = \"public\"\n";
            let more = if round % 2 == 0 { more } else { "" };
            std::fs::write(&path, format!("{text}\n{more}# {round}\n")).unwrap();
            self.gateway.signal("HUP");
            round += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        round
    }

    /// One thing after the other dies and comes back, with quiet times between.
    async fn break_things(&self, diary: &Diary, end: Instant) -> u64 {
        let mut rounds = 0;
        while Instant::now() < end {
            let [first, second] = &self.ends;
            let groups: [&[&Mortal]; 4] = [&[first], &[first, second], &[&self.judge], &[second]];
            let dying = groups[usize::try_from(rounds % 4).unwrap()];
            diary.fault_begins();
            futures_util::future::join_all(dying.iter().map(|one| one.die())).await;
            tokio::time::sleep(FAULT).await;
            futures_util::future::join_all(dying.iter().map(|one| one.revive())).await;
            diary.fault_ends();
            tokio::time::sleep(RECOVERY + QUIET).await;
            rounds += 1;
        }
        rounds
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_two_minutes_everything_around_dies_and_comes_back() {
    let mut stage = Stage::set().await;
    let habits = stage.habits().await;
    let doors = |stage: &Stage| {
        let address = |at: usize| stage.gateway.addresses()[at].parse().unwrap();
        Doors { plain: address(0), tls: address(1), authority: Arc::clone(&stage.authority) }
    };
    let doors = Arc::new(doors(&stage));
    // Once around: what is opened for good is open now.
    for habit in &habits {
        assert_eq!(doors.ask(habit, "-").await, Some(habit.status), "{habit:?}");
    }
    let warm = stage.upstream.count();
    let before = settled(&mut stage.gateway, None).await;

    let (diary, stop) = (Arc::new(Diary::default()), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for (number, habit) in habits.iter().cloned().enumerate() {
        let (diary, stop, doors) = (Arc::clone(&diary), Arc::clone(&stop), Arc::clone(&doors));
        callers.spawn(async move {
            let mut sent = Vec::new();
            while !stop.load(Relaxed) {
                let (serial, began) = (format!("{number}-{}", sent.len()), Instant::now());
                let got = doors.ask(&habit, &serial).await;
                diary.note(&habit, began, got);
                sent.push((serial, got));
                tokio::time::sleep(PAUSE).await;
            }
            (habit, sent)
        });
    }
    let end = Instant::now() + length();
    let (reloads, rounds) = tokio::join!(stage.renew(&stop), async {
        let rounds = stage.break_things(&diary, end).await;
        stop.store(true, Relaxed);
        rounds
    });
    let sent = callers.join_all().await;
    let after = settled(&mut stage.gateway, Some(before)).await;
    eprintln!(
        "{rounds} faults, {reloads} reloads; {} answered, {} excused by a fault\n{before:?}\n{after:?}",
        diary.answered.load(Relaxed),
        diary.excused.load(Relaxed),
    );
    let complaints = std::mem::take(&mut *diary.complaints.lock().unwrap());
    assert!(
        complaints.is_empty(),
        "{}: {:#?}",
        complaints.len(),
        &complaints[..complaints.len().min(20)]
    );
    assert!(diary.excused.load(Relaxed) < diary.answered.load(Relaxed), "mostly it works");
    arrived(&stage.upstream, warm, &sent);
    let refused = stage.gateway.metric("scopegate_reloads_total", &[("outcome", "refused")]).await;
    assert_eq!(refused, 0.0, "a configuration was refused");
}

/// A request's number, and the status it got.
type Sent = (String, Option<u16>);

/// What reached the upstream: only what may, and each order at most once; one that was answered,
/// exactly once.
fn arrived(upstream: &Backend, warm: usize, sent: &[(Habit, Vec<Sent>)]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for request in upstream.all().into_iter().skip(warm) {
        *seen.entry(request.header("x-serial").unwrap().to_owned()).or_default() += 1;
    }
    for (habit, requests) in sent {
        for (serial, got) in requests {
            let times = seen.get(serial).copied().unwrap_or(0);
            match (habit.status, habit.method, got) {
                (200, _, Some(200)) => {
                    assert!(times >= 1, "{habit:?} {serial}: answered by nobody")
                }
                (200, ..) => {}
                _ => assert_eq!(times, 0, "{habit:?} {serial}: let through"),
            }
            if habit.method == "POST" {
                assert!(times <= 1, "{habit:?} {serial}: done {times} times");
            }
        }
    }
}

/// Waits until the gateway holds no more than it did, or for once until it is at rest.
async fn settled(gateway: &mut Gateway, before: Option<Holds>) -> Holds {
    let end = Instant::now() + SETTLE;
    loop {
        let holds = Holds::of(gateway).await;
        let busy = gateway.metric("scopegate_connections", &[]).await > 0.0;
        let is_at_rest = before.is_none_or(|before| {
            holds.descriptors <= before.descriptors + KEPT_MAX
                && holds.threads <= before.threads
                && holds.tasks <= before.tasks + KEPT_MAX as f64
                && holds.resident_kib <= before.resident_kib + GROWTH_MAX_KIB
        });
        if is_at_rest && !busy {
            return holds;
        }
        assert!(Instant::now() < end, "before {before:?}, and it keeps {holds:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Two minutes, or what the environment says.
fn length() -> Duration {
    let seconds = std::env::var("SCOPEGATE_FAULT_SECONDS").ok();
    Duration::from_secs(seconds.map_or(120, |text| text.parse().unwrap()))
}

fn certify(folder: &Scratch, authority: &Authority) {
    let identity = authority.certify(&["api.test"]);
    folder.write("tls.crt", &identity.certificate);
    folder.write("tls.key", &identity.key);
}

fn configuration(server: &AuthServer, judge: &Mortal, ends: &[Mortal; 2]) -> String {
    let judge = format!("https://{}", judge.address());
    let more = format!(
        "jwks_uri = \"{judge}/jwks\"\ntoken_endpoint = \"{judge}/token\"\n\
         introspection_endpoint = \"{judge}/token/introspection\"\n\
         [authorization_servers.main.jwks]\nrefresh = \"2s\"\ncooldown = \"1s\"\n\
         [authorization_servers.main.basic]\ncache_ttl = \"1s\"\nnegative_cache_ttl = \"1s\""
    );
    let server = server
        .table("main", &more)
        .replace("{ env = \"TEST_GATEWAY_SECRET\" }", "{ file = \"secrets/gateway\" }");
    let [first, second] = ends.each_ref().map(Mortal::address);
    format!(
        r#"workers = 2
realm = "test"
[[listeners]]
address = "127.0.0.1:0"
[[listeners]]
address = "127.0.0.1:0"
[listeners.tls]
certificate = "tls.crt"
key = "tls.key"
[admin]
address = "127.0.0.1:0"
[drain]
delay = "0s"
{server}
cache_ttl = "1s"
negative_cache_ttl = "1s"
[upstreams.api]
endpoints = ["http://{first}", "http://{second}"]
[upstreams.api.timeouts]
connect = "500ms"
header = "5s"
idle = "2s"
[[routes]]
path = "/orders"
upstream = "api"
access = {{ scopes = ["orders:read"] }}
accept = ["bearer", "basic"]
"#
    )
}

/// How long a fault lasts.
const FAULT: Duration = Duration::from_millis(1500);
/// How long it may be felt: connections are tried again after a second, and what was remembered of
/// the authorization server's silence is forgotten.
const RECOVERY: Duration = Duration::from_millis(2500);
/// How long nothing at all may go wrong before the next one.
const QUIET: Duration = Duration::from_millis(1000);
/// Between two requests of a caller.
const PAUSE: Duration = Duration::from_millis(25);
/// How long the gateway has to let go of what it needed.
const SETTLE: Duration = Duration::from_secs(30);
/// Idle connections to the authorization server, and what looks after them: there may be more than
/// after the first requests, and there are far more reloads and faults than that.
const KEPT_MAX: usize = 4;
/// What caches and the allocator may keep.
const GROWTH_MAX_KIB: u64 = 24 * 1024;
