//! Whether requests on several threads hinder each other: `cargo bench --bench contention`.
//!
//! Runs the decide path (route, credential, verdict, decision, header edits, numbers) and each of
//! its stages on 1, 2 and 4 threads at once, and prints the processor time of one operation. Where
//! threads write nothing that others read, the figure does not depend on their number; a stage
//! that does write shows as a ratio above 1. Processor time and not wall time, so that 4 threads on
//! 2 processors say something too. It wants at least 2 of them and nobody else on the machine:
//! threads that never run side by side cannot hinder each other, and the last column shows it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench is a test: it stops where something is wrong"
)]

mod world;

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use mimalloc::MiMalloc;
use scopegate::base::net::Peer;
use scopegate::base::time::{self, Now};
use scopegate::credential::{self, Accept, Credential};
use scopegate::gateway::{Gateway, Worker};
use scopegate::headers::{Announcement, Caller, EditPlan, Pseudonym, Sanitizer, Scheme, Trust};
use scopegate::oauth::{Audience, RawToken, ScopeSet, VerifiedToken};
use scopegate::policy::{self, Circumstances, Permit, Requirement};
use scopegate::route::{NormalHost, NormalPath, Table};
use scopegate::telemetry::{Metrics, RouteMetrics, UpstreamMetrics};
use scopegate::verify::{Recall, Verifier};
use world::{World, processor_time, request_headers, table};

/// The binary's own: what it shares between threads is part of the answer.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What all threads share, as the workers of a gateway do.
struct Shared<'a> {
    gateway: Gateway,
    table: Table,
    verifier: Verifier,
    requirement: &'a Requirement,
    audiences: &'a [Audience],
    sanitizer: Sanitizer,
    edits: &'a EditPlan,
    route: RouteMetrics,
    upstream: UpstreamMetrics,
}

/// What a thread has of its own: a connection, and the request that comes over it.
struct Own {
    token: String,
    headers: HeaderMap,
    verified: Arc<VerifiedToken>,
    caller: Caller,
    pseudonym: Pseudonym,
    announcement: Announcement,
    worker: Worker,
    now: Now,
}

impl Own {
    /// Its verdict is a copy: one that is shared comes from the cache alone.
    fn new(token: String, verified: &VerifiedToken, worker: Worker) -> Self {
        let caller = Caller::new(Peer::Ip("192.0.2.1:4711".parse().unwrap()), Scheme::Https);
        Self {
            headers: request_headers(&token),
            token,
            verified: Arc::new(verified.clone()),
            announcement: caller.announcement(&HeaderValue::from_static("api.test")),
            caller,
            pseudonym: Pseudonym::new(1),
            worker,
            now: time::now(),
        }
    }
}

impl Shared<'_> {
    fn find(&self) -> usize {
        let host = NormalHost::parse(black_box("api.test")).unwrap();
        let path = NormalPath::parse(black_box("/v1/r0/17")).unwrap();
        self.table.find(&host, &path, &Method::GET).unwrap()
    }

    fn recall(&self, token: RawToken<'_>, now: Now) -> Arc<VerifiedToken> {
        match self.verifier.recall(token, now) {
            Recall::Hit(verified) => verified,
            other => panic!("{other:?}"),
        }
    }

    fn decide(&self, token: &Arc<VerifiedToken>, now: Now) -> Permit {
        let circumstances = Circumstances {
            principal: token.principal,
            server_audiences: self.audiences,
            now: now.unix,
        };
        policy::decide(self.requirement, Arc::clone(token), circumstances, || None).unwrap()
    }

    fn edit(&self, own: &Own, token: &VerifiedToken) -> HeaderMap {
        let mut headers = own.headers.clone();
        self.sanitizer.request(&mut headers, Trust::Stranger).unwrap();
        own.caller.announce(&mut headers, &own.announcement, Trust::Stranger);
        own.pseudonym.sign(&mut headers, Version::HTTP_11);
        self.edits
            .apply_identity(&mut headers, token, token.principal, &ScopeSet::default())
            .unwrap();
        headers
    }

    fn count(&self) {
        self.upstream.answered(StatusCode::OK);
        self.route.allowed(Duration::from_micros(150));
    }

    /// The way of a warm request, but for reading and writing.
    fn whole(&self, own: &Own) {
        self.gateway.settle(&own.worker);
        black_box(self.find());
        let credential = credential::extract(BEARER, &own.headers, None).unwrap();
        let Credential::Bearer(token) = credential else { panic!("the credential is a token") };
        let verified = self.recall(token, own.now);
        let permit = self.decide(&verified, own.now);
        black_box(self.edit(own, permit.token().unwrap()));
        self.count();
    }
}

