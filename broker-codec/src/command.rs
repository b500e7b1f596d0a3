//! Commands between data stores (`internal_command.hh`).
//!
//! We keep no store of Broker's: a command is read to show it, or to know that it is one, and is then ignored. No
//! endpoint expects an answer from a peer that has no store.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Data, EndpointId,
    binary::{self, DecodeErrorKind},
    data::{EncodeError, Kind, Timespan},
};

/// A store's master or clone, or a publisher: an object of an endpoint (`entity_id.hh`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityId {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The object's number in its endpoint.
    pub object: u64,
}

impl EntityId {
    /// Nobody as a sender, everybody as a receiver.
    pub fn is_nil(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nil() {
            f.write_str("none")
        } else {
            write!(f, "{}@{}", self.object, self.endpoint)
        }
    }
}

/// The payload of a command message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Counts the commands of a channel.
    pub sequence: u64,
    /// Who sends it.
    pub sender: EntityId,
    /// Whom it is for; nil stands for everybody.
    pub receiver: EntityId,
    /// What is to be done.
    pub content: CommandContent,
}

/// What a command does. The variants are in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named as in internal_command.hh")]
pub enum CommandContent {
    /// Sets a key.
    Put {
        key: Data,
        value: Data,
        expiry: Option<Timespan>,
        publisher: EntityId,
    },
    /// Sets a key that must not exist.
    PutUnique {
        key: Data,
        value: Data,
        expiry: Option<Timespan>,
        who: EntityId,
        request: u64,
        publisher: EntityId,
    },
    /// Answers [`Self::PutUnique`].
    PutUniqueResult {
        inserted: bool,
        who: EntityId,
        request: u64,
        publisher: EntityId,
    },
    /// Removes a key.
    Erase { key: Data, publisher: EntityId },
    /// Removes a key whose time is over.
    Expire { key: Data, publisher: EntityId },
    /// Adds to a key's value; `init_type` is the tag of the value to begin with.
    Add {
        key: Data,
        value: Data,
        init_type: u8,
        expiry: Option<Timespan>,
        publisher: EntityId,
    },
    /// Subtracts from a key's value.
    Subtract {
        key: Data,
        value: Data,
        expiry: Option<Timespan>,
        publisher: EntityId,
    },
    /// Removes all keys.
    Clear { publisher: EntityId },
    /// Opens a channel; `interval` is a number of ticks.
    AttachWriter { offset: u64, interval: u16 },
    /// Says that the sender lives, and what it sent last.
    Keepalive { sequence: u64 },
    /// Confirms everything up to a command.
    CumulativeAck { sequence: u64 },
    /// Asks for commands again.
    Nack { sequences: Vec<u64> },
    /// Opens the channel to a clone with what the store holds.
    AckClone {
        offset: u64,
        interval: u16,
        state: Vec<(Data, Data)>,
    },
    /// Says that a command is not available any more.
    RetransmitFailed { sequence: u64 },
}

/// A payload is not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A field other than a value is malformed.
    #[error("malformed command: {kind} at byte {offset}")]
    Field {
        /// Where, in bytes from the start of the payload.
        offset: usize,
        /// What is wrong.
        kind: caf_bincode_compat::ErrorKind,
    },
    /// A value is malformed.
    #[error("malformed value in command: {kind} at byte {offset}")]
    Value {
        /// Where, in bytes from the start of the payload.
        offset: usize,
        /// What is wrong.
        kind: DecodeErrorKind,
    },
    /// There is no such command.
    #[error("unknown command {0} at byte 56")]
    UnknownCommand(u8),
    /// Something is behind the last field.
    #[error("command has {count} surplus bytes")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
}

impl Command {
    /// Reads the payload of an envelope.
    pub fn decode(payload: &[u8]) -> Result<Self, CommandError> {
        let mut reader = Reader {
            len: payload.len(),
            rest: payload,
        };
        let (sequence, sender, receiver) = reader.fields()?;
        let content = reader.content()?;
        match reader.rest.len() {
            0 => Ok(Self {
                sequence,
                sender,
                receiver,
                content,
            }),
            count => Err(CommandError::TrailingBytes { count }),
        }
    }

    /// The payload.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut writer = Writer(BytesMut::new());
        writer.fields(&(self.sequence, self.sender, self.receiver))?;
        writer.content(&self.content)?;
        Ok(writer.0.freeze())
    }
}

struct Reader<'a> {
    len: usize,
    rest: &'a [u8],
}

