//! The messages of a packet capture, in its order.

use std::{io::Read, net::SocketAddr, time::Duration};

use broker_codec::{EndpointId, Envelope, handshake::Message as Handshake};
use bytes::Bytes;

pub use crate::conversation::Protocol;
use crate::{
    conversation::{Conversation, Item},
    pcap::{CaptureError, Segments},
    tcp::{Addresses, Reassembler, Speaker, TcpEvent, TcpEventKind},
    websocket,
};

/// All messages of a capture.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// The TCP connections, in the order of their first segments.
    pub connections: Vec<Connection>,
    /// What was sent on them, and when they were opened and closed, in the order of the capture.
    pub messages: Vec<Message>,
}

#[derive(Clone, Debug)]
pub struct Connection {
    pub addresses: Addresses,
    pub protocol: Protocol,
    client: Option<EndpointId>,
    server: Option<EndpointId>,
}

impl Connection {
    /// The Broker endpoint on one side, if it has said who it is.
    pub const fn id(&self, speaker: Speaker) -> Option<EndpointId> {
        match speaker {
            Speaker::Client => self.client,
            Speaker::Server => self.server,
        }
    }
}

/// A message, or the beginning or end of a connection.
#[derive(Clone, Debug)]
pub struct Message {
    /// The number of the packet that completes it, from 1, as Wireshark counts.
    pub frame: u64,
    /// When, since the first packet with TCP in it.
    pub time: Duration,
    /// On which of [`Capture::connections`].
    pub connection: usize,
    pub from: Speaker,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    Opened,
    /// A message of Broker's handshake, without the length before it.
    Handshake(Bytes),
    Envelope(Envelope),
    /// The HTTP head that a WebSocket connection begins with.
    Head(Bytes),
    Text(Bytes),
    /// A WebSocket ping, pong or close.
    Control,
    /// The speaker has nothing more to say.
    Closed,
}

/// A capture cannot be replayed, because messages are missing in it or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no capture, or damaged.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("frame {frame}: {bytes} bytes of {from} are missing before it")]
    Gap {
        /// The packet at which that was noticed.
        frame: u64,
        from: SocketAddr,
        bytes: u64,
    },
    /// What stands in the stream is not what the protocol has there.
    #[error("frame {frame}: what {from} says cannot be read: {reason}")]
    Undecodable {
        frame: u64,
        from: SocketAddr,
        reason: String,
    },
}

impl Capture {
    /// Reads a capture in pcap format.
    pub fn read(input: impl Read) -> Result<Self, ReadError> {
        let mut segments = Segments::new(input)?;
        let mut reassembler = Reassembler::new();
        let mut reading = Reading::default();
        while let Some(segment) = segments.next() {
            reading.frame = segments.packet();
            reading.take(reassembler.push(segment?))?;
        }
        reading.take(reassembler.finish())?;
        Ok(reading.capture)
    }
}

#[derive(Default)]
struct Reading {
    capture: Capture,
    conversations: Vec<Conversation>,
    frame: u64,
    start: Option<Duration>,
}

impl Reading {
    fn take(&mut self, events: Vec<TcpEvent>) -> Result<(), ReadError> {
        for event in events {
            let start = *self.start.get_or_insert(event.time);
            let at = Place {
                frame: self.frame,
                time: event.time.saturating_sub(start),
                connection: event.connection,
            };
            match event.kind {
                TcpEventKind::Opened {
                    addresses,
                    from_start,
                } => {
                    self.capture.connections.push(Connection {
                        addresses,
                        protocol: Protocol::Silent,
                        client: None,
                        server: None,
                    });
                    self.conversations.push(Conversation::new(addresses, from_start));
                    let opened = at.message(Speaker::Client, Content::Opened);
                    self.capture.messages.push(opened);
                }
                TcpEventKind::Data { from, bytes } => self.data(at, from, &bytes)?,
                TcpEventKind::Gap { from, len } => self.gap(at, from, len)?,
                TcpEventKind::Closed { from, .. } => {
                    self.capture.messages.push(at.message(from, Content::Closed));
                }
            }
        }
        Ok(())
    }

    fn gap(&mut self, at: Place, from: Speaker, bytes: u64) -> Result<(), ReadError> {
        if let Some(conversation) = self.conversations.get_mut(at.connection) {
            conversation.gap(from);
        }
        match self.capture.connections.get(at.connection) {
            Some(connection) if connection.is_readable() => Err(ReadError::Gap {
                frame: at.frame,
                from: *connection.addresses.of(from),
                bytes,
            }),
            _ => Ok(()),
        }
    }

    fn data(&mut self, at: Place, from: Speaker, bytes: &[u8]) -> Result<(), ReadError> {
        let (Some(conversation), Some(connection)) = (
            self.conversations.get_mut(at.connection),
            self.capture.connections.get_mut(at.connection),
        ) else {
            return Ok(());
        };
        let items = conversation.read(from, bytes);
        connection.protocol = if conversation.from_start {
            conversation.protocol
        } else {
            Protocol::Other
        };
        if !connection.is_readable() {
            return Ok(());
        }
        for (from, item) in items {
            let content = match item {
                Item::Handshake(frame, message) => {
                    connection.learn(from, &message);
                    Content::Handshake(frame)
                }
                Item::Envelope(envelope) => Content::Envelope(envelope),
                Item::WebSocket(websocket::Item::Head(head)) => Content::Head(head),
                Item::WebSocket(websocket::Item::Message(message)) => Content::Text(message.into()),
                Item::WebSocket(_) => Content::Control,
                Item::Undecodable { error: reason, .. } => {
                    return Err(ReadError::Undecodable {
                        frame: at.frame,
                        from: *connection.addresses.of(from),
                        reason,
                    });
                }
                Item::Recognised | Item::Skipped(_) => continue,
            };
            self.capture.messages.push(at.message(from, content));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Place {
    frame: u64,
    time: Duration,
    connection: usize,
}

impl Place {
    const fn message(self, from: Speaker, content: Content) -> Message {
        Message {
            frame: self.frame,
            time: self.time,
            connection: self.connection,
            from,
            content,
        }
    }
}

impl Connection {
    const fn is_readable(&self) -> bool {
        matches!(self.protocol, Protocol::Broker | Protocol::WebSocket)
    }

    /// Takes in who a side is, if it says so.
    fn learn(&mut self, from: Speaker, message: &Handshake) {
        let sender = match message {
            Handshake::Hello(hello) => hello.sender,
            Handshake::VersionSelect(select) => select.sender,
            _ => return,
        };
        match from {
            Speaker::Client => self.client = Some(sender),
            Speaker::Server => self.server = Some(sender),
        }
    }
}
