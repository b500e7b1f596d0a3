use super::*;
use crate::filter::FILTER_TOPICS_MAX;

const A: &str = "11111111111141118111111111111111";
const B: &str = "eeeeeeeeeeee4eee8eeeeeeeeeeeeeee";

fn id(hex: &str) -> EndpointId {
    EndpointId::from_bytes(hex::decode(hex).unwrap().try_into().unwrap())
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace([' ', '\n'], "")).unwrap()
}

fn drop_conn(code: ErrorCode, description: &str) -> Message {
    Message::DropConn(DropConn {
        sender: id(A),
        code,
        description: description.into(),
    })
}

/// Decodes, compares, encodes; every strict prefix is refused, surplus bytes are ignored.
#[track_caller]
fn check(hex: &str, message: &Message) {
    let frame = bytes(hex);
    let content = &frame[4..];
    assert_eq!(Message::decode(content).as_ref(), Ok(message));
    let mut out = BytesMut::new();
    message.encode_frame(&mut out).unwrap();
    assert_eq!(hex::encode(&out), hex::encode(&frame));
    for len in 0..content.len() {
        assert!(
            Message::decode(&content[..len]).is_err(),
            "{len} bytes are enough"
        );
    }
    let mut longer = content.to_vec();
    longer.extend_from_slice(b"surplus");
    assert_eq!(Message::decode(&longer).as_ref(), Ok(message));
}

#[test]
fn each_message_has_broker_s_bytes() {
    check("00000005 07 5a45454b", &Message::Probe);
    check(
        &format!("00000017 06 5a45454b {B} 01 01"),
        &Message::Hello(Hello::new(id(B))),
    );
    check(
        &format!("00000016 08 5a45454b {A} 01"),
        &Message::VersionSelect(VersionSelect {
            sender: id(A),
            version: 1,
        }),
    );
    check(
        "0000007c 0a 03 485f5f5f73796e635f73746f72655f4d616e6167656d656e743a3a436f6e74726f6c6c65723a3a52756e
         74696d653a3a675f636f6e666967732f3c243e2f646174612f6d6173746572
         15 7a65656b2f6d616e6167656d656e742f6167656e74 1a 7a65656b2f6d616e6167656d656e742f636f6e74726f6c6c6572",
        &Message::OriginatorSyn(Announcement {
            filter: vec![
                Topic::from_static("___sync_store_Management::Controller::Runtime::g_configs/<$>/data/master"),
                Topic::from_static("zeek/management/agent"),
                Topic::from_static("zeek/management/controller"),
            ],
        }),
    );
    check(
        "00000023 0b 01 20 7a65656b2f6d616e6167656d656e742f6167656e742f696e7374616e63652d31",
        &Message::ResponderSynAck(Announcement {
            filter: vec![Topic::from_static("zeek/management/agent/instance-1")],
        }),
    );
    check("00000001 0c", &Message::OriginatorAck);
    check(
        "00000002 0a 00",
        &Message::OriginatorSyn(Announcement { filter: Vec::new() }),
    );
    check(
        &format!("0000002b 09 5a45454b {A} 27 14 726564756e64616e7420636f6e6e656374696f6e"),
        &drop_conn(ErrorCode::REDUNDANT_CONNECTION, "redundant connection"),
    );
    check(
        &format!("00000033 09 5a45454b {A} 02 1c 756e737570706f727465642076657273696f6e73206f666665726564"),
        &drop_conn(ErrorCode::PEER_INCOMPATIBLE, "unsupported versions offered"),
    );
}

#[test]
fn any_offer_that_includes_version_1_is_fine() {
    for (min, max, fine) in [
        (1, 99, true),
        (0, 1, true),
        (2, 9, false),
        (0, 0, false),
        (2, 1, false),
    ] {
        let content = bytes(&format!("06 5a45454b {B} {min:02x} {max:02x}"));
        let expected = if fine {
            Ok(Message::Hello(Hello {
                sender: id(B),
                min_version: min,
                max_version: max,
            }))
        } else {
            Err(MessageError::UnsupportedOffer { min, max })
        };
        assert_eq!(Message::decode(&content), expected);
    }
}

