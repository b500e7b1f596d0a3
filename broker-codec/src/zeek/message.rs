use crate::data::{Data, DataError, DataErrorKind, Kind};

use super::{
    content::{Field, check, close, message_type, open},
    event::Event,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An event.
    Event(Event),
    /// Several messages, which may be batches again. Zeek sends log records this way.
    Batch(Vec<Self>),
    /// About a log or a global variable: of use to Zeek's nodes only, and as it came.
    Other {
        /// One of the other [`message_type`]s.
        message_type: u64,
        /// What Zeek looks at.
        content: Vec<Data>,
    },
}

/// What the content of the other types of messages consists of. The records of a log are a string in a format of Zeek's own; of
/// what a writer is, Zeek reads six elements without looking whether they are there.
fn fields(message_type: u64) -> Option<&'static [Field]> {
    match message_type {
        message_type::LOG_CREATE => Some(&[
            ("stream", Some(Kind::EnumValue)),
            ("writer", Some(Kind::EnumValue)),
            ("writer_info", Some(Kind::Vector)),
            ("fields", Some(Kind::Vector)),
        ]),
        message_type::LOG_WRITE => Some(&[
            ("stream", Some(Kind::EnumValue)),
            ("writer", Some(Kind::EnumValue)),
            ("path", Some(Kind::String)),
            ("serialized", Some(Kind::String)),
        ]),
        message_type::IDENTIFIER_UPDATE => Some(&[("name", Some(Kind::String)), ("value", None)]),
        _ => None,
    }
}

impl Message {
    /// Reads the value that travels; an error names what is not shaped as Zeek's messages are. One bad message makes the
    /// whole batch bad.
    pub fn from_data(data: Data) -> Result<Self, DataError> {
        let (message_type, mut content) = open(data)?;
        match message_type {
            message_type::EVENT => Event::from_content(content).map(Self::Event),
            message_type::BATCH => content
                .into_iter()
                .enumerate()
                .map(|(index, message)| Self::from_data(message).map_err(|error| error.in_element(index)))
                .collect::<Result<_, _>>()
                .map(Self::Batch),
            _ => {
                let fields = fields(message_type)
                    .ok_or(DataError::new(DataErrorKind::UnknownMessageType(message_type)))?;
                check(&content, fields)?;
                content.truncate(fields.len());
                Ok(Self::Other {
                    message_type,
                    content,
                })
            }
        }
    }

    /// The value that travels.
    pub fn into_data(self) -> Data {
        match self {
            Self::Event(event) => event.into_data(),
            Self::Batch(messages) => close(
                message_type::BATCH,
                messages.into_iter().map(Self::into_data).collect(),
            ),
            Self::Other {
                message_type,
                content,
            } => close(message_type, content),
        }
    }
}
