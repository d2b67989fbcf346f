//! One thread of a run: its connections, its lanes, and a sweep that keeps timeouts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::desk::Desk;
use super::dial::{Dialer, Stream};
use super::lane::Lane;
use super::link::Link;
use super::message::{Head, Template};
use super::pacer::Pacer;
use super::tally::News;
use super::turn::{Share, Times};
use super::watchdog::{Watchdog, period};
use super::{http1, http2};
use crate::base::time;
use crate::load::plan::{Plan, Protocol};

/// What a thread is given.
pub(super) struct Job {
    pub(super) plan: Plan,
    pub(super) dialer: Arc<Dialer>,
    pub(super) share: Share,
    /// Tells when to begin.
    pub(super) origin: oneshot::Receiver<Instant>,
    /// Whether to end early.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) news: Sender<News>,
}

/// Does it, and returns when all its requests have ended.
///
/// # Errors
/// When the system gives no runtime or no timer.
pub(super) fn work(job: Job) -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(job))
}

async fn run(job: Job) -> io::Result<()> {
    let connections = u64::try_from(job.plan.connections.get()).unwrap_or(u64::MAX);
    let streams = open_all(&job.dialer, job.share.of(connections)).await;
    let _ = job.news.send(News::Ready);
    // The other end goes away when the run does not begin after all.
    let Ok(origin) = job.origin.await else { return Ok(()) };
    let times = Times::new(origin, &job.plan.bounds);
    let desk = Arc::new(Desk::new(&job.plan, times, job.share, job.news.clone()));
    let mut floor = Floor {
        desk: Arc::clone(&desk),
        pacer: Arc::default(),
        dialer: job.dialer,
        watchdogs: Vec::new(),
        lanes: JoinSet::new(),
        origin,
    };
    floor.open(&job.plan, streams).await;
    let Floor { pacer, watchdogs, mut lanes, .. } = floor;
    let watch = Watch { desk: &desk, pacer: &pacer, watchdogs: &watchdogs, stop: &job.stop };
    tokio::select! {
        () = end(&mut lanes) => {}
        failed = pacer.run() => failed?,
        () = watch.run(job.plan.timeout) => {}
    }
    let _ = job.news.send(News::Closing(desk.close()));
    Ok(())
}

/// Waits until all lanes have taken their last turn. One that panics would have been lost with what
/// it counted: that must not pass for a result.
async fn end(lanes: &mut JoinSet<()>) {
    while let Some(ended) = lanes.join_next().await {
        if let Err(failed) = ended
            && failed.is_panic()
        {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}

/// Opens connections, some at a time: a listener's backlog is short. What is not open afterwards is
/// tried again, and counted, by the request that needs it.
async fn open_all(dialer: &Dialer, count: u64) -> Vec<Option<Stream>> {
    let opening = (0..count).map(|_| async { dialer.open().await.ok() });
    stream::iter(opening).buffer_unordered(AT_ONCE).collect().await
}

/// The lanes of a thread, in the making.
struct Floor {
    desk: Arc<Desk>,
    pacer: Arc<Pacer>,
    dialer: Arc<Dialer>,
    watchdogs: Vec<Arc<Watchdog>>,
    lanes: JoinSet<()>,
    origin: Instant,
}

impl Floor {
    async fn open(&mut self, plan: &Plan, streams: Vec<Option<Stream>>) {
        match plan.protocol {
            Protocol::Http1 => {
                let template = Arc::new(Template::new(plan));
                for stream in streams {
                    let lane = self.lane();
                    self.lanes.spawn(http1::run(lane, Arc::clone(&template), stream));
                }
            }
            Protocol::Http2(_) => {
                let head = Arc::new(Head::new(plan));
                for stream in streams {
                    let link = Arc::new(Link::new(stream).await);
                    for _ in 0..plan.protocol.streams() {
                        let lane = self.lane();
                        self.lanes.spawn(http2::run(lane, Arc::clone(&head), Arc::clone(&link)));
                    }
                }
            }
        }
    }

    fn lane(&mut self) -> Lane {
        let watchdog = Arc::new(Watchdog::new(self.origin));
        self.watchdogs.push(Arc::clone(&watchdog));
        Lane {
            desk: Arc::clone(&self.desk),
            watchdog,
            pacer: Arc::clone(&self.pacer),
            dialer: Arc::clone(&self.dialer),
        }
    }
}

/// What looks after the lanes.
struct Watch<'a> {
    desk: &'a Desk,
    pacer: &'a Pacer,
    watchdogs: &'a [Arc<Watchdog>],
    stop: &'a AtomicBool,
}

impl Watch<'_> {
    async fn run(&self, timeout: Duration) {
        let mut interval = tokio::time::interval(period(timeout).min(TICK));
        loop {
            interval.tick().await;
            let now = time::instant();
            self.watchdogs.iter().for_each(|watchdog| watchdog.sweep(now, timeout));
            self.desk.tick(now);
            if self.stop.load(Ordering::Relaxed) {
                self.desk.stop(now);
                self.pacer.stop();
            }
        }
    }
}

/// How many connections are opened at once.
const AT_ONCE: usize = 64;
/// How late a stop may be noticed.
const TICK: Duration = Duration::from_millis(50);
