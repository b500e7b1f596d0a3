//! What two endpoints say to each other, read from a capture: the content of `broker-dump`.

mod broker;
pub mod cli;
pub mod command;
mod record;
mod shown;
mod websocket;

use std::time::Duration;

use bytes::Bytes;

pub use crate::conversation::Phase;
use crate::{
    conversation::{Conversation, Item, Protocol},
    pcap::Segment,
    tcp::{Reassembler, Speaker, TcpEvent, TcpEventKind},
    websocket::Item as WebSocketItem,
};

pub use record::{Header, Message, Place, Record};
pub use shown::{Content, Hex, Shown, ValueStyle};

/// What to show of a capture, and how.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Show only connections from or to this port; can be given more than once
    #[arg(short, long = "port", value_name = "PORT", conflicts_with = "hex")]
    pub ports: Vec<u16>,
    /// Show times since 1970-01-01 UTC instead of since the first packet, in seconds
    #[arg(long, conflicts_with = "hex")]
    pub epoch: bool,
    /// How values are shown
    #[arg(long, value_enum, default_value_t)]
    pub values: ValueStyle,
}

/// How many of the connections cannot be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub tls: u64,
    /// Of other protocols.
    pub other: u64,
    /// Without a word: attempts that were refused, for example.
    pub silent: u64,
}

/// Turns the segments of a capture into records.
#[derive(Debug, Default)]
pub struct Dump {
    options: Options,
    reassembler: Reassembler,
    /// What times are counted from.
    origin: Option<Duration>,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    conversation: Conversation,
    opened: Duration,
    /// Whether its client has sent a first message.
    subscribed: bool,
}

impl Dump {
    /// A dump of a capture that is still to come.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Takes the next segment, and gives what becomes known by it.
    pub fn push(&mut self, segment: Segment) -> Vec<Record> {
        let events = self.reassembler.push(segment);
        self.records(events)
    }

    /// Takes the end of the capture, and gives what becomes known by it.
    pub fn finish(&mut self) -> Vec<Record> {
        let events = std::mem::take(&mut self.reassembler).finish();
        self.records(events)
    }

    /// How many connections are not shown, so far.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for Connection { conversation, .. } in &self.connections {
            match conversation.protocol {
                _ if !self.options.wants(conversation) => {}
                Protocol::Broker | Protocol::WebSocket => {}
                Protocol::Tls => summary.tls += 1,
                Protocol::Other => summary.other += 1,
                Protocol::Silent => summary.silent += 1,
            }
        }
        summary
    }

    fn records(&mut self, events: Vec<TcpEvent>) -> Vec<Record> {
        let mut records = Vec::new();
        for event in events {
            let origin = if self.options.epoch {
                Duration::ZERO
            } else {
                *self.origin.get_or_insert(event.time)
            };
            if let TcpEventKind::Opened {
                addresses,
                from_start,
            } = event.kind
            {
                self.connections.push(Connection {
                    conversation: Conversation::new(addresses, from_start),
                    opened: event.time,
                    subscribed: false,
                });
            }
            let Some(connection) = self.connections.get_mut(event.connection) else {
                continue;
            };
            if !self.options.wants(&connection.conversation) {
                continue;
            }
            let addresses = connection.conversation.addresses;
            connection.take(
                &event,
                self.options.values,
                &mut |time, speaker, phase, message| {
                    let place = Place {
                        time: time.saturating_sub(origin),
                        connection: event.connection + 1,
                        speaker,
                        from: *addresses.of(speaker),
                        to: *addresses.of(speaker.other()),
                    };
                    records.push(Record {
                        place: Some(place),
                        phase,
                        message,
                    });
                },
            );
        }
        records
    }
}

impl Options {
    fn wants(&self, conversation: &Conversation) -> bool {
        let mut sides = [Speaker::Client, Speaker::Server].into_iter();
        let is_wanted = |port| self.ports.contains(&port);
        self.ports.is_empty() || sides.any(|side| is_wanted(conversation.addresses.of(side).port()))
    }
}

impl Connection {
    fn take(
        &mut self,
        event: &TcpEvent,
        values: ValueStyle,
        show: &mut impl FnMut(Duration, Speaker, Phase, Message),
    ) {
        let time = event.time;
        let (from, message) = match &event.kind {
            TcpEventKind::Opened { .. } => return,
            TcpEventKind::Data { from, bytes } => {
                for (speaker, item) in self.conversation.read(*from, bytes) {
                    self.show(time, speaker, item, values, show);
                }
                return;
            }
            TcpEventKind::Gap { from, len } => {
                self.conversation.gap(*from);
                (*from, Message::Gap { bytes: *len })
            }
            TcpEventKind::Closed { from, reset } => (*from, Message::Closed { reset: *reset }),
        };
        if self.is_shown() {
            show(time, from, Phase::Connection, message);
        }
    }

    fn show(
        &mut self,
        time: Duration,
        speaker: Speaker,
        item: Item,
        values: ValueStyle,
        show: &mut impl FnMut(Duration, Speaker, Phase, Message),
    ) {
        let (phase, message) = match item {
            Item::Recognised => {
                let from_start = self.conversation.from_start;
                if self.is_shown() {
                    let message = Message::Opened { from_start };
                    show(self.opened, Speaker::Client, Phase::Connection, message);
                }
                if self.conversation.protocol != Protocol::Tls {
                    return;
                }
                (Phase::Tls, Message::Tls)
            }
            Item::Handshake(_, message) => (Phase::Handshake, broker::handshake(message)),
            Item::Envelope(envelope) => (Phase::Operation, broker::operation(&envelope, values)),
            Item::WebSocket(item) => {
                let subscribes = speaker == Speaker::Client
                    && matches!(item, WebSocketItem::Message(_))
                    && !std::mem::replace(&mut self.subscribed, true);
                (Phase::Websocket, websocket::shown(item, subscribes, values))
            }
            Item::Skipped(bytes) => (Phase::Operation, Message::Skipped { bytes }),
            Item::Undecodable { phase, error, bytes } => {
                let bytes = Hex::new(&bytes);
                (phase, Message::Undecodable { error, bytes })
            }
        };
        show(time, speaker, phase, message);
    }

    const fn is_shown(&self) -> bool {
        matches!(
            self.conversation.protocol,
            Protocol::Broker | Protocol::WebSocket | Protocol::Tls
        )
    }
}

/// Shows one frame of which nothing else is known, with or without the length before it.
pub fn frame(bytes: &[u8], values: ValueStyle) -> Record {
    let content = match bytes.split_first_chunk() {
        Some((len, content))
            if usize::try_from(u32::from_be_bytes(*len)).is_ok_and(|len| len == content.len()) =>
        {
            content
        }
        _ => bytes,
    };
    let (phase, message) = broker::any_frame(Bytes::copy_from_slice(content), values);
    Record {
        place: None,
        phase,
        message,
    }
}
