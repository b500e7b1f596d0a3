//! The connections that have not become a WebSocket yet.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// So long a client may take for its request before it has to make room for another one.
const UNDISTURBED: Duration = Duration::from_millis(500);

/// They have all places of clients as long as there are enough; when there are none left, the oldest of them makes room: those that say nothing must
/// not keep those out that do.
#[derive(Clone, Debug, Default)]
pub(super) struct Upgrading(Arc<Mutex<VecDeque<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    since: Instant,
    evicted: CancellationToken,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    upgrading: Upgrading,
    evicted: CancellationToken,
}

impl Upgrading {
    pub(super) fn enter(&self) -> Place {
        let evicted = CancellationToken::new();
        self.lock().push_back(Waiting {
            since: Instant::now(),
            evicted: evicted.clone(),
        });
        Place {
            upgrading: self.clone(),
            evicted,
        }
    }

    /// Has the oldest one end; false if none has been here long enough.
    pub(super) fn evict(&self) -> bool {
        let mut waiting = self.lock();
        let overdue = waiting
            .front()
            .is_some_and(|oldest| oldest.since.elapsed() >= UNDISTURBED);
        if overdue && let Some(oldest) = waiting.pop_front() {
            oldest.evicted.cancel();
        }
        overdue
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        // No code that could panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns when it has to make room.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let still = |waiting: &Waiting| !waiting.evicted.is_cancelled();
        self.evicted.cancel();
        self.upgrading.lock().retain(still);
    }
}
