use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Mutex as Turn, Notify},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::sync::lock;

/// The handshakes of accepted connections that run, of which there are so many at a time. Further ones wait, in order, unless another address
/// runs more of them: then the oldest of that one ends.
#[derive(Clone, Debug)]
pub(crate) struct Handshakes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    undisturbed: Duration,
    state: Mutex<State>,
    /// Of those that wait, the first one has it. Tokio gives it in the order of asking.
    turn: Turn<()>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    /// In the order of their beginning.
    running: BTreeMap<u64, Running>,
    of_address: HashMap<IpAddr, usize>,
    waiting: usize,
}

#[derive(Debug)]
struct Running {
    address: IpAddr,
    since: Instant,
    evicted: CancellationToken,
}

/// One of the handshakes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    number: u64,
    evicted: CancellationToken,
}

/// One that waits, until it is dropped.
struct Waiting<'a>(&'a Shared);

impl Handshakes {
    /// One that has run for so long ends for one that waits. One that makes progress should be done by then, also if all that may run have
    /// begun at the same moment.
    pub(crate) fn new(max: usize, undisturbed: Duration) -> Self {
        Self(Arc::new(Shared {
            max,
            undisturbed,
            state: Mutex::default(),
            turn: Turn::default(),
            ended: Notify::new(),
        }))
    }

    /// Begins a handshake as soon as it may. May be cancelled. What counts as one address is for the caller to say.
    pub(crate) async fn enter(&self, address: IpAddr) -> Place {
        if let Some(place) = self.enter_at_once(address) {
            return place;
        }
        let _waiting = Waiting(&self.0);
        let _turn = self.0.turn.lock().await;
        loop {
            let ended = self.0.ended.notified();
            let oldest = match self.enter_next(address) {
                Ok(place) => return place,
                Err(oldest) => oldest,
            };
            tokio::select! {
                () = ended => {}
                () = sleep_until(oldest + self.0.undisturbed) => {}
            }
        }
    }

    /// Without waiting. If it has to wait, it is counted as one that does.
    fn enter_at_once(&self, address: IpAddr) -> Option<Place> {
        let mut state = lock(&self.0.state);
        let has_room = state.running.len() < self.0.max && state.waiting == 0;
        if has_room || state.evict_of_other(address) {
            return Some(self.begin(&mut state, address));
        }
        state.waiting += 1;
        None
    }

    /// For the one whose turn it is; otherwise since when the oldest runs.
    fn enter_next(&self, address: IpAddr) -> Result<Place, Instant> {
        let mut state = lock(&self.0.state);
        let oldest = state.running.values().next().map(|running| running.since);
        match oldest.filter(|_| state.running.len() >= self.0.max) {
            Some(since) if !state.evict_of_other(address) && !state.evict_older(self.0.undisturbed) => {
                Err(since)
            }
            _ => Ok(self.begin(&mut state, address)),
        }
    }

    fn begin(&self, state: &mut State, address: IpAddr) -> Place {
        state.last_number += 1;
        let evicted = CancellationToken::new();
        let running = Running {
            address,
            since: Instant::now(),
            evicted: evicted.clone(),
        };
        state.running.insert(state.last_number, running);
        *state.of_address.entry(address).or_default() += 1;
        Place {
            shared: Arc::clone(&self.0),
            number: state.last_number,
            evicted,
        }
    }
}

impl State {
    /// Ends the oldest handshake of the address that runs most, if that would be more than this one runs then.
    fn evict_of_other(&mut self, address: IpAddr) -> bool {
        let own = 1 + self.of_address.get(&address).copied().unwrap_or_default();
        let most = self.of_address.iter().max_by_key(|(_, count)| **count);
        let Some((&other, _)) = most.filter(|(_, count)| **count > own) else {
            return false;
        };
        let oldest = self.running.iter().find(|(_, running)| running.address == other);
        oldest
            .map(|(number, _)| *number)
            .is_some_and(|number| self.evict(number))
    }

