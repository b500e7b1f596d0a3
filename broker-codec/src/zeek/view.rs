use crate::binary::Cursor;

use super::content::{PROTOCOL_VERSION, message_type};

/// What the first bytes of a payload say, without decoding the rest.
///
/// For routing and counting: the payload may turn out to be malformed behind what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageView<'a> {
    message_type: u64,
    event_name: Option<&'a [u8]>,
}

impl<'a> MessageView<'a> {
    /// `None` if the payload does not begin as a message of Zeek does.
    pub fn new(payload: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        if cursor.vector()? < 3 || cursor.count()? != PROTOCOL_VERSION {
            return None;
        }
        let message_type = cursor.count()?;
        let content = cursor.vector()?;
        let event_name = match message_type {
            message_type::EVENT if content >= 2 => Some(cursor.string()?),
            message_type::EVENT => return None,
            _ => None,
        };
        Some(Self {
            message_type,
            event_name,
        })
    }

    /// The number of the type of message (`zeek.hh`, `Message::Type`).
    pub const fn message_type(&self) -> u64 {
        self.message_type
    }

    /// The fully qualified name, if it is an event.
    pub const fn event_name(&self) -> Option<&'a [u8]> {
        self.event_name
    }
}
