//! What clients of the WebSocket interface and their server say.

use broker_codec::json::{self, Answer, ServerMessage};

use super::{
    record::Message,
    shown::{Content, Hex, ValueStyle, strings, text},
};
use crate::websocket::Item;

/// `subscribes`: whether it is the first message of a client.
pub(super) fn shown(item: Item, subscribes: bool, style: ValueStyle) -> Message {
    match item {
        Item::Head(head) => {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            Message::Http { line: text(line) }
        }
        Item::Message(message) if subscribes => match json::decode_subscriptions(&message) {
            Ok(prefixes) => Message::Subscribe {
                topics: strings(&prefixes),
            },
            Err(error) => not_a_message(&error, &message),
        },
        Item::Message(message) => match ServerMessage::decode(&message) {
            Ok(ServerMessage::Data(message)) => Message::DataMessage {
                topic: text(&message.topic),
                content: Content::of(&message.data, style),
            },
            Ok(ServerMessage::Answer(Answer::Ack(ack))) => Message::Ack {
                endpoint: ack.endpoint,
                version: ack.version,
            },
            Ok(ServerMessage::Answer(Answer::Error(error))) => Message::Error {
                code: error.code,
                context: error.context,
            },
            Err(error) => not_a_message(&error, &message),
        },
        Item::Control { opcode, payload } => Message::Frame {
            opcode,
            payload: Hex::new(&payload),
        },
        Item::Close(payload) => {
            let (code, reason) = match payload.split_first_chunk() {
                Some((code, reason)) => (Some(u16::from_be_bytes(*code)), reason),
                None => (None, &*payload),
            };
            Message::Close {
                code,
                reason: text(reason),
            }
        }
    }
}

fn not_a_message(error: &json::JsonError, bytes: &[u8]) -> Message {
    Message::Text {
        error: error.to_string(),
        text: text(bytes),
    }
}
