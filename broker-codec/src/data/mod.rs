//! Broker values: [`Data`] and its leaves.

mod container;
mod de;
mod display;
mod error;
mod excerpt;
mod leaf;
mod leaf_serde;
mod limits;
mod order;
mod ordered;
mod reserved;
mod ser;
mod string;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use container::{DuplicateError, Set, Table};
pub use de::from_data;
pub(crate) use de::from_event;
pub use error::{DataError, DataErrorKind};
pub use excerpt::{Excerpt, escape, excerpt_of, is_hostile};
pub use leaf::{Address, EnumValue, Port, PrefixLengthError, Protocol, Real, Subnet, Timespan, Timestamp};
pub use limits::{DEPTH_MAX, EncodeError, LENGTH_MAX, VALUES_MAX};
pub use ser::to_data;
pub(crate) use ser::to_event;
pub use string::ZeekString;
pub use text::TextError;
pub(crate) use text::write_seconds;

/// An owned Broker value (`broker::data`, `data.hh`).
///
/// The order of the variants is Broker's order of tags: the derived comparison sorts values as `std::set<data>` does.
///
/// In a Rust type with a serde derive a field of this type is Zeek's `any`: it passes [`to_data`] and [`from_data`]
/// unchanged. To any other serde format it is an enum of kinds, in JSON `{"count":1}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "$broker::Data", rename_all = "kebab-case")]
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

/// The kind of a value, without the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// See [`Data::None`].
    None,
    /// See [`Data::Boolean`].
    Boolean,
    /// See [`Data::Count`].
    Count,
    /// See [`Data::Integer`].
    Integer,
    /// See [`Data::Real`].
    Real,
    /// See [`Data::String`].
    String,
    /// See [`Data::Address`].
    Address,
    /// See [`Data::Subnet`].
    Subnet,
    /// See [`Data::Port`].
    Port,
    /// See [`Data::Timestamp`].
    Timestamp,
    /// See [`Data::Timespan`].
    Timespan,
    /// See [`Data::EnumValue`].
    EnumValue,
    /// See [`Data::Set`].
    Set,
    /// See [`Data::Table`].
    Table,
    /// See [`Data::Vector`].
    Vector,
}

impl Data {
    /// The kind of this value.
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

impl Kind {
    /// Every kind, in the order of Broker's tags.
    pub const ALL: [Self; 15] = [
        Self::None,
        Self::Boolean,
        Self::Count,
        Self::Integer,
        Self::Real,
        Self::String,
        Self::Address,
        Self::Subnet,
        Self::Port,
        Self::Timestamp,
        Self::Timespan,
        Self::EnumValue,
        Self::Set,
        Self::Table,
        Self::Vector,
    ];

    /// The name that Broker's JSON uses in `@data-type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Boolean => "boolean",
            Self::Count => "count",
            Self::Integer => "integer",
            Self::Real => "real",
            Self::String => "string",
            Self::Address => "address",
            Self::Subnet => "subnet",
            Self::Port => "port",
            Self::Timestamp => "timestamp",
            Self::Timespan => "timespan",
            Self::EnumValue => "enum-value",
            Self::Set => "set",
            Self::Table => "table",
            Self::Vector => "vector",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
