use bytes::BytesMut;

use crate::{
    binary,
    data::Data,
    json::{self as text, JsonErrorKind},
    zeek::{Message, MessageView},
};

/// Any bytes as a value in the binary format.
pub fn value(input: &[u8]) {
    let view = MessageView::new(input);
    let Ok(data) = binary::decode(input) else { return };

    // Not the same bytes: booleans may not have been 0 or 1, reals none that Broker writes.
    let encoded = encode(&data);
    assert_eq!(encoded.len(), input.len(), "the encoder writes another length");
    if reals_survive(&data) {
        let again = binary::decode(&encoded).expect("what was encoded decodes");
        assert_eq!(again, data, "the value changes on its way");
        assert_eq!(encode(&again), encoded, "the bytes change on their way");
    }

    text_survives(&data);
    let _ = data.to_string();
    if let Ok(message) = Message::from_data(data) {
        if let Message::Event(event) = &message {
            let name = view.and_then(|view| view.event_name());
            assert_eq!(name, Some(event.name.as_bytes()), "the view sees another name");
        }
        let data = message.clone().into_data();
        assert_eq!(
            Message::from_data(data),
            Ok(message),
            "the message changes on its way"
        );
    }
}

/// Any bytes as the JSON text of a value, of a message or of subscriptions.
pub fn json(input: &[u8]) {
    if let Ok(data) = text::decode(input) {
        text_survives(&data);
    }
    if let Ok(message) = text::DataMessage::decode(input) {
        let read = text::ServerMessage::decode(input);
        assert!(read.is_ok(), "a server may send what a client may: {read:?}");
        text_survives(&message.data);
    }
    let _ = text::decode_subscriptions(input);
}

/// Whether the value has none of the reals that Broker's format can express but not write: those next to zero become zero.
fn reals_survive(data: &Data) -> bool {
    match data {
        Data::Real(_) => binary::decode(&encode(data)).as_ref() == Ok(data),
        Data::Set(elements) => elements.iter().all(reals_survive),
        Data::Table(entries) => entries
            .iter()
            .all(|(key, value)| reals_survive(key) && reals_survive(value)),
        Data::Vector(elements) => elements.iter().all(reals_survive),
        _ => true,
    }
}

fn encode(data: &Data) -> BytesMut {
    let mut bytes = BytesMut::new();
    binary::encode(data, &mut bytes).expect("what was decoded can be encoded");
    bytes
}

fn text_survives(data: &Data) {
    let written = write(data);
    match text::decode(written.as_bytes()) {
        // The reader masks the host bits of subnets, after which nothing changes any more.
        Ok(read) => {
            let masked = write(&read);
            match text::decode(masked.as_bytes()) {
                Ok(read) => assert_eq!(write(&read), masked, "the text changes on its way"),
                Err(error) => assert_eq!(error.kind, JsonErrorKind::Duplicate, "{masked}"),
            }
        }
        // The text has fewer digits than the value: two elements of a set may have become one. And a subnet may have a
        // length that Broker writes but no text should have.
        Err(error) => assert!(
            matches!(error.kind, JsonErrorKind::Duplicate | JsonErrorKind::Text(_)),
            "{error}: {written}"
        ),
    }
}

fn write(data: &Data) -> String {
    let mut text = String::new();
    text::encode(data, &mut text).expect("what was decoded can be written");
    text
}
