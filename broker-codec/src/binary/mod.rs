//! Values in Broker's binary format (`format/bin.hh`): a tag byte, then the content.

use bytes::BytesMut;

use crate::Data;
pub use crate::data::EncodeError;

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
}

/// Appends the bytes of a value.
pub fn encode(_data: &Data, _out: &mut BytesMut) -> Result<(), EncodeError> {
    todo!("binary encoder")
}

/// Reads one value that must fill the input.
pub fn decode(_input: &[u8]) -> Result<Data, DecodeError> {
    todo!("binary decoder")
}
