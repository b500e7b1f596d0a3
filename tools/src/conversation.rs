//! The protocol of a TCP connection in a capture, and its messages as they become complete.

use std::mem;

use broker_codec::{
    EndpointId, Envelope,
    frame::{FrameDecoder, HEADER_LEN, OPERATION_FRAME_MAX},
    handshake::Message as Handshake,
};
use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;

use crate::{
    tcp::{Addresses, Sides, Speaker},
    websocket,
};

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Broker,
    WebSocket,
    /// TLS, which cannot be read.
    Tls,
    /// Nothing: an attempt that was refused, for example.
    Silent,
    /// Something else.
    Other,
}

/// What a connection speaks at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// TCP itself.
    Connection,
    Handshake,
    /// Broker after the handshake.
    Operation,
    /// WebSocket, from its HTTP request on.
    Websocket,
    /// TLS, which cannot be read.
    Tls,
}

/// What becomes known of a connection.
#[derive(Debug)]
pub enum Item {
    /// [`Conversation::protocol`] is known from here on.
    Recognised,
    /// A message of Broker's handshake, and its bytes without the length before it.
    Handshake(Bytes, Handshake),
    Envelope(Envelope),
    WebSocket(websocket::Item),
    /// Bytes that cannot be attributed to a frame, behind a gap or before the first frame of a capture.
    Skipped(usize),
    /// Not what the protocol allows.
    Undecodable {
        phase: Phase,
        error: String,
        bytes: Bytes,
    },
}

#[derive(Debug)]
pub struct Conversation {
    pub addresses: Addresses,
    /// Whether the capture has its beginning.
    pub from_start: bool,
    pub protocol: Protocol,
    sides: Sides<Direction>,
}

#[derive(Debug)]
enum Direction {
    /// Bytes that came before the protocol is known.
    Undecided(Vec<u8>),
    Broker(Frames),
    /// `None` once nothing that follows can be read.
    WebSocket(Option<websocket::Reader>),
    /// Of a protocol that is not read.
    Unread,
}

impl Conversation {
    /// A connection without any bytes yet.
    pub const fn new(addresses: Addresses, from_start: bool) -> Self {
        Self {
            addresses,
            from_start,
            protocol: Protocol::Silent,
            sides: Sides {
                client: Direction::Undecided(Vec::new()),
                server: Direction::Undecided(Vec::new()),
            },
        }
    }

    /// Takes the next bytes of a side, and gives what is complete now. When the protocol becomes known, that may be of the other side, too.
    pub fn read(&mut self, from: Speaker, bytes: &[u8]) -> Vec<(Speaker, Item)> {
        let from_start = self.from_start;
        let mut items = Vec::new();
        let Direction::Undecided(early) = self.sides.of_mut(from) else {
            self.sides
                .of_mut(from)
                .read(bytes, &mut |item| items.push((from, item)));
            return items;
        };
        early.extend_from_slice(bytes);
        let recognised = recognise(early, from_start);
        self.protocol = recognised.unwrap_or(Protocol::Other);
        if recognised.is_none() {
            return items;
        }
        items.push((from, Item::Recognised));
        // Before the protocol is known, the client has spoken first, or no side has.
        for speaker in [Speaker::Client, Speaker::Server] {
            let known = match self.protocol {
                Protocol::Broker => Direction::Broker(Frames::new(from_start)),
                Protocol::WebSocket => Direction::WebSocket(Some(websocket::Reader::default())),
                Protocol::Tls | Protocol::Silent | Protocol::Other => Direction::Unread,
            };
            let direction = self.sides.of_mut(speaker);
            if let Direction::Undecided(early) = mem::replace(direction, known) {
                direction.read(&early, &mut |item| items.push((speaker, item)));
            }
        }
        items
    }

    /// Notes that bytes of a side are missing here.
    pub fn gap(&mut self, from: Speaker) {
        match self.sides.of_mut(from) {
            Direction::Undecided(_) => self.from_start = false,
            Direction::Broker(frames) => frames.lose_step(frames.buffer.len()),
            Direction::WebSocket(reader) => *reader = None,
            Direction::Unread => {}
        }
    }
}

/// Tells the protocol by the first bytes of one side; `None` if there are too few.
fn recognise(bytes: &[u8], from_start: bool) -> Option<Protocol> {
    /// A hello or a probe of a Broker endpoint, with their lengths and the magic number; a TLS record with a handshake message; HTTP.
    const BEGINNINGS: [(&[u8], Protocol); 5] = [
        (b"\0\0\0\x17\x06ZEEK", Protocol::Broker),
        (b"\0\0\0\x05\x07ZEEK", Protocol::Broker),
        (b"\x16\x03", Protocol::Tls),
        (b"GET ", Protocol::WebSocket),
        (b"HTTP/", Protocol::WebSocket),
    ];
    /// How many bytes show an envelope.
    const ENVELOPE: usize = 37;

    let known = BEGINNINGS
        .iter()
        .find(|(beginning, _)| bytes.starts_with(beginning));
    if let Some((_, protocol)) = known {
        return Some(*protocol);
    }
    if !from_start && begins_with_envelope(bytes) {
        return Some(Protocol::Broker);
    }
    let undecided = if from_start {
        BEGINNINGS
            .iter()
            .any(|(beginning, _)| beginning.starts_with(bytes))
    } else {
        bytes.len() < ENVELOPE
    };
    (!undecided).then_some(Protocol::Other)
}

