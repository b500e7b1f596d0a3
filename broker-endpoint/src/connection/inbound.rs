//! Which data messages reach the owner of the endpoint.

use broker_codec::{
    Data,
    binary::{self, DecodeError},
    data::DataError,
    zeek::{Message, MessageView, message_type},
};

/// What a payload holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// What the owner gets, in order.
    pub(super) messages: Vec<Data>,
    /// How many messages it does not get.
    pub(super) ignored: usize,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ContentsError {
    #[error(transparent)]
    Value(#[from] DecodeError),
    #[error("batch of messages: {0}")]
    Batch(#[from] DataError),
}

/// Reads the payload of a data message.
///
/// Logs and identifier updates are left out, and not even decoded where they come alone. A Zeek would write the logs and
/// set its variables; there is nothing that we would do with them, and an owner that never sees them cannot be talked into
/// anything by them (W-11, W-12).
pub(super) fn read(payload: &[u8]) -> Result<Contents, ContentsError> {
    let mut contents = Contents::default();
    match MessageView::new(payload).map(|message| message.message_type()) {
        Some(message_type::LOG_CREATE | message_type::LOG_WRITE | message_type::IDENTIFIER_UPDATE) => {
            contents.ignored = 1;
        }
        Some(message_type::BATCH) => contents.take_apart(Message::from_data(binary::decode(payload)?)?),
        _ => contents.messages.push(binary::decode(payload)?),
    }
    Ok(contents)
}

impl Contents {
    /// The decoder bounds the depth of batches in batches.
    fn take_apart(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.messages.push(event.into_data()),
            Message::Batch(messages) => {
                for message in messages {
                    self.take_apart(message);
                }
            }
            Message::Other { .. } => self.ignored += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_codec::{data::EnumValue, zeek::Event};
    use bytes::BytesMut;

    use super::*;

    fn event(name: &str) -> Message {
        Message::Event(Event {
            name: name.into(),
            args: vec![Data::Count(1)],
            metadata: None,
        })
    }

    fn other(message_type: u64, content: impl Into<Vec<Data>>) -> Message {
        Message::Other {
            message_type,
            content: content.into(),
        }
    }

    /// The stream and its writer.
    fn log() -> [Data; 2] {
        ["Conn::LOG", "Log::WRITER_ASCII"].map(|name| Data::EnumValue(EnumValue(name.into())))
    }

    fn log_write() -> Message {
        let [stream, writer] = log();
        let text = |text: &str| Data::String(text.into());
        other(
            message_type::LOG_WRITE,
            [stream, writer, text("conn"), text("\x01")],
        )
    }

    fn payload(data: &Data) -> Vec<u8> {
        let mut payload = BytesMut::new();
        binary::encode(data, &mut payload).unwrap();
        payload.to_vec()
    }

    fn check(message: Message, messages: Vec<Message>, ignored: usize) {
        let messages = messages.into_iter().map(Message::into_data).collect();
        assert_eq!(
            read(&payload(&message.into_data())).unwrap(),
            Contents { messages, ignored }
        );
    }

    #[test]
    fn events_and_other_data_pass() {
        check(event("hello"), vec![event("hello")], 0);
        let data = Data::Vector(vec![Data::Count(1), Data::Count(3)]);
        assert_eq!(read(&payload(&data)).unwrap().messages, [data]);
    }

    #[test]
    fn logs_and_identifier_updates_do_not_pass() {
        let [stream, writer] = log();
        let [info, fields] = [Data::Vector(Vec::new()), Data::Vector(Vec::new())];
        let role = Data::String("Management::role".into());
        for message in [
            log_write(),
            other(message_type::LOG_CREATE, [stream, writer, info, fields]),
            other(message_type::IDENTIFIER_UPDATE, [role, Data::None]),
        ] {
            check(message, vec![], 1);
        }
    }

    #[test]
    fn a_log_is_not_decoded() {
        let mut payload = payload(&log_write().into_data());
        payload.pop();
        assert_eq!(read(&payload).unwrap().ignored, 1);
    }

    #[test]
    fn batches_are_taken_apart() {
        let batch = Message::Batch(vec![
            log_write(),
            event("one"),
            Message::Batch(vec![event("two"), log_write()]),
            event("three"),
        ]);
        check(batch, vec![event("one"), event("two"), event("three")], 2);
    }

    #[test]
    fn broken_payloads_are_errors() {
        let bad_batch = Message::Batch(vec![event("one")]).into_data();
        let Data::Vector(mut elements) = bad_batch else {
            panic!("a list")
        };
        elements[2] = Data::Vector(vec![Data::None]);
        for payload in [
            b"".to_vec(),
            b"\x0e\x01".to_vec(),
            b"\xff".to_vec(),
            payload(&Data::Vector(elements)),
        ] {
            assert!(read(&payload).is_err(), "{payload:?}");
        }
    }
}
