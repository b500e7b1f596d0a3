use std::{fmt, net::SocketAddr, time::Duration};

use broker_codec::EndpointId;
use serde::{Serialize, Serializer};

use super::shown::{Content, Hex};
use crate::{conversation::Phase, tcp::Speaker};

/// One thing to show: a frame, or what befell a connection. Its JSON form is one line of `broker-dump`.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Where and when; `None` if the input tells only bytes.
    #[serde(flatten)]
    pub place: Option<Place>,
    pub phase: Phase,
    pub message: Message,
}

/// Where and when something happens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Place {
    /// Since the first packet of the capture, or since the Unix epoch, as the dump was told.
    #[serde(serialize_with = "seconds")]
    pub time: Duration,
    /// The number of the connection in the capture, from 1.
    pub connection: usize,
    #[serde(skip)]
    pub speaker: Speaker,
    pub from: SocketAddr,
    pub to: SocketAddr,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// A connection whose protocol is known begins.
    Opened {
        from_start: bool,
    },
    /// A side has nothing more to say.
    Closed {
        reset: bool,
    },
    /// Bytes are missing in the capture.
    Gap {
        bytes: u64,
    },
    /// Bytes that cannot be attributed to a frame, behind a gap or before the first frame of a capture.
    Skipped {
        bytes: usize,
    },
    /// Encrypted: nothing more of this connection is shown.
    Tls,
    /// Not what the protocol allows.
    Undecodable {
        error: String,
        bytes: Hex,
    },

    Hello {
        sender: EndpointId,
        min_version: u8,
        max_version: u8,
    },
    Probe,
    VersionSelect {
        sender: EndpointId,
        version: u8,
    },
    DropConn {
        sender: EndpointId,
        code: String,
        description: String,
    },
    OriginatorSyn {
        filter: Vec<String>,
    },
    ResponderSynAck {
        filter: Vec<String>,
    },
    OriginatorAck,

    Data {
        #[serde(flatten)]
        header: Header,
        #[serde(flatten)]
        content: Content,
    },
    Command {
        #[serde(flatten)]
        header: Header,
        command: String,
    },
    RoutingUpdate {
        #[serde(flatten)]
        header: Header,
        filter: Vec<String>,
    },
    /// `bye` is set if the sender wants to leave.
    Ping {
        #[serde(flatten)]
        header: Header,
        payload: Hex,
        bye: bool,
    },
    Pong {
        #[serde(flatten)]
        header: Header,
        payload: Hex,
        bye: bool,
    },
    /// An envelope whose payload is malformed.
    Malformed {
        #[serde(flatten)]
        header: Header,
        kind: &'static str,
        error: String,
        payload: Hex,
    },

    /// The first line of an HTTP request or response.
    Http {
        line: String,
    },
    Subscribe {
        topics: Vec<String>,
    },
    Ack {
        endpoint: String,
        version: String,
    },
    Error {
        code: String,
        context: String,
    },
    DataMessage {
        topic: String,
        #[serde(flatten)]
        content: Content,
    },
    /// A text that is not one of the messages above.
    Text {
        error: String,
        text: String,
    },
    /// A control frame, or a binary one.
    Frame {
        opcode: &'static str,
        payload: Hex,
    },
    /// The end, with WebSocket's code and reason if there are any.
    Close {
        code: Option<u16>,
        reason: String,
    },
}

/// What an envelope says besides its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    pub sender: EndpointId,
    /// The receiver, if the message is for one peer alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<EndpointId>,
    /// The TTL, if it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u16>,
    pub topic: String,
}

impl Message {
    /// The topic of a message that has one.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::Data { header, .. }
            | Self::Command { header, .. }
            | Self::RoutingUpdate { header, .. }
            | Self::Ping { header, .. }
            | Self::Pong { header, .. }
            | Self::Malformed { header, .. } => Some(&header.topic),
            Self::DataMessage { topic, .. } => Some(topic),
            _ => None,
        }
    }

    /// The content of a data message.
    pub const fn content(&self) -> Option<&Content> {
        match self {
            Self::Data { content, .. } | Self::DataMessage { content, .. } => Some(content),
            _ => None,
        }
    }
}

/// Divided once, so that the digits are those of the capture.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact for microseconds until the year 2255"
)]
fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_micros() as f64 / 1e6)
}

/// A line for people: time, connection, addresses, then an event as a call, and anything else as its JSON.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(
                f,
                "{:.6} #{} {} > {} ",
                place.time.as_secs_f64(),
                place.connection,
                place.from,
                place.to
            )?;
        }
        if let (Some(topic), Some(content)) = (self.message.topic(), self.message.content()) {
            write!(f, "{topic} ")?;
            return compact(content, f);
        }
        f.write_str(&serde_json::to_string(&self.message).map_err(|_| fmt::Error)?)
    }
}

fn compact(content: &Content, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match content {
        Content::Event { event, args, .. } => {
            write!(f, "{event}(")?;
            for (index, arg) in args.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{}", arg.json())?;
            }
            f.write_str(")")
        }
        other => f.write_str(&serde_json::to_string(other).map_err(|_| fmt::Error)?),
    }
}
