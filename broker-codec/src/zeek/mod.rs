//! Zeek's messages, which travel as the payload of Broker's data messages (`zeek.hh`).
//!
//! Each is a list `[1, type, content]`. Checked is what Broker checks (`zeek.cc`, `Message::validate_outer_fields` and its
//! siblings); surplus elements are ignored as there, and gone when the message is written again.

mod event;
mod message;
mod view;

#[cfg(test)]
mod tests;

use std::vec;

use crate::{
    Data,
    data::{DataError, DataErrorKind, EnumValue, Kind, ZeekString},
};

pub use event::{Event, NETWORK_TIMESTAMP};
pub use message::{IdentifierUpdate, LogCreate, LogWrite, Message};
pub use view::MessageView;

/// The version of Zeek's message format, the first element of each message (`zeek.hh`, `ProtocolVersion`).
pub const PROTOCOL_VERSION: u64 = 1;

/// The types of messages, the second element of each (`zeek.hh`, `Message::Type`).
mod message_type {
    pub(super) const EVENT: u64 = 1;
    pub(super) const LOG_CREATE: u64 = 2;
    pub(super) const LOG_WRITE: u64 = 3;
    pub(super) const IDENTIFIER_UPDATE: u64 = 4;
    pub(super) const BATCH: u64 = 5;
}

const fn shape(what: &'static str) -> DataError {
    DataError::new(DataErrorKind::Shape(what))
}

/// The type and the content of a message.
fn open(message: Data) -> Result<(u64, Content), DataError> {
    let Data::Vector(message) = message else {
        return Err(shape("a Zeek message is a list"));
    };
    let mut message = message.into_iter();
    if message.next() != Some(Data::Count(PROTOCOL_VERSION)) {
        return Err(shape("a Zeek message begins with version 1"));
    }
    match (message.next(), message.next()) {
        (Some(Data::Count(message_type)), Some(Data::Vector(content))) => {
            Ok((message_type, Content(content.into_iter())))
        }
        _ => Err(shape("a Zeek message has a type and a list of contents")),
    }
}

/// The reverse of [`open`].
fn close(message_type: u64, content: Vec<Data>) -> Data {
    Data::Vector(vec![
        Data::Count(PROTOCOL_VERSION),
        Data::Count(message_type),
        Data::Vector(content),
    ])
}

/// What is left of the content of a message. The names are for errors.
struct Content(vec::IntoIter<Data>);

impl Content {
    fn any(&mut self, name: &str) -> Result<Data, DataError> {
        self.0
            .next()
            .ok_or_else(|| DataError::new(DataErrorKind::MissingField).in_field(name))
    }

    fn string(&mut self, name: &str) -> Result<ZeekString, DataError> {
        match self.any(name)? {
            Data::String(string) => Ok(string),
            other => Err(DataError::mismatch(Kind::String, other.kind()).in_field(name)),
        }
    }

    fn enum_value(&mut self, name: &str) -> Result<EnumValue, DataError> {
        match self.any(name)? {
            Data::EnumValue(value) => Ok(value),
            other => Err(DataError::mismatch(Kind::EnumValue, other.kind()).in_field(name)),
        }
    }

    fn vector(&mut self, name: &str) -> Result<Vec<Data>, DataError> {
        match self.any(name)? {
            Data::Vector(elements) => Ok(elements),
            other => Err(DataError::mismatch(Kind::Vector, other.kind()).in_field(name)),
        }
    }
}