#[test]
fn each_bad_message_is_refused_in_broker_s_words() {
    let parse = ErrorCode::INVALID_MESSAGE;
    let magic = ErrorCode::WRONG_MAGIC_NUMBER;
    let version = ErrorCode::PEER_INCOMPATIBLE;
    for (hex, code, text) in [
        ("", parse, "invalid message type tag"),
        ("00", parse, "invalid message type tag"),
        ("01", parse, "invalid message type tag"),
        ("05", parse, "invalid message type tag"),
        ("0d", parse, "invalid message type tag"),
        ("ff", parse, "invalid message type tag"),
        ("06 5a45454b", parse, "failed to parse hello_msg"),
        ("07 5a4545", parse, "failed to parse probe_msg"),
        ("08 5a45454b", parse, "failed to parse version_select_msg"),
        (
            &format!("09 5a45454b {A} 27 14 72"),
            parse,
            "failed to parse drop_conn_msg",
        ),
        ("0a", parse, "failed to parse v1::originator_syn_msg"),
        ("0a 01 ff", parse, "failed to parse v1::originator_syn_msg"),
        (
            "0a feffffff0f 00",
            parse,
            "failed to parse v1::originator_syn_msg",
        ),
        ("0b 01", parse, "failed to parse v1::responder_syn_ack_msg"),
        ("06 5a45454c", parse, "failed to parse hello_msg"),
        (&format!("06 5a45454c {B} 01 01"), magic, "wrong magic number"),
        ("07 00000000", magic, "wrong magic number"),
        (&format!("08 5a45454c {B} 01"), magic, "wrong magic number"),
        (&format!("09 5a45454c {B} 27 00"), magic, "wrong magic number"),
        (&format!("06 5a45454c {B} 02 02"), magic, "wrong magic number"),
        (
            &format!("06 5a45454b {B} 02 02"),
            version,
            "unsupported versions offered",
        ),
        (
            &format!("08 5a45454b {B} 02"),
            version,
            "unsupported version selected",
        ),
        (
            &format!("09 5a45454b {B} 29 03 627965"),
            ErrorCode::UNSPECIFIED,
            "bye",
        ),
    ] {
        let refusal = Message::decode(&bytes(hex)).unwrap_err().refusal();
        assert_eq!((refusal.code, refusal.description), (code, text.into()), "{hex}");
    }
}

#[test]
fn errors_name_the_message_and_the_place() {
    let error = |hex: &str| Message::decode(&bytes(hex)).unwrap_err().to_string();
    assert_eq!(
        error("0a 01 05 61"),
        "failed to parse v1::originator_syn_msg: length 5 exceeds the 1 remaining bytes at byte 1"
    );
    assert_eq!(error(""), "invalid message type tag (none)");
    assert_eq!(error("01"), "invalid message type tag 1");
    assert_eq!(error("07 16030100"), "wrong magic number 0x16030100 in probe_msg");
}

#[test]
fn a_filter_of_the_most_topics_passes_and_one_more_is_refused() {
    for (count, fine) in [(FILTER_TOPICS_MAX, true), (FILTER_TOPICS_MAX + 1, false)] {
        let filter = vec![Topic::default(); count];
        let message = Message::OriginatorSyn(Announcement { filter });
        let content = message.encode().unwrap();
        assert_eq!(Message::decode(&content).is_ok(), fine, "{count}");
    }
}

#[test]
fn a_message_beyond_the_frame_limit_is_not_sent() {
    let filter = vec![Topic::new(vec![b'x'; 65_535]).unwrap(); 17];
    let mut out = BytesMut::new();
    let error = Message::OriginatorSyn(Announcement { filter })
        .encode_frame(&mut out)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "message of 1114148 bytes exceeds the frame limit of 1048576"
    );
    assert!(out.is_empty());
}