    /// Ends the oldest handshake, if it has run for so long.
    fn evict_older(&mut self, age: Duration) -> bool {
        let oldest = self.running.iter().next();
        oldest
            .filter(|(_, running)| running.since.elapsed() >= age)
            .map(|(number, _)| *number)
            .is_some_and(|number| self.evict(number))
    }

    fn evict(&mut self, number: u64) -> bool {
        let evicted = self.remove(number);
        if let Some(running) = &evicted {
            running.evicted.cancel();
        }
        evicted.is_some()
    }

    fn remove(&mut self, number: u64) -> Option<Running> {
        let running = self.running.remove(&number)?;
        if let Some(count) = self.of_address.get_mut(&running.address) {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&running.address);
            }
        }
        Some(running)
    }
}

impl Place {
    /// Returns when the handshake has to end.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The place of one that was evicted is taken.
        if lock(&self.shared.state).remove(self.number).is_some() {
            self.shared.ended.notify_one();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    const UNDISTURBED: Duration = Duration::from_secs(3);

    fn address(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    impl Place {
        fn is_evicted(&self) -> bool {
            self.evicted.is_cancelled()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn further_handshakes_wait_in_order_and_evict_none() {
        let handshakes = Handshakes::new(2, UNDISTURBED);
        let first = handshakes.enter(address(1)).await;
        let second = handshakes.enter(address(2)).await;
        let mut third = Box::pin(handshakes.enter(address(3)));
        let mut fourth = Box::pin(handshakes.enter(address(4)));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(fourth.as_mut().now_or_never().is_none());
        drop(first);
        // There is room, but not for those that come later.
        assert!(fourth.as_mut().now_or_never().is_none());
        assert!(handshakes.enter(address(5)).now_or_never().is_none());
        let third = third.await;
        assert!(fourth.as_mut().now_or_never().is_none());
        assert!(!second.is_evicted() && !third.is_evicted());
        // One that gives up gives its turn to the next one.
        let mut fifth = Box::pin(handshakes.enter(address(5)));
        assert!(fifth.as_mut().now_or_never().is_none());
        drop(fourth);
        drop(second);
        let _fifth = fifth.now_or_never().expect("room");
        assert!(!third.is_evicted());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_runs_more_than_another_one_makes_room_for_it() {
        let handshakes = Handshakes::new(4, UNDISTURBED);
        let mut of_one = Vec::new();
        for _ in 0..4 {
            of_one.push(handshakes.enter(address(1)).await);
        }
        assert!(handshakes.enter(address(1)).now_or_never().is_none());
        let evicted = |places: &[Place]| places.iter().map(Place::is_evicted).collect::<Vec<_>>();
        let _second = handshakes.enter(address(2)).now_or_never().expect("a place");
        assert_eq!(evicted(&of_one), [true, false, false, false]);
        let _third = handshakes.enter(address(2)).now_or_never().expect("a place");
        assert_eq!(evicted(&of_one), [true, true, false, false]);
        assert!(
            handshakes.enter(address(2)).now_or_never().is_none(),
            "it has its share"
        );
        assert_eq!(evicted(&of_one), [true, true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_takes_too_long_ends_for_one_that_waits() {
        let handshakes = Handshakes::new(2, UNDISTURBED);
        let first = handshakes.enter(address(1)).await;
        advance(UNDISTURBED / 2).await;
        let second = handshakes.enter(address(2)).await;
        let began = Instant::now();
        let third = handshakes.enter(address(3)).await;
        assert_eq!(began.elapsed(), UNDISTURBED / 2);
        assert!(first.is_evicted() && !second.is_evicted());
        // Its place is taken.
        drop(first);
        assert!(handshakes.enter(address(4)).now_or_never().is_none());
        advance(UNDISTURBED * 2).await;
        assert!(!second.is_evicted(), "none waits");
        let _fourth = handshakes.enter(address(4)).await;
        assert!(second.is_evicted() && !third.is_evicted());
        let state = lock(&handshakes.0.state);
        assert_eq!((state.running.len(), state.waiting), (2, 0));
    }
}
