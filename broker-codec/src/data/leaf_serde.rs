//! serde for the leaves that serde has no word for.
//!
//! To a human-readable format such a leaf is its text, to any other the bytes that Broker's binary format has for it;
//! either way inside a newtype with a [`reserved`] name, by which our own serializer knows it.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::{
    kind::Kind,
    leaf::{Address, Port, Protocol, Subnet, Timespan, Timestamp},
    reserved,
    string::ZeekString,
    value::Data,
};

/// The bytes of a subnet in Broker's binary format.
pub(crate) fn subnet_bytes(subnet: Subnet) -> [u8; 17] {
    let mut bytes = [0; 17];
    let (address, length) = bytes.split_at_mut(16);
    address.copy_from_slice(subnet.address.as_bytes());
    length.fill(subnet.length);
    bytes
}

/// The bytes of a port in Broker's binary format.
pub(crate) fn port_bytes(port: Port) -> [u8; 3] {
    let [high, low] = port.number.to_be_bytes();
    [high, low, port.protocol.code()]
}

/// The leaf of a kind from its bytes in Broker's binary format.
pub(super) fn from_compact(kind: Kind, bytes: &[u8]) -> Option<Data> {
    match kind {
        Kind::Address => Address::from_compact(bytes).map(Data::Address),
        Kind::Subnet => Subnet::from_compact(bytes).map(Data::Subnet),
        Kind::Port => Port::from_compact(bytes).map(Data::Port),
        Kind::Timestamp => Timestamp::from_compact(bytes).map(Data::Timestamp),
        Kind::Timespan => Timespan::from_compact(bytes).map(Data::Timespan),
        _ => None,
    }
}

trait Leaf: Sized + fmt::Display + FromStr<Err: fmt::Display> {
    const NAME: &'static str;
    const KIND: Kind;

    fn compact(&self) -> impl AsRef<[u8]>;
    fn from_compact(bytes: &[u8]) -> Option<Self>;
}

impl Leaf for Address {
    const NAME: &'static str = reserved::ADDRESS;
    const KIND: Kind = Kind::Address;

    fn compact(&self) -> impl AsRef<[u8]> {
        self.as_bytes()
    }

    fn from_compact(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }
}

impl Leaf for Subnet {
    const NAME: &'static str = reserved::SUBNET;
    const KIND: Kind = Kind::Subnet;

    fn compact(&self) -> impl AsRef<[u8]> {
        subnet_bytes(*self)
    }

    fn from_compact(bytes: &[u8]) -> Option<Self> {
        let (&length, address) = bytes.split_last()?;
        Some(Self {
            address: Address::from_compact(address)?,
            length,
        })
    }
}

impl Leaf for Port {
    const NAME: &'static str = reserved::PORT;
    const KIND: Kind = Kind::Port;

    fn compact(&self) -> impl AsRef<[u8]> {
        port_bytes(*self)
    }

    fn from_compact(bytes: &[u8]) -> Option<Self> {
        let &[high, low, protocol] = bytes else {
            return None;
        };
        Some(Self {
            number: u16::from_be_bytes([high, low]),
            protocol: Protocol::from_code(protocol)?,
        })
    }
}

impl Leaf for Timestamp {
    const NAME: &'static str = reserved::TIMESTAMP;
    const KIND: Kind = Kind::Timestamp;

    fn compact(&self) -> impl AsRef<[u8]> {
        self.0.to_be_bytes()
    }

    fn from_compact(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(i64::from_be_bytes(bytes)))
    }
}

impl Leaf for Timespan {
    const NAME: &'static str = reserved::TIMESPAN;
    const KIND: Kind = Kind::Timespan;

    fn compact(&self) -> impl AsRef<[u8]> {
        self.0.to_be_bytes()
    }

    fn from_compact(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(i64::from_be_bytes(bytes)))
    }
}

struct LeafVisitor<L>(PhantomData<L>);

impl<'de, L: Leaf> Visitor<'de> for LeafVisitor<L> {
    type Value = L;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", L::KIND)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<L, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(self)
        } else {
            deserializer.deserialize_bytes(self)
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<L, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<L, E> {
        L::from_compact(bytes).ok_or_else(|| E::invalid_value(de::Unexpected::Bytes(bytes), &self))
    }
}

fn serialize<L: Leaf, S: Serializer>(leaf: &L, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_newtype_struct(L::NAME, &leaf.to_string())
    } else {
        serializer.serialize_newtype_struct(L::NAME, &ZeekString::from(leaf.compact().as_ref()))
    }
}

fn deserialize<'de, L: Leaf, D: Deserializer<'de>>(deserializer: D) -> Result<L, D::Error> {
    deserializer.deserialize_newtype_struct(L::NAME, LeafVisitor(PhantomData))
}

macro_rules! leaves {
    ($($leaf:ident),*) => {
        $(
            impl Serialize for $leaf {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serialize(self, serializer)
                }
            }

            impl<'de> Deserialize<'de> for $leaf {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserialize(deserializer)
                }
            }
        )*
    };
}

leaves!(Address, Subnet, Port, Timestamp, Timespan);
