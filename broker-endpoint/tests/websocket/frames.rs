//! Frames: fragments, control frames, limits, and what violates the protocol.

use broker_endpoint::websocket::{CloseCause, WebSocketEvent};

use crate::{
    client::{BINARY, CLOSE, Client, PING, PONG, TEXT, close, frame, masked},
    server::{Answering, bind, config, delivered, event, publish},
};

const TOPICS: &str = r#"["zeek/management/controller"]"#;
/// The first fragment of a text message.
const TEXT_BEGIN: u8 = 0x01;
const CONTINUATION: u8 = 0x00;
const CONTINUATION_END: u8 = 0x80;

#[tokio::test]
async fn control_frames_may_stand_between_the_fragments_of_a_message() {
    let server = Answering::start(config()).await;
    let mut client = Client::subscribed(server.addr, TOPICS).await;
    let text = event("ask", "\u{1f600}");
    let text = text.as_bytes();
    // In the middle of a character.
    let cut = text.iter().position(|byte| *byte == 0xf0).unwrap() + 2;
    client.send(masked(TEXT_BEGIN, &text[..10])).await;
    client.send(masked(PING, b"one")).await;
    client.send(masked(CONTINUATION, b"")).await;
    client.send(masked(CONTINUATION, &text[10..cut])).await;
    client.send(masked(PONG, b"unasked")).await;
    client.send(masked(PING, b"")).await;
    client.send(masked(CONTINUATION_END, &text[cut..])).await;
    assert_eq!(client.frame().await, frame(PONG, b"one"));
    assert_eq!(client.frame().await, frame(PONG, b""));
    assert_eq!(client.text().await, delivered("answer", "\u{1f600}"));
}

