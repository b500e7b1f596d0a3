//! Every captured frame decodes to what Broker decoded, and encodes to the same bytes.

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use broker_codec::{
    Data, Envelope, EnvelopeKind, Topic, binary,
    control::{ByeToken, RoutingUpdate},
    handshake::Message,
    json,
};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tools::dump::command;

use crate::support::frames::{FRAMES, Frame, Phase, RECORDINGS, frames};

#[test]
fn every_captured_frame_reads_as_broker_reads_it_and_writes_as_it_came() {
    let mut count = 0;
    for recording in RECORDINGS {
        for (number, frame) in (1..).zip(frames(recording)) {
            let context = format!("{recording}, line {number}");
            match frame.phase {
                Phase::Handshake => check_handshake(frame, &context),
                Phase::Operation => check_operation(frame, &context),
            }
            count += 1;
        }
    }
    assert_eq!(count, FRAMES);
}

/// But for pings, whose content is anything, and for a routing update of nothing.
#[test]
fn every_strict_prefix_of_every_captured_frame_is_refused() {
    let all = RECORDINGS.iter().flat_map(|recording| frames(recording));
    let distinct: BTreeMap<&[u8], Phase> = all.map(|frame| (&*frame.bytes, frame.phase)).collect();
    let distinct: Vec<_> = distinct.into_iter().collect();
    assert_eq!(distinct.len(), 5911);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((bytes, phase)) = distinct.get(next.fetch_add(1, Ordering::Relaxed)) {
            let bytes = Bytes::copy_from_slice(bytes);
            for length in 0..bytes.len() {
                let prefix = bytes.slice(..length);
                let refused = match phase {
                    Phase::Handshake => Message::decode(&prefix).is_err(),
                    Phase::Operation => is_refused(&prefix),
                };
                assert!(refused, "{}", hex::encode(prefix));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
}

fn is_refused(frame: &Bytes) -> bool {
    let Ok(envelope) = Envelope::decode(frame.clone()) else {
        return true;
    };
    let payload = &envelope.payload;
    match envelope.kind {
        EnvelopeKind::Data => binary::decode(payload).is_err(),
        EnvelopeKind::Command => command::shown(payload).is_err(),
        EnvelopeKind::RoutingUpdate => payload.is_empty() || RoutingUpdate::decode(payload).is_err(),
        EnvelopeKind::Ping | EnvelopeKind::Pong => true,
    }
}

fn check_handshake(frame: &Frame, context: &str) {
    let message = Message::decode(&frame.bytes).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(message.encode().unwrap(), frame.bytes, "{context}");
    let magic = "5a45454b";
    let kind = message.name();
    let expected = match &message {
        Message::Hello(hello) => json!({
            "type": kind,
            "magic": magic,
            "sender": hello.sender.to_string(),
            "min_version": hello.min_version,
            "max_version": hello.max_version,
        }),
        Message::Probe => json!({"type": kind, "magic": magic}),
        Message::VersionSelect(select) => json!({
            "type": kind,
            "magic": magic,
            "sender": select.sender.to_string(),
            "selected_version": select.version,
        }),
        Message::OriginatorSyn(syn) => json!({"type": kind, "filter": strings(&syn.filter)}),
        Message::ResponderSynAck(ack) => json!({"type": kind, "filter": strings(&ack.filter)}),
        Message::OriginatorAck => json!({"type": kind}),
        Message::DropConn(_) => panic!("{context}: no recording has a drop_conn"),
    };
    assert_eq!(Some(&expected), frame.message.as_ref(), "{context}");
}

fn check_operation(frame: &Frame, context: &str) {
    let envelope = Envelope::decode(Bytes::from(frame.bytes.clone()))
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut encoded = BytesMut::new();
    envelope.encode(&mut encoded);
    assert_eq!(encoded, frame.bytes, "{context}");
    if envelope.kind == EnvelopeKind::Data {
        check_data(frame, &envelope, context);
        return;
    }
    let topic = envelope.topic.to_string();
    let text = match envelope.kind {
        EnvelopeKind::Data => unreachable!("data is checked above"),
        EnvelopeKind::Command => {
            let command =
                command::shown(&envelope.payload).unwrap_or_else(|error| panic!("{context}: {error}"));
            format!("command({topic}, broker::{command})")
        }
        EnvelopeKind::RoutingUpdate => {
            let update =
                RoutingUpdate::decode(&envelope.payload).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(update.encode().unwrap(), envelope.payload, "{context}");
            format!(
                "routing_update({topic}, {{{}}})",
                strings(&update.topics).join(", ")
            )
        }
        kind @ (EnvelopeKind::Ping | EnvelopeKind::Pong) => {
            let token = ByeToken::decode(&envelope.payload).unwrap_or_else(|| panic!("{context}: not a BYE"));
            assert_eq!(token.encode(), envelope.payload, "{context}");
            format!("{}({})", kind.name(), hex::encode(&envelope.payload))
        }
    };
    let mut expected = header(&envelope);
    expected["text"] = text.into();
    assert_eq!(Some(&expected), frame.message.as_ref(), "{context}");
}

fn check_data(frame: &Frame, envelope: &Envelope, context: &str) {
    let data = binary::decode(&envelope.payload).unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut encoded = BytesMut::new();
    binary::encode(&data, &mut encoded).unwrap();
    assert_eq!(encoded, envelope.payload, "{context}");
    let mut text = String::new();
    json::encode(&data, &mut text).unwrap();
    let ours: Value = serde_json::from_str(&text).unwrap();
    let Some(raw) = &frame.message_json_hex else {
        let mut expected = header(envelope);
        expected["data"] = ours;
        assert_eq!(Some(&expected), frame.message.as_ref(), "{context}");
        return;
    };
    // Broker's text is no JSON here: strings hold raw control characters and bytes that are no UTF-8.
    let separator = br#","data":"#;
    let split = raw
        .windows(separator.len())
        .position(|window| window == separator)
        .unwrap_or_else(|| panic!("{context}: no data"));
    let mut head = raw[..split].to_vec();
    head.push(b'}');
    assert_eq!(
        serde_json::from_slice::<Value>(&head).unwrap(),
        header(envelope),
        "{context}"
    );
    let mut broker = Vec::new();
    write_as_broker(&data, &mut broker);
    broker.push(b'}');
    assert_eq!(
        broker.escape_ascii().to_string(),
        raw[split + separator.len()..].escape_ascii().to_string(),
        "{context}"
    );
}

fn header(envelope: &Envelope) -> Value {
    json!({
        "type": envelope.kind.name(),
        "sender": envelope.sender.to_string(),
        "receiver": envelope.receiver.to_string(),
        "ttl": envelope.ttl,
        "topic": envelope.topic.to_string(),
    })
}

fn strings(topics: &[Topic]) -> Vec<String> {
    topics.iter().map(Topic::to_string).collect()
}

/// As `format/json.hh` writes: strings with their raw bytes and few escapes. Everything else is our own writer's.
fn write_as_broker(data: &Data, out: &mut Vec<u8>) {
    let (kind, elements) = match data {
        Data::String(string) => {
            out.extend_from_slice(br#"{"@data-type":"string","data":""#);
            for byte in string.as_bytes() {
                match byte {
                    b'"' => out.extend_from_slice(br#"\""#),
                    b'\\' => out.extend_from_slice(br"\\"),
                    0x08 => out.extend_from_slice(br"\b"),
                    0x0c => out.extend_from_slice(br"\f"),
                    b'\n' => out.extend_from_slice(br"\n"),
                    b'\r' => out.extend_from_slice(br"\r"),
                    b'\t' => out.extend_from_slice(br"\t"),
                    0x0b => out.extend_from_slice(br"\v"),
                    other => out.push(*other),
                }
            }
            out.extend_from_slice(br#""}"#);
            return;
        }
        Data::Vector(elements) => ("vector", elements.iter()),
        Data::Set(elements) => ("set", elements.iter()),
        leaf => {
            let mut text = String::new();
            json::encode(leaf, &mut text).unwrap();
            out.extend_from_slice(text.as_bytes());
            return;
        }
    };
    out.extend_from_slice(format!(r#"{{"@data-type":"{kind}","data":["#).as_bytes());
    for (index, element) in elements.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_as_broker(element, out);
    }
    out.extend_from_slice(b"]}");
}
