//! What may be written after `scopegate load`.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue, Method, header};

use super::made::MadeTokenArguments;
use crate::load::Target;
use crate::load::expect::Expectation;
use crate::load::value::{self, InvalidValue};

/// All arguments.
#[derive(Args, Debug)]
pub(in crate::cli) struct LoadArguments {
    /// Where requests go: http or https, with path and query
    #[arg(long, value_name = "URL", required_unless_present = "self_test")]
    pub(super) url: Option<Target>,
    /// Start gateway, authorization server and upstream on this machine, and measure warm, cold
    /// and refused tokens side by side
    ///
    /// Takes --distinct-tokens, --algorithm, --duration (of each row), --connections and --json.
    /// Checks statuses and calls too: the exit code is 1 if one is not as it must be.
    #[arg(long, group = "maker", conflicts_with_all = NOT_IN_SELF_TEST)]
    pub(super) self_test: bool,
    #[command(flatten)]
    pub(super) tokens: TokenArguments,
    #[command(flatten)]
    pub(super) made: MadeTokenArguments,
    #[command(flatten)]
    pub(super) request: RequestArguments,
    #[command(flatten)]
    pub(super) connection: ConnectionArguments,
    #[command(flatten)]
    pub(super) pace: PaceArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// Which tokens are sent.
#[derive(Args, Debug)]
#[command(next_help_heading = "Tokens")]
pub(super) struct TokenArguments {
    /// The bearer token of every request. Whoever may list processes can read it; --tokens hides it
    #[arg(long, value_name = "TOKEN", conflicts_with = "tokens")]
    pub(super) token: Option<String>,
    /// Bearer tokens, one a line, sent in turn; `-` reads them from standard input
    #[arg(long, value_name = "FILE")]
    pub(super) tokens: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Request")]
pub(super) struct RequestArguments {
    /// The method [default: GET, with a body POST]
    #[arg(long)]
    pub(super) method: Option<Method>,
    /// A further field, such as 'accept: application/json'; may be given again
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = field)]
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The body of each request, from a file
    #[arg(long, value_name = "FILE", conflicts_with = "body_size")]
    pub(super) body: Option<PathBuf>,
    /// A body of so many bytes, such as 64KiB
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(super) body_size: Option<usize>,
    /// How long a request may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = some_time)]
    pub(super) timeout: Duration,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Connections")]
pub(super) struct ConnectionArguments {
    /// Connections, over all threads [default: 64; 32 in a self-test]
    #[arg(long, value_name = "N")]
    pub(super) connections: Option<NonZeroUsize>,
    /// Threads
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) threads: NonZeroUsize,
    /// Speak HTTP/2: by ALPN over https, by prior knowledge over http
    #[arg(long)]
    pub(super) http2: bool,
    /// Requests at a time on each connection
    #[arg(long, value_name = "N", default_value = "1", requires = "http2")]
    pub(super) streams: NonZeroU32,
    /// Trust these certificates, PEM, in place of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(super) ca: Option<PathBuf>,
    /// Take any certificate
    #[arg(long)]
    pub(super) insecure: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Pace")]
pub(super) struct PaceArguments {
    /// How long new requests begin [default: 10s, unless --requests is given; 5s a row in a
    /// self-test]
    #[arg(long, value_name = "DURATION", value_parser = some_time)]
    pub(super) duration: Option<Duration>,
    /// How many requests are made
    #[arg(long, value_name = "N")]
    pub(super) requests: Option<NonZeroU64>,
    /// Requests a second, begun whatever the answers do (open loop); latency counts from when a
    /// request was to begin. Without it, each connection sends its next request when it has the
    /// answer to the last (closed loop)
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// Send requests for so long before the measurement
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = value::duration)]
    pub(super) warm_up: Duration,
}

/// Where results go, and what is expected of them.
#[derive(Args, Debug)]
#[command(next_help_heading = "Results")]
pub(super) struct OutputArguments {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Write the latencies as percentiles of HdrHistogram, in milliseconds
    #[arg(long, value_name = "FILE")]
    pub(super) histogram: Option<PathBuf>,
    /// Write a page with plots: one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// What must hold, such as 'p99<5ms,status2xx>99.9%'; else the exit code is 1
    ///
    /// Compares with < <= > >=. Latencies with durations: p50, p90, p99, p99.9, min, mean, max.
    /// rps with a number. Counts with a whole number or a percentage of all requests: errors,
    /// errors.timeout and other kinds, status200, status2xx; notstarted of those that were due.
    #[arg(long, value_name = "CONDITIONS", value_delimiter = ',')]
    pub(super) expect: Vec<Expectation>,
}

/// A field of the request. What says how long a request is belongs to the generator.
fn field(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write a field such as 'accept: */*'")?;
    let name: HeaderName = name.parse().map_err(|_| "this is no name of a field")?;
    if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&name) {
        return Err("the length of the body is set by itself: give --body or --body-size");
    }
    let value = HeaderValue::from_str(value.trim());
    Ok((name, value.map_err(|_| "this value cannot be sent")?))
}

fn some_time(text: &str) -> Result<Duration, InvalidValue> {
    value::duration(text).and_then(|found| match found.is_zero() {
        true => Err(InvalidValue::Duration),
        false => Ok(found),
    })
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.strip_suffix("/s").unwrap_or(text).parse().ok();
    rate.filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate))
        .ok_or("write requests a second, from 0.001 to 10000000, such as 5000")
}

/// What a self-test says itself.
const NOT_IN_SELF_TEST: [&str; 20] = [
    "url",
    "token",
    "tokens",
    "mix",
    "scope",
    "method",
    "headers",
    "body",
    "body_size",
    "timeout",
    "threads",
    "http2",
    "ca",
    "insecure",
    "requests",
    "rate",
    "warm_up",
    "histogram",
    "report",
    "expect",
];
const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 1e7;

pub(in crate::cli) const LOAD_EXAMPLE: &str = "\
Examples:
  scopegate load --url http://127.0.0.1:8080/orders/1 --token \"$TOKEN\"
  scopegate load --url https://api.test/orders/1 --tokens tokens.txt --http2 --streams 10 \\
    --rate 5000 --warm-up 5s --duration 30s --report report.html
  scopegate load --url http://127.0.0.1:8080/orders/1 --token \"$TOKEN\" --requests 100000 \\
    --expect 'p99<5ms,status2xx>99.9%'
  scopegate load --url http://127.0.0.1:8080/orders/1 --mint key.pem \\
    --issuer https://login.example.com --audience https://api.example.com --scope orders:read \\
    --distinct-tokens 1000 --mix good=90,expired=5,scope=5
  scopegate load --url https://api.test/orders/1 --client-credentials \\
    --token-endpoint https://login.test/token --client-id load --client-secret env:SECRET
  scopegate load --self-test --algorithm ES256

Results go to standard output, how the run stands to standard error. Ctrl-C ends it with its
results so far.

Exit codes: 0 done; 1 an expectation does not hold, the target cannot be reached, or nothing was
answered; 2 wrong usage.";
