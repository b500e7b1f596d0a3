//! Broker values: [`Data`] and its leaves.

mod de;
mod display;
mod error;
mod excerpt;
mod handed;
mod kind;
mod leaf;
mod leaf_serde;
mod limits;
mod ordered;
mod reserved;
mod ser;
mod set;
mod string;
mod table;
mod text;
mod value;

#[cfg(test)]
mod tests;

pub use de::from_data;
pub(crate) use de::from_event;
pub use error::{DataError, DataErrorKind};
pub use excerpt::{Excerpt, escape, escaped_lines, excerpt_of, is_hostile};
pub use kind::Kind;
pub use leaf::{Address, EnumValue, Port, Protocol, Real, Subnet, Timespan, Timestamp};
pub use limits::{DEPTH_MAX, EncodeError, LENGTH_MAX, VALUES_MAX};
pub use ordered::DuplicateError;
pub use ser::to_data;
pub(crate) use ser::to_event;
pub use set::Set;
pub use string::ZeekString;
pub(crate) use string::serialize_bytes;
pub use table::Table;
pub use text::TextError;
pub(crate) use text::write_seconds;
pub use value::Data;
