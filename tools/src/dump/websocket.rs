use std::io::Cursor;

use broker_codec::json::{self, ServerMessage};
use bytes::{Buf, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data as DataOpcode, OpCode},
};

use super::{
    record::Message,
    shown::{Content, Hex, ValueStyle, strings, text},
};
use crate::tcp::Speaker;

/// The largest message that is shown, in bytes; what exceeds it ends the direction.
const MESSAGE_MAX: usize = 64 << 20;

/// The longest HTTP head.
const HEAD_MAX: usize = 64 << 10;

/// One direction of a WebSocket connection: bytes in, messages out.
#[derive(Debug)]
pub(super) struct Direction {
    speaker: Speaker,
    buffer: BytesMut,
    state: State,
    /// Frames of a message that is not complete yet.
    fragments: Vec<u8>,
    subscribed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Http,
    Frames,
    /// Nothing that follows can be read.
    Lost,
}

impl Direction {
    pub(super) fn new(speaker: Speaker) -> Self {
        Self {
            speaker,
            buffer: BytesMut::new(),
            state: State::Http,
            fragments: Vec::new(),
            subscribed: false,
        }
    }

    /// Notes that bytes are missing here: what follows cannot be read.
    pub(super) fn gap(&mut self) {
        self.state = State::Lost;
        self.buffer.clear();
    }

    pub(super) fn push(&mut self, bytes: &[u8], style: ValueStyle, show: &mut impl FnMut(Message)) {
        if self.state == State::Lost {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        while let Some(message) = self.next(style) {
            match message {
                Ok(Some(message)) => show(message),
                Ok(None) => {}
                Err(error) => {
                    show(Message::Undecodable {
                        error,
                        bytes: Hex::new(&self.buffer),
                    });
                    self.gap();
                }
            }
        }
    }

    /// The next message; the inner `None` is a frame that does not complete one.
    fn next(&mut self, style: ValueStyle) -> Option<Result<Option<Message>, String>> {
        match self.state {
            State::Lost => None,
            State::Http => {
                let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
                let Some(end) = end else {
                    return (self.buffer.len() > HEAD_MAX)
                        .then(|| Err(format!("HTTP head exceeds the limit of {HEAD_MAX} bytes")));
                };
                let head = self.buffer.split_to(end + 4);
                self.state = State::Frames;
                let line = head[..].split(|byte| *byte == b'\r').next().unwrap_or_default();
                Some(Ok(Some(Message::Http { line: text(line) })))
            }
            State::Frames => {
                let mut cursor = Cursor::new(&self.buffer);
                let (header, len) = match FrameHeader::parse(&mut cursor) {
                    Ok(parsed) => parsed?,
                    Err(error) => return Some(Err(error.to_string())),
                };
                let start = usize::try_from(cursor.position()).ok()?;
                let Some(len) = usize::try_from(len).ok().filter(|len| *len <= MESSAGE_MAX) else {
                    return Some(Err(format!(
                        "WebSocket frame of {len} bytes exceeds the limit of {MESSAGE_MAX}"
                    )));
                };
                if self.buffer.len() - start < len {
                    return None;
                }
                self.buffer.advance(start);
                let mut payload = self.buffer.split_to(len);
                if let Some(mask) = header.mask {
                    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
                        *byte ^= mask;
                    }
                }
                Some(self.frame(&header, &payload, style))
            }
        }
    }

    fn frame(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        style: ValueStyle,
    ) -> Result<Option<Message>, String> {
        let opcode = match header.opcode {
            OpCode::Control(Control::Close) => return Ok(Some(close(payload))),
            OpCode::Control(Control::Ping) => "ping",
            OpCode::Control(Control::Pong) => "pong",
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(DataOpcode::Reserved(_)) => "reserved",
            // Zeek's server takes binary messages for text.
            OpCode::Data(DataOpcode::Text | DataOpcode::Binary | DataOpcode::Continue) => {
                if self.fragments.len() + payload.len() > MESSAGE_MAX {
                    return Err(format!(
                        "WebSocket message exceeds the limit of {MESSAGE_MAX} bytes"
                    ));
                }
                self.fragments.extend_from_slice(payload);
                if !header.is_final {
                    return Ok(None);
                }
                let message = std::mem::take(&mut self.fragments);
                return Ok(Some(self.message(&message, style)));
            }
        };
        Ok(Some(Message::Frame {
            opcode,
            payload: Hex::new(payload),
        }))
    }

    fn message(&mut self, bytes: &[u8], style: ValueStyle) -> Message {
        let first = !std::mem::replace(&mut self.subscribed, true);
        if first && self.speaker == Speaker::Client {
            return match json::decode_subscriptions(bytes) {
                Ok(prefixes) => Message::Subscribe {
                    topics: strings(&prefixes),
                },
                Err(error) => not_a_message(&error, bytes),
            };
        }
        match ServerMessage::decode(bytes) {
            Ok(ServerMessage::Data(message)) => Message::DataMessage {
                topic: text(&message.topic),
                content: Content::of(&message.data, style),
            },
            Ok(ServerMessage::Ack(ack)) => Message::Ack {
                endpoint: ack.endpoint,
                version: ack.version,
            },
            Ok(ServerMessage::Error(error)) => Message::Error {
                code: error.code,
                context: error.context,
            },
            Err(error) => not_a_message(&error, bytes),
        }
    }
}

fn not_a_message(error: &json::JsonError, bytes: &[u8]) -> Message {
    Message::Text {
        error: error.to_string(),
        text: text(bytes),
    }
}

fn close(payload: &[u8]) -> Message {
    let (code, reason) = match payload.split_first_chunk() {
        Some((code, reason)) => (Some(u16::from_be_bytes(*code)), reason),
        None => (None, payload),
    };
    Message::Close {
        code,
        reason: text(reason),
    }
}
