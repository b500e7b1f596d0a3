use super::*;

const ENDPOINT: &str = "3cfb104e-6fbd-5065-a31c-be18be4b79e0-websocket-0";

fn server() -> ServerSession {
    ServerSession::open(ENDPOINT, "9.0.0-rc1", PATH, None).unwrap()
}

fn subscribed() -> ServerSession {
    let mut session = server();
    session.handle(b"[]").unwrap();
    session
}

/// The message that answers a bad message.
fn answer(session: &mut ServerSession, message: &[u8]) -> String {
    session.handle(message).unwrap_err().to_json()
}

#[test]
fn the_ack_is_the_captured_one() {
    let first = br#"["zeek/management/controller"]"#;
    let Ok(Accepted::Subscribed { topics, ack }) = server().handle(first) else {
        panic!("not subscribed");
    };
    assert_eq!(topics, ["zeek/management/controller"]);
    // fixtures/zeek-9.0.0-rc1/no-agents/capture.pcap
    assert_eq!(
        ack,
        r#"{"type":"ack","endpoint":"3cfb104e-6fbd-5065-a31c-be18be4b79e0-websocket-0","version":"9.0.0-rc1"}"#
    );
}

#[test]
fn subscriptions_are_any_list_of_strings() {
    for (message, expected) in [
        ("[]", &[][..]),
        (r#"[""]"#, &[""]),
        (" [ \"a\" ,\r\n\t\"b\" ] ", &["a", "b"]),
        (r#"["a","a"]"#, &["a", "a"]),
        (r#"["\u00e9\ud83d\ude00"]"#, &["\u{e9}\u{1f600}"]),
    ] {
        let Ok(Accepted::Subscribed { topics, .. }) = server().handle(message.as_bytes()) else {
            panic!("{message} is not accepted");
        };
        assert_eq!(topics, expected, "{message}");
    }
}

#[test]
fn a_bad_first_message_is_explained_and_may_be_followed_by_a_good_one() {
    let mut session = server();
    let list = r#"the first message must be a list of topic prefixes such as ["zeek/management/controller"]"#;
    let broken = |what: &str| format!("subscriptions not an array: {what}; {list}");
    let other = format!("subscriptions not an array: {list}");
    let element = "individual subscription not a string: every element must be a topic prefix".to_owned();
    for (message, expected) in [
        (&b""[..], broken("unexpected end of text at byte 0")),
        (b"[", broken("unexpected end of text at byte 1")),
        (b"[] []", broken("text after the value at byte 3")),
        (b"hello", broken("expected a value at byte 0")),
        (b"\"topic\"", other.clone()),
        (b"null", other.clone()),
        (b"true", other.clone()),
        (b"1", other.clone()),
        (br#"{"type":"data-message","topic":"t"}"#, other),
        (b"[\"a\", 1]", element.clone()),
        (b"[[\"a\"]]", element.clone()),
        (b"[null]", element),
    ] {
        let rejection = session.handle(message).unwrap_err();
        assert_eq!(rejection.code.to_string(), "deserialization_failed");
        assert_eq!(rejection.context, expected, "{}", message.escape_ascii());
    }
    assert!(matches!(session.handle(b"[]"), Ok(Accepted::Subscribed { .. })));
}

#[test]
fn errors_are_objects_with_keys_in_zeeks_order() {
    assert_eq!(
        answer(&mut server(), b"[1]"),
        r#"{"type":"error","code":"deserialization_failed","context":"individual subscription not a string: every element must be a topic prefix"}"#
    );
    assert_eq!(
        Rejection::no_event(&"quote \" and control \u{1}").to_json(),
        r#"{"type":"error","code":"deserialization_failed","context":"failed to create Zeek event: quote \" and control \u0001"}"#
    );
}

#[test]
fn subscription_limits_hold_exactly() {
    let message = |topics: Vec<String>| serde_json::to_string(&topics).unwrap();
    let prefixes = |count, len| message(vec!["t".repeat(len); count]);
    // 256 prefixes with their quotes, commas and brackets.
    let largest = prefixes(256, 508) + &" ".repeat(SUBSCRIPTIONS_LEN_MAX - 256 * 511 - 1);
    assert_eq!(largest.len(), 131_072);
    for good in [prefixes(256, 1), prefixes(1, 1024), largest.clone()] {
        assert!(server().handle(good.as_bytes()).is_ok(), "{} bytes", good.len());
    }
    for (bad, expected) in [
        (
            prefixes(257, 1),
            "deserialization_failed: too many subscriptions: 257 topic prefixes, at most 256 are allowed",
        ),
        (
            message(vec!["a".into(), "t".repeat(1025)]),
            "deserialization_failed: individual subscription too long: 1025 bytes, at most 1024 are allowed",
        ),
        (
            largest + " ",
            "deserialization_failed: subscriptions too long: the first message has 131073 bytes, at most 131072 are allowed",
        ),
    ] {
        assert_eq!(server().handle(bad.as_bytes()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn only_the_exact_path_is_served() {
    for target in [
        "/",
        "/v1/messages/json/",
        "/v1/messages/json?x",
        "/v1/messages",
        "/V1/messages/json",
        "//v1/messages/json",
    ] {
        let refused = ServerSession::open(ENDPOINT, "9", target, None).unwrap_err();
        assert_eq!(
            refused.to_json(),
            r#"{"type":"error","code":"invalid_uri","context":"Invalid URI - use /v1/messages/json"}"#
        );
    }
}

#[test]
fn application_names_are_restricted() {
    let open = |name: &[u8]| ServerSession::open(ENDPOINT, "9", PATH, Some(name)).map(|_| ());
    for good in [&b""[..], b"zeek-client/1.5.0", b"azAZ09/_-.=:*@"] {
        assert_eq!(open(good), Ok(()), "{}", good.escape_ascii());
    }
    for bad in [
        &b" "[..],
        b"a b",
        b"a\"b",
        b"a,b",
        b"caf\xc3\xa9",
        b"a\\b",
        b"a;b",
        b"\xff",
    ] {
        let refused = open(bad).unwrap_err();
        assert_eq!(
            refused.to_json(),
            r#"{"type":"error","code":"invalid_application_name","context":"Invalid X-Application-Name: only ASCII letters, digits and / _ - . = : * @ are allowed"}"#
        );
    }
}

/// A data message around the text of a value.
fn data_message(value: &str) -> String {
    format!(r#"{{"type":"data-message","topic":"t",{value}}}"#)
}

#[test]
fn data_messages_are_publications() {
    let mut session = subscribed();
    let message = data_message(r#""@data-type":"count","data":7"#);
    assert_eq!(
        session.handle(message.as_bytes()),
        Ok(Accepted::Publication(DataMessage {
            topic: "t".into(),
            data: crate::Data::Count(7)
        }))
    );
    // Keys in any order, unknown keys, no type.
    let message = br#"{"data":7,"x":[{}],"@data-type":"count","topic":"t"}"#;
    assert!(matches!(session.handle(message), Ok(Accepted::Publication(_))));
}

#[test]
fn bad_data_messages_are_explained_and_the_session_goes_on() {
    let mut session = subscribed();
    let decode = "failed to decode JSON object: ";
    let topic = "no topic in top-level JSON object";
    for (message, expected) in [
        ("", decode),
        ("[]", decode),
        (r#"["zeek/management/controller"]"#, decode),
        ("{", decode),
        ("{}", decode),
        (r#"{"topic":"t"}"#, decode),
        (r#"{"@data-type":"count","data":7}"#, topic),
        (r#"{"topic":7,"@data-type":"count","data":7}"#, topic),
        (r#"{"topic":null,"@data-type":"count","data":7}"#, topic),
        (r#"{"topic":"t","@data-type":"count","data":-7}"#, decode),
        (r#"{"topic":"t","@data-type":"count","data":7} x"#, decode),
        (r#"{"topic":"t","@data-type":"address","data":"123ns"}"#, decode),
        (r#"{"topic":"t","@data-type":"flower","data":1}"#, decode),
    ] {
        let rejection = session.handle(message.as_bytes()).unwrap_err();
        assert_eq!(rejection.code.to_string(), "deserialization_failed");
        assert!(rejection.context.starts_with(expected), "{message}: {rejection}");
        assert_eq!(
            rejection.context.len() > expected.len(),
            expected == decode,
            "{message}: {rejection}"
        );
    }
    assert!(
        session
            .handle(data_message(r#""@data-type":"none","data":{}"#).as_bytes())
            .is_ok()
    );
}
