//! Values in Broker's binary format (`format/bin.hh`): a tag byte, then the content, numbers in network order.
//!
//! What is decoded and encoded again gives the same bytes, if a Broker wrote them; not so booleans other than 0 and 1
//! and the reals that Broker never writes. Sets and tables are in Broker's order, and are written in the order
//! that they came in.

mod decode;
mod encode;
mod real;

#[cfg(test)]
mod tests;

use crate::data::{DEPTH_MAX, Kind, VALUES_MAX};

pub use crate::data::EncodeError;
pub(crate) use decode::Cursor;
pub use decode::{decode, decode_prefix};
pub use encode::encode;

/// The tags of the kinds (`variant_tag.hh`).
mod tag {
    pub(super) const NONE: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const COUNT: u8 = 2;
    pub(super) const INTEGER: u8 = 3;
    pub(super) const REAL: u8 = 4;
    pub(super) const STRING: u8 = 5;
    pub(super) const ADDRESS: u8 = 6;
    pub(super) const SUBNET: u8 = 7;
    pub(super) const PORT: u8 = 8;
    pub(super) const TIMESTAMP: u8 = 9;
    pub(super) const TIMESPAN: u8 = 10;
    pub(super) const ENUM_VALUE: u8 = 11;
    pub(super) const SET: u8 = 12;
    pub(super) const TABLE: u8 = 13;
    pub(super) const VECTOR: u8 = 14;
    pub(super) const MAX: u8 = VECTOR;
}

/// Bytes are not one Broker value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct DecodeError {
    /// Where in the input, in bytes from its start.
    pub offset: usize,
    /// What.
    pub kind: DecodeErrorKind,
}

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends within a value.
    #[error("unexpected end of input")]
    UnexpectedEnd,
    /// Something follows the value. (Before Zeek 6.2 Broker ignored that.)
    #[error("bytes after the value")]
    TrailingBytes,
    /// No kind has this tag.
    #[error("unknown tag {0:#04x}")]
    UnknownTag(u8),
    /// No transport protocol has this number.
    #[error("unknown transport protocol {0}")]
    UnknownProtocol(u8),
    /// A length or count exceeds 32 bits or takes more bytes than it needs.
    ///
    /// DIFFERENCE(shortest-lengths): Broker takes both, though it writes neither.
    #[error("malformed length")]
    Length,
    /// A string or enum name is longer than what is left of the input.
    #[error("length {0} exceeds the input")]
    LengthBeyondEnd(u32),
    /// A container has more elements than there are bytes left of the input.
    #[error("count {0} exceeds the input")]
    CountBeyondEnd(u32),
    /// A set has an element twice or a table a key.
    #[error("duplicate in a {0}")]
    Duplicate(Kind),
    /// More than [`DEPTH_MAX`] containers in each other.
    #[error("more than {DEPTH_MAX} levels of nesting")]
    TooDeep,
    /// More than [`VALUES_MAX`] values.
    #[error("more than {VALUES_MAX} values")]
    TooManyValues,
}
