//! How many connections of one address there may be.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::EndpointConfig;
use crate::sync::lock;

/// The places for accepted connections: of peers in all and of one address, and of handshakes of one address.
#[derive(Debug)]
pub(crate) struct Limits {
    peers: Arc<Semaphore>,
    peers_per_address: usize,
    handshakes_per_address: usize,
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

#[derive(Clone, Debug)]
struct Address {
    handshakes: Arc<Semaphore>,
    peers: Arc<Semaphore>,
}

/// With so many addresses, those without connections are forgotten before another one comes.
const ADDRESSES_SWEEP: usize = 4096;

/// The place of a peer, until it is dropped.
#[derive(Debug)]
pub(crate) struct PeerPlace {
    _in_all: OwnedSemaphorePermit,
    _of_address: OwnedSemaphorePermit,
}

impl Limits {
    pub(crate) fn new(config: &EndpointConfig) -> Self {
        let number = |max: usize| max.min(Semaphore::MAX_PERMITS);
        Self {
            peers: Arc::new(Semaphore::new(number(config.connections_max))),
            peers_per_address: number(config.connections_per_address_max),
            handshakes_per_address: number(config.handshakes_per_address_max),
            addresses: Mutex::default(),
        }
    }

    /// Whether a connection from there could become a peer now.
    pub(crate) fn has_room(&self, address: IpAddr) -> bool {
        self.peer(address).is_some()
    }

    /// A place for a peer, if there is one.
    pub(crate) fn peer(&self, address: IpAddr) -> Option<PeerPlace> {
        Some(PeerPlace {
            _of_address: self.address(address).peers.try_acquire_owned().ok()?,
            _in_all: Arc::clone(&self.peers).try_acquire_owned().ok()?,
        })
    }

    /// The places for handshakes of an address, which are given in the order of asking.
    pub(crate) fn handshakes(&self, address: IpAddr) -> Arc<Semaphore> {
        self.address(address).handshakes
    }

    fn address(&self, address: IpAddr) -> Address {
        let mut addresses = lock(&self.addresses);
        let network = network(address);
        if addresses.len() >= ADDRESSES_SWEEP && !addresses.contains_key(&network) {
            addresses.retain(|_, address| address.is_used());
        }
        let new = || Address {
            handshakes: Arc::new(Semaphore::new(self.handshakes_per_address)),
            peers: Arc::new(Semaphore::new(self.peers_per_address)),
        };
        addresses.entry(network).or_insert_with(new).clone()
    }
}

impl Address {
    /// Each place holds its semaphore.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.handshakes) > 1 || Arc::strong_count(&self.peers) > 1
    }
}

/// What counts as one address: of IPv6 the /64 network, of which one machine may have all.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_ipv4_addresses_and_ipv6_networks() {
        let network = |text| network(address(text));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:0:0:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }

    #[test]
    fn peers_are_counted_in_all_and_by_address_and_given_back() {
        let limits = Limits::new(&EndpointConfig {
            connections_max: 3,
            connections_per_address_max: 2,
            ..EndpointConfig::default()
        });
        let [a, b, c] = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"].map(address);
        let first = limits.peer(a).unwrap();
        let _second = limits.peer(b).unwrap();
        assert!(limits.peer(a).is_none() && !limits.has_room(a));
        let third = limits.peer(c).unwrap();
        assert!(limits.peer(c).is_none() && !limits.has_room(c));
        drop((first, third));
        let _fourth = limits.peer(a).unwrap();
        assert!(limits.peer(a).is_none());
        assert!(limits.has_room(c));
    }

    #[test]
    fn addresses_without_connections_take_no_memory() {
        let limits = Limits::new(&EndpointConfig::default());
        let number = |number: usize| IpAddr::V4(u32::try_from(number).unwrap().into());
        let _peer = limits.peer(number(0)).unwrap();
        let _handshake = limits.handshakes(number(1)).try_acquire_owned().unwrap();
        for other in 2..=ADDRESSES_SWEEP {
            assert!(limits.has_room(number(other)));
        }
        assert_eq!(limits.addresses.lock().unwrap().len(), 3);
    }
}
