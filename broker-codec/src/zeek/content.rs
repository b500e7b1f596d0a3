use std::vec;

use crate::data::{Data, DataError, DataErrorKind, EnumValue, Kind, ZeekString};

/// The version of Zeek's message format, the first element of each message (`zeek.hh`, `ProtocolVersion`).
pub const PROTOCOL_VERSION: u64 = 1;

/// The types of messages, the second element of each (`zeek.hh`, `Message::Type`).
pub mod message_type {
    /// An event.
    pub const EVENT: u64 = 1;
    /// A log stream is there.
    pub const LOG_CREATE: u64 = 2;
    /// A line of a log.
    pub const LOG_WRITE: u64 = 3;
    /// A global variable has another value.
    pub const IDENTIFIER_UPDATE: u64 = 4;
    /// Several messages.
    pub const BATCH: u64 = 5;
}

pub(super) const fn shape(what: &'static str) -> DataError {
    DataError::new(DataErrorKind::Shape(what))
}

/// The type and the content of a message.
pub(super) fn open(message: Data) -> Result<(u64, Content), DataError> {
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
pub(super) fn close(message_type: u64, content: Vec<Data>) -> Data {
    Data::Vector(vec![
        Data::Count(PROTOCOL_VERSION),
        Data::Count(message_type),
        Data::Vector(content),
    ])
}

/// What is left of the content of a message. The names are for errors.
pub(super) struct Content(pub(super) vec::IntoIter<Data>);

impl Content {
    pub(super) fn any(&mut self, name: &str) -> Result<Data, DataError> {
        self.0
            .next()
            .ok_or_else(|| DataError::new(DataErrorKind::MissingField).in_field(name))
    }

    pub(super) fn string(&mut self, name: &str) -> Result<ZeekString, DataError> {
        match self.any(name)? {
            Data::String(string) => Ok(string),
            other => Err(DataError::mismatch(Kind::String, other.kind()).in_field(name)),
        }
    }

    pub(super) fn enum_value(&mut self, name: &str) -> Result<EnumValue, DataError> {
        match self.any(name)? {
            Data::EnumValue(value) => Ok(value),
            other => Err(DataError::mismatch(Kind::EnumValue, other.kind()).in_field(name)),
        }
    }

    pub(super) fn vector(&mut self, name: &str) -> Result<Vec<Data>, DataError> {
        match self.any(name)? {
            Data::Vector(elements) => Ok(elements),
            other => Err(DataError::mismatch(Kind::Vector, other.kind()).in_field(name)),
        }
    }
}
