//! The keys of a signer, live: turned over by a task beside their use.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::ring::Ring;
use crate::base::time;
use crate::config::SignerKeys;
use crate::oauth::{SignatureAlgorithm, SigningKey};

/// The keys of a signer; the task ends with the last `Arc`.
pub(super) struct Keys {
    ring: ArcSwap<Ring>,
    /// Its end ends the task.
    _alive: watch::Sender<()>,
}

impl Keys {
    /// Starts with the keys that were at work, if there were any that these settings would have
    /// made, or else with new ones. `None` where the library makes no key.
    pub(super) fn start(
        settings: &SignerKeys,
        name: &str,
        before: Option<Arc<Ring>>,
        runtime: &Handle,
    ) -> Option<Arc<Self>> {
        let now = time::instant();
        let (ring, making) = match settings {
            SignerKeys::Given(keys) => (Arc::new(Ring::given(keys, now)), None),
            SignerKeys::Generated { algorithm, rotate } => {
                let is_alike = |ring: &Arc<Ring>| {
                    ring.keys().next().is_some_and(|key| key.algorithm() == *algorithm)
                };
                let ring = match before.filter(is_alike) {
                    Some(ring) => ring,
                    None => Arc::new(Ring::first(SigningKey::generate(*algorithm)?, now)),
                };
                (ring, Some((*algorithm, *rotate)))
            }
        };
        let (alive, watched) = watch::channel(());
        let keys = Arc::new(Self { ring: ArcSwap::new(ring), _alive: alive });
        if let Some(making) = making {
            runtime.spawn(turn_over(Arc::downgrade(&keys), name.into(), making, watched));
        }
        Some(keys)
    }

    /// The keys as they are: one atomic load.
    pub(super) fn ring(&self) -> arc_swap::Guard<Arc<Ring>> {
        self.ring.load()
    }
}

async fn turn_over(
    keys: Weak<Keys>,
    name: Box<str>,
    (algorithm, rotate): (SignatureAlgorithm, Duration),
    mut alive: watch::Receiver<()>,
) {
    let mut pause = None;
    loop {
        let Some(due) = keys.upgrade().and_then(|keys| keys.ring().due(rotate)) else { return };
        let due = pause.take().map_or(due, |pause| due.max(time::instant() + pause));
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            // Only an error comes here: the signer is gone.
            _ = alive.changed() => return,
        }
        let Some(keys) = keys.upgrade() else { return };
        let wants_key = keys.ring().wants_key(rotate, time::instant());
        let made = match wants_key {
            true => {
                // An RSA key takes long to make.
                let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm));
                made.await.ok().flatten()
            }
            false => None,
        };
        if wants_key && made.is_none() {
            tracing::error!(signer = &*name, "no new signing key can be made, the old one goes on");
            pause = Some(PAUSE);
            continue;
        }
        if let Some(key) = &made {
            tracing::info!(signer = &*name, key = key.id(), "a new signing key was published");
        }
        let ring = keys.ring.load_full().turned(made, rotate, time::instant());
        keys.ring.store(Arc::new(ring));
    }
}

/// Between two tries to make a key.
const PAUSE: Duration = Duration::from_secs(60);
