use super::*;
use crate::{
    data::{DEPTH_MAX, Kind, Real, Table, VALUES_MAX, ZeekString},
    zeek::Event,
};

fn text_of(data: &Data) -> String {
    let mut text = String::new();
    encode(data, &mut text).unwrap();
    text
}

fn read(text: &str) -> Result<Data, JsonErrorKind> {
    decode(text.as_bytes()).map_err(|error| error.kind)
}

/// Texts from Broker's encoder.
#[test]
fn values_read_and_write_as_broker_does() {
    for text in [
        r#"{"@data-type":"none","data":{}}"#,
        r#"{"@data-type":"boolean","data":true}"#,
        r#"{"@data-type":"count","data":42}"#,
        r#"{"@data-type":"integer","data":-7}"#,
        r#"{"@data-type":"real","data":1.500000}"#,
        r#"{"@data-type":"string","data":"foo"}"#,
        r#"{"@data-type":"address","data":"10.0.0.1"}"#,
        r#"{"@data-type":"address","data":"2001:db8::1"}"#,
        r#"{"@data-type":"subnet","data":"10.0.0.0/8"}"#,
        r#"{"@data-type":"port","data":"80/tcp"}"#,
        r#"{"@data-type":"timestamp","data":"1970-01-01T00:00:00.000"}"#,
        r#"{"@data-type":"timespan","data":"5s"}"#,
        r#"{"@data-type":"timespan","data":"1500ms"}"#,
        r#"{"@data-type":"enum-value","data":"Management::AGENT"}"#,
        r#"{"@data-type":"set","data":[{"@data-type":"count","data":1},{"@data-type":"count","data":2}]}"#,
        r#"{"@data-type":"table","data":[{"key":{"@data-type":"string","data":"a"},"value":{"@data-type":"count","data":1}}]}"#,
        r#"{"@data-type":"vector","data":[]}"#,
        r#"{"@data-type":"string","data":"\\ \" \b \f \n \r \t / é 🦓"}"#,
    ] {
        assert_eq!(text_of(&read(text).unwrap()), text);
    }
}

