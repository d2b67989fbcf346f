//! What makes the requests. One thread, one runtime, some connections; [`drive`] brings together
//! what the threads tell.

mod answer;
mod collect;
mod desk;
mod dial;
mod http1;
mod http2;
mod lane;
mod link;
mod message;
mod pacer;
mod schedule;
mod tally;
mod timer;
mod trust;
mod turn;
mod watchdog;
mod worker;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use self::collect::Collection;
use self::dial::Dialer;
use self::tally::News;
use self::turn::{Share, Times};
use self::worker::Job;
use super::LoadError;
use super::plan::Plan;
use super::progress::Progress;
use super::summary::{Ending, Summary};
use crate::base::time;

/// See [`load::drive`](super::drive).
pub(super) fn drive(
    plan: &Plan,
    watch: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Summary, LoadError> {
    let (sender, news) = channel();
    let crew = Crew::assemble(plan, &sender)?;
    // The threads hold the only ones left: that the last is gone is how their end is known.
    drop(sender);
    let ready = news.iter().take(crew.threads.len());
    ready.for_each(drop);
    let times = Times::new(time::instant(), &plan.bounds);
    let stop = Arc::clone(&crew.stop);
    let threads = crew.begin(times.origin);
    let summary = follow(&news, Collection::new(plan, times), &stop, watch);
    for thread in threads {
        match thread.join() {
            Ok(ended) => ended.map_err(LoadError::Threads)?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    Ok(summary)
}

/// Collects until all threads have ended.
fn follow(
    news: &Receiver<News>,
    mut all: Collection<'_>,
    stop: &AtomicBool,
    mut watch: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Summary {
    let (mut ending, mut look) = (Ending::Bound, time::instant());
    loop {
        match news.recv_timeout(LOOK) {
            Ok(News::Batch(batch)) => all.add(&batch),
            Ok(News::Closing(closing)) => all.close(closing),
            Ok(News::Ready) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return all.summary(ending),
        }
        let now = time::instant();
        if look <= now && ending == Ending::Bound {
            look = now + LOOK;
            if watch(&all.progress(now)).is_break() {
                ending = Ending::Interrupted;
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// The threads of a run, which open their connections and then wait.
struct Crew {
    threads: Vec<JoinHandle<io::Result<()>>>,
    origins: Vec<oneshot::Sender<Instant>>,
    stop: Arc<AtomicBool>,
}

impl Crew {
    fn assemble(plan: &Plan, news: &Sender<News>) -> Result<Self, LoadError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(LoadError::Threads)?;
        let dialer = Arc::new(runtime.block_on(Dialer::find(plan))?);
        let stop = Arc::new(AtomicBool::new(false));
        let mut crew = Self { threads: Vec::new(), origins: Vec::new(), stop };
        let threads = plan.threads.min(plan.connections).get();
        for thread in 0..threads {
            crew.hire(plan, &dialer, Share { thread, threads }, news)?;
        }
        Ok(crew)
    }

    fn hire(
        &mut self,
        plan: &Plan,
        dialer: &Arc<Dialer>,
        share: Share,
        news: &Sender<News>,
    ) -> Result<(), LoadError> {
        let (sender, origin) = oneshot::channel();
        let job = Job {
            plan: plan.clone(),
            dialer: Arc::clone(dialer),
            share,
            origin,
            stop: Arc::clone(&self.stop),
            news: news.clone(),
        };
        let name = format!("load-{}", share.thread);
        let thread = thread::Builder::new().name(name).spawn(move || worker::work(job));
        self.threads.push(thread.map_err(LoadError::Threads)?);
        self.origins.push(sender);
        Ok(())
    }

    /// Lets all of them begin.
    fn begin(self, origin: Instant) -> Vec<JoinHandle<io::Result<()>>> {
        for thread in self.origins {
            // One that has ended tells why when it is joined.
            let _ = thread.send(origin);
        }
        self.threads
    }
}

/// How often the watcher is called.
const LOOK: Duration = Duration::from_millis(100);
