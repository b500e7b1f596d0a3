//! Commands between data stores (`internal_command.hh`), as text. This project keeps no store of Broker's, so nothing else reads them.

use std::fmt::Write;

use broker_codec::{
    EndpointId,
    binary::{self, DecodeErrorKind},
};
use caf_bincode_compat::{ErrorKind, from_prefix, varbyte};
use serde::de::DeserializeOwned;

/// What a field of a command is.
#[derive(Clone, Copy)]
enum Field {
    Value,
    Number,
    /// A number of ticks.
    Interval,
    Tag,
    Flag,
    /// Nanoseconds, or none.
    Expiry,
    /// A store's master or clone, or a publisher (`entity_id.hh`).
    Entity,
    Numbers,
    /// What a store holds.
    State,
}

use Field::{Entity, Expiry, Flag, Interval, Number, Numbers, State, Tag, Value};

/// Name and fields of each command, by its number.
const COMMANDS: [(&str, &[Field]); 14] = [
    ("put", &[Value, Value, Expiry, Entity]),
    ("put_unique", &[Value, Value, Expiry, Entity, Number, Entity]),
    ("put_unique_result", &[Flag, Entity, Number, Entity]),
    ("erase", &[Value, Entity]),
    ("expire", &[Value, Entity]),
    ("add", &[Value, Value, Tag, Expiry, Entity]),
    ("subtract", &[Value, Value, Expiry, Entity]),
    ("clear", &[Entity]),
    ("attach_writer", &[Number, Interval]),
    ("keepalive", &[Number]),
    ("cumulative_ack", &[Number]),
    ("nack", &[Numbers]),
    ("ack_clone", &[Number, Interval, State]),
    ("retransmit_failed", &[Number]),
];

/// A payload is not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A field other than a value is malformed.
    #[error("malformed command: {kind} at byte {offset}")]
    Field {
        /// Where, in bytes from the start of the payload.
        offset: usize,
        kind: ErrorKind,
    },
    #[error("malformed value in command: {kind} at byte {offset}")]
    Value {
        /// Where, in bytes from the start of the payload.
        offset: usize,
        kind: DecodeErrorKind,
    },
    /// There is no such command.
    #[error("unknown command {0} at byte 56")]
    UnknownCommand(u8),
    /// Something follows the last field.
    #[error("command has {count} surplus bytes")]
    TrailingBytes { count: usize },
}

/// The payload of a command message as Broker prints it, without the namespace.
pub fn shown(payload: &[u8]) -> Result<String, CommandError> {
    let mut reader = Reader {
        len: payload.len(),
        rest: payload,
    };
    let sequence = reader.field::<u64>()?;
    let (sender, receiver) = (reader.shown(Entity)?, reader.shown(Entity)?);
    let number = reader.field::<u8>()?;
    let command = COMMANDS.get(usize::from(number));
    let (name, fields) = command.ok_or(CommandError::UnknownCommand(number))?;
    let fields = fields.iter().map(|field| reader.shown(*field));
    let fields = fields.collect::<Result<Vec<_>, _>>()?.join(", ");
    match reader.rest.len() {
        0 => Ok(format!(
            "internal_command({sequence}, {sender}, {receiver}, {name}({fields}))"
        )),
        count => Err(CommandError::TrailingBytes { count }),
    }
}

struct Reader<'a> {
    len: usize,
    rest: &'a [u8],
}

