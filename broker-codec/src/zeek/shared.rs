use bytes::{Bytes, BytesMut};

use crate::{
    binary::{EncodeError, begin, encode, encode_within},
    data::{Data, Kind},
    envelope::Payload,
};

use super::{
    Event,
    content::{PROTOCOL_VERSION, message_type},
};

/// How deep in a message the arguments of its event are.
const ARGUMENTS_DEPTH: usize = 3;

/// An event that several receivers get, each with a first argument of its own, as the id of a request is: the rest is encoded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedEvent {
    before: Bytes,
    after: Bytes,
}

/// The end of events that several receivers get: of a text, their last argument, and an empty list of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedEnd {
    /// How much of it is of the text.
    text_len: usize,
    bytes: Bytes,
}

impl SharedEvent {
    /// Of an event, whatever its first argument.
    ///
    /// # Errors
    ///
    /// If a value cannot be encoded.
    pub fn new(event: &Event) -> Result<Self, EncodeError> {
        let mut after = BytesMut::new();
        for argument in event.args.iter().skip(1) {
            encode_within(argument, ARGUMENTS_DEPTH, &mut after)?;
        }
        if let Some(metadata) = event.metadata_data() {
            encode_within(&metadata, ARGUMENTS_DEPTH - 1, &mut after)?;
        }
        Ok(Self {
            before: beginning(event, event.args.len().max(1))?.freeze(),
            after: after.freeze(),
        })
    }

    /// The event with this as its first argument.
    ///
    /// # Errors
    ///
    /// If the argument cannot be encoded.
    pub fn with(&self, first: &Data) -> Result<Payload, EncodeError> {
        let mut own = BytesMut::from(&self.before[..]);
        encode_within(first, ARGUMENTS_DEPTH, &mut own)?;
        Ok(Payload {
            own: own.freeze(),
            shared: self.after.clone(),
        })
    }
}

impl SharedEnd {
    /// With this end of the text.
    ///
    /// # Errors
    ///
    /// If that is longer than a text can be.
    pub fn new(text: &[u8]) -> Result<Self, EncodeError> {
        let mut bytes = BytesMut::from(text);
        begin(Kind::Vector, 0, &mut bytes)?;
        Ok(Self {
            text_len: text.len(),
            bytes: bytes.freeze(),
        })
    }

    /// An event that ends so, of which this has all other arguments; and the beginning of the text.
    ///
    /// # Errors
    ///
    /// If an argument cannot be encoded.
    pub fn after(&self, event: Event, text: &[u8]) -> Result<Payload, EncodeError> {
        let event = event.native();
        let mut own = beginning(&event, event.args.len() + 1)?;
        for argument in &event.args {
            encode_within(argument, ARGUMENTS_DEPTH, &mut own)?;
        }
        begin(Kind::String, text.len().saturating_add(self.text_len), &mut own)?;
        own.extend_from_slice(text);
        Ok(Payload {
            own: own.freeze(),
            shared: self.bytes.clone(),
        })
    }
}

/// The bytes of an event before its arguments, of which there are so many.
fn beginning(event: &Event, args: usize) -> Result<BytesMut, EncodeError> {
    let mut bytes = BytesMut::new();
    begin(Kind::Vector, 3, &mut bytes)?;
    encode(&Data::Count(PROTOCOL_VERSION), &mut bytes)?;
    encode(&Data::Count(message_type::EVENT), &mut bytes)?;
    begin(
        Kind::Vector,
        2 + usize::from(event.metadata.is_some()),
        &mut bytes,
    )?;
    encode(&Data::String(event.name.clone()), &mut bytes)?;
    begin(Kind::Vector, args, &mut bytes)?;
    Ok(bytes)
}
