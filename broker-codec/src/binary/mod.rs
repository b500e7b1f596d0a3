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
pub(crate) use encode::{begin, encode_within};

/// Bytes are not one Broker value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct DecodeError {
    /// Where in the input, in bytes from its start.
    pub offset: usize,
    pub kind: DecodeErrorKind,
}

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    #[error("unexpected end of input")]
    UnexpectedEnd,
    /// Something follows the value. (Before Zeek 6.2 Broker ignored that.)
    #[error("bytes after the value")]
    TrailingBytes,
    #[error("unknown tag {0:#04x}")]
    UnknownTag(u8),
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
    #[error("duplicate in a {0}")]
    Duplicate(Kind),
    #[error("more than {DEPTH_MAX} levels of nesting")]
    TooDeep,
    #[error("more than {VALUES_MAX} values")]
    TooManyValues,
}
