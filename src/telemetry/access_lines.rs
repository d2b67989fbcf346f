//! Gathers access lines: a write for each would cost more than all the rest of the line.
//!
//! # What holds
//! * The lines of one thread go out in their order, together when [`GATHERED_MAX_BYTES`] are full
//!   or [`LATE_MAX`] after the first of them, whichever comes first; [`AccessLines::flush`] sends
//!   all of them at once.
//! * A thread waits for another only where that one writes out its lines for it. So a standard
//!   error that blocks holds up requests, as ever, but not before another buffer is full.
//! * Nothing wakes up while no line waits.

use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tracing::Event;

use super::access_format::write_line;
use super::stamp::Stamp;
use crate::base::per_thread::PerThread;
use crate::base::time;
use crate::config::LogFormat;

/// The access lines of the process that are not written out yet.
pub(super) struct AccessLines {
    format: LogFormat,
    #[expect(clippy::type_complexity, reason = "it takes bytes, from any thread")]
    sink: Box<dyn Fn(&[u8]) + Send + Sync>,
    threads: PerThread<OfThread>,
    /// Who writes out what has waited long enough.
    clerk: OnceLock<Thread>,
}

/// What one thread has gathered.
#[derive(Default)]
struct OfThread {
    gathered: Mutex<Gathered>,
    /// Whoever writes out holds it, so that lines keep their order; in it the buffer that was
    /// written out last.
    writing: Mutex<Vec<u8>>,
}

struct Gathered {
    lines: Vec<u8>,
    stamp: Stamp,
}

impl Default for Gathered {
    fn default() -> Self {
        Self { lines: Vec::new(), stamp: Stamp::new() }
    }
}

impl AccessLines {
    /// Lines in a format, for `sink`, which takes any number of them at a time.
    pub(super) fn new(format: LogFormat, sink: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self { format, sink: Box::new(sink), threads: PerThread::new(), clerk: OnceLock::new() }
    }

    /// Starts the thread that sees to it that no line waits longer than [`LATE_MAX`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start_clerk(self: &Arc<Self>) -> io::Result<()> {
        let lines = Arc::clone(self);
        let clerk = thread::Builder::new().name("access-log".into()).spawn(move || {
            loop {
                thread::park(); // until there is a first line
                thread::sleep(LATE_MAX);
                lines.flush();
            }
        })?;
        self.clerk.get_or_init(|| clerk.thread().clone());
        Ok(())
    }

    /// Adds an event's line.
    pub(super) fn add(&self, event: &Event<'_>) {
        let own = self.threads.own();
        let mut gathered = lock(&own.gathered);
        let Gathered { lines, stamp } = &mut *gathered;
        let is_first = lines.is_empty();
        write_line(lines, self.format, stamp.at(time::since_epoch()), event);
        let is_full = GATHERED_MAX_BYTES <= lines.len();
        drop(gathered);
        if is_full {
            self.write_out(own);
        } else if is_first && let Some(clerk) = self.clerk.get() {
            clerk.unpark(); // a system call only while nothing else waits
        }
    }

    /// Writes out what all threads have gathered.
    pub(super) fn flush(&self) {
        for thread in self.threads.all() {
            self.write_out(thread);
        }
    }

    /// The thread can go on gathering meanwhile.
    fn write_out(&self, thread: &OfThread) {
        let mut full = lock(&thread.writing);
        mem::swap(&mut *full, &mut lock(&thread.gathered).lines);
        if !full.is_empty() {
            (self.sink)(&full);
            full.clear();
            full.shrink_to(2 * GATHERED_MAX_BYTES); // a single line can be longer
        }
    }
}

impl fmt::Debug for AccessLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AccessLines").field("format", &self.format).finish_non_exhaustive()
    }
}

/// A thread that panicked while it added a line leaves at worst half of one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread's lines are written out when they fill this: some 40 lines.
const GATHERED_MAX_BYTES: usize = 16 * 1024;
/// No line waits longer to be written out. Readers of a log do not notice a tenth of a second.
const LATE_MAX: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use tracing_subscriber::layer::{Context, SubscriberExt as _};
    use tracing_subscriber::{Layer, Registry};

    use super::*;

    struct Adding(Arc<AccessLines>);

    impl Layer<Registry> for Adding {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, Registry>) {
            self.0.add(event);
        }
    }

    /// Lines, and what goes out of them.
    fn lines() -> (Arc<AccessLines>, Receiver<String>) {
        let (send, receive) = channel();
        let sink = move |bytes: &[u8]| {
            let _ = send.send(String::from_utf8(bytes.to_vec()).unwrap());
        };
        (Arc::new(AccessLines::new(LogFormat::Json, sink)), receive)
    }

    fn add(lines: &Arc<AccessLines>, serials: std::ops::Range<u64>) {
        let subscriber = tracing_subscriber::registry().with(Adding(Arc::clone(lines)));
        tracing::subscriber::with_default(subscriber, || {
            for serial in serials {
                tracing::info!(serial, "request");
            }
        });
    }

    fn serials(text: &str) -> Vec<u64> {
        let line = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines().map(|text| line(text)["serial"].as_u64().unwrap()).collect()
    }

    #[test]
    fn lines_go_out_together_when_a_buffer_is_full_and_in_their_order() {
        let (lines, out) = lines();
        add(&lines, 0..1000);
        lines.flush();
        let writes: Vec<_> = out.try_iter().collect();
        let (last, full) = writes.split_last().unwrap();
        assert!(full.len() > 2, "{} writes", writes.len());
        for write in full {
            assert!((GATHERED_MAX_BYTES..GATHERED_MAX_BYTES + 200).contains(&write.len()));
        }
        assert!(last.len() < GATHERED_MAX_BYTES);
        assert_eq!(serials(&writes.concat()), Vec::from_iter(0..1000));
    }

    #[test]
    fn the_lines_of_every_thread_go_out_with_a_flush_and_only_once() {
        let (lines, out) = lines();
        thread::scope(|scope| {
            for serial in 0..8 {
                let lines = &lines;
                scope.spawn(move || add(lines, serial..serial + 1));
            }
        });
        assert!(out.try_recv().is_err(), "nothing is full");
        lines.flush();
        lines.flush();
        let mut seen = serials(&out.try_iter().collect::<String>());
        seen.sort_unstable();
        assert_eq!(seen, Vec::from_iter(0..8));
    }

    #[test]
    fn the_clerk_writes_out_what_waits_each_time_anew() {
        let (lines, out) = lines();
        lines.start_clerk().unwrap();
        for serial in 0..3 {
            add(&lines, serial..serial + 1);
            let written = out.recv_timeout(Duration::from_secs(10)).expect("a line within 10 s");
            assert_eq!(serials(&written), [serial]);
        }
    }

    #[test]
    fn a_sink_that_blocks_stops_nobody_before_a_buffer_is_full() {
        let (blocked, release) = (channel::<()>(), channel::<()>());
        let (blocks, releases) = (Mutex::new(blocked.0), Mutex::new(release.1));
        let lines = Arc::new(AccessLines::new(LogFormat::Text, move |_: &[u8]| {
            let _ = lock(&blocks).send(());
            let _ = lock(&releases).recv();
        }));
        add(&lines, 0..1);
        let flushing = thread::spawn({
            let lines = Arc::clone(&lines);
            move || lines.flush()
        });
        blocked.1.recv().unwrap();
        add(&lines, 1..10);
        drop(release.0);
        flushing.join().unwrap();
    }
}
