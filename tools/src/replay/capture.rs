//! The messages of a packet capture, in its order.

use std::{io::Read, net::SocketAddr, time::Duration};

use broker_codec::{
    EndpointId, Envelope,
    frame::FrameDecoder,
    handshake::{Message as Handshake, MessageError},
};
use bytes::{Bytes, BytesMut};

use crate::{
    dump::{Recognised, recognise},
    pcap::{CaptureError, Segments},
    tcp::{Addresses, Reassembler, Speaker, TcpEvent, TcpEventKind},
    websocket::{Item, Reader},
};

/// Everything that was said in a capture.
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

    /// The address of one side.
    pub const fn address(&self, speaker: Speaker) -> SocketAddr {
        self.addresses.of(speaker)
    }
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Broker,
    WebSocket,
    /// TLS, which cannot be read.
    Tls,
    /// Nothing: an attempt that was refused, for example.
    Silent,
    /// Something else, or a connection whose beginning is not in the capture.
    Other,
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

/// A capture cannot be replayed, because what was said is not all there or cannot be read.
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
            let mut events = Vec::new();
            reassembler.push(segment?, &mut |event| events.push(event));
            reading.take(events)?;
        }
        let mut events = Vec::new();
        reassembler.finish(&mut |event| events.push(event));
        reading.take(events)?;
        Ok(reading.capture)
    }
}

#[derive(Default)]
struct Reading {
    capture: Capture,
    streams: Vec<Stream>,
    frame: u64,
    start: Option<Duration>,
}

/// What has been said on a connection and is not read yet.
struct Stream {
    from_start: bool,
    client: Direction,
    server: Direction,
}

#[derive(Default)]
struct Direction {
    /// Until the protocol is known.
    early: Vec<u8>,
    frames: BytesMut,
    established: bool,
    websocket: Reader,
}

impl Stream {
    const fn direction(&mut self, from: Speaker) -> &mut Direction {
        match from {
            Speaker::Client => &mut self.client,
            Speaker::Server => &mut self.server,
        }
    }
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
                    self.streams.push(Stream {
                        from_start,
                        client: Direction::default(),
                        server: Direction::default(),
                    });
                    self.say(at, Speaker::Client, Content::Opened);
                }
                TcpEventKind::Data { from, bytes } => self.data(at, from, &bytes)?,
                TcpEventKind::Gap { from, len } => {
                    let connection = self.capture.connections.get(at.connection);
                    if let Some(connection) =
                        connection.filter(|connection| connection.protocol.is_readable())
                    {
                        return Err(ReadError::Gap {
                            frame: at.frame,
                            from: connection.address(from),
                            bytes: len,
                        });
                    }
                }
                TcpEventKind::Closed { from, .. } => self.say(at, from, Content::Closed),
            }
        }
        Ok(())
    }

    fn say(&mut self, at: Place, from: Speaker, content: Content) {
        self.capture.messages.push(Message {
            frame: at.frame,
            time: at.time,
            connection: at.connection,
            from,
            content,
        });
    }

    fn data(&mut self, at: Place, from: Speaker, bytes: &[u8]) -> Result<(), ReadError> {
        let (Some(stream), Some(connection)) = (
            self.streams.get_mut(at.connection),
            self.capture.connections.get_mut(at.connection),
        ) else {
            return Ok(());
        };
        if connection.protocol == Protocol::Silent {
            let from_start = stream.from_start;
            let early = &mut stream.direction(from).early;
            early.extend_from_slice(bytes);
            let Some(recognised) = recognise(early, from_start) else {
                return Ok(());
            };
            connection.protocol = match recognised {
                _ if !from_start => Protocol::Other,
                Recognised::Broker => Protocol::Broker,
                Recognised::Http => Protocol::WebSocket,
                Recognised::Tls => Protocol::Tls,
                Recognised::Other => Protocol::Other,
            };
            for from in [Speaker::Client, Speaker::Server] {
                let Some(stream) = self.streams.get_mut(at.connection) else {
                    continue;
                };
                let early = std::mem::take(&mut stream.direction(from).early);
                self.read(at, from, &early)?;
            }
            return Ok(());
        }
        self.read(at, from, bytes)
    }

    /// Reads what is complete now.
    fn read(&mut self, at: Place, from: Speaker, bytes: &[u8]) -> Result<(), ReadError> {
        let (Some(stream), Some(connection)) = (
            self.streams.get_mut(at.connection),
            self.capture.connections.get_mut(at.connection),
        ) else {
            return Ok(());
        };
        let direction = stream.direction(from);
        let contents = match connection.protocol {
            Protocol::Broker => broker(direction, connection, from, bytes),
            Protocol::WebSocket => websocket(direction, bytes),
            Protocol::Tls | Protocol::Silent | Protocol::Other => Ok(Vec::new()),
        };
        let contents = contents.map_err(|reason| ReadError::Undecodable {
            frame: at.frame,
            from: connection.address(from),
            reason,
        })?;
        for content in contents {
            self.say(at, from, content);
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

impl Protocol {
    const fn is_readable(self) -> bool {
        matches!(self, Self::Broker | Self::WebSocket)
    }
}

fn broker(
    direction: &mut Direction,
    connection: &mut Connection,
    from: Speaker,
    bytes: &[u8],
) -> Result<Vec<Content>, String> {
    direction.frames.extend_from_slice(bytes);
    let mut contents = Vec::new();
    loop {
        let decoder = if direction.established {
            FrameDecoder::operation()
        } else {
            FrameDecoder::handshake()
        };
        let frame = decoder
            .decode(&mut direction.frames)
            .map_err(|error| error.to_string())?;
        let Some(frame) = frame else {
            return Ok(contents);
        };
        if direction.established {
            let envelope = Envelope::decode(frame).map_err(|error| error.to_string())?;
            contents.push(Content::Envelope(envelope));
            continue;
        }
        let message = Handshake::decode(&frame).map_err(|error: MessageError| error.to_string())?;
        let sender = match &message {
            Handshake::Hello(hello) => Some(hello.sender),
            Handshake::VersionSelect(select) => Some(select.sender),
            _ => None,
        };
        if let Some(sender) = sender {
            match from {
                Speaker::Client => connection.client = Some(sender),
                Speaker::Server => connection.server = Some(sender),
            }
        }
        // The last message of each side.
        direction.established = matches!(message, Handshake::ResponderSynAck(_) | Handshake::OriginatorAck);
        contents.push(Content::Handshake(frame));
    }
}

fn websocket(direction: &mut Direction, bytes: &[u8]) -> Result<Vec<Content>, String> {
    direction.websocket.push(bytes);
    let mut contents = Vec::new();
    while let Some(item) = direction.websocket.read() {
        contents.push(match item? {
            Item::Head(head) => Content::Head(head),
            Item::Message(message) => Content::Text(message.into()),
            Item::Control { .. } | Item::Close(_) => Content::Control,
        });
    }
    Ok(contents)
}
