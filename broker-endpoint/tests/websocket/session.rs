//! What a client may say after the upgrade, and what it hears.

use broker_codec::{websocket::RejectionCode, zeek::Event};
use broker_endpoint::websocket::{CloseCause, CloseCode, Counted, WebSocketEvent, WebSocketServer};

use crate::{
    client::{BINARY, Client, TEXT, close, masked, request},
    server::{Answering, TOPIC, bind, config, delivered, event},
};

const TOPICS: &str = r#"["zeek/management/controller"]"#;

fn error(context: &str) -> String {
    format!(
        r#"{{"type":"error","code":"deserialization_failed","context":"{}"}}"#,
        context.replace('"', "\\\"")
    )
}

async fn next_message(server: &mut WebSocketServer<Event>) -> Event {
    loop {
        if let Some(WebSocketEvent::Message { message, .. }) = server.recv().await {
            return message;
        }
    }
}

#[tokio::test]
async fn a_request_is_answered_to_the_client_that_sent_it() {
    let server = Answering::start(config()).await;
    let mut client = Client::subscribed(server.addr, TOPICS).await;
    client.send_text(&event("ask", "1")).await;
    assert_eq!(client.text().await, delivered("answer", "1"));
    client.send(masked(BINARY, event("ask", "2").as_bytes())).await;
    assert_eq!(
        client.text().await,
        delivered("answer", "2"),
        "binary frames are as good, the answer is text"
    );
    let counters = &server.counters;
    assert_eq!(counters.get(Counted::MessagesIn), 3);
    assert_eq!(counters.get(Counted::MessagesOut), 3);
    assert_eq!(
        counters.get(Counted::BytesIn),
        (TOPICS.len() + 2 * event("ask", "1").len()) as u64
    );
}

