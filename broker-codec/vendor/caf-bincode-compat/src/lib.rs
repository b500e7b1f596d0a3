//! serde format of CAF's binary serializer, as Zeek's Broker uses it.
//!
//! Broker writes its handshake messages and the commands of its data stores field by field through a CAF inspector
//! (`libcaf_core/src/binary_serializer.cpp`), or by hand into the same bytes (`broker/format/bin.hh`). The format is not
//! self-describing: both sides must agree on the type.
//!
//! | Rust | bytes |
//! |---|---|
//! | `bool` | one byte, 0 or 1 |
//! | `u8` to `u64`, `i8` to `i64` | fixed size, big-endian, two's complement |
//! | `&str`, `String`, bytes | a [varbyte] length, then the bytes |
//! | `Option` | one byte, 0 or 1, then the value if there is one |
//! | sequence, map | a [varbyte] count, then the elements, or keys and values in turn |
//! | array, tuple, struct | the fields, nothing else |
//! | newtype struct | its content |
//! | enum | the variant's index as one byte, then its fields |
//! | `()`, unit struct | nothing |
//!
//! Floating-point numbers, characters, 128-bit integers and anything that needs a self-describing format are refused:
//! CAF's form of a `double` differs from IEEE 754 and is Broker's own.
//!
//! # Strictness
//!
//! What decodes also encodes to the same bytes, as far as the Rust type keeps the order and duplicates of a map: varbytes
//! must be canonical and have at most five bytes, a `bool` is 0 or 1. CAF takes more, but never writes it.
//!
//! Nothing is allocated by a length that the input does not cover, elements of a sequence take at least one byte each,
//! and nesting is bounded by [`DEPTH_MAX`]. Bytes behind the value are an error in [`from_slice`] and returned by
//! [`from_prefix`].
//!
//! ```
//! #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
//! struct OriginatorSyn {
//!     filter: Vec<String>,
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

/// How deep values may be nested, on both ways. A struct, a sequence, an option and an enum variant are a level each.
pub const DEPTH_MAX: usize = 64;

/// The bytes of a value.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = BytesMut::new();
    append(value, &mut out)?;
    Ok(out.into())
}

/// Appends the bytes of a value; on error nothing is appended.
pub fn append<T: Serialize + ?Sized>(value: &T, out: &mut BytesMut) -> Result<(), Error> {
    let start = out.len();
    let result = value.serialize(&mut ser::Serializer::new(out));
    result.map_err(|error| {
        let written = out.len() - start;
        out.truncate(start);
        error.or_at(written)
    })
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
