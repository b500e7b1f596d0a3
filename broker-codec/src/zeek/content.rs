use crate::data::{Data, DataError, DataErrorKind, Kind};

/// The version of Zeek's message format, the first element of each message (`zeek.hh`, `ProtocolVersion`).
pub(super) const PROTOCOL_VERSION: u64 = 1;

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
pub(super) fn open(message: Data) -> Result<(u64, Vec<Data>), DataError> {
    let Data::Vector(message) = message else {
        return Err(shape("a Zeek message is a list"));
    };
    let mut message = message.into_iter();
    if message.next() != Some(Data::Count(PROTOCOL_VERSION)) {
        return Err(shape("a Zeek message begins with version 1"));
    }
    match (message.next(), message.next()) {
        (Some(Data::Count(message_type)), Some(Data::Vector(content))) => Ok((message_type, content)),
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

/// An element of a content: its name, which is for errors, and its kind, if Broker wants a certain one.
pub(super) type Field = (&'static str, Option<Kind>);

/// Whether a content begins with these.
pub(super) fn check(content: &[Data], fields: &[Field]) -> Result<(), DataError> {
    for (index, (name, kind)) in fields.iter().enumerate() {
        let found = content.get(index).map(Data::kind);
        let found = found.ok_or_else(|| DataError::new(DataErrorKind::MissingField).in_field(name))?;
        if let Some(expected) = kind
            && *expected != found
        {
            return Err(DataError::mismatch(*expected, found).in_field(name));
        }
    }
    Ok(())
}
