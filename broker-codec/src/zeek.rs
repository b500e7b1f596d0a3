//! Zeek's messages, which travel as the payload of Broker's data messages (`zeek.hh`).

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Data,
    data::{DataError, ZeekString},
};

/// A Zeek event: `[1, 1, [name, args]]` or `[1, 1, [name, args, metadata]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The fully qualified name.
    pub name: ZeekString,
    /// The arguments in the order of the declaration.
    pub args: Vec<Data>,
    /// `None` where the third element is absent. Zeek 9.0 sends an empty list on native links
    /// and leaves it out towards WebSocket clients.
    pub metadata: Option<Vec<Data>>,
}

impl Event {
    /// The event that a variant of an event enum stands for: the variant's serde name is the event's name, its fields
    /// are the arguments. Without metadata.
    pub fn of<T: Serialize>(_value: &T) -> Result<Self, DataError> {
        todo!("serde bridge")
    }

    /// The variant of an event enum for this event. The number of arguments must match exactly, as in Zeek.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        todo!("serde bridge")
    }

    /// The value that travels.
    pub fn to_data(&self) -> Data {
        todo!("event to value")
    }

    /// Reads the value that travels; an error names what is not event-shaped.
    pub fn from_data(_data: Data) -> Result<Self, DataError> {
        todo!("value to event")
    }
}
