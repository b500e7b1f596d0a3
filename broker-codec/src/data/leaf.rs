use std::{cmp::Ordering, fmt, hash, net::IpAddr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::{reserved, string::ZeekString};

/// A `double`; ordered so that it can stand in sets.
///
/// The order is Broker's (`variant_data.cc`, `operator<`) as far as that is one: -0.0 and 0.0 are equal. To Broker a
/// NaN is neither less nor greater than any real; here every NaN is equal to itself and greater than the other reals, so
/// that sorting is well defined. Decoding refuses a set in which Broker would take two elements for the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .partial_cmp(&other.0)
            .unwrap_or_else(|| self.0.is_nan().cmp(&other.0.is_nan()))
    }
}

impl hash::Hash for Real {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        let equal_to_self = if self.0.is_nan() { f64::NAN } else { self.0 + 0.0 };
        equal_to_self.to_bits().hash(state);
    }
}

/// An IP address: 16 bytes, IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 16]);

impl Address {
    /// 0.0.0.0, which the Management framework uses for "not known yet".
    pub const UNSPECIFIED_V4: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);

    /// From network order.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// In network order.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether this is an IPv4 address.
    const fn is_v4(&self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..])
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        })
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        std::net::Ipv6Addr::from(address.0).to_canonical()
    }
}

/// A network: 16 bytes and a raw length relative to 128 bits, sent as they are.
///
/// Broker checks neither the length nor the host bits of what it receives (`subnet.hh`, `subnet::unchecked`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    pub address: Address,
    /// The prefix length relative to 128 bits: 104 for an IPv4 /8. Not checked by Broker.
    pub length: u8,
}

/// How many bits stand before an IPv4 address in its 128-bit form.
const V4_OFFSET: u8 = 96;

impl Subnet {
    /// The prefix length relative to the address's family: 8 for an IPv4 /8.
    ///
    /// Counted modulo 256 as Broker does: an IPv4 network with a raw length below 96 has an absurd one.
    pub(super) const fn family_length(&self) -> u8 {
        if self.address.is_v4() {
            self.length.wrapping_sub(V4_OFFSET)
        } else {
            self.length
        }
    }
}

impl From<ipnet::IpNet> for Subnet {
    fn from(net: ipnet::IpNet) -> Self {
        let address = Address::from(net.addr());
        let offset = if address.is_v4() { V4_OFFSET } else { 0 };
        // An IPv6 network within ::ffff:0:0/96 is to Broker an IPv4 one; its length is relative to 128 already.
        let offset = if net.addr().is_ipv6() { 0 } else { offset };
        Self {
            address,
            length: net.prefix_len().saturating_add(offset),
        }
    }
}

/// A transport protocol of a [`Port`], with its number on the wire (`port.hh`, `port::protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// Printed as `?`.
    #[default]
    Unknown,
    Tcp,
    Udp,
    Icmp,
}

impl Protocol {
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The protocol of a number on the wire; above 3 there is none.
    pub fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Unknown, Self::Tcp, Self::Udp, Self::Icmp];
        all.get(usize::from(code)).copied()
    }

    /// The word behind the slash of a port.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "?",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

/// A transport-layer port such as `2150/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    pub number: u16,
    pub protocol: Protocol,
}

impl Port {
    /// `number/tcp`.
    pub const fn tcp(number: u16) -> Self {
        Self {
            number,
            protocol: Protocol::Tcp,
        }
    }

    /// As Zeek's scripts write it: `80/unknown`, which is `80/?` in Broker's JSON.
    pub fn in_zeek(self) -> String {
        match self.protocol {
            Protocol::Unknown => format!("{}/unknown", self.number),
            _ => self.to_string(),
        }
    }
}

/// A point in time: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A duration in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timespan(pub i64);

/// The name of an enum value, fully qualified: `Management::RUNNING`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "$broker::EnumValue")]
pub struct EnumValue(pub ZeekString);

// serde's attribute takes no constant.
const _: () = assert!(matches!(reserved::ENUM_VALUE.as_bytes(), b"$broker::EnumValue"));

/// A number to human-readable formats where it is finite, else its name.
impl Serialize for Real {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() && !self.0.is_finite() {
            serializer.collect_str(&self.0)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RealVisitor;

        impl Visitor<'_> for RealVisitor {
            type Value = Real;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a real")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Real, E> {
                Ok(Real(value))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Real, E> {
                text.parse().map(Real).map_err(E::custom)
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_any(RealVisitor)
        } else {
            deserializer.deserialize_f64(RealVisitor)
        }
    }
}
