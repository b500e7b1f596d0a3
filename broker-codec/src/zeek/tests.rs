use super::*;
use crate::{
    binary,
    data::{Data, EnumValue, Timestamp},
};

fn count(value: u64) -> Data {
    Data::Count(value)
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

fn list(elements: impl Into<Vec<Data>>) -> Data {
    Data::Vector(elements.into())
}

fn encoded(data: &Data) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    binary::encode(data, &mut out).unwrap();
    out.to_vec()
}

fn event(metadata: Option<Vec<(u64, Data)>>) -> Event {
    Event {
        name: "Management::Controller::API::get_instances_request".into(),
        args: vec![text("req-1")],
        metadata,
    }
}

/// The payload of a frame that Zeek sends.
const GET_INSTANCES: &str = "0e03020000000000000001020000000000000001\
    0e0205324d616e6167656d656e743a3a436f6e74726f6c6c65723a3a4150493a3a6765745f696e7374616e6365735f72657175657374\
    0e0105057265712d31";

#[test]
fn events_travel_as_zeek_sends_them() {
    let without = hex::decode(GET_INSTANCES).unwrap();
    let empty = [&without[..20], &[0x0e, 3], &without[22..], &[0x0e, 0]].concat();
    let timestamp = hex::decode("0e010e0202000000000000000109 17979cfe3d85cd15".replace(' ', "")).unwrap();
    let stamped = [&empty[..empty.len() - 2], &timestamp].concat();
    let time = Data::Timestamp(Timestamp(1_700_000_000_123_456_789));
    for (bytes, metadata) in [
        (without, None),
        (empty, Some(vec![])),
        (stamped, Some(vec![(NETWORK_TIMESTAMP, time)])),
    ] {
        let read = Event::from_data(binary::decode(&bytes).unwrap()).unwrap();
        assert_eq!(read, event(metadata));
        assert_eq!(encoded(&read.to_data()), bytes);
        assert_eq!(Message::from_data(read.to_data()), Ok(Message::Event(read)));
    }
}

#[test]
fn an_event_that_is_shared_is_the_same_bytes_for_each_receiver_with_its_own_first_argument() {
    for metadata in [None, Some(vec![]), Some(vec![(NETWORK_TIMESTAMP, Data::None)])] {
        let arguments = |first: &str| vec![text(first), list([count(1), list([])]), Data::Boolean(true)];
        let of = |first| Event {
            args: arguments(first),
            ..event(metadata.clone())
        };
        let shared = SharedEvent::new(&of("r")).unwrap();
        for first in ["", "r", &"long".repeat(100)] {
            let payload = shared.with(&text(first)).unwrap();
            assert_eq!(payload.to_bytes(), encoded(&of(first).to_data()));
            assert!(payload.own.len() < 100 + first.len());
        }
        let [one, other] = ["1", "2"].map(|first| shared.with(&text(first)).unwrap().shared);
        assert_eq!(one.as_ptr(), other.as_ptr(), "it is not copied");
    }
}

#[test]
fn events_that_end_alike_are_the_same_bytes_and_share_their_end() {
    let of = |last: String| Event {
        args: vec![text("r"), text("prepare"), text(&last)],
        ..event(Some(vec![]))
    };
    for (own, rest) in [("", ""), ("{", "}"), ("x", &"y".repeat(1000))] {
        let end = SharedEnd::new(rest.as_bytes()).unwrap();
        let mut others = of(String::new());
        others.args.pop();
        let payload = end.after(others, own.as_bytes()).unwrap();
        assert_eq!(payload.to_bytes(), encoded(&of([own, rest].concat()).to_data()));
        assert_eq!(payload.shared.len(), rest.len() + 2);
    }
}

