//! Towards the clients: order, slow readers, and the end.

use std::time::Duration;

use broker_codec::{Data, Recipients, json::DataMessage, zeek::Event};
use broker_endpoint::websocket::{CloseCause, Counted, WebSocketEvent};
use futures_util::{SinkExt as _, StreamExt as _};
use testkit::ReservedPort;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::{CLOSE, Client, independent_client, masked, next_text},
    server::{Answering, TOPIC, bind, config, delivered, event, publish},
};

fn example(argument: &str) -> Event {
    Event {
        name: "x".into(),
        args: vec![Data::String(argument.into())],
        metadata: None,
    }
}

#[tokio::test]
async fn publications_arrive_in_order_short_or_long() {
    let server = bind(config()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let client = independent_client(server.local_addr(), "zeek/management").await;
        clients.push(client);
    }
    let arguments: Vec<String> = (0..100)
        .map(|number| format!("{number}{}", "x".repeat((number % 7) * 40_000)))
        .collect();
    let publisher = server.publisher();
    let publishing = async {
        for argument in &arguments {
            publish(&publisher, &example(argument)).await;
            // What no client subscribed to goes nowhere.
            let (topic, data) = ("zeek".into(), Data::None);
            publisher
                .publish(Recipients::all(), DataMessage { topic, data })
                .await;
        }
    };
    let reading = async {
        for argument in &arguments {
            for client in &mut clients {
                let text = next_text(client).await;
                assert!(text == delivered("x", argument), "{} bytes", argument.len());
            }
        }
    };
    tokio::join!(publishing, reading);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_delays_no_other() {
    let mut config = config();
    config.close_timeout = Duration::from_millis(20);
    let mut server = bind(config).await;
    let slow = Client::subscribed(server.local_addr(), r#"["zeek"]"#).await;
    let publisher = server.publisher();
    let event = example(&"x".repeat(50_000));
    let mut count = 0;
    let reason = loop {
        tokio::select! {
            heard = server.recv() => {
                if let Some(WebSocketEvent::Disconnected { code, reason, .. }) = heard {
                    assert_eq!(code.0, 1008);
                    break reason;
                }
            }
            () = publish(&publisher, &event) => count += 1,
        }
    };
    assert!(reason.starts_with(b"reading too slowly: "), "{reason}");
    let counters = server.counters();
    assert_eq!(server.closes().get(CloseCause::Overflow), 1);
    assert!(counters.get(Counted::MessagesOut) < count);
    drop(slow);
}

#[tokio::test]
async fn a_slow_client_learns_why_it_is_closed() {
    let mut config = config();
    config.outbound_bytes_max = 100_000;
    let mut server = bind(config).await;
    let mut slow = Client::subscribed(server.local_addr(), r#"["zeek"]"#).await;
    let publisher = server.publisher();
    let argument = "x".repeat(50_000);
    // Until what the system buffers is full, and our own queue.
    let flood = async {
        loop {
            publish(&publisher, &example(&argument)).await;
            if server.closes().get(CloseCause::Overflow) > 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    flood.await;
    let mut whole = 0;
    let payload = loop {
        let frame = slow.frame().await;
        if frame.head == CLOSE {
            break frame.payload;
        }
        whole += 1;
    };
    assert!(whole > 0);
    let reason = String::from_utf8_lossy(&payload[2..]).into_owned();
    assert_eq!(payload[..2], 1008_u16.to_be_bytes());
    assert!(
        reason.starts_with("reading too slowly: 1 messages of ")
            || reason.starts_with("reading too slowly: 2 messages"),
        "{reason}"
    );
    assert_eq!(slow.rest().await, b"");
    loop {
        if let Some(WebSocketEvent::Disconnected { reason: reported, .. }) = server.recv().await {
            assert_eq!(reported, *reason);
            break;
        }
    }
}

#[tokio::test]
async fn shutdown_delivers_what_was_published_and_says_goodbye() {
    // No other process listens there afterwards.
    let reserved = ReservedPort::new("127.0.0.1");
    let mut config = config();
    config.listen = reserved.address();
    let server = bind(config).await;
    let publisher = server.publisher();
    let mut client = Client::subscribed(server.local_addr(), r#"["zeek"]"#).await;
    let mut half_open = Client::connect(server.local_addr()).await;
    half_open.send("GET /").await;
    for number in 0..200 {
        publish(&publisher, &example(&number.to_string())).await;
    }
    let shutdown = tokio::spawn(server.shutdown());
    for number in 0..200 {
        assert_eq!(client.text().await, delivered("x", &number.to_string()));
    }
    assert_eq!(client.closed().await, (1001, "Terminating".to_owned()));
    assert_eq!(half_open.rest().await, b"");
    drop(client);
    shutdown.await.unwrap();
    assert!(tokio::net::TcpStream::connect(reserved.address()).await.is_err());
    publish(&publisher, &example("into the void")).await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_clients_that_do_not_listen() {
    let mut config = config();
    config.close_timeout = Duration::from_millis(20);
    let server = bind(config).await;
    let publisher = server.publisher();
    let mut deaf = Client::subscribed(server.local_addr(), r#"["zeek"]"#).await;
    for _ in 0..400 {
        publish(&publisher, &example(&"x".repeat(50_000))).await;
    }
    deaf.send(masked(0x89, b"")).await;
    // Ends, or the test does not.
    server.shutdown().await;
}

#[tokio::test]
async fn an_independent_client_exchanges_long_messages() {
    let server = Answering::start(config()).await;
    let mut client = independent_client(server.addr, TOPIC).await;
    let argument = "\u{e9}x".repeat(400_000);
    client.send(Message::text(event("ask", &argument))).await.unwrap();
    assert!(next_text(&mut client).await == delivered("answer", &argument));
    client.close(None).await.unwrap();
    while let Some(message) = client.next().await {
        assert!(
            matches!(message, Ok(Message::Ping(_) | Message::Close(_))),
            "{message:?}"
        );
    }
}
