//! One thread that serves requests: a runtime of its own, connections of its own, upstream pools
//! of its own. Workers share the listening sockets and what is immutable.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::accept::Acceptor;
use super::listen::BoundListener;
use super::phase::PhaseReceiver;
use crate::base::net::ListenAddress;
use crate::gateway::{Gateway, Worker};

/// The listeners of the moment: a reload sends new ones.
pub(super) type Listeners = Arc<[Arc<BoundListener>]>;

/// Starts the thread.
///
/// # Errors
/// When the system gives no thread, or no runtime.
pub(super) fn start(
    gateway: Arc<Gateway>,
    worker: Worker,
    listeners: watch::Receiver<Listeners>,
    phase: PhaseReceiver,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    gateway.metrics().runs_on(runtime.handle());
    let name = format!("worker-{}", worker.index().get());
    let worker = Arc::new(worker);
    std::thread::Builder::new().name(name).spawn(move || {
        runtime.block_on(run(gateway, worker, listeners, phase));
        runtime.shutdown_background();
    })
}

async fn run(
    gateway: Arc<Gateway>,
    worker: Arc<Worker>,
    mut listeners: watch::Receiver<Listeners>,
    mut phase: PhaseReceiver,
) {
    let mut accepting: HashMap<ListenAddress, AbortHandle> = HashMap::new();
    loop {
        let current = Arc::clone(&listeners.borrow_and_update());
        gateway.settle(&worker);
        accepting.retain(|address, task| {
            let stays = current.iter().any(|listener| listener.address == *address);
            if !stays {
                task.abort();
            }
            stays
        });
        for listener in current.iter() {
            accepting.entry(listener.address.clone()).or_insert_with(|| {
                let acceptor = Acceptor {
                    gateway: Arc::clone(&gateway),
                    worker: Arc::clone(&worker),
                    listener: Arc::clone(listener),
                    phase: phase.clone(),
                };
                tokio::spawn(acceptor.run()).abort_handle()
            });
        }
        drop(current);
        tokio::select! {
            () = phase.draining() => break,
            changed = listeners.changed() => if changed.is_err() { break },
        }
    }
    drop(phase);
    // The connections of this worker live in its runtime: it stays until nobody sends listeners
    // any more, which is when all of them are gone.
    while listeners.changed().await.is_ok() {}
}
