//! Ctrl-C: the first one ends a run with its results so far, a second one ends the process.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::ctrl_c;

/// Whether Ctrl-C came.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. Where the system does not let us, Ctrl-C ends the process as ever.
    pub(super) fn listen() -> Self {
        let came = Arc::new(AtomicBool::new(false));
        let sets = Arc::clone(&came);
        let listening = thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                if ctrl_c().await.is_ok() {
                    sets.store(true, Ordering::Relaxed);
                    if ctrl_c().await.is_ok() {
                        process::exit(SIGNALLED);
                    }
                }
            });
        });
        // It ends with the process.
        drop(listening);
        Self(came)
    }

    /// Whether it came.
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a shell says of a program that SIGINT ended.
const SIGNALLED: i32 = 130;
