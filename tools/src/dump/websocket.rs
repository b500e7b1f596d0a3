use broker_codec::json::{self, ServerMessage};

use super::{
    record::Message,
    shown::{Content, Hex, ValueStyle, strings, text},
};
use crate::{
    tcp::Speaker,
    websocket::{Item, Reader},
};

/// One direction of a WebSocket connection: bytes in, messages out.
#[derive(Debug)]
pub(super) struct Direction {
    speaker: Speaker,
    /// `None` once nothing that follows can be read.
    reader: Option<Reader>,
    subscribed: bool,
}

impl Direction {
    pub(super) fn new(speaker: Speaker) -> Self {
        Self {
            speaker,
            reader: Some(Reader::default()),
            subscribed: false,
        }
    }

    /// Notes that bytes are missing here: what follows cannot be read.
    pub(super) fn gap(&mut self) {
        self.reader = None;
    }

    pub(super) fn push(&mut self, bytes: &[u8], style: ValueStyle, show: &mut impl FnMut(Message)) {
        if let Some(reader) = &mut self.reader {
            reader.push(bytes);
        }
        while let Some(reader) = &mut self.reader
            && let Some(item) = reader.read()
        {
            match item {
                Ok(Item::Head(head)) => {
                    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
                    show(Message::Http { line: text(line) });
                }
                Ok(Item::Message(message)) => show(self.message(&message, style)),
                Ok(Item::Control { opcode, payload }) => show(Message::Frame {
                    opcode,
                    payload: Hex::new(&payload),
                }),
                Ok(Item::Close(payload)) => show(close(&payload)),
                Err(error) => {
                    show(Message::Undecodable {
                        error,
                        bytes: Hex::new(reader.rest()),
                    });
                    self.gap();
                }
            }
        }
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
