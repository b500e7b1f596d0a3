//! serde format of CAF's binary serializer, as Zeek's Broker uses it.
//!
//! Broker writes its handshake messages and the commands of its data stores field by field through a CAF inspector
//! (`libcaf_core/src/binary_serializer.cpp`), or by hand into the same bytes (`broker/format/bin.hh`). The format is not
//! self-describing: both sides must agree on the type.
//!
//! | Rust | bytes |
//! |---|---|
//! | `bool` | one byte, 0 or 1 |
//! | `u8` to `u64`, `i64` | fixed size, big-endian, two's complement |
//! | bytes | a [varbyte] length, then the bytes |
//! | `Option` | one byte, 0 or 1, then the value if there is one |
//! | sequence | a [varbyte] count, then the elements |
//! | array, tuple, struct | the fields, nothing else |
//! | `()` | nothing |
//!
//! These are what handshakes and commands consist of; other types are refused. A `double` is one of them: CAF's form of it
//! differs from IEEE 754 and is Broker's own.
//!
//! # Strictness
//!
//! What decodes also encodes to the same bytes: varbytes must be canonical and have at most five bytes, a `bool` is 0 or 1. CAF
//! takes more, but never writes it.
//!
//! Nothing is allocated by a length that the input does not cover, and elements of a sequence take at least one byte each. The
//! type bounds how deep values are nested, so it must not contain itself. Bytes behind the value are an error in [`from_slice`]
//! and returned by [`from_prefix`].
//!
//! ```
//! #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
//! struct OriginatorSyn {
//!     filter: Vec<Vec<u8>>,
//! }
//!
//! let syn = OriginatorSyn { filter: vec!["zeek/a".into()] };
//! let bytes = caf_bincode_compat::to_vec(&syn)?;
//! assert_eq!(bytes, b"\x01\x06zeek/a");
//! assert_eq!(caf_bincode_compat::from_slice::<OriginatorSyn>(&bytes)?, syn);
//! # Ok::<(), caf_bincode_compat::Error>(())
//! ```

// What peers send must never make us panic.
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod de;
mod error;
mod ser;
pub mod varbyte;

#[cfg(test)]
mod tests;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

pub use error::{Error, ErrorKind};

/// The bytes of a value.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = BytesMut::new();
    match value.serialize(&mut ser::Serializer(&mut out)) {
        Ok(()) => Ok(out.into()),
        Err(error) => Err(error.or_at(out.len())),
    }
}

/// Reads a value that fills the input.
pub fn from_slice<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T, Error> {
    let (value, rest) = from_prefix(input)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(Error::new(
            input.len() - rest.len(),
            ErrorKind::TrailingBytes { count: rest.len() },
        ))
    }
}

/// Reads a value that the input begins with, and returns what is behind it.
pub fn from_prefix<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<(T, &'de [u8]), Error> {
    let mut deserializer = de::Deserializer::new(input);
    match T::deserialize(&mut deserializer) {
        Ok(value) => Ok((value, deserializer.rest())),
        Err(error) => Err(error.or_at(deserializer.position())),
    }
}