/// Whether bytes look like a frame with an envelope.
fn begins_with_envelope(bytes: &[u8]) -> bool {
    let Some((header, content)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let len = u32::from_be_bytes(*header);
    let kind = content.get(2 * EndpointId::LEN);
    len <= OPERATION_FRAME_MAX
        && usize::try_from(len).is_ok_and(|len| len >= Envelope::HEADER_LEN)
        && kind.is_some_and(|kind| (1..=5).contains(kind))
}

impl Direction {
    fn read(&mut self, bytes: &[u8], take: &mut impl FnMut(Item)) {
        match self {
            Self::Broker(frames) => frames.read(bytes, take),
            Self::WebSocket(reader) => {
                if let Some(reader) = reader {
                    reader.push(bytes);
                }
                while let Some(open) = reader
                    && let Some(item) = open.read()
                {
                    match item {
                        Ok(item) => take(Item::WebSocket(item)),
                        Err(error) => {
                            take(Item::Undecodable {
                                phase: Phase::Websocket,
                                error,
                                bytes: Bytes::copy_from_slice(open.rest()),
                            });
                            *reader = None;
                        }
                    }
                }
            }
            Self::Undecided(_) | Self::Unread => {}
        }
    }
}

/// The frames of one direction of a Broker connection.
#[derive(Debug)]
struct Frames {
    buffer: BytesMut,
    phase: Phase,
    /// Whether the buffer begins with a frame.
    in_step: bool,
    /// The sender of the envelopes: by it frames are found again behind a gap.
    sender: Option<EndpointId>,
    skipped: usize,
}

impl Frames {
    /// A direction whose beginning is known, or begins anywhere.
    fn new(from_start: bool) -> Self {
        Self {
            buffer: BytesMut::new(),
            phase: if from_start {
                Phase::Handshake
            } else {
                Phase::Operation
            },
            in_step: from_start,
            sender: None,
            skipped: 0,
        }
    }

    fn read(&mut self, bytes: &[u8], take: &mut impl FnMut(Item)) {
        self.buffer.extend_from_slice(bytes);
        while self.in_step || self.find_frame(take) {
            let decoder = match self.phase {
                Phase::Handshake => FrameDecoder::handshake(),
                _ => FrameDecoder::operation(),
            };
            match decoder.decode(&mut self.buffer) {
                Ok(Some(frame)) => take(self.decode(frame)),
                Ok(None) => return,
                Err(error) => {
                    take(Item::Undecodable {
                        phase: self.phase,
                        error: error.to_string(),
                        bytes: Bytes::copy_from_slice(&self.buffer),
                    });
                    self.lose_step(HEADER_LEN);
                }
            }
        }
    }

    fn decode(&mut self, frame: Bytes) -> Item {
        let (phase, bytes) = (self.phase, frame.clone());
        let item = if phase == Phase::Handshake {
            Handshake::decode(&frame)
                .map(|message| Item::Handshake(frame, message))
                .map_err(|error| error.to_string())
        } else {
            Envelope::decode(frame)
                .map(Item::Envelope)
                .map_err(|error| error.to_string())
        };
        match &item {
            Ok(Item::Handshake(_, Handshake::Hello(hello))) => self.sender = Some(hello.sender),
            Ok(Item::Handshake(_, Handshake::VersionSelect(select))) => self.sender = Some(select.sender),
            // The last message that each side sends.
            Ok(Item::Handshake(_, Handshake::ResponderSynAck(_) | Handshake::OriginatorAck)) => {
                self.phase = Phase::Operation;
            }
            Ok(Item::Envelope(envelope)) => self.sender = Some(envelope.sender),
            _ => {}
        }
        item.unwrap_or_else(|error| Item::Undecodable { phase, error, bytes })
    }

    fn lose_step(&mut self, skip: usize) {
        let skip = skip.min(self.buffer.len());
        self.buffer.advance(skip);
        self.skipped += skip;
        self.in_step = false;
        // Frames are found again by the sender that envelopes begin with, which handshake messages do not.
        self.phase = Phase::Operation;
    }

    /// Skips bytes until an envelope of the known sender begins, or of any sender at the beginning of what was captured.
    fn find_frame(&mut self, take: &mut impl FnMut(Item)) -> bool {
        let found = match &self.sender {
            Some(sender) => self
                .buffer
                .windows(EndpointId::LEN)
                .position(|window| window == sender.as_bytes())
                .and_then(|id| id.checked_sub(HEADER_LEN))
                .filter(|start| self.buffer.get(*start..).is_some_and(begins_with_envelope)),
            None => begins_with_envelope(&self.buffer).then_some(0),
        };
        let Some(start) = found else {
            // What may be the beginning of a header stays.
            let keep = if self.sender.is_some() {
                HEADER_LEN + EndpointId::LEN - 1
            } else {
                0
            };
            self.lose_step(self.buffer.len().saturating_sub(keep));
            return false;
        };
        self.lose_step(start);
        if self.skipped > 0 {
            take(Item::Skipped(mem::take(&mut self.skipped)));
        }
        self.in_step = true;
        true
    }
}
