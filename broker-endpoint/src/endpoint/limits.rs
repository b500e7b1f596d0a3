//! How many connections there may be, and who gives way where there are too many.
//!
//! Everything is counted by [`Origin`]: who sends many connections exhausts its own share first.

mod handshakes;
mod peers;

use std::net::{IpAddr, Ipv6Addr};

pub(crate) use handshakes::{HandshakeSlot, Handshakes};
pub(crate) use peers::{PeerSlot, Peers};

/// Where a connection comes from, as far as limits are concerned: an IPv4 address, or the /64 network of an IPv6 address, of
/// which one machine may have them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin(IpAddr);

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_ipv4_addresses_and_ipv6_networks() {
        let origin = |text: &str| Origin::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(origin("192.0.2.1"), origin("::ffff:192.0.2.1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:0:0:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
    }
}
