use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    handed,
    kind::Kind,
    leaf::{Address, EnumValue, Port, Real, Subnet, Timespan, Timestamp},
    ordered::Element,
    reserved,
    set::Set,
    string::ZeekString,
    table::Table,
};

/// An owned Broker value (`broker::data`, `data.hh`).
///
/// The order of the variants is Broker's order of tags: the derived comparison sorts values as `std::set<data>` does.
///
/// In a Rust type with a serde derive a field of this type is Zeek's `any`: it passes [`to_data`](super::to_data) and [`from_data`](super::from_data)
/// unchanged. To any other serde format it is an enum of kinds, in JSON `{"count":1}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(remote = "Self", rename = "$broker::Data", rename_all = "kebab-case")]
pub enum Data {
    /// The absence of a value; an unset optional field of a Zeek record.
    #[default]
    None,
    /// Zeek's `bool`.
    Boolean(bool),
    /// Zeek's `count`.
    Count(u64),
    /// Zeek's `int`.
    Integer(i64),
    /// Zeek's `double`.
    Real(Real),
    /// Zeek's `string`: bytes, not necessarily UTF-8.
    String(ZeekString),
    /// Zeek's `addr`.
    Address(Address),
    /// Zeek's `subnet`.
    Subnet(Subnet),
    /// Zeek's `port`.
    Port(Port),
    /// Zeek's `time`.
    Timestamp(Timestamp),
    /// Zeek's `interval`.
    Timespan(Timespan),
    /// A value of a Zeek `enum`, by its fully qualified name.
    EnumValue(EnumValue),
    /// Zeek's `set`.
    Set(Set<Data>),
    /// Zeek's `table`.
    Table(Table),
    /// Zeek's `vector` and `record`: a record is one element per declared field, in order.
    Vector(Vec<Data>),
}

// serde's attribute takes no constant.
const _: () = assert!(matches!(reserved::DATA.as_bytes(), b"$broker::Data"));

impl Data {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::None => Kind::None,
            Self::Boolean(_) => Kind::Boolean,
            Self::Count(_) => Kind::Count,
            Self::Integer(_) => Kind::Integer,
            Self::Real(_) => Kind::Real,
            Self::String(_) => Kind::String,
            Self::Address(_) => Kind::Address,
            Self::Subnet(_) => Kind::Subnet,
            Self::Port(_) => Kind::Port,
            Self::Timestamp(_) => Kind::Timestamp,
            Self::Timespan(_) => Kind::Timespan,
            Self::EnumValue(_) => Kind::EnumValue,
            Self::Set(_) => Kind::Set,
            Self::Table(_) => Kind::Table,
            Self::Vector(_) => Kind::Vector,
        }
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What serde derives: see `remote`.
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DataVisitor;

        impl<'de> de::Visitor<'de> for DataVisitor {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value of Broker")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
                Data::deserialize(deserializer)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Data, E> {
                handed::take()
            }
        }

        deserializer.deserialize_newtype_struct(reserved::DATA, DataVisitor)
    }
}

/// The order is the derived one. Broker's (`operator<`; `variant_data.cc`, `data.hh`) is the same but for NaN, which is neither less
/// nor greater than any real.
impl Element for Data {
    fn compare(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }

    fn is_less(&self, other: &Self) -> bool {
        cmp(self, other).is_lt()
    }
}

impl Element for (Data, Data) {
    fn compare(&self, other: &Self) -> Ordering {
        self.0.compare(&other.0)
    }

    fn is_less(&self, other: &Self) -> bool {
        self.0.is_less(&other.0)
    }
}

fn cmp(left: &Data, right: &Data) -> Ordering {
    match (left, right) {
        (Data::Real(Real(left)), Data::Real(Real(right))) => {
            left.partial_cmp(right).unwrap_or(Ordering::Equal)
        }
        (Data::Set(left), Data::Set(right)) => cmp_each(left.iter(), right.iter()),
        (Data::Vector(left), Data::Vector(right)) => cmp_each(left.iter(), right.iter()),
        (Data::Table(left), Data::Table(right)) => {
            cmp_each(left.iter().flat_map(flat), right.iter().flat_map(flat))
        }
        _ => left.cmp(right),
    }
}

fn cmp_each<'a>(left: impl Iterator<Item = &'a Data>, mut right: impl Iterator<Item = &'a Data>) -> Ordering {
    for left in left {
        match right.next().map(|right| cmp(left, right)) {
            None => return Ordering::Greater,
            Some(Ordering::Equal) => {}
            Some(unequal) => return unequal,
        }
    }
    if right.next().is_some() {
        Ordering::Less
    } else {
        Ordering::Equal
    }
}

fn flat((key, value): &(Data, Data)) -> [&Data; 2] {
    [key, value]
}
