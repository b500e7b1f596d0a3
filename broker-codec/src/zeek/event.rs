use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::data::{self, Data, DataError, Kind, ZeekString};

use super::content::{Field, check, close, message_type, open, shape};

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
            name,
            args,
            metadata: None,
        })
    }

    /// The variant of an event enum for this event, read as by [`from_data`](crate::data::from_data).
    ///
    /// The number of arguments must match exactly, as in Zeek (`src/broker/Manager.cc`, `ProcessMessage`); an unknown
    /// name is [`DataErrorKind::UnknownEvent`](crate::data::DataErrorKind::UnknownEvent).
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, DataError> {
        data::from_event(&self.name, self.args)
    }

    /// As Zeek 9.0 sends it on native links: with an empty list of metadata.
    #[must_use]
    pub fn native(self) -> Self {
        let metadata = Some(Vec::new());
        Self { metadata, ..self }
    }

    /// The value that travels.
    pub fn to_data(&self) -> Data {
        self.clone().into_data()
    }

    /// The value that travels, without copying the arguments.
    pub fn into_data(self) -> Data {
        let metadata = self.metadata_data();
        let mut content = vec![Data::String(self.name), Data::Vector(self.args)];
        content.extend(metadata);
        close(message_type::EVENT, content)
    }

    /// The list of metadata that travels, if there is one.
    pub(super) fn metadata_data(&self) -> Option<Data> {
        let pair = |(id, value): &(u64, Data)| Data::Vector(vec![Data::Count(*id), value.clone()]);
        let metadata = self.metadata.as_ref()?;
        Some(Data::Vector(metadata.iter().map(pair).collect()))
    }

    /// Reads the value that travels; an error names what is not event-shaped.
    pub fn from_data(data: Data) -> Result<Self, DataError> {
        match open(data)? {
            (message_type::EVENT, content) => Self::from_content(content),
            _ => Err(shape("not an event message")),
        }
    }

    pub(super) fn from_content(content: Vec<Data>) -> Result<Self, DataError> {
        check(&content, &FIELDS)?;
        let mut content = content.into_iter();
        let (Some(Data::String(name)), Some(Data::Vector(args))) = (content.next(), content.next()) else {
            return Err(shape("an event is a name and arguments"));
        };
        let metadata = match content.next() {
            None => None,
            Some(Data::Vector(metadata)) => Some(entries(metadata)?),
            Some(other) => return Err(DataError::mismatch(Kind::Vector, other.kind()).in_field(METADATA)),
        };
        Ok(Self { name, args, metadata })
    }
}

const FIELDS: [Field; 2] = [("name", Some(Kind::String)), ("args", Some(Kind::Vector))];
const METADATA: &str = "metadata";

fn entries(metadata: Vec<Data>) -> Result<Vec<(u64, Data)>, DataError> {
    metadata
        .into_iter()
        .enumerate()
        .map(|(index, data)| entry(data).map_err(|error| error.in_element(index).in_field(METADATA)))
        .collect()
}

fn entry(data: Data) -> Result<(u64, Data), DataError> {
    let malformed = shape("each entry is a list of id and value");
    let Data::Vector(entry) = data else {
        return Err(malformed);
    };
    match <[Data; 2]>::try_from(entry) {
        Ok([Data::Count(NETWORK_TIMESTAMP), value]) if value.kind() != Kind::Timestamp => {
            Err(DataError::mismatch(Kind::Timestamp, value.kind()))
        }
        Ok([Data::Count(id), value]) => Ok((id, value)),
        _ => Err(malformed),
    }
}
