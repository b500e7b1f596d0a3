//! Zeek's messages, which travel as the payload of Broker's data messages (`zeek.hh`).

use serde::{Deserialize, Serialize};

use crate::{
    Data,
    data::{self, DataError, DataErrorKind, Kind, ZeekString},
};

/// The version of Zeek's message format, the first element of each message (`zeek.hh`, `ProtocolVersion`).
pub const PROTOCOL_VERSION: u64 = 1;

/// The second element of an event (`zeek.hh`, `Message::Type`).
const EVENT: u64 = 1;

/// The id of the metadata that holds the time of an event (`zeek.hh`, `MetadataType::NetworkTimestamp`).
pub const NETWORK_TIMESTAMP: u64 = 1;

/// A Zeek event: `[1, 1, [name, args]]` or `[1, 1, [name, args, metadata]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The fully qualified name.
    pub name: ZeekString,
    /// The arguments in the order of the declaration.
    pub args: Vec<Data>,
    /// Ids and values, `None` where the third element is absent. Zeek 9.0 sends an empty list on native links and leaves
    /// it out towards WebSocket clients; Zeek 6.0 to 7.2 send a [`NETWORK_TIMESTAMP`].
    pub metadata: Option<Vec<(u64, Data)>>,
}

impl Event {
    /// The event that a variant of an event enum stands for: the variant's serde name is the event's name, its fields
    /// are the arguments. Without metadata.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, DataError> {
        let (name, args) = data::to_event(value)?;
        Ok(Self {
            name: name.into(),
            args,
            metadata: None,
        })
    }

    /// The variant of an event enum for this event.
    ///
    /// The number of arguments must match exactly, as in Zeek (`src/broker/Manager.cc`, `ProcessMessage`); an unknown
    /// name is [`DataErrorKind::UnknownEvent`].
    pub fn parse<'de, T: Deserialize<'de>>(&'de self) -> Result<T, DataError> {
        data::from_event(&self.name, self.args.as_slice().into())
    }

    /// The value that travels.
    pub fn to_data(&self) -> Data {
        self.clone().into_data()
    }

    /// The value that travels, without copying the arguments.
    pub fn into_data(self) -> Data {
        let mut content = Vec::with_capacity(3);
        content.push(Data::String(self.name));
        content.push(Data::Vector(self.args));
        if let Some(metadata) = self.metadata {
            let pair = |(id, value)| Data::Vector(vec![Data::Count(id), value]);
            content.push(Data::Vector(metadata.into_iter().map(pair).collect()));
        }
        Data::Vector(vec![
            Data::Count(PROTOCOL_VERSION),
            Data::Count(EVENT),
            Data::Vector(content),
        ])
    }

    /// Reads the value that travels; an error names what is not event-shaped.
    ///
    /// Checked is what Broker checks (`zeek.cc`, `Message::validate_outer_fields`, `Event::validate_event_fields`);
    /// surplus elements are ignored as there.
    pub fn from_data(data: Data) -> Result<Self, DataError> {
        let content = content_of(data, EVENT)?;
        let mut content = content.into_iter();
        let (Some(name), Some(args)) = (content.next(), content.next()) else {
            return Err(shape("an event needs a name and arguments"));
        };
        let Data::String(name) = name else {
            return Err(DataError::mismatch(Kind::String, name.kind()).in_field("event name"));
        };
        let Data::Vector(args) = args else {
            return Err(DataError::mismatch(Kind::Vector, args.kind()).in_field("event arguments"));
        };
        let metadata = content.next().map(metadata_of).transpose()?;
        Ok(Self { name, args, metadata })
    }
}

fn shape(what: &'static str) -> DataError {
    DataError::new(DataErrorKind::Shape(what))
}

/// The third element of a message of a certain type.
fn content_of(message: Data, message_type: u64) -> Result<Vec<Data>, DataError> {
    let Data::Vector(message) = message else {
        return Err(shape("a Zeek message is a list"));
    };
    let mut message = message.into_iter();
    if message.next() != Some(Data::Count(PROTOCOL_VERSION)) {
        return Err(shape("not version 1 of Zeek's message format"));
    }
    if message.next() != Some(Data::Count(message_type)) {
        return Err(shape("not an event message"));
    }
    match message.next() {
        Some(Data::Vector(content)) => Ok(content),
        _ => Err(shape("a Zeek message has a list of contents")),
    }
}

fn metadata_of(metadata: Data) -> Result<Vec<(u64, Data)>, DataError> {
    let Data::Vector(metadata) = metadata else {
        return Err(DataError::mismatch(Kind::Vector, metadata.kind()).in_field("metadata"));
    };
    metadata
        .into_iter()
        .map(|entry| {
            let Data::Vector(entry) = entry else {
                return Err(shape("an entry of the metadata is a list of id and value"));
            };
            match <[Data; 2]>::try_from(entry) {
                Ok([Data::Count(NETWORK_TIMESTAMP), value]) if value.kind() != Kind::Timestamp => {
                    Err(DataError::mismatch(Kind::Timestamp, value.kind()).in_field("metadata"))
                }
                Ok([Data::Count(id), value]) => Ok((id, value)),
                _ => Err(shape("an entry of the metadata is a list of id and value")),
            }
        })
        .collect()
}
