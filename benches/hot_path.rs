//! What each stage of a request costs once its token has been seen: `cargo bench --bench hot_path`.
//!
//! The stages stand in the order in which a request comes by them. What they share (a key, a
//! verifier with the token in its cache) is made once. Times are those of the processor, not of the
//! clock on the wall, so that a busy machine disturbs them less. README.md beside this file says what
//! else is measured and where.

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
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use scopegate::base::net::Peer;
use scopegate::base::time;
use scopegate::config::LogFormat;
use scopegate::credential::{self, Accept};
use scopegate::headers::{self, Caller, Pseudonym, Sanitizer, Scheme, Trust};
use scopegate::oauth::{Claims, RawToken, ScopeSet, VerifiedToken};
use scopegate::policy::{self, Circumstances};
use scopegate::route::{NormalHost, NormalPath};
use scopegate::telemetry::access_log::Line;
use scopegate::telemetry::{Metrics, log};
use scopegate::verify::{Recall, Verifier};
use world::{World, processor_time, request_headers, table};

fn stages(criterion: &mut Criterion<ProcessorTime>) {
    let world = World::new();
    let token = world.token(1);
    let headers = request_headers(&token);
    let metrics = Arc::new(Metrics::new());
    let (verifier, _) = world.verifier(&metrics);
    let verified = world.verify(&verifier, &token);

    clock(criterion);
    route(criterion);
    criterion.bench_function("credential/bearer", |bench| {
        let accept = Accept { bearer: true, basic: false, dpop: false };
        bench.iter(|| credential::extract(accept, black_box(&headers), None).unwrap());
    });
    verify(criterion, &verifier, &token);
    first_sight(criterion, &world);
    criterion.bench_function("policy/decide", |bench| {
        let requirement = world.requirement();
        let circumstances = Circumstances {
            principal: verified.principal,
            server_audiences: &world.config.servers[0].audiences,
            now: time::now().unix,
        };
        bench.iter(|| {
            let token = Arc::clone(black_box(&verified));
            policy::decide(requirement, token, circumstances, || None).unwrap()
        });
    });
    edits(criterion, &world, &headers, &verified);
    counting(criterion, &metrics);
    access_line(criterion, &world, &verified);
}

fn clock(criterion: &mut Criterion<ProcessorTime>) {
    criterion.bench_function("base/now", |bench| bench.iter(time::now));
}

/// Normal forms, and one look-up among 1 and 10,000 routes.
fn route(criterion: &mut Criterion<ProcessorTime>) {
    criterion.bench_function("route/normalise", |bench| {
        bench.iter(|| {
            let host = NormalHost::parse(black_box("api.test")).unwrap();
            let path = NormalPath::parse(black_box("/v1/r0/17")).unwrap();
            black_box((&host, &path));
        });
    });
    for routes in [1, 10_000] {
        let table = table(routes);
        let host = NormalHost::parse("api.test").unwrap();
        let path = NormalPath::parse("/v1/r0/17").unwrap();
        criterion.bench_function(&format!("route/find/{routes}"), |bench| {
            bench.iter(|| table.find(black_box(&host), black_box(&path), &Method::GET).unwrap());
        });
    }
}

/// A token that the cache has: its digest alone, and digest, look-up and checks together.
fn verify(criterion: &mut Criterion<ProcessorTime>, verifier: &Verifier, token: &str) {
    let (token, now) = (RawToken::new(token), time::now());
    criterion.bench_function("verify/digest", |bench| bench.iter(|| black_box(token).digest()));
    criterion.bench_function("verify/recall", |bench| {
        bench.iter(|| match verifier.recall(black_box(token), now) {
            Recall::Hit(verified) => verified,
            other => panic!("{other:?}"),
        });
    });
}