#[tokio::test]
async fn the_owner_hears_of_a_client_from_its_beginning_to_its_end() {
    let mut server = bind(config()).await;
    let mut client = Client::subscribed(server.local_addr(), r#"["a","zeek/management"]"#).await;
    client.send_text(&event("x", "1")).await;
    client.send(masked(0x88, &close(4321, "done"))).await;
    assert_eq!(client.closed().await, (4321, "done".to_owned()));
    let Some(WebSocketEvent::Connected(info)) = server.recv().await else {
        panic!("not connected")
    };
    let id = info.client;
    assert_eq!(
        (info.peer, info.application_name),
        (client.stream.local_addr().unwrap(), None)
    );
    let sent = Event {
        name: "x".into(),
        args: vec![broker_codec::Data::String("1".into())],
        metadata: None,
    };
    assert!(matches!(
        server.recv().await,
        Some(WebSocketEvent::Message { client, message, .. }) if client == id && message == sent
    ));
    assert!(matches!(
        server.recv().await,
        Some(WebSocketEvent::Disconnected { client, code: CloseCode(4321), reason })
            if client == id && reason == "done"
    ));
    assert_eq!(server.closes().get(CloseCause::Client), 1);
}

#[tokio::test]
async fn a_client_that_just_hangs_up_is_reported_too() {
    let mut server = bind(config()).await;
    drop(Client::subscribed(server.local_addr(), "[]").await);
    loop {
        if let Some(WebSocketEvent::Disconnected { code, .. }) = server.recv().await {
            assert_eq!(code, CloseCode::ABNORMAL);
            break;
        }
    }
    assert_eq!(server.closes().get(CloseCause::Vanished), 1);
}

#[tokio::test]
async fn messages_before_the_ack_are_handled_after_it() {
    let mut server = bind(config()).await;
    let mut client = Client::connect(server.local_addr()).await;
    let mut bytes = request("/v1/messages/json", "").into_bytes();
    bytes.extend(masked(TEXT, TOPICS.as_bytes()));
    for number in 0..5 {
        bytes.extend(masked(
            TEXT,
            event(if number == 3 { "refused" } else { "x" }, &number.to_string()).as_bytes(),
        ));
    }
    // All at once, behind the request.
    client.send(bytes).await;
    client.http_head().await;
    assert!(client.text().await.starts_with(r#"{"type":"ack","#));
    assert_eq!(
        client.text().await,
        error("failed to create Zeek event: unknown event \"refused\"")
    );
    for number in [0, 1, 2, 4] {
        let expected = broker_codec::Data::String(number.to_string().into());
        assert_eq!(next_message(&mut server).await.args, [expected]);
    }
}

#[tokio::test]
async fn messages_right_before_the_close_frame_are_answered() {
    let server = Answering::start(config()).await;
    let mut client = Client::upgraded(server.addr).await;
    let frames = [
        masked(TEXT, TOPICS.as_bytes()),
        masked(TEXT, b"{"),
        masked(0x88, &close(1000, "done")),
    ];
    client.send(frames.concat()).await;
    let ack = client.text().await;
    assert!(ack.starts_with(r#"{"type":"ack","#), "{ack}");
    let error = client.text().await;
    assert!(error.starts_with(r#"{"type":"error","#), "{error}");
    assert_eq!(client.closed().await, (1000, "done".to_owned()));
}

#[tokio::test]
async fn each_bad_message_gets_an_error_and_good_ones_go_on() {
    let server = Answering::start(config()).await;
    let mut client = Client::upgraded(server.addr).await;
    let expected =
        "the first message must be a list of topic prefixes such as [\"zeek/management/controller\"]";
    for (message, context) in [
        (
            event("ask", "1"),
            format!("subscriptions not an array: {expected}"),
        ),
        (
            "[1]".to_owned(),
            "individual subscription not a string: every element must be a topic prefix".to_owned(),
        ),
        (
            String::new(),
            format!("subscriptions not an array: unexpected end of text at byte 0; {expected}"),
        ),
    ] {
        client.send_text(&message).await;
        assert_eq!(client.text().await, error(&context), "{message}");
    }
    client.send_text(TOPICS).await;
    assert!(client.text().await.starts_with(r#"{"type":"ack","#));

    let numbers = format!(r#"{{"topic":"{TOPIC}","@data-type":"vector","data":[]}}"#);
    for (message, context) in [
        (
            "{".to_owned(),
            "failed to decode JSON object: unexpected end of text at byte 1",
        ),
        (TOPICS.to_owned(), "failed to decode JSON object: expected"),
        (
            event("ask", "1").replace("topic", "subject"),
            "no topic in top-level JSON object",
        ),
        (
            event("refused", "1"),
            "failed to create Zeek event: unknown event \\\"refused\\\"",
        ),
        (numbers, "failed to create Zeek event: "),
        (
            format!(r#"{{"topic":"{TOPIC}","@data-type":"address","data":"123ns"}}"#),
            "failed to decode JSON object: ",
        ),
    ] {
        client.send_text(&message).await;
        let text = client.text().await;
        let prefix = format!(r#"{{"type":"error","code":"deserialization_failed","context":"{context}"#);
        assert!(text.starts_with(&prefix), "{text}");
        client.send_text(&event("ask", "still here")).await;
        assert_eq!(client.text().await, delivered("answer", "still here"));
    }
    assert_eq!(server.errors.get(RejectionCode::DeserializationFailed), 9);
}

#[tokio::test]
async fn clients_hear_each_other_but_not_themselves() {
    let server = Answering::start(config()).await;
    let mut one = Client::subscribed(server.addr, TOPICS).await;
    let mut prefix = Client::subscribed(server.addr, r#"["zeek/man"]"#).await;
    let mut other = Client::subscribed(server.addr, r#"["zeek/supervisor"]"#).await;
    let mut silent = Client::upgraded(server.addr).await;

    one.send_text(&event("ask", "1")).await;
    // Requests of others, then the answer; the publisher gets the answer only.
    assert_eq!(prefix.text().await, delivered("ask", "1"));
    assert_eq!(prefix.text().await, delivered("answer", "1"));
    assert_eq!(one.text().await, delivered("answer", "1"));
    // What is refused is not for others either.
    one.send_text(&event("refused", "1")).await;
    assert_eq!(
        one.text().await,
        error("failed to create Zeek event: unknown event \"refused\"")
    );
    // A client need not hear what it publishes on.
    other.send_text(&event("ask", "2")).await;
    assert_eq!(one.text().await, delivered("ask", "2"));
    assert_eq!(one.text().await, delivered("answer", "2"));
    assert_eq!(prefix.text().await, delivered("ask", "2"));
    assert_eq!(prefix.text().await, delivered("answer", "2"));
    // A client that has not subscribed, or to other topics, heard nothing until the end.
    let shutdown = tokio::spawn(server.shutdown());
    assert_eq!(other.closed().await, (1001, "Terminating".to_owned()));
    assert_eq!(silent.closed().await, (1001, "Terminating".to_owned()));
    drop((one, prefix, other, silent));
    shutdown.await.unwrap();
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let server = Answering::start(config()).await;
    let mut good = Client::subscribed(server.addr, r#"["zeek/management/controller"]"#).await;
    // Short and long messages take different ways.
    for argument in ["1", &"x".repeat(100_000)] {
        let mut bad = Client::subscribed(server.addr, "[]").await;
        bad.send_text(&event("panic", argument)).await;
        assert_eq!(bad.closed().await, (1011, "internal error".to_owned()));
        good.send_text(&event("ask", "1")).await;
        assert_eq!(good.text().await, delivered("answer", "1"));
    }
    let counters = &server.counters;
    assert_eq!(counters.get(Counted::Panics), 2);
    assert_eq!(server.closes.get(CloseCause::Internal), 2);
}
