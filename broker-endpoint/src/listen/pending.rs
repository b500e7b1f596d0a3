//! Connections that have to make room for others, if one has to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::sync::lock;

/// Accepted connections that are not peers or clients yet, and not in a handshake of Broker's. When one of them has to go, it is the one that has been silent for
/// longest, or if none is silent the oldest.
#[derive(Clone, Debug, Default)]
pub struct Pending(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    connections: BTreeMap<Key, Entry>,
}

/// In the order of eviction: whether the connection has sent anything, and a number that grows.
type Key = (bool, u64);

#[derive(Debug)]
struct Entry {
    since: Instant,
    evicted: CancellationToken,
}

/// One of the connections, until it is dropped.
#[derive(Debug)]
pub struct Place {
    pending: Pending,
    key: Key,
    evicted: CancellationToken,
}

impl Pending {
    /// A connection has been accepted.
    pub fn enter(&self) -> Place {
        let evicted = CancellationToken::new();
        let mut state = lock(&self.0);
        state.last_number += 1;
        let key = (false, state.last_number);
        let entry = Entry {
            since: Instant::now(),
            evicted: evicted.clone(),
        };
        state.connections.insert(key, entry);
        Place {
            pending: self.clone(),
            key,
            evicted,
        }
    }

    /// As [`Self::enter`]; evicts one if there are `max` already.
    pub fn enter_limited(&self, max: usize) -> Place {
        if self.len() >= max {
            self.evict(Duration::ZERO);
        }
        self.enter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        lock(&self.0).connections.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        lock(&self.0).connections.is_empty()
    }

    /// Has one end that has been here for so long; false if there is none.
    pub fn evict(&self, age: Duration) -> bool {
        let mut state = lock(&self.0);
        let first = state.connections.first_entry();
        let Some(entry) = first.filter(|entry| entry.get().since.elapsed() >= age) else {
            return false;
        };
        entry.remove().evicted.cancel();
        true
    }
}

impl Place {
    /// The connection has sent something.
    pub fn spoke(&mut self) {
        let mut state = lock(&self.pending.0);
        if let Some(entry) = state.connections.remove(&self.key) {
            self.key.0 = true;
            state.connections.insert(self.key, entry);
        }
    }

    /// Returns when the connection has to end.
    pub fn evicted(&self) -> impl Future<Output = ()> + use<> {
        self.evicted.clone().cancelled_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.pending.0).connections.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_connections_are_evicted_before_others_and_the_oldest_first() {
        let pending = Pending::default();
        let mut places = [(); 4].map(|()| pending.enter());
        places[0].spoke();
        places[2].spoke();
        let evicted = || {
            places
                .iter()
                .map(|place| place.evicted.is_cancelled())
                .collect::<Vec<_>>()
        };
        assert!(pending.evict(Duration::ZERO));
        assert_eq!(evicted(), [false, true, false, false]);
        assert!(pending.evict(Duration::ZERO));
        assert_eq!(evicted(), [false, true, false, true]);
        assert!(pending.evict(Duration::ZERO));
        assert_eq!(evicted(), [true, true, false, true]);
        assert!(!pending.evict(Duration::from_secs(3600)), "it is too young");
        let _fifth = pending.enter_limited(1);
        assert_eq!(evicted(), [true; 4]);
        drop(places);
        assert_eq!(pending.len(), 1);
        assert!(pending.evict(Duration::ZERO));
        assert!(!pending.evict(Duration::ZERO));
    }
}
