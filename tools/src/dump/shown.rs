use broker_codec::{
    Data, Topic,
    binary::{self, DecodeError},
    data::ZeekString,
    json,
    zeek::Event,
};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ValueStyle {
    /// Numbers, strings, lists
    #[default]
    Plain,
    /// Each value with its kind, as Broker's JSON has them
    Typed,
}

/// A value as JSON text.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Shown(Box<RawValue>);

impl Shown {
    fn new(data: &Data, style: ValueStyle) -> Self {
        let text = match style {
            ValueStyle::Plain => to_raw_value(&plain(data)).ok(),
            ValueStyle::Typed => {
                let mut text = String::new();
                json::encode(data, &mut text)
                    .ok()
                    .and_then(|()| RawValue::from_string(text).ok())
            }
        };
        // A value that was read can be written: the depth is limited the same way.
        Self(text.unwrap_or_else(|| RawValue::NULL.to_owned()))
    }

    fn all(values: &[Data], style: ValueStyle) -> Vec<Self> {
        values.iter().map(|value| Self::new(value, style)).collect()
    }

    pub fn json(&self) -> &str {
        self.0.get()
    }
}

/// A value as the nearest JSON.
fn plain(data: &Data) -> Value {
    let text = |value: &dyn ToString| Value::String(value.to_string());
    match data {
        Data::None => Value::Null,
        Data::Boolean(value) => (*value).into(),
        Data::Count(value) => (*value).into(),
        Data::Integer(value) => (*value).into(),
        Data::Real(value) if value.0.is_finite() => value.0.into(),
        Data::Real(value) => text(&value.0),
        Data::String(value) => value.to_str_lossy().into(),
        Data::Address(value) => text(value),
        Data::Subnet(value) => text(value),
        Data::Port(value) => text(value),
        Data::Timestamp(value) => text(value),
        Data::Timespan(value) => text(value),
        Data::EnumValue(value) => value.0.to_str_lossy().into(),
        Data::Set(elements) => elements.iter().map(plain).collect(),
        Data::Vector(elements) => elements.iter().map(plain).collect(),
        Data::Table(entries) => {
            let pairs = entries.iter().map(|(key, value)| [plain(key), plain(value)]);
            pairs.map(Value::from_iter).collect()
        }
    }
}

/// The content of a data message, as Zeek understands it.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Content {
    Event {
        event: String,
        args: Vec<Shown>,
        /// Its metadata, as pairs of a number and a value.
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<Vec<(u64, Shown)>>,
    },
    Batch {
        batch: Vec<Self>,
    },
    LogCreate {
        log_create: Shown,
        /// Writer, its settings and the fields.
        with: Vec<Shown>,
    },
    /// Log records in Zeek's own encoding.
    LogWrite {
        log_write: Shown,
        /// Writer, path and records.
        with: Vec<Shown>,
    },
    IdentifierUpdate {
        identifier: Shown,
        value: Shown,
    },
    Value {
        value: Shown,
    },
    /// Not a value at all.
    Undecodable {
        error: String,
        /// The bytes, cut to a length fit for a line.
        payload: Hex,
    },
}

impl Content {
    pub(super) fn decode(payload: &[u8], style: ValueStyle) -> Self {
        match binary::decode(payload) {
            Ok(data) => Self::of(&data, style),
            Err(error) => Self::undecodable(&error, payload),
        }
    }

    fn undecodable(error: &DecodeError, payload: &[u8]) -> Self {
        Self::Undecodable {
            error: error.to_string(),
            payload: Hex::new(payload),
        }
    }

    pub(super) fn of(data: &Data, style: ValueStyle) -> Self {
        let show = |data: &Data| Shown::new(data, style);
        if let Ok(event) = Event::from_data(data.clone()) {
            return Self::Event {
                event: event.name.to_str_lossy().into_owned(),
                args: Shown::all(&event.args, style),
                metadata: event
                    .metadata
                    .map(|all| all.iter().map(|(id, value)| (*id, show(value))).collect()),
            };
        }
        let content = match data {
            Data::Vector(message) => match message.as_slice() {
                [Data::Count(1), Data::Count(kind), Data::Vector(content), ..] => {
                    Some((*kind, content.as_slice()))
                }
                _ => None,
            },
            _ => None,
        };
        // The numbers of `zeek.hh`, `Message::Type`.
        match content {
            Some((2, [stream, with @ ..])) => Self::LogCreate {
                log_create: show(stream),
                with: Shown::all(with, style),
            },
            Some((3, [stream, with @ ..])) => Self::LogWrite {
                log_write: show(stream),
                with: Shown::all(with, style),
            },
            Some((4, [identifier, value])) => Self::IdentifierUpdate {
                identifier: show(identifier),
                value: show(value),
            },
            Some((5, batch)) => Self::Batch {
                batch: batch.iter().map(|message| Self::of(message, style)).collect(),
            },
            _ => Self::Value { value: show(data) },
        }
    }

    /// Whether this is an event whose name contains the text, or a batch with one.
    pub fn has_event(&self, text: &str) -> bool {
        match self {
            Self::Event { event, .. } => event.contains(text),
            Self::Batch { batch } => batch.iter().any(|content| content.has_event(text)),
            _ => false,
        }
    }
}

/// Bytes as hexadecimal digits, cut to [`Hex::BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Hex(String);

impl Hex {
    /// How many bytes are shown.
    pub const BYTES_MAX: usize = 256;

    pub(super) fn new(bytes: &[u8]) -> Self {
        match bytes.get(..Self::BYTES_MAX) {
            Some(start) if bytes.len() > start.len() => {
                Self(format!("{}... ({} bytes)", hex::encode(start), bytes.len()))
            }
            _ => Self(hex::encode(bytes)),
        }
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn topics(topics: &[Topic]) -> Vec<String> {
    topics.iter().map(|topic| text(topic.as_bytes())).collect()
}

pub(super) fn strings(strings: &[ZeekString]) -> Vec<String> {
    strings.iter().map(|string| text(string.as_bytes())).collect()
}
