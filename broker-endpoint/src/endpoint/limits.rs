use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// How many of something may exist, in total and for each address.
#[derive(Debug)]
pub(crate) struct Limit {
    total_max: usize,
    per_address_max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    limit: Arc<Limit>,
    address: IpAddr,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Address,
}

impl Limit {
    pub(crate) fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total_max,
            per_address_max,
            taken: Mutex::default(),
        })
    }

    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, Full> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // At most some thousand entries, and a connection costs far more than this sum.
        if taken.values().sum::<usize>() >= self.total_max {
            return Err(Full::Total);
        }
        if taken.get(&address).copied().unwrap_or_default() >= self.per_address_max {
            return Err(Full::Address);
        }
        *taken.entry(address).or_default() += 1;
        Ok(Slot {
            limit: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.limit.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// The accepted connections that are in their handshake. Where there are too many, the oldest gives way.
///
/// A handshake takes milliseconds. Whoever occupies places by saying nothing is the oldest soon, and keeps nobody out.
#[derive(Debug)]
pub(crate) struct Handshakes {
    total_max: usize,
    per_address_max: usize,
    state: Mutex<HandshakesState>,
}

#[derive(Debug, Default)]
struct HandshakesState {
    last_number: u64,
    /// In the order of their arrival.
    running: VecDeque<Running>,
}

#[derive(Debug)]
struct Running {
    number: u64,
    address: IpAddr,
    evicted: CancellationToken,
}

/// A place among the handshakes, until it is dropped.
#[derive(Debug)]
pub(crate) struct HandshakeSlot {
    handshakes: Arc<Handshakes>,
    number: u64,
    evicted: CancellationToken,
}

impl Handshakes {
    pub(crate) fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total_max,
            per_address_max,
            state: Mutex::default(),
        })
    }

    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> HandshakeSlot {
        let address = address.to_canonical();
        let evicted = CancellationToken::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = |other: &Running| other.address == address;
        let oldest = if state.running.iter().filter(|other| of_address(other)).count() >= self.per_address_max
        {
            state.running.iter().position(of_address)
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
            address,
            evicted: evicted.clone(),
        });
        HandshakeSlot {
            handshakes: Arc::clone(self),
            number,
            evicted,
        }
    }
}

impl HandshakeSlot {
    /// Returns when the handshake has to give way.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        let mut state = self
            .handshakes
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.running.retain(|other| other.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_in_total_and_by_address_and_given_back() {
        let limit = Limit::new(3, 2);
        let [a, b, c] = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        let first = limit.take(a).unwrap();
        let _second = limit.take(b).unwrap();
        assert_eq!(
            limit.take(a).unwrap_err(),
            Full::Address,
            "a mapped address is the same"
        );
        let third = limit.take(c).unwrap();
        assert_eq!(limit.take(c).unwrap_err(), Full::Total);
        drop(first);
        drop(third);
        let _fourth = limit.take(a).unwrap();
        assert_eq!(limit.take(a).unwrap_err(), Full::Address);
        limit.take(c).unwrap();
        assert_eq!(
            limit.taken.lock().unwrap().len(),
            1,
            "addresses without slots are forgotten"
        );
    }

    #[test]
    fn the_oldest_handshake_gives_way() {
        let handshakes = Handshakes::new(3, 2);
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let [first, second] = [a, b].map(|address| handshakes.enter(address));
        let third = handshakes.enter(a);
        let evicted = |slots: [&HandshakeSlot; 3]| slots.map(|slot| slot.evicted.is_cancelled());
        assert_eq!(evicted([&first, &second, &third]), [false; 3]);
        let fourth = handshakes.enter(a);
        assert_eq!(
            evicted([&first, &second, &third]),
            [true, false, false],
            "the oldest of the same address"
        );
        let fifth = handshakes.enter("2001:db8::1".parse().unwrap());
        assert_eq!(
            evicted([&second, &third, &fourth]),
            [true, false, false],
            "the oldest of all"
        );
        drop((first, second, third));
        assert_eq!(handshakes.state.lock().unwrap().running.len(), 2);
        drop((fourth, fifth));
        assert_eq!(handshakes.state.lock().unwrap().running.len(), 0);
    }
}