/// A part of the way, and the whole.
struct Stage {
    name: &'static str,
    run: fn(&Shared<'_>, &Own),
}

const STAGES: [Stage; 8] = [
    Stage { name: "whole", run: |shared, own| shared.whole(own) },
    Stage { name: "snapshot", run: |shared, own| shared.gateway.settle(&own.worker) },
    Stage { name: "route", run: |shared, _| _ = black_box(shared.find()) },
    Stage {
        name: "credential",
        run: |_, own| _ = black_box(credential::extract(BEARER, &own.headers, None).unwrap()),
    },
    Stage {
        name: "recall",
        run: |shared, own| drop(shared.recall(RawToken::new(&own.token), own.now)),
    },
    Stage {
        name: "decide",
        run: |shared, own| drop(black_box(shared.decide(&own.verified, own.now))),
    },
    Stage {
        name: "header edits",
        run: |shared, own| drop(black_box(shared.edit(own, &own.verified))),
    },
    Stage { name: "numbers", run: |shared, _| shared.count() },
];

fn main() {
    let world = World::new();
    let metrics = Arc::new(Metrics::new());
    let (verifier, _) = world.verifier(&metrics);
    let edits = &world.config.routes[0].edits;
    let shared = Shared {
        gateway: Gateway::new(world.config.clone(), world.runtime().handle().clone()).unwrap(),
        table: table(10),
        verifier,
        requirement: world.requirement(),
        audiences: &world.config.servers[0].audiences,
        sanitizer: Sanitizer::new(edits.identity_names().cloned()),
        edits,
        route: metrics.route("orders"),
        upstream: metrics.upstream("api"),
    };
    let own = |serial: usize| {
        let token = world.token(serial);
        let verified = world.verify(&shared.verifier, &token);
        Own::new(token, &verified, shared.gateway.worker(serial))
    };
    let callers: Vec<Own> = (0..THREADS_MAX).map(own).collect();
    let one = &callers[0];
    let same: Vec<Own> = (0..THREADS_MAX)
        .map(|at| Own::new(one.token.clone(), &one.verified, shared.gateway.worker(at)))
        .collect();

    println!(
        "nanoseconds of processor time for one operation, and how many times that of 1 thread"
    );
    println!("{:24} {:>9} {:>16} {:>16}  {SIDE_BY_SIDE}", "", "1 thread", "2 threads", "4 threads");
    for Stage { name, run } in STAGES {
        print(name, &shared, &callers, run);
        if TOKEN_STAGES.contains(&name) {
            print(&format!("{name}, one token"), &shared, &same, run);
        }
    }
}

fn print(name: &str, shared: &Shared<'_>, owns: &[Own], stage: fn(&Shared<'_>, &Own)) {
    let [one, two, four] = [1, 2, THREADS_MAX].map(|count| {
        let mut rounds = [0; ROUNDS].map(|_: u8| measure(shared, &owns[..count], stage));
        rounds.sort_by(|one, other| one.nanoseconds.total_cmp(&other.nanoseconds));
        rounds[ROUNDS / 2]
    });
    let ratio = |figure: Measured| {
        format!("{:.0} ({:.2}x)", figure.nanoseconds, figure.nanoseconds / one.nanoseconds)
    };
    println!(
        "{name:24} {:>9.0} {:>16} {:>16}  {:.1}, {:.1}",
        one.nanoseconds,
        ratio(two),
        ratio(four),
        two.side_by_side,
        four.side_by_side
    );
}

#[derive(Clone, Copy)]
struct Measured {
    /// The processor time of one operation.
    nanoseconds: f64,
    /// How many threads ran at once, on average.
    side_by_side: f64,
}

/// Runs `stage` with each of `owns` on a thread of its own.
fn measure(shared: &Shared<'_>, owns: &[Own], stage: fn(&Shared<'_>, &Own)) -> Measured {
    let together = Barrier::new(owns.len());
    let run = |own: &Own| {
        together.wait();
        let (began, mut operations) = (processor_time(), 0_u64);
        loop {
            for _ in 0..BATCH {
                stage(shared, own);
            }
            operations += BATCH;
            let took = processor_time() - began;
            if SPAN <= took {
                let nanoseconds = took.as_nanos() as f64;
                return (nanoseconds, nanoseconds / operations as f64);
            }
        }
    };
    let (run, began) = (&run, time::now().instant);
    let each: Vec<(f64, f64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = owns.iter().map(|own| scope.spawn(move || run(own))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let wall = time::now().instant.duration_since(began).as_nanos() as f64;
    let sum = |part: fn(&(f64, f64)) -> f64| each.iter().map(part).sum::<f64>();
    Measured {
        nanoseconds: sum(|(_, operation)| *operation) / owns.len() as f64,
        side_by_side: sum(|(took, _)| *took) / wall,
    }
}

const SIDE_BY_SIDE: &str = "at once with 2 and 4";
const BEARER: Accept = Accept { bearer: true, basic: false, dpop: false };
/// Stages in which threads meet in one entry of the cache if they bring the same token.
const TOKEN_STAGES: [&str; 2] = ["whole", "recall"];
const THREADS_MAX: usize = 4;
const ROUNDS: usize = 3;
/// Operations between two looks at the clock.
const BATCH: u64 = 1000;
/// How long each thread of a round runs.
const SPAN: Duration = Duration::from_millis(100);