/// A token that nobody has seen: its claims read, and all of it with the ES256 signature.
fn first_sight(criterion: &mut Criterion<ProcessorTime>, world: &World) {
    criterion.bench_function("verify/claims", |bench| {
        let json: &[u8] = br#"{"iss":"https://issuer.test","aud":"https://api.test","sub":"user-1",
            "client_id":"bench","scope":"orders:read orders:write","jti":"1","exp":4102444800}"#;
        bench.iter(|| {
            let claims = Claims::parse(black_box(json)).unwrap();
            (claims.scopes().unwrap(), claims.audiences("aud", &Arc::default()).unwrap(), claims)
        });
    });
    criterion.bench_function("verify/new_es256", |bench| {
        let (token, metrics) = (world.token(2), Arc::new(Metrics::new()));
        bench.iter_batched_ref(
            || world.verifier(&metrics),
            |(verifier, _)| world.verify(verifier, &token),
            BatchSize::PerIteration,
        );
    });
}

fn edits(
    criterion: &mut Criterion<ProcessorTime>,
    world: &World,
    headers: &HeaderMap,
    verified: &VerifiedToken,
) {
    let edits = &world.config.routes[0].edits;
    let sanitizer = Sanitizer::new(edits.identity_names().cloned());
    let caller = Caller::new(Peer::Ip("192.0.2.1:4711".parse().unwrap()), Scheme::Https);
    let pseudonym = Pseudonym::new(1);
    let announcement = caller.announcement(&HeaderValue::from_static("api.test"));
    let mut on_each = |name: &str, edit: &dyn Fn(&mut HeaderMap)| {
        criterion.bench_function(name, |bench| {
            let each = |mut headers: HeaderMap| {
                edit(&mut headers);
                headers
            };
            bench.iter_batched(|| headers.clone(), each, BatchSize::SmallInput);
        });
    };
    on_each("headers/sanitize", &|headers| sanitizer.request(headers, Trust::Stranger).unwrap());
    on_each("headers/announce", &|headers| {
        caller.announce(headers, &announcement, Trust::Stranger);
        pseudonym.sign(headers, Version::HTTP_11);
    });
    on_each("headers/spend", &|headers| {
        let _ = headers::spend(&Method::GET, headers);
    });
    on_each("headers/identity", &|headers| {
        edits.apply_identity(headers, verified, verified.principal, &ScopeSet::default()).unwrap()
    });
    on_each("headers/response", &|headers| sanitizer.response(headers));
}

fn counting(criterion: &mut Criterion<ProcessorTime>, metrics: &Metrics) {
    let (route, upstream) = (metrics.route("orders"), metrics.upstream("api"));
    criterion.bench_function("telemetry/count", |bench| {
        let took = Duration::from_micros(150);
        bench.iter(|| {
            upstream.answered(black_box(StatusCode::OK));
            route.allowed(black_box(took));
        });
    });
}

/// A line of the access log in each format, without the write that some 40 lines share.
fn access_line(criterion: &mut Criterion<ProcessorTime>, world: &World, verified: &VerifiedToken) {
    let line = Line {
        upgrade: None,
        request_id: &HeaderValue::from_static("0123456789abcdef0123456789abcdef"),
        peer: Peer::Ip("192.0.2.1:4711".parse().unwrap()),
        client: Some("192.0.2.1".parse().unwrap()),
        method: &Method::GET,
        path: "/v1/r0/17",
        route: "GET /v1/r0/{id}",
        status: StatusCode::OK,
        reason: "allowed",
        token: Some(verified),
        required: Some(&world.requirement().scopes),
        upstream: "api",
        head: Duration::from_micros(150),
        total: Duration::from_micros(170),
        sent_bytes: 1024,
    };
    for (name, format) in [("text", LogFormat::Text), ("json", LogFormat::Json)] {
        let subscriber = log::access_lines_to(format, |lines| {
            black_box(lines);
        });
        tracing::subscriber::with_default(subscriber, || {
            criterion.bench_function(&format!("telemetry/access_line_{name}"), |bench| {
                bench.iter(|| black_box(&line).write());
            });
        });
    }
}

/// Processor time of the thread that measures, shown as criterion shows wall time.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        processor_time()
    }

    fn end(&self, start: Duration) -> Duration {
        processor_time() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

criterion_group! {
    name = hot_path;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = stages
}
criterion_main!(hot_path);