impl Reader<'_> {
    fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Fields that are no values, one after the other as a tuple.
    fn fields<T: DeserializeOwned>(&mut self) -> Result<T, CommandError> {
        let start = self.offset();
        let (fields, rest) =
            caf_bincode_compat::from_prefix(self.rest).map_err(|error| CommandError::Field {
                offset: start + error.offset(),
                kind: error.kind().clone(),
            })?;
        self.rest = rest;
        Ok(fields)
    }

    fn value(&mut self) -> Result<Data, CommandError> {
        let start = self.offset();
        let (value, rest) = binary::decode_prefix(self.rest).map_err(|error| CommandError::Value {
            offset: start + error.offset,
            kind: error.kind,
        })?;
        self.rest = rest;
        Ok(value)
    }

    fn expiry(&mut self) -> Result<Option<Timespan>, CommandError> {
        Ok(self.fields::<Option<i64>>()?.map(Timespan))
    }

    fn content(&mut self) -> Result<CommandContent, CommandError> {
        use CommandContent as C;

        Ok(match self.fields::<u8>()? {
            0 => C::Put {
                key: self.value()?,
                value: self.value()?,
                expiry: self.expiry()?,
                publisher: self.fields()?,
            },
            1 => C::PutUnique {
                key: self.value()?,
                value: self.value()?,
                expiry: self.expiry()?,
                who: self.fields()?,
                request: self.fields()?,
                publisher: self.fields()?,
            },
            2 => C::PutUniqueResult {
                inserted: self.fields()?,
                who: self.fields()?,
                request: self.fields()?,
                publisher: self.fields()?,
            },
            3 => C::Erase {
                key: self.value()?,
                publisher: self.fields()?,
            },
            4 => C::Expire {
                key: self.value()?,
                publisher: self.fields()?,
            },
            5 => C::Add {
                key: self.value()?,
                value: self.value()?,
                init_type: self.fields()?,
                expiry: self.expiry()?,
                publisher: self.fields()?,
            },
            6 => C::Subtract {
                key: self.value()?,
                value: self.value()?,
                expiry: self.expiry()?,
                publisher: self.fields()?,
            },
            7 => C::Clear {
                publisher: self.fields()?,
            },
            8 => C::AttachWriter {
                offset: self.fields()?,
                interval: self.fields()?,
            },
            9 => C::Keepalive {
                sequence: self.fields()?,
            },
            10 => C::CumulativeAck {
                sequence: self.fields()?,
            },
            11 => C::Nack {
                sequences: self.fields()?,
            },
            12 => C::AckClone {
                offset: self.fields()?,
                interval: self.fields()?,
                state: self.state()?,
            },
            13 => C::RetransmitFailed {
                sequence: self.fields()?,
            },
            unknown => return Err(CommandError::UnknownCommand(unknown)),
        })
    }

    fn state(&mut self) -> Result<Vec<(Data, Data)>, CommandError> {
        let offset = self.offset();
        let (count, rest) = caf_bincode_compat::varbyte::decode(self.rest)
            .map_err(|kind| CommandError::Field { offset, kind })?;
        self.rest = rest;
        let mut state = Vec::new();
        // The input ends before a count that is too large does.
        for _ in 0..count {
            state.push((self.value()?, self.value()?));
        }
        Ok(state)
    }
}

struct Writer(BytesMut);

impl Writer {
    fn fields<T: Serialize>(&mut self, fields: &T) -> Result<(), EncodeError> {
        // The format has no form for lengths beyond 32 bits, and none of the fields has anything else unusual.
        caf_bincode_compat::append(fields, &mut self.0).map_err(|_| too_long(usize::MAX))
    }

    fn values<const N: usize>(&mut self, values: [&Data; N]) -> Result<(), EncodeError> {
        values
            .into_iter()
            .try_for_each(|value| binary::encode(value, &mut self.0))
    }

