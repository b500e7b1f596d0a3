//! The names under which our own types announce themselves to our own serializer.
//!
//! serde has no word for addresses, sets or enum values by name. Like `serde_json` and `toml` do for raw values and
//! dates, such types are newtypes of a reserved name: [`to_data`](super::to_data) and [`from_data`](super::from_data)
//! recognise it, any other format sees the plain content.

use super::kind::Kind;

pub(super) const DATA: &str = "$broker::Data";
pub(super) const ADDRESS: &str = "$broker::Address";
pub(super) const SUBNET: &str = "$broker::Subnet";
pub(super) const PORT: &str = "$broker::Port";
pub(super) const TIMESTAMP: &str = "$broker::Timestamp";
pub(super) const TIMESPAN: &str = "$broker::Timespan";
pub(super) const ENUM_VALUE: &str = "$broker::EnumValue";
pub(super) const SET: &str = "$broker::Set";
pub(super) const TABLE: &str = "$broker::Table";

/// The kind that a newtype of this name stands for.
pub(super) fn kind(name: &str) -> Option<Kind> {
    match name {
        ADDRESS => Some(Kind::Address),
        SUBNET => Some(Kind::Subnet),
        PORT => Some(Kind::Port),
        TIMESTAMP => Some(Kind::Timestamp),
        TIMESPAN => Some(Kind::Timespan),
        ENUM_VALUE => Some(Kind::EnumValue),
        SET => Some(Kind::Set),
        TABLE => Some(Kind::Table),
        _ => None,
    }
}
