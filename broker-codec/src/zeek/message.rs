use crate::data::{Data, DataError, DataErrorKind, EnumValue, ZeekString};

use super::{
    content::{Content, close, message_type, open},
    event::Event,
};

/// Any message of Zeek.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// An event.
    Event(Event),
    /// A log stream is there to be written to.
    LogCreate(LogCreate),
    /// Records for a log stream.
    LogWrite(LogWrite),
    /// A new value of a global variable.
    IdentifierUpdate(IdentifierUpdate),
    /// Several messages, which may be batches again. Zeek sends log records this way.
    Batch(Vec<Self>),
}

/// A log stream is there to be written to. A Zeek node sends one to each new peer for every stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCreate {
    /// The stream, as `Conn::LOG`.
    pub stream: EnumValue,
    /// The writer, as `Log::WRITER_ASCII`.
    pub writer: EnumValue,
    /// Path, rotation and configuration of the writer. Zeek reads six elements without looking whether they are there.
    pub writer_info: Vec<Data>,
    /// The fields of the records.
    pub fields: Vec<Data>,
}

/// Records for a log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogWrite {
    /// The stream, as `Conn::LOG`.
    pub stream: EnumValue,
    /// The writer, as `Log::WRITER_ASCII`.
    pub writer: EnumValue,
    /// The log's path, as `conn`.
    pub path: ZeekString,
    /// The records in a format of Zeek's own.
    pub serialized: ZeekString,
}

/// A new value of a global variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifierUpdate {
    /// The fully qualified name.
    pub name: ZeekString,
    /// The value.
    pub value: Data,
}

impl Message {
    /// Reads the value that travels; an error names what is not shaped as Zeek's messages are. One bad message makes the
    /// whole batch bad.
    pub fn from_data(data: Data) -> Result<Self, DataError> {
        let (message_type, content) = open(data)?;
        match message_type {
            message_type::EVENT => Event::from_content(content).map(Self::Event),
            message_type::LOG_CREATE => LogCreate::from_content(content).map(Self::LogCreate),
            message_type::LOG_WRITE => LogWrite::from_content(content).map(Self::LogWrite),
            message_type::IDENTIFIER_UPDATE => {
                IdentifierUpdate::from_content(content).map(Self::IdentifierUpdate)
            }
            message_type::BATCH => content
                .0
                .enumerate()
                .map(|(index, message)| Self::from_data(message).map_err(|error| error.in_element(index)))
                .collect::<Result<_, _>>()
                .map(Self::Batch),
            other => Err(DataError::new(DataErrorKind::UnknownMessageType(other))),
        }
    }

    /// The value that travels.
    pub fn into_data(self) -> Data {
        match self {
            Self::Event(event) => event.into_data(),
            Self::LogCreate(log) => close(
                message_type::LOG_CREATE,
                vec![
                    Data::EnumValue(log.stream),
                    Data::EnumValue(log.writer),
                    Data::Vector(log.writer_info),
                    Data::Vector(log.fields),
                ],
            ),
            Self::LogWrite(log) => close(
                message_type::LOG_WRITE,
                vec![
                    Data::EnumValue(log.stream),
                    Data::EnumValue(log.writer),
                    Data::String(log.path),
                    Data::String(log.serialized),
                ],
            ),
            Self::IdentifierUpdate(update) => close(
                message_type::IDENTIFIER_UPDATE,
                vec![Data::String(update.name), update.value],
            ),
            Self::Batch(messages) => close(
                message_type::BATCH,
                messages.into_iter().map(Self::into_data).collect(),
            ),
        }
    }
}

impl LogCreate {
    fn from_content(mut content: Content) -> Result<Self, DataError> {
        Ok(Self {
            stream: content.enum_value("stream")?,
            writer: content.enum_value("writer")?,
            writer_info: content.vector("writer_info")?,
            fields: content.vector("fields")?,
        })
    }
}

impl LogWrite {
    fn from_content(mut content: Content) -> Result<Self, DataError> {
        Ok(Self {
            stream: content.enum_value("stream")?,
            writer: content.enum_value("writer")?,
            path: content.string("path")?,
            serialized: content.string("serialized")?,
        })
    }
}

impl IdentifierUpdate {
    fn from_content(mut content: Content) -> Result<Self, DataError> {
        Ok(Self {
            name: content.string("name")?,
            value: content.any("value")?,
        })
    }
}
