use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Origin;

/// The accepted connections that are peerings: how many there may be, in total and of each origin.
///
/// When they are too many in total, the youngest of the origin that has most gives way to one of an origin that has fewer, as
/// long as it is on probation. So those who complete handshakes and then do nothing keep out only each other, and no peer is
/// ended that has shown to be alive: who neither reads nor speaks does not outlive its probation.
#[derive(Debug)]
pub(crate) struct Peers {
    total_max: usize,
    per_origin_max: usize,
    probation: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    total: usize,
    /// Those of each origin in the order of their beginning.
    origins: HashMap<Origin, Vec<Peer>>,
}

#[derive(Debug)]
struct Peer {
    number: u64,
    since: Instant,
    evicted: CancellationToken,
}

/// A place among the peers, until it is dropped.
#[derive(Debug)]
pub(crate) struct PeerSlot {
    peers: Arc<Peers>,
    origin: Origin,
    number: u64,
    evicted: CancellationToken,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Origin,
}

impl Peers {
    /// `probation` is how long a peer can be there without having shown to be alive.
    pub(crate) fn new(total_max: usize, per_origin_max: usize, probation: Duration) -> Arc<Self> {
        Arc::new(Self {
            total_max,
            per_origin_max,
            probation,
            state: Mutex::default(),
        })
    }

    /// Whether a connection from there could become a peering now.
    pub(crate) fn check(&self, address: IpAddr, now: Instant) -> Result<(), Full> {
        self.room(&self.lock(), Origin::from(address), now).map(|_| ())
    }

    /// Makes it one; another one may have to give way.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<PeerSlot, Full> {
        let origin = Origin::from(address);
        let mut state = self.lock();
        if let Some((origin, number)) = self.room(&state, origin, now)?
            && let Some(peer) = state.remove(origin, number)
        {
            peer.evicted.cancel();
        }
        state.last_number += 1;
        state.total += 1;
        let number = state.last_number;
        let evicted = CancellationToken::new();
        state.origins.entry(origin).or_default().push(Peer {
            number,
            since: now,
            evicted: evicted.clone(),
        });
        Ok(PeerSlot {
            peers: Arc::clone(self),
            origin,
            number,
            evicted,
        })
    }

    /// Who has to give way, if anybody.
    fn room(&self, state: &State, origin: Origin, now: Instant) -> Result<Option<(Origin, u64)>, Full> {
        let own = state.origins.get(&origin).map_or(0, Vec::len);
        if own >= self.per_origin_max {
            return Err(Full::Origin);
        }
        if state.total < self.total_max {
            return Ok(None);
        }
        let youngest = |(origin, peers): (&Origin, &Vec<Peer>)| {
            let peer = peers.last()?;
            let on_probation = now.saturating_duration_since(peer.since) < self.probation;
            (on_probation && peers.len() > own + 1).then_some((peers.len(), *origin, peer.number))
        };
        let candidates = state.origins.iter().filter_map(youngest);
        match candidates.max_by_key(|(count, _, number)| (*count, *number)) {
            Some((_, origin, number)) => Ok(Some((origin, number))),
            None => Err(Full::Total),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, origin: Origin, number: u64) -> Option<Peer> {
        let Entry::Occupied(mut peers) = self.origins.entry(origin) else {
            return None;
        };
        let index = peers.get().iter().position(|peer| peer.number == number)?;
        let peer = peers.get_mut().remove(index);
        self.total -= 1;
        if peers.get().is_empty() {
            peers.remove();
        }
        Some(peer)
    }
}

impl PeerSlot {
    /// Returns when the peer has to give way.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        // It is not there if it had to give way.
        self.peers.lock().remove(self.origin, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBATION: Duration = Duration::from_secs(30);

    fn addresses<const N: usize>(texts: [&str; N]) -> [IpAddr; N] {
        texts.map(|text| text.parse().unwrap())
    }

    #[test]
    fn peers_are_counted_in_total_and_by_origin_and_given_back() {
        let peers = Peers::new(3, 2, Duration::ZERO);
        let [a, b, c] = addresses(["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"]);
        let now = Instant::now();
        let first = peers.enter(a, now).unwrap();
        let _second = peers.enter(b, now).unwrap();
        assert_eq!(peers.enter(a, now).unwrap_err(), Full::Origin);
        assert_eq!(peers.check(a, now), Err(Full::Origin));
        let third = peers.enter(c, now).unwrap();
        assert_eq!(peers.enter(c, now).unwrap_err(), Full::Total);
        assert_eq!(peers.check(c, now), Err(Full::Total));
        drop(first);
        drop(third);
        let _fourth = peers.enter(a, now).unwrap();
        assert_eq!(peers.enter(a, now).unwrap_err(), Full::Origin);
        peers.enter(c, now).unwrap();
        let state = peers.lock();
        assert_eq!(state.origins.len(), 1, "origins without peers are forgotten");
        assert_eq!(state.total, 2);
    }

    #[test]
    fn of_too_many_the_youngest_of_the_greediest_origin_gives_way() {
        let peers = Peers::new(4, 4, PROBATION);
        let [greedy, modest, new] = addresses(["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        let start = Instant::now();
        let old = peers.enter(greedy, start).unwrap();
        let later = start + PROBATION;
        let [second, third] = [(); 2].map(|()| peers.enter(greedy, later).unwrap());
        let only = peers.enter(modest, later).unwrap();
        let gone = |slots: [&PeerSlot; 4]| slots.map(|slot| slot.evicted.is_cancelled());
        assert_eq!(gone([&old, &second, &third, &only]), [false; 4]);

        assert_eq!(peers.enter(greedy, later).unwrap_err(), Full::Total);
        let newcomer = peers.enter(new, later).unwrap();
        assert_eq!(gone([&old, &second, &third, &only]), [false, false, true, false]);
        assert_eq!(
            peers.enter(new, later).unwrap_err(),
            Full::Total,
            "now they have two, and the newcomer one"
        );
        drop(third);
        assert_eq!(peers.lock().total, 4, "who gave way is not counted off again");
        drop((newcomer, second));
        assert_eq!(peers.lock().total, 2);
    }

    #[test]
    fn who_has_passed_probation_stays() {
        let peers = Peers::new(3, 3, PROBATION);
        let [greedy, new] = addresses(["192.0.2.1", "192.0.2.2"]);
        let start = Instant::now();
        let _slots = [(); 3].map(|()| peers.enter(greedy, start).unwrap());
        assert_eq!(peers.check(new, start), Ok(()));
        assert_eq!(peers.check(new, start + PROBATION), Err(Full::Total));
    }
}
