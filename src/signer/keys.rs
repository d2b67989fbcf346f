//! The keys of a signer, live: turned over by a task beside their use.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

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

    /// Does what is due by `now`; `false` where that is a new key and none can be made.
    async fn turn(
        &self,
        signer: &str,
        (algorithm, rotate): (SignatureAlgorithm, Duration),
        now: Instant,
    ) -> bool {
        let ring = self.ring.load_full();
        let made = match ring.wants_key(rotate, now) {
            true => {
                // An RSA key takes long to make.
                let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm));
                let Some(key) = made.await.ok().flatten() else {
                    tracing::error!(signer, "no new signing key can be made, the old one goes on");
                    return false;
                };
                tracing::info!(signer, key = key.id(), "a new signing key was published");
                Some(key)
            }
            false => None,
        };
        self.ring.store(Arc::new(ring.turned(made, rotate, now)));
        true
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
        if !keys.turn(&name, (algorithm, rotate), time::instant()).await {
            pause = Some(PAUSE);
        }
    }
}

/// Between two tries to make a key.
const PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_publishes_the_next_key_and_later_takes_the_last_one_out() {
        const HOUR: Duration = Duration::from_secs(3600);
        let algorithm = SignatureAlgorithm::Es256;
        let settings = SignerKeys::Generated { algorithm, rotate: HOUR };
        let keys = Keys::start(&settings, "s", None, &Handle::current()).unwrap();
        let ids = || keys.ring().keys().map(|key| key.id().to_owned()).collect::<Vec<_>>();
        let start = time::instant();
        let first = ids();
        let turn = async |after| assert!(keys.turn("s", (algorithm, HOUR), start + after).await);
        turn(HOUR / 2).await;
        assert_eq!(ids(), first, "nothing was due");
        turn(HOUR).await;
        let both = ids();
        assert_eq!((both.len(), &both[0]), (2, &first[0]));
        turn(HOUR).await;
        assert_eq!(ids(), both, "once");
        turn(HOUR + HOUR / 2).await;
        assert_eq!(ids(), both[1..]);
    }
}
