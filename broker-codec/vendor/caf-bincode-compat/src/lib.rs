//! serde format of CAF's binary serializer, as Zeek's Broker uses it.

mod error;

pub use error::{Error, ErrorKind};
