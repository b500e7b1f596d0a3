use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Origin;

/// After this time, half of an origin's failed handshakes are forgotten.
pub(crate) const FORGIVENESS: Duration = Duration::from_secs(10);

/// The accepted connections that are in their handshake. Where there are too many, the oldest gives way.
///
/// A handshake takes milliseconds. Whoever occupies places by saying nothing is the oldest soon, and keeps nobody out.
#[derive(Debug)]
pub(crate) struct Handshakes {
    total_max: usize,
    per_origin_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    /// In the order of their beginning.
    running: VecDeque<Running>,
    /// Handshakes that did not succeed, or not yet.
    failures: HashMap<Origin, Failures>,
}

#[derive(Debug)]
struct Running {
    number: u64,
    origin: Origin,
    evicted: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// Since when these are remembered in full.
    since: Instant,
}

/// A place among the handshakes, until it is dropped.
#[derive(Debug)]
pub(crate) struct HandshakeSlot {
    handshakes: Arc<Handshakes>,
    number: u64,
    origin: Origin,
    evicted: CancellationToken,
}

impl Handshakes {
    pub(crate) fn new(total_max: usize, per_origin_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total_max,
            per_origin_max,
            state: Mutex::default(),
        })
    }

    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> HandshakeSlot {
        let origin = Origin::from(address);
        let evicted = CancellationToken::new();
        let mut state = self.lock();
        let of_origin = |other: &Running| other.origin == origin;
        let oldest = if state.running.iter().filter(|other| of_origin(other)).count() >= self.per_origin_max {
            state.running.iter().position(of_origin)
        } else if state.running.len() >= self.total_max {
            Some(0)
        } else {
            None
        };
        if let Some(oldest) = oldest.and_then(|index| state.running.remove(index)) {
            oldest.evicted.cancel();
        }
        state.last_number += 1;
        let number = state.last_number;
        state.running.push_back(Running {
            number,
            origin,
            evicted: evicted.clone(),
        });
        state.note_failure(origin, Instant::now());
        HandshakeSlot {
            handshakes: Arc::clone(self),
            number,
            origin,
            evicted,
        }
    }

    /// How many handshakes of each origin have failed lately, or are not complete yet.
    pub(crate) fn failures(&self, now: Instant) -> RecentFailures<'_> {
        RecentFailures {
            state: self.lock(),
            now,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Handshakes::failures`].
pub(crate) struct RecentFailures<'a> {
    state: MutexGuard<'a, State>,
    now: Instant,
}

impl RecentFailures<'_> {
    pub(crate) fn of(&self, origin: Origin) -> u32 {
        self.state
            .failures
            .get(&origin)
            .map_or(0, |failures| failures.at(self.now).count)
    }
}

impl State {
    fn note_failure(&mut self, origin: Origin, now: Instant) {
        if self.failures.len() >= 2 * self.running.len() + FAILURES_SWEEP {
            self.failures.retain(|_, failures| failures.at(now).count > 0);
        }
        let failures = self
            .failures
            .entry(origin)
            .or_insert(Failures { count: 0, since: now });
        *failures = failures.at(now);
        failures.count = failures.count.saturating_add(1);
    }
}

/// With so many origins remembered, those that are forgiven are looked for at every new one. Handshakes begin at a pace, so
/// there are never many more.
const FAILURES_SWEEP: usize = 4096;

impl Failures {
    /// What is left of them.
    fn at(self, now: Instant) -> Self {
        let halvings = now.saturating_duration_since(self.since).as_secs() / FORGIVENESS.as_secs();
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        if halvings == 0 {
            return self;
        }
        Self {
            count: self.count.checked_shr(halvings).unwrap_or(0),
            since: now,
        }
    }
}

impl HandshakeSlot {
    /// Returns when the handshake has to give way.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// The handshake is complete: it does not count against its origin.
    pub(crate) fn succeeded(self) {
        let mut state = self.handshakes.lock();
        if let Some(failures) = state.failures.get_mut(&self.origin) {
            failures.count = failures.count.saturating_sub(1);
            if failures.count == 0 {
                state.failures.remove(&self.origin);
            }
        }
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.handshakes
            .lock()
            .running
            .retain(|other| other.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_oldest_handshake_gives_way() {
        let handshakes = Handshakes::new(3, 2);
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(address);
        let [first, second] = [a, b].map(|address| handshakes.enter(address));
        let third = handshakes.enter(a);
        let evicted = |slots: [&HandshakeSlot; 3]| slots.map(|slot| slot.evicted.is_cancelled());
        assert_eq!(evicted([&first, &second, &third]), [false; 3]);
        let fourth = handshakes.enter(a);
        assert_eq!(
            evicted([&first, &second, &third]),
            [true, false, false],
            "the oldest of the same origin"
        );
        let fifth = handshakes.enter(address("2001:db8::1"));
        assert_eq!(
            evicted([&second, &third, &fourth]),
            [true, false, false],
            "the oldest of all"
        );
        drop((first, second, third));
        assert_eq!(handshakes.lock().running.len(), 2);
        drop((fourth, fifth));
        assert_eq!(handshakes.lock().running.len(), 0);
    }

    #[test]
    fn failures_are_counted_by_origin_and_forgotten() {
        let handshakes = Handshakes::new(100, 100);
        let [good, bad] = ["192.0.2.1", "192.0.2.2"].map(address);
        let now = Instant::now();
        let of =
            |address: IpAddr, later: Duration| handshakes.failures(now + later).of(Origin::from(address));
        handshakes.enter(good).succeeded();
        assert_eq!(of(good, Duration::ZERO), 0);
        for _ in 0..9 {
            drop(handshakes.enter(bad));
        }
        assert_eq!(of(bad, Duration::ZERO), 9);
        // A handshake under way counts, too.
        let slot = handshakes.enter(bad);
        assert_eq!(of(bad, Duration::ZERO), 10);
        slot.succeeded();
        let later = Duration::from_secs(1);
        assert_eq!(of(bad, FORGIVENESS + later), 4);
        assert_eq!(of(bad, 4 * FORGIVENESS + later), 0);
        assert_eq!(of(bad, Duration::from_secs(u64::from(u32::MAX))), 0);
    }

    #[test]
    fn forgiven_origins_take_no_memory() {
        let handshakes = Handshakes::new(100, 100);
        let origins = u32::try_from(FAILURES_SWEEP).unwrap();
        let start = Instant::now();
        let enter = |number: u32, now| {
            let origin = Origin::from(IpAddr::V4(number.into()));
            handshakes.lock().note_failure(origin, now);
        };
        for number in 0..origins {
            enter(number, start);
        }
        enter(origins, start + 2 * FORGIVENESS);
        assert_eq!(handshakes.lock().failures.len(), 1);
    }
}