#[tokio::test]
async fn text_must_be_utf8_and_binary_need_not() {
    let server = Answering::start(config()).await;
    for frames in [
        vec![masked(TEXT, b"\"\xff\"")],
        vec![masked(TEXT, b"\xed\xa0\x80")],
        vec![masked(TEXT_BEGIN, b"\"\xf0\x9f"), masked(CONTINUATION_END, b"\"")],
        vec![masked(TEXT_BEGIN, b"\"\xf0\x9f"), masked(CONTINUATION_END, b"")],
    ] {
        let mut client = Client::subscribed(server.addr, "[]").await;
        client.send(frames.concat()).await;
        assert_eq!(
            client.closed().await,
            (1007, "text message is not UTF-8".to_owned())
        );
    }
    let mut client = Client::subscribed(server.addr, TOPICS).await;
    client.send(masked(BINARY, b"\xff\xfe\x00")).await;
    let text = client.text().await;
    assert!(
        text.contains(r#""context":"failed to decode JSON object: "#),
        "{text}"
    );
    client.send_text(&event("ask", "1")).await;
    assert_eq!(client.text().await, delivered("answer", "1"));
    assert_eq!(server.closes.get(CloseCause::InvalidUtf8), 4);
}

#[tokio::test]
async fn violations_of_the_protocol_are_named_in_the_close_frame() {
    let server = Answering::start(config()).await;
    let unmasked = [&[TEXT, 2][..], b"[]"].concat();
    for (bytes, reason) in [
        (unmasked, "Received an unmasked frame from client"),
        (masked(0xc1, b"[]"), "Reserved bits are non-zero"),
        (masked(0x91, b"[]"), "Reserved bits are non-zero"),
        (masked(0x83, b"[]"), "Encountered invalid opcode: 3"),
        (masked(0x8b, b""), "Encountered invalid opcode: 11"),
        (masked(0x09, b"half a ping"), "Fragmented control frame"),
        (
            masked(PING, &[0; 126]),
            "Control frame too big (payload must be 125 bytes or less)",
        ),
        (
            masked(CONTINUATION_END, b"[]"),
            "Continue frame but nothing to continue",
        ),
        (
            [masked(TEXT_BEGIN, b"["), masked(TEXT, b"]")].concat(),
            "While waiting for more fragments received: TEXT",
        ),
        (masked(CLOSE, b"\x03"), "Invalid close sequence"),
    ] {
        let mut client = Client::upgraded(server.addr).await;
        client.send(&bytes).await;
        assert_eq!(
            client.closed().await,
            (1002, format!("client breaks the WebSocket protocol: {reason}")),
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(server.closes.get(CloseCause::Protocol), 10);
}

#[tokio::test]
async fn a_close_frame_is_answered_in_kind() {
    let server = Answering::start(config()).await;
    for (sent, answered) in [
        (Vec::new(), Vec::new()),
        (close(1000, ""), close(1000, "")),
        (close(3000, "because"), close(3000, "because")),
        // Codes that must not be sent.
        (close(1005, ""), close(1002, "Protocol violation")),
        (close(999, ""), close(1002, "Protocol violation")),
    ] {
        let mut client = Client::subscribed(server.addr, "[]").await;
        client.send(masked(CLOSE, &sent)).await;
        assert_eq!(client.frame().await, frame(CLOSE, &answered));
        assert_eq!(client.rest().await, b"");
    }
}

/// A publication of exactly this length.
fn filled(len: usize) -> String {
    let text = event("x", "x");
    event("x", &"x".repeat(len - text.len() + 1))
}

#[tokio::test]
async fn messages_are_accepted_up_to_exactly_the_limit() {
    let mut config = config();
    config.message_max = 1000;
    let mut server = bind(config).await;
    let too_big = (1009, "message too big: at most 1000 bytes are allowed".to_owned());

    let mut client = Client::subscribed(server.local_addr(), "[]").await;
    client.send_text(&filled(1000)).await;
    let whole = filled(1000);
    let (first, second) = whole.split_at(400);
    client.send(masked(TEXT_BEGIN, first.as_bytes())).await;
    client.send(masked(CONTINUATION_END, second.as_bytes())).await;
    for _ in 0..2 {
        while !matches!(server.recv().await, Some(WebSocketEvent::Message { .. })) {}
    }
    client.send_text(&filled(1001)).await;
    assert_eq!(client.closed().await, too_big);

    let mut client = Client::subscribed(server.local_addr(), "[]").await;
    client.send(masked(TEXT_BEGIN, &[b'x'; 999])).await;
    client.send(masked(CONTINUATION, b"x")).await;
    client.send(masked(CONTINUATION, b"x")).await;
    assert_eq!(client.closed().await, too_big);
    assert_eq!(server.closes().get(CloseCause::TooBig), 2);
}

#[tokio::test]
async fn by_default_16_mib_are_accepted_and_64_mib_refused() {
    let config = config();
    assert_eq!(config.message_max, 16 << 20);
    let mut server = bind(config).await;
    let mut client = Client::subscribed(server.local_addr(), "[]").await;
    client.send_text(&filled(16 << 20)).await;
    loop {
        if let Some(WebSocketEvent::Message { message, .. }) = server.recv().await {
            assert_eq!(message.name, "x");
            break;
        }
    }
    let too_big = (
        1009,
        "message too big: at most 16777216 bytes are allowed".to_owned(),
    );
    client.send_64_mib(b' ').await;
    assert_eq!(client.closed().await, too_big);

    // The length alone decides, the largest one too.
    let mut client = Client::subscribed(server.local_addr(), "[]").await;
    client
        .send([&[BINARY, 0xff][..], &[0x7f; 8], &[0; 4]].concat())
        .await;
    assert_eq!(client.closed().await, too_big);
}

#[tokio::test]
async fn long_messages_are_fragmented_as_zeeks_server_does() {
    let server = bind(config()).await;
    let mut client = Client::subscribed(server.local_addr(), r#"["zeek"]"#).await;
    let overhead = delivered("x", "").len();
    for (len, fragments) in [
        (1000, vec![(TEXT, 1000)]),
        (65_535, vec![(TEXT, 65_535)]),
        (65_536, vec![(TEXT_BEGIN, 32_768), (CONTINUATION_END, 32_768)]),
        (
            131_071,
            vec![
                (TEXT_BEGIN, 32_768),
                (CONTINUATION, 32_768),
                (CONTINUATION_END, 65_535),
            ],
        ),
    ] {
        let argument = "x".repeat(len - overhead);
        let published = broker_codec::zeek::Event {
            name: "x".into(),
            args: vec![broker_codec::Data::String(argument.clone().into())],
            metadata: None,
        };
        publish(&server.publisher(), &published).await;
        let mut text = Vec::new();
        for (head, len) in fragments {
            let frame = client.frame().await;
            assert_eq!((frame.head, frame.payload.len()), (head, len));
            text.extend(frame.payload);
        }
        assert_eq!(String::from_utf8(text).unwrap(), delivered("x", &argument));
    }
}
