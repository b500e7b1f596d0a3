use broker_codec::{
    EndpointId, Envelope, EnvelopeKind,
    control::{ByeToken, RoutingUpdate},
    envelope::TTL_DEFAULT,
    frame::{FrameDecoder, HEADER_LEN, OPERATION_FRAME_MAX},
    handshake::Message as Handshake,
};
use bytes::{Buf, Bytes, BytesMut};

use super::{
    command,
    record::{Header, Message, Phase},
    shown::{Content, Hex, ValueStyle, text, topics},
};

/// One direction of a Broker connection: bytes in, messages out.
#[derive(Debug)]
pub(super) struct Direction {
    buffer: BytesMut,
    phase: Phase,
    /// Whether the buffer begins with a frame.
    in_step: bool,
    /// Who speaks, as its envelopes say: by it frames are found again behind a gap.
    sender: Option<EndpointId>,
    skipped: usize,
}

impl Direction {
    /// A direction whose beginning is known, or begins anywhere.
    pub(super) fn new(from_start: bool) -> Self {
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

    /// Takes the next bytes; `show` is called for each frame that is complete.
    pub(super) fn push(&mut self, bytes: &[u8], style: ValueStyle, show: &mut impl FnMut(Phase, Message)) {
        self.buffer.extend_from_slice(bytes);
        loop {
            if !self.in_step && !self.find_frame(show) {
                return;
            }
            let decoder = match self.phase {
                Phase::Handshake => FrameDecoder::handshake(),
                _ => FrameDecoder::operation(),
            };
            match decoder.decode(&mut self.buffer) {
                Ok(Some(frame)) => {
                    let phase = self.phase;
                    let message = self.read(frame, style);
                    show(phase, message);
                }
                Ok(None) => return,
                Err(error) => {
                    show(
                        self.phase,
                        Message::Undecodable {
                            error: error.to_string(),
                            bytes: Hex::new(&self.buffer),
                        },
                    );
                    self.lose_step(HEADER_LEN);
                }
            }
        }
    }

    /// Notes that bytes are missing here.
    pub(super) fn gap(&mut self) {
        self.lose_step(self.buffer.len());
        // Frames are found again by the sender that envelopes begin with, which handshake messages do not.
        self.phase = Phase::Operation;
    }

    fn lose_step(&mut self, skip: usize) {
        let skip = skip.min(self.buffer.len());
        self.buffer.advance(skip);
        self.skipped += skip;
        self.in_step = false;
    }

    fn read(&mut self, frame: Bytes, style: ValueStyle) -> Message {
        if self.phase == Phase::Handshake {
            let message = Handshake::decode(&frame);
            match &message {
                Ok(Handshake::Hello(hello)) => self.sender = Some(hello.sender),
                Ok(Handshake::VersionSelect(select)) => self.sender = Some(select.sender),
                // The last message that each side sends.
                Ok(Handshake::ResponderSynAck(_) | Handshake::OriginatorAck) => self.phase = Phase::Operation,
                _ => {}
            }
            message.map_or_else(|error| undecodable(&error, &frame), handshake)
        } else {
            let shown = frame.clone();
            match Envelope::decode(frame) {
                Ok(envelope) => {
                    self.sender = Some(envelope.sender);
                    operation(&envelope, style)
                }
                Err(error) => undecodable(&error, &shown),
            }
        }
    }

    /// Skips bytes until an envelope of the known sender begins, or of any sender at the beginning of what was captured.
    fn find_frame(&mut self, show: &mut impl FnMut(Phase, Message)) -> bool {
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
            show(self.phase, Message::Skipped { bytes: self.skipped });
        }
        self.skipped = 0;
        self.in_step = true;
        true
    }
}

/// Whether bytes look like a frame with an envelope.
pub(super) fn begins_with_envelope(bytes: &[u8]) -> bool {
    let Some((header, content)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let len = u32::from_be_bytes(*header);
    let kind = content.get(2 * EndpointId::LEN);
    len <= OPERATION_FRAME_MAX
        && usize::try_from(len).is_ok_and(|len| len >= Envelope::HEADER_LEN)
        && kind.is_some_and(|kind| (1..=5).contains(kind))
}

/// Shows a frame of which nothing else is known.
pub(super) fn any_frame(frame: Bytes, style: ValueStyle) -> (Phase, Message) {
    match Handshake::decode(&frame) {
        // An id may begin like a handshake message, but hardly all of an envelope is one.
        Ok(message) if message.encode().is_ok_and(|encoded| encoded == frame) => {
            (Phase::Handshake, handshake(message))
        }
        outcome => {
            let shown = frame.clone();
            match (Envelope::decode(frame), outcome) {
                (Ok(envelope), _) => (Phase::Operation, operation(&envelope, style)),
                (Err(_), Ok(message)) => (Phase::Handshake, handshake(message)),
                (Err(error), Err(_)) if shown.len() >= Envelope::HEADER_LEN => {
                    (Phase::Operation, undecodable(&error, &shown))
                }
                (Err(_), Err(error)) => (Phase::Handshake, undecodable(&error, &shown)),
            }
        }
    }
}

fn undecodable(error: &impl ToString, bytes: &[u8]) -> Message {
    Message::Undecodable {
        error: error.to_string(),
        bytes: Hex::new(bytes),
    }
}

fn handshake(message: Handshake) -> Message {
    match message {
        Handshake::Hello(hello) => Message::Hello {
            sender: hello.sender,
            min_version: hello.min_version,
            max_version: hello.max_version,
        },
        Handshake::Probe => Message::Probe,
        Handshake::VersionSelect(select) => Message::VersionSelect {
            sender: select.sender,
            version: select.version,
        },
        Handshake::DropConn(drop) => Message::DropConn {
            sender: drop.sender,
            code: drop.code.to_string(),
            description: text(&drop.description),
        },
        Handshake::OriginatorSyn(syn) => Message::OriginatorSyn {
            filter: topics(&syn.filter),
        },
        Handshake::ResponderSynAck(ack) => Message::ResponderSynAck {
            filter: topics(&ack.filter),
        },
        Handshake::OriginatorAck => Message::OriginatorAck,
    }
}

fn operation(envelope: &Envelope, style: ValueStyle) -> Message {
    let header = Header {
        sender: envelope.sender,
        receiver: (!envelope.receiver.is_nil()).then_some(envelope.receiver),
        ttl: (envelope.ttl != TTL_DEFAULT).then_some(envelope.ttl),
        topic: text(envelope.topic.as_bytes()),
    };
    let payload = &envelope.payload;
    let malformed = |header, error: &dyn std::fmt::Display| Message::Malformed {
        header,
        kind: envelope.kind.name(),
        error: error.to_string(),
        payload: Hex::new(payload),
    };
    match envelope.kind {
        EnvelopeKind::Data => Message::Data {
            header,
            content: Content::decode(payload, style),
        },
        EnvelopeKind::Command => match command::shown(payload) {
            Ok(command) => Message::Command { header, command },
            Err(error) => malformed(header, &error),
        },
        EnvelopeKind::RoutingUpdate => match RoutingUpdate::decode(payload) {
            Ok(update) => Message::RoutingUpdate {
                header,
                filter: topics(&update.topics),
            },
            Err(error) => malformed(header, &error),
        },
        EnvelopeKind::Ping => Message::Ping {
            header,
            bye: ByeToken::decode(payload).is_some(),
            payload: Hex::new(payload),
        },
        EnvelopeKind::Pong => Message::Pong {
            header,
            bye: ByeToken::decode(payload).is_some(),
            payload: Hex::new(payload),
        },
    }
}