#[test]
fn members_may_stand_in_any_order_among_others_and_white_space() {
    let expected = read(
        r#"{"@data-type":"table","data":[{"key":{"@data-type":"count","data":1},"value":{"@data-type":"set","data":[{"@data-type":"port","data":"1/udp"}]}}]}"#,
    );
    let text = "\r\n{ \"data\" : [ {\"value\": {\"data\":[{\"data\":\"1/udp\",\"@data-type\":\"port\"}],\"@data-type\":\"set\"},\t
        \"more\": [null, {\"data\": [1.5e-3, \"\\u0041\"]}, []], \"key\": {\"data\":1,\"x\":{},\"@data-type\":\"count\"} } ],
        \"@data-type\" : \"table\", \"key\": nan } \r\n";
    assert_eq!(read(text), expected);
    for (kind, data) in [
        ("vector", Data::Vector(vec![])),
        ("table", Data::Table(Table::default())),
    ] {
        assert_eq!(read(&format!(r#"{{"data":[],"@data-type":"{kind}"}}"#)), Ok(data));
    }
    assert_eq!(read(r#"{"data":{"a":[{}]},"@data-type":"none"}"#), Ok(Data::None));
    assert_eq!(read(r#"{"data":null,"@data-type":"none"}"#), Ok(Data::None));
}

#[test]
fn numbers() {
    let value = |kind: &str, number: &str| read(&format!(r#"{{"@data-type":"{kind}","data":{number}}}"#));
    assert_eq!(value("count", "18446744073709551615"), Ok(Data::Count(u64::MAX)));
    assert_eq!(
        value("integer", "-9223372036854775808"),
        Ok(Data::Integer(i64::MIN))
    );
    for (number, real) in [
        ("42", 42.0),
        ("-0", -0.0),
        ("0.1", 0.1),
        ("1e3", 1000.0),
        ("2.5E-1", 0.25),
        ("nan", f64::NAN),
    ] {
        let Ok(Data::Real(Real(read))) = value("real", number) else {
            panic!("{number}")
        };
        assert_eq!(
            (read.is_nan(), read.to_bits()),
            (
                real.is_nan(),
                if real.is_nan() {
                    read.to_bits()
                } else {
                    real.to_bits()
                }
            )
        );
    }
    for infinity in ["inf", "\"inf\""] {
        assert_eq!(value("real", infinity), Ok(Data::Real(Real(f64::INFINITY))));
    }
    assert_eq!(
        value("count", "18446744073709551616"),
        Err(JsonErrorKind::OutOfRange(Kind::Count))
    );
    assert_eq!(value("count", "-1"), Err(JsonErrorKind::OutOfRange(Kind::Count)));
    assert_eq!(
        value("integer", "9223372036854775808"),
        Err(JsonErrorKind::OutOfRange(Kind::Integer))
    );
    assert_eq!(value("real", "1e999"), Err(JsonErrorKind::OutOfRange(Kind::Real)));
    for number in ["1.0", "1e0", "nan", "true", "\"1\"", "null", "{}", "[]"] {
        assert_eq!(
            value("count", number),
            Err(JsonErrorKind::Mismatch(Kind::Count)),
            "{number}"
        );
    }
    for number in [
        "010", "0x10", "0b1", "+1", "1.", ".5", "-", "1e", "1e+", "--1", "1x", "Infinity", "NaN", "nano",
        "truex",
    ] {
        let error = value("real", number).unwrap_err();
        assert!(matches!(error, JsonErrorKind::Expected(_)), "{number}: {error}");
    }
}

#[test]
fn strings() {
    let string = |text: &str| read(&format!("{{\"@data-type\":\"string\",\"data\":\"{text}\"}}"));
    for (text, content) in [
        (r"\/\\\u0000\u00e9\ud83e\udd93\v", "/\\\0é🦓\u{b}"),
        ("raw \u{1} \n \u{b}", "raw \u{1} \n \u{b}"),
    ] {
        assert_eq!(string(text), Ok(Data::String(content.into())));
    }
    for text in [
        r"\ud83e",
        r"\udd93",
        r"\ud83e\u0041",
        r"\u00g0",
        r"\u+123",
        r"\u12",
        r"\x41",
        r"\'",
    ] {
        assert!(matches!(string(text), Err(JsonErrorKind::Expected(_))), "{text}");
    }
    let raw = b"{\"@data-type\":\"string\",\"data\":\"\xff\"}";
    let data = decode(raw).unwrap();
    assert_eq!(data, Data::String(ZeekString::from(&b"\xff"[..])));
}

#[test]
fn what_broker_writes_as_invalid_json_is_written_as_json() {
    for (data, text) in [
        (
            Data::String("\u{b}\u{1}\u{7f}".into()),
            "\"\\u000b\\u0001\u{7f}\"",
        ),
        (
            Data::String(ZeekString::from(&b"a\xff\xc3b\xf0\x9f"[..])),
            "\"a\u{fffd}\u{fffd}b\u{fffd}\"",
        ),
        (Data::Real(Real(-f64::NAN)), "\"nan\""),
        (Data::Real(Real(f64::INFINITY)), "\"inf\""),
        (Data::Real(Real(f64::NEG_INFINITY)), "\"-inf\""),
    ] {
        let kind = data.kind();
        let written = text_of(&data);
        assert_eq!(written, format!("{{\"@data-type\":\"{kind}\",\"data\":{text}}}"));
        serde_json::from_str::<serde_json::Value>(&written).unwrap();
        assert_eq!(text_of(&read(&written).unwrap()), written);
    }
}

#[test]
fn errors_say_what_and_where() {
    for (text, error) in [
        ("", "unexpected end of text at byte 0"),
        ("[]", "expected an object at byte 0"),
        ("{}", "missing member `@data-type` at byte 0"),
        (r#" {"data":1}"#, "missing member `@data-type` at byte 1"),
        (r#"{"@data-type":"count"}"#, "missing member `data` at byte 0"),
        (
            r#"{"@data-type":"cunt","data":1}"#,
            "unknown data type at byte 14",
        ),
        (r#"{"@data-type":7,"data":1}"#, "expected a string at byte 14"),
        (
            r#"{"@data-type":"count","data":1,}"#,
            "expected a string at byte 31",
        ),
        (
            r#"{"@data-type":"count","data":1} x"#,
            "text after the value at byte 32",
        ),
        (
            r#"{"@data-type":"count","data":1"#,
            "unexpected end of text at byte 30",
        ),
        (
            r#"{"@data-type":"count" "data":1}"#,
            "expected a comma or the end of the object at byte 22",
        ),
        (
            r#"{"@data-type":"address","data":"::x"}"#,
            "invalid address: expected an IPv4 or IPv6 address at byte 31",
        ),
        (
            r#"{"data":"::x","@data-type":"address"}"#,
            "invalid address: expected an IPv4 or IPv6 address at byte 8",
        ),
        (
            r#"{"@data-type":"count","data":1,"data":2}"#,
            "duplicate member `data` at byte 38",
        ),
        (
            r#"{"@data-type":"set","data":[{"@data-type":"count","data":1},{"@data-type":"count","data":1}]}"#,
            "duplicate element or key at byte 27",
        ),
        (
            r#"{"data":[{"key":{"@data-type":"none","data":0},"value":{"@data-type":"none","data":0}}],"@data-type":"set"}"#,
            "expected data of a set at byte 8",
        ),
    ] {
        assert_eq!(decode(text.as_bytes()).unwrap_err().to_string(), error, "{text}");
    }
}

fn nested(levels: usize) -> String {
    let open = r#"{"@data-type":"vector","data":["#;
    format!("{}{}", open.repeat(levels), "]}".repeat(levels))
}

#[test]
fn depth_is_limited() {
    let deepest = read(&nested(DEPTH_MAX)).unwrap();
    assert_eq!(text_of(&deepest), nested(DEPTH_MAX));
    assert_eq!(
        encode(&Data::Vector(vec![deepest]), &mut String::new()),
        Err(EncodeError::TooDeep)
    );
    for text in [
        nested(DEPTH_MAX + 1),
        nested(100_000),
        format!(r#"{{"data":[{}"#, r#"{"data":["#.repeat(100_000)),
        format!(r#"{{"x":{}"#, "[".repeat(100_000)),
        format!(r#"{{"x":{}"#, r#"{"":"#.repeat(100_000)),
    ] {
        assert_eq!(read(&text), Err(JsonErrorKind::TooDeep));
    }
}

#[test]
fn size_and_number_of_values_are_limited() {
    let large = vec![b' '; SIZE_MAX + 1];
    assert_eq!(decode(&large).unwrap_err().kind, JsonErrorKind::TooLarge);
    assert_eq!(
        decode(&large[1..]).unwrap_err().kind,
        JsonErrorKind::UnexpectedEnd
    );
    // With the shortest element that there is, the limit on the size comes first.
    assert!(VALUES_MAX > SIZE_MAX / r#"{"@data-type":"none","data":0},"#.len());
}

#[test]
fn data_messages() {
    let text = r#"{"type":"data-message","topic":"zeek/management/controller","@data-type":"vector","data":[{"@data-type":"count","data":1},{"@data-type":"count","data":1},{"@data-type":"vector","data":[{"@data-type":"string","data":"Management::Controller::API::get_instances_request"},{"@data-type":"vector","data":[{"@data-type":"string","data":"req-1"}]}]}]}"#;
    let message = DataMessage::decode(text.as_bytes()).unwrap();
    assert_eq!(message.encode().unwrap(), text);
    assert_eq!(
        ServerMessage::decode(text.as_bytes()),
        Ok(ServerMessage::Data(message.clone()))
    );
    let event = Event::from_data(message.data).unwrap();
    assert_eq!(event.name, "Management::Controller::API::get_instances_request");
    assert_eq!(event.args, [Data::String("req-1".into())]);

    // zeek-client writes the members in alphabetical order and puts white space between them.
    let sorted = r#"{"@data-type": "count", "data": 1, "topic": "t", "type": "data-message"}"#;
    let message = DataMessage {
        topic: "t".into(),
        data: Data::Count(1),
    };
    assert_eq!(DataMessage::decode(sorted.as_bytes()), Ok(message));
}

#[test]
fn data_messages_that_are_none() {
    let decode = |text: &str| DataMessage::decode(text.as_bytes()).unwrap_err().kind;
    assert_eq!(
        decode(r#"{"@data-type":"count","data":1}"#),
        JsonErrorKind::NoTopic
    );
    assert_eq!(
        decode(r#"{"topic":1,"@data-type":"count","data":1}"#),
        JsonErrorKind::NoTopic
    );
    assert_eq!(
        decode(r#"{"topic":"t","data":1}"#),
        JsonErrorKind::MissingMember("@data-type")
    );
    assert_eq!(
        decode(r#"{"topic":"t"}"#),
        JsonErrorKind::MissingMember("@data-type")
    );
    assert_eq!(
        decode(r#"{"topic":"t","topic":"u"}"#),
        JsonErrorKind::DuplicateMember("topic")
    );
    assert_eq!(
        decode(r#"{"topic":"t","@data-type":"count","data":1}x"#),
        JsonErrorKind::TrailingText
    );
}

#[test]
fn the_server_s_other_messages() {
    let ack = Answer::Ack(Ack {
        endpoint: "11111111-1111-4111-8111-111111111111-websocket-0".into(),
        version: "9.0.0-rc1".into(),
    });
    let text = r#"{"type":"ack","endpoint":"11111111-1111-4111-8111-111111111111-websocket-0","version":"9.0.0-rc1"}"#;
    assert_eq!(ack.encode(), text);
    assert_eq!(
        ServerMessage::decode(text.as_bytes()),
        Ok(ServerMessage::Answer(ack))
    );

    let error = Answer::Error(ErrorMessage {
        code: "deserialization_failed".into(),
        context: "failed to decode JSON object".into(),
    });
    let text = r#"{"type":"error","code":"deserialization_failed","context":"failed to decode JSON object"}"#;
    assert_eq!(error.encode(), text);
    assert_eq!(
        ServerMessage::decode(text.as_bytes()),
        Ok(ServerMessage::Answer(error))
    );

    let of_zeek_7_2 = br#"{"type":"error","code":"invalid_uri","message":"Invalid URI"}"#;
    assert_eq!(
        ServerMessage::decode(of_zeek_7_2),
        Ok(ServerMessage::Answer(Answer::Error(ErrorMessage {
            code: "invalid_uri".into(),
            context: "Invalid URI".into(),
        })))
    );

    for bad in [
        "",
        "[]",
        "{}",
        r#"{"type":"flower"}"#,
        r#"{"type":"ack","endpoint":"e"}"#,
    ] {
        assert!(ServerMessage::decode(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn subscriptions() {
    let read = |text: &str| decode_subscriptions(text.as_bytes()).map_err(|error| error.kind);
    assert_eq!(
        read(r#"["zeek/management/controller","a\"b"]"#),
        Ok(vec!["zeek/management/controller".into(), "a\"b".into()])
    );
    assert_eq!(read(" [ ] "), Ok(vec![]));
    assert_eq!(read(r#"{"a":1}"#), Err(JsonErrorKind::SubscriptionsNotAnArray));
    assert_eq!(read("1"), Err(JsonErrorKind::SubscriptionsNotAnArray));
    assert_eq!(read(r#"["a",[1]]"#), Err(JsonErrorKind::SubscriptionNotAString));
    assert_eq!(read(r#"["a""#), Err(JsonErrorKind::UnexpectedEnd));
    assert_eq!(read(r#"["a"]["#), Err(JsonErrorKind::TrailingText));
}
