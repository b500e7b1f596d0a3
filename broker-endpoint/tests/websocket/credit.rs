//! A client is read as fast as its messages are dealt with, and is no burden when it has left.

use std::time::Duration;

use broker_codec::zeek::Event;
use broker_endpoint::{
    Credit,
    websocket::{WebSocketEvent, WebSocketServer},
};
use tokio::time::timeout;

use crate::{
    client::{Client, TEXT, masked},
    server::{bind, config, event, publish},
};

const TOPICS: &str = r#"["zeek/management/controller"]"#;

/// So many messages of one client may be under way.
const CREDITS: usize = 64;

/// The next event; a test that waits for ever says nothing.
async fn next(server: &mut WebSocketServer<Event>) -> WebSocketEvent<Event> {
    let event = timeout(Duration::from_secs(60), server.recv()).await;
    event.expect("an event in time").expect("the server runs")
}

async fn next_message(server: &mut WebSocketServer<Event>) -> (Event, Credit) {
    loop {
        if let WebSocketEvent::Message { message, credit, .. } = next(server).await {
            return (message, credit);
        }
    }
}

/// Many requests in one piece.
fn flood(count: usize) -> Vec<u8> {
    masked(TEXT, event("ask", "flood").as_bytes()).repeat(count)
}

#[tokio::test]
async fn a_client_is_read_as_far_as_it_has_credit_and_others_meanwhile() {
    let mut server = bind(config()).await;
    let mut greedy = Client::subscribed(server.local_addr(), TOPICS).await;
    let mut modest = Client::subscribed(server.local_addr(), "[]").await;
    greedy.send(flood(3 * CREDITS)).await;
    let mut under_way = Vec::new();
    for _ in 0..CREDITS {
        let (message, credit) = next_message(&mut server).await;
        assert_eq!(message.name, "ask");
        under_way.push(credit);
    }
    // Whatever there is to read of the greedy one, the next message is the other one's.
    for number in 0..3 {
        modest.send_text(&event("modest", &number.to_string())).await;
        assert_eq!(next_message(&mut server).await.0.name, "modest");
    }
    // Each one that is dealt with lets one more in.
    for _ in 0..2 * CREDITS {
        under_way.remove(0);
        let (message, credit) = next_message(&mut server).await;
        assert_eq!(message.name, "ask");
        under_way.push(credit);
    }
}

#[tokio::test]
async fn what_a_client_that_has_left_has_sent_beyond_its_credit_is_dropped() {
    const SENT: usize = 2000;
    let mut server = bind(config()).await;
    let mut greedy = Client::subscribed(server.local_addr(), TOPICS).await;
    let (message, credit) = {
        greedy.send_text(&event("ask", "first")).await;
        next_message(&mut server).await
    };
    // What fits into the system's buffers, or all of it.
    let bytes = flood(SENT);
    let sent = timeout(Duration::from_secs(1), greedy.send(&bytes));
    let mut under_way = vec![credit];
    let read = async {
        while under_way.len() < CREDITS {
            under_way.push(next_message(&mut server).await.1);
        }
    };
    let _ = tokio::join!(sent, read);
    drop(greedy);
    // An answer tells the system that the client is gone.
    let publisher = server.publisher();
    let mut taken = CREDITS;
    let ended = async {
        loop {
            publish(&publisher, &message).await;
            under_way.pop();
            match next(&mut server).await {
                WebSocketEvent::Message { .. } => taken += 1,
                WebSocketEvent::Disconnected { .. } => break,
                _ => {}
            }
        }
    };
    ended.await;
    // Some more than it had credit for: those that had been read from the connection together.
    assert!(taken < SENT / 4, "{taken}");
}
