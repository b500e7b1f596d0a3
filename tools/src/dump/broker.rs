//! Frames of Broker's protocol.

use broker_codec::{
    Envelope, EnvelopeKind,
    control::{ByeToken, RoutingUpdate},
    envelope::TTL_DEFAULT,
    handshake::Message as Handshake,
};
use bytes::Bytes;

use super::{
    command,
    record::{Header, Message},
    shown::{Content, Hex, ValueStyle, text, topics},
};
use crate::conversation::Phase;

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

pub(super) fn handshake(message: Handshake) -> Message {
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

pub(super) fn operation(envelope: &Envelope, style: ValueStyle) -> Message {
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