#[test]
fn what_is_no_event_is_refused() {
    let name = || text("e");
    let event = |content: Vec<Data>| list([count(1), count(1), list(content)]);
    for (data, error) in [
        (count(1), "a Zeek message is a list"),
        (list([]), "a Zeek message begins with version 1"),
        (
            list([count(2), count(1), list([])]),
            "a Zeek message begins with version 1",
        ),
        (
            list([count(1), count(1)]),
            "a Zeek message has a type and a list of contents",
        ),
        (
            list([count(1), count(1), name()]),
            "a Zeek message has a type and a list of contents",
        ),
        (
            list([count(1), Data::Integer(1), list([])]),
            "a Zeek message has a type and a list of contents",
        ),
        (
            list([count(1), count(4), list([name(), name()])]),
            "not an event message",
        ),
        (event(vec![]), "name: missing"),
        (
            event(vec![count(1), list([])]),
            "name: expected string, found count",
        ),
        (event(vec![name()]), "args: missing"),
        (event(vec![name(), name()]), "args: expected vector, found string"),
        (
            event(vec![name(), list([]), count(1)]),
            "metadata: expected vector, found count",
        ),
        (
            event(vec![name(), list([]), list([count(1)])]),
            "metadata[0]: each entry is a list of id and value",
        ),
        (
            event(vec![
                name(),
                list([]),
                list([list([count(9), count(1), count(1)])]),
            ]),
            "metadata[0]: each entry is a list of id and value",
        ),
        (
            event(vec![
                name(),
                list([]),
                list([list([count(200), count(1)]), list([count(1), count(1)])]),
            ]),
            "metadata[1]: expected timestamp, found count",
        ),
    ] {
        assert_eq!(Event::from_data(data).unwrap_err().to_string(), error);
    }
}

#[test]
fn surplus_elements_are_ignored() {
    let data = list([
        count(1),
        count(1),
        list([text("e"), list([]), list([]), count(7)]),
        count(8),
    ]);
    let event = Event::from_data(data).unwrap();
    assert_eq!(
        event.to_data(),
        list([count(1), count(1), list([text("e"), list([]), list([])])])
    );
}

fn every_message() -> Message {
    let name = |name: &str| Data::EnumValue(EnumValue(name.into()));
    let (stream, writer) = (name("Conn::LOG"), name("Log::WRITER_ASCII"));
    let other = |message_type, content| Message::Other {
        message_type,
        content,
    };
    let records = Data::String((&[0_u8, 0xff][..]).into());
    Message::Batch(vec![
        Message::Event(event(None)),
        Message::Batch(vec![]),
        other(
            2,
            vec![stream.clone(), writer.clone(), list([text("conn")]), list([])],
        ),
        other(3, vec![stream, writer, text("conn"), records]),
        other(4, vec![text("Log::default_rotation_interval"), Data::None]),
    ])
}

#[test]
fn every_message_survives_the_round_trip() {
    assert_eq!(
        Message::from_data(every_message().into_data()),
        Ok(every_message())
    );
}

#[test]
fn one_bad_message_makes_the_batch_bad() {
    let batch = |message| list([count(1), count(5), list([every_message().into_data(), message])]);
    for (message, error) in [
        (
            list([count(1), count(6), list([])]),
            "[1]: unknown message type 6",
        ),
        (
            list([count(1), count(2), list([text("x")])]),
            "[1].stream: expected enum-value, found string",
        ),
        (
            list([count(1), count(4), list([text("x")])]),
            "[1].value: missing",
        ),
        (batch(text("x")), "[1][1]: a Zeek message is a list"),
    ] {
        assert_eq!(Message::from_data(batch(message)).unwrap_err().to_string(), error);
    }
}

#[test]
fn the_name_of_an_event_is_read_without_decoding() {
    let payload = hex::decode(GET_INSTANCES).unwrap();
    let view = MessageView::new(&payload).unwrap();
    assert_eq!(view.event_name(), Some(event(None).name.as_bytes()));
    assert_eq!(view.message_type(), 1);
    let batch = encoded(&every_message().into_data());
    let view = MessageView::new(&batch).unwrap();
    assert_eq!((view.message_type(), view.event_name()), (5, None));

    let name_ends = payload.len() - 9;
    for length in 0..name_ends {
        assert_eq!(MessageView::new(&payload[..length]), None, "{length}");
    }
    assert!(MessageView::new(&payload[..name_ends]).is_some());
    assert_eq!(
        MessageView::new(&encoded(&list([count(1), count(1), list([text("x")])]))),
        None
    );
    assert_eq!(
        MessageView::new(&encoded(&list([count(2), count(1), list([])]))),
        None
    );
    assert_eq!(MessageView::new(&encoded(&count(1))), None);
}