    fn content(&mut self, content: &CommandContent) -> Result<(), EncodeError> {
        use CommandContent as C;

        let nanoseconds = |expiry: &Option<Timespan>| expiry.map(|expiry| expiry.0);
        self.0.put_u8(content.index());
        match content {
            C::Put {
                key,
                value,
                expiry,
                publisher,
            }
            | C::Subtract {
                key,
                value,
                expiry,
                publisher,
            } => {
                self.values([key, value])?;
                self.fields(&(nanoseconds(expiry), publisher))
            }
            C::PutUnique {
                key,
                value,
                expiry,
                who,
                request,
                publisher,
            } => {
                self.values([key, value])?;
                self.fields(&(nanoseconds(expiry), who, request, publisher))
            }
            C::PutUniqueResult {
                inserted,
                who,
                request,
                publisher,
            } => self.fields(&(inserted, who, request, publisher)),
            C::Erase { key, publisher } | C::Expire { key, publisher } => {
                self.values([key])?;
                self.fields(publisher)
            }
            C::Add {
                key,
                value,
                init_type,
                expiry,
                publisher,
            } => {
                self.values([key, value])?;
                self.fields(&(init_type, nanoseconds(expiry), publisher))
            }
            C::Clear { publisher } => self.fields(publisher),
            C::AttachWriter { offset, interval } => self.fields(&(offset, interval)),
            C::Keepalive { sequence } | C::CumulativeAck { sequence } | C::RetransmitFailed { sequence } => {
                self.fields(sequence)
            }
            C::Nack { sequences } => self.fields(sequences),
            C::AckClone {
                offset,
                interval,
                state,
            } => {
                self.fields(&(offset, interval))?;
                let count = u32::try_from(state.len()).map_err(|_| too_long(state.len()))?;
                caf_bincode_compat::varbyte::encode(count, &mut self.0);
                state
                    .iter()
                    .try_for_each(|(key, value)| self.values([key, value]))
            }
        }
    }
}

fn too_long(length: usize) -> EncodeError {
    EncodeError::TooLong {
        kind: Kind::Vector,
        length,
    }
}

impl CommandContent {
    const fn index(&self) -> u8 {
        match self {
            Self::Put { .. } => 0,
            Self::PutUnique { .. } => 1,
            Self::PutUniqueResult { .. } => 2,
            Self::Erase { .. } => 3,
            Self::Expire { .. } => 4,
            Self::Add { .. } => 5,
            Self::Subtract { .. } => 6,
            Self::Clear { .. } => 7,
            Self::AttachWriter { .. } => 8,
            Self::Keepalive { .. } => 9,
            Self::CumulativeAck { .. } => 10,
            Self::Nack { .. } => 11,
            Self::AckClone { .. } => 12,
            Self::RetransmitFailed { .. } => 13,
        }
    }
}

/// As Broker prints it, without the namespace.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "internal_command({}, {}, {}, {})",
            self.sequence, self.sender, self.receiver, self.content
        )
    }
}

impl fmt::Display for CommandContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expiry = |expiry: &Option<Timespan>| match expiry {
            Some(expiry) => format!("*{}ns", expiry.0),
            None => "null".to_owned(),
        };
        match self {
            Self::Put {
                key,
                value,
                expiry: after,
                publisher,
            } => write!(f, "put({key}, {value}, {}, {publisher})", expiry(after)),
            Self::PutUnique {
                key,
                value,
                expiry: after,
                who,
                request,
                publisher,
            } => write!(
                f,
                "put_unique({key}, {value}, {}, {who}, {request}, {publisher})",
                expiry(after)
            ),
            Self::PutUniqueResult {
                inserted,
                who,
                request,
                publisher,
            } => write!(f, "put_unique_result({inserted}, {who}, {request}, {publisher})"),
            Self::Erase { key, publisher } => write!(f, "erase({key}, {publisher})"),
            Self::Expire { key, publisher } => write!(f, "expire({key}, {publisher})"),
            Self::Add {
                key,
                value,
                init_type,
                expiry: after,
                publisher,
            } => write!(
                f,
                "add({key}, {value}, {init_type}, {}, {publisher})",
                expiry(after)
            ),
            Self::Subtract {
                key,
                value,
                expiry: after,
                publisher,
            } => write!(f, "subtract({key}, {value}, {}, {publisher})", expiry(after)),
            Self::Clear { publisher } => write!(f, "clear({publisher})"),
            Self::AttachWriter { offset, interval } => write!(f, "attach_writer({offset}, {interval})"),
            Self::Keepalive { sequence } => write!(f, "keepalive({sequence})"),
            Self::CumulativeAck { sequence } => write!(f, "cumulative_ack({sequence})"),
            Self::Nack { sequences } => write!(f, "nack({sequences:?})"),
            Self::AckClone {
                offset,
                interval,
                state,
            } => {
                write!(f, "ack_clone({offset}, {interval}, {{")?;
                for (index, (key, value)) in state.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{key} -> {value}")?;
                }
                f.write_str("})")
            }
            Self::RetransmitFailed { sequence } => write!(f, "retransmit_failed({sequence})"),
        }
    }
}

#[cfg(test)]
mod tests;