impl Reader<'_> {
    const fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    fn field<T: DeserializeOwned>(&mut self) -> Result<T, CommandError> {
        let offset = self.offset();
        let (field, rest) = from_prefix(self.rest).map_err(|error| CommandError::Field {
            offset: offset + error.offset(),
            kind: error.kind().clone(),
        })?;
        self.rest = rest;
        Ok(field)
    }

    fn shown(&mut self, field: Field) -> Result<String, CommandError> {
        Ok(match field {
            Value => self.value()?,
            Number => self.field::<u64>()?.to_string(),
            Interval => self.field::<u16>()?.to_string(),
            Tag => self.field::<u8>()?.to_string(),
            Flag => self.field::<bool>()?.to_string(),
            Expiry => match self.field::<Option<i64>>()? {
                Some(expiry) => format!("*{expiry}ns"),
                None => "null".to_owned(),
            },
            Entity => match self.field::<(EndpointId, u64)>()? {
                (endpoint, 0) if endpoint == EndpointId::default() => "none".to_owned(),
                (endpoint, object) => format!("{object}@{endpoint}"),
            },
            Numbers => format!("{:?}", self.field::<Vec<u64>>()?),
            State => self.state()?,
        })
    }

    fn value(&mut self) -> Result<String, CommandError> {
        let start = self.offset();
        let (value, rest) = binary::decode_prefix(self.rest).map_err(|error| CommandError::Value {
            offset: start + error.offset,
            kind: error.kind,
        })?;
        self.rest = rest;
        Ok(value.to_string())
    }

    fn state(&mut self) -> Result<String, CommandError> {
        let offset = self.offset();
        let (count, rest) =
            varbyte::decode(self.rest).map_err(|kind| CommandError::Field { offset, kind })?;
        self.rest = rest;
        let mut state = String::from("{");
        // The input ends before a count that is too large does.
        for index in 0..count {
            let comma = if index == 0 { "" } else { ", " };
            let (key, value) = (self.value()?, self.value()?);
            // Writing to a string cannot fail.
            let _ = write!(state, "{comma}{key} -> {value}");
        }
        state.push('}');
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let publisher = format!("{}{:016x}", "11".repeat(16), 3);
        hex::decode(hex.replace('P', &publisher).replace(' ', "")).unwrap()
    }

    fn payload(index: u8, content: &str) -> Vec<u8> {
        bytes(&format!(
            "0000000000000005 P {} {index:02x} {content}",
            "00".repeat(24)
        ))
    }

    /// Bytes behind the number, and how it is printed. `P` is the publisher.
    const CONTENT: [(&str, &str); 14] = [
        (
            "020000000000000001 0101 01 00004e94914f0000 P",
            "put(1, T, *86400000000000ns, P)",
        ),
        (
            "020000000000000001 0101 00 P 0000000000000007 P",
            "put_unique(1, T, null, P, 7, P)",
        ),
        ("01 P 0000000000000007 P", "put_unique_result(true, P, 7, P)"),
        ("020000000000000001 P", "erase(1, P)"),
        ("020000000000000001 P", "expire(1, P)"),
        ("020000000000000001 0101 0c 00 P", "add(1, T, 12, null, P)"),
        ("020000000000000001 0101 00 P", "subtract(1, T, null, P)"),
        ("P", "clear(P)"),
        ("0000000000000001 0005", "attach_writer(1, 5)"),
        ("0000000000000001", "keepalive(1)"),
        ("0000000000000001", "cumulative_ack(1)"),
        ("02 0000000000000001 0000000000000002", "nack([1, 2])"),
        (
            "0000000000000001 0005 01 020000000000000001 0101",
            "ack_clone(1, 5, {1 -> T})",
        ),
        ("0000000000000001", "retransmit_failed(1)"),
    ];

    #[test]
    fn each_command_is_shown_and_nothing_shorter() {
        for (index, (hex, text)) in (0..).zip(CONTENT) {
            let payload = payload(index, hex);
            let command = format!("internal_command(5, P, none, {text})");
            let publisher = "3@11111111-1111-1111-1111-111111111111";
            assert_eq!(shown(&payload), Ok(command.replace('P', publisher)));
            for len in 0..payload.len() {
                assert!(shown(&payload[..len]).is_err(), "{text}: {len} bytes are enough");
            }
        }
    }

    #[test]
    fn errors_tell_what_and_where() {
        for (payload, error) in [
            (payload(14, ""), "unknown command 14 at byte 56"),
            (
                payload(9, "00"),
                "malformed command: unexpected end of input at byte 57",
            ),
            (payload(9, "0000000000000001 00"), "command has 1 surplus bytes"),
            (
                payload(3, "0f"),
                "malformed value in command: unknown tag 0x0f at byte 57",
            ),
            (
                payload(3, "00 00"),
                "malformed command: unexpected end of input at byte 59",
            ),
            (
                payload(2, "02"),
                "malformed command: expected 0 or 1, found 2 at byte 57",
            ),
            (
                payload(11, "feffffff0f"),
                "malformed command: length 4294967294 exceeds the 0 remaining bytes at byte 57",
            ),
            (
                payload(12, "0000000000000001 0005 ffffffff0f 00"),
                "malformed value in command: unexpected end of input at byte 73",
            ),
        ] {
            assert_eq!(shown(&payload).unwrap_err().to_string(), error);
        }
    }
}
