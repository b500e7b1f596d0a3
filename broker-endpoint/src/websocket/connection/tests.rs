//! What depends on time, in virtual time and without sockets.

use std::{sync::atomic::AtomicU64, time::Duration};

use broker_codec::{json::DataMessage, websocket::Rejection};
use counters::Counters;
use tokio::{
    io::{AsyncReadExt as _, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    listen::pending::Pending,
    tls::Acceptance,
    websocket::{liveness::MESSAGE_TIMEOUT, serve::serve},
};

const REQUEST: &str = "GET /v1/messages/json HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: FK4EjvZgx9dEK41Mrt7mCA==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// One connection, served; the client's end of it; and the owner.
struct World {
    client: DuplexStream,
    events: mpsc::Receiver<WebSocketEvent<DataMessage>>,
    shared: Arc<Shared<DataMessage>>,
    task: JoinHandle<()>,
    start: Instant,
}

/// A frame with the mask 0, which changes nothing.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    [&[head, 0x80 | len, 0, 0, 0, 0][..], payload].concat()
}

impl World {
    fn new(buffer: usize, adapt: impl FnOnce(&mut WebSocketConfig)) -> Self {
        let mut config = WebSocketConfig::new(([127, 0, 0, 1], 0).into(), "node", "9");
        adapt(&mut config);
        let (events_in, events) = mpsc::channel(config.inbound_events_max);
        let shared = Arc::new(Shared {
            config,
            acceptance: Acceptance::Plaintext,
            upgrading: Pending::default(),
            hub: Arc::default(),
            counters: Counters::default(),
            closes: Counters::default(),
            errors: Counters::default(),
            accept: Box::new(|_| Box::new(|message| -> Result<_, Rejection> { Ok(message) })),
            events: events_in,
            shutdown: CancellationToken::new(),
            next_client: AtomicU64::new(0),
        });
        let (client, server) = duplex(buffer);
        let peer = ([127, 0, 0, 1], 1).into();
        let task = tokio::spawn(serve(server, peer, Credits::new(), Arc::clone(&shared)));
        Self {
            client,
            events,
            shared,
            task,
            start: Instant::now(),
        }
    }

    async fn upgraded(adapt: impl FnOnce(&mut WebSocketConfig)) -> Self {
        let mut world = Self::new(1 << 20, adapt);
        world.client.write_all(REQUEST.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(world.client.read_u8().await.unwrap());
        }
        world
    }

    async fn frame(&mut self) -> (u8, String) {
        let head = self.client.read_u8().await.unwrap();
        let mut payload = vec![0; self.client.read_u8().await.unwrap().into()];
        self.client.read_exact(&mut payload).await.unwrap();
        (head, payload.escape_ascii().to_string())
    }

    async fn expect_ping(&mut self, number: u64) {
        assert_eq!(
            self.frame().await,
            (0x89, format!("ixwebsocket::heartbeat::5s::{number}"))
        );
    }

    async fn expect_ping_timeout(&mut self) {
        assert_eq!(self.frame().await, (0x88, r"\x03\xf3Ping timeout".to_owned()));
    }

    /// Since the start, in seconds.
    fn seconds(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_has_three_seconds_to_arrive() {
    let mut world = World::new(1 << 20, |_| {});
    world.client.write_all(&REQUEST.as_bytes()[..100]).await.unwrap();
    let mut answer = String::new();
    world.client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert_eq!(world.seconds(), 3);
    drop(world.client);
    world.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pings_are_sent_at_the_interval_and_any_pong_answers_one() {
    let mut world = World::upgraded(|_| {}).await;
    for number in 0..5 {
        world.expect_ping(number).await;
        assert_eq!(world.seconds(), 5 * number);
        world.client.write_all(&frame(0x8a, b"whatever")).await.unwrap();
    }
    world.expect_ping(5).await;
    world.expect_ping_timeout().await;
    assert_eq!(world.seconds(), 30);
    drop(world.client);
    world.task.await.unwrap();
    let disconnected = loop {
        match world.events.recv().await {
            Some(WebSocketEvent::Disconnected { code, reason, .. }) => break (code, reason),
            Some(_) => {}
            None => panic!("not told"),
        }
    };
    assert_eq!(disconnected, (CloseCode::INTERNAL, "Ping timeout".into()));
    assert_eq!(world.shared.closes.get(CloseCause::PingTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn messages_are_no_substitute_for_pongs() {
    let mut world = World::upgraded(|_| {}).await;
    world.expect_ping(0).await;
    world.client.write_all(&frame(0x81, b"[]")).await.unwrap();
    assert!(world.frame().await.1.contains("ack"));
    for _ in 0..4 {
        sleep(Duration::from_secs(1)).await;
        let message = br#"{"topic":"t","@data-type":"count","data":7}"#;
        world.client.write_all(&frame(0x81, message)).await.unwrap();
    }
    world.expect_ping_timeout().await;
    assert_eq!(world.seconds(), 5);
}

#[tokio::test(start_paused = true)]
async fn without_an_interval_no_client_is_pinged_or_timed_out() {
    let mut world = World::upgraded(|config| config.ping_interval = None).await;
    sleep(Duration::from_secs(100_000)).await;
    world.client.write_all(&frame(0x81, b"[]")).await.unwrap();
    assert_eq!(
        world.frame().await.1,
        r#"{\"type\":\"ack\",\"endpoint\":\"node-websocket-0\",\"version\":\"9\"}"#
    );
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_slowly_arriving_excuses_missing_pongs_for_a_time() {
    let mut world = World::upgraded(|_| {}).await;
    world.expect_ping(0).await;
    let (mut read, mut write) = tokio::io::split(world.client);
    let writing = tokio::spawn(async move {
        write
            .write_all(&[0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0])
            .await
            .unwrap();
        while write.write_all(b" ").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let mut pings = 0;
    let code = loop {
        let head = read.read_u8().await.unwrap();
        let mut payload = vec![0; read.read_u8().await.unwrap().into()];
        read.read_exact(&mut payload).await.unwrap();
        match head {
            0x89 => pings += 1,
            _ => break payload,
        }
    };
    assert_eq!((pings, &code[2..]), (5, &b"Ping timeout"[..]));
    assert_eq!(world.start.elapsed().as_secs(), MESSAGE_TIMEOUT.as_secs());
    drop(read);
    writing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_stalls_excuses_nothing() {
    let mut world = World::upgraded(|_| {}).await;
    world.expect_ping(0).await;
    sleep_until(world.start + Duration::from_secs(1)).await;
    world
        .client
        .write_all(&[0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0, b' '])
        .await
        .unwrap();
    // Excused once, as bytes arrived since the first ping.
    world.expect_ping(1).await;
    world.expect_ping_timeout().await;
    assert_eq!(world.seconds(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_client_does_not_pay_for_a_busy_owner() {
    let mut world = World::upgraded(|config| config.inbound_events_max = 1).await;
    world.expect_ping(0).await;
    assert!(matches!(
        world.events.recv().await,
        Some(WebSocketEvent::Connected(_))
    ));
    let message = br#"{"topic":"t","@data-type":"count","data":7}"#;
    world.client.write_all(&frame(0x81, b"[]")).await.unwrap();
    for _ in 0..4 {
        world.client.write_all(&frame(0x81, message)).await.unwrap();
    }
    // Behind the messages, and hence not read while the owner is busy.
    world.client.write_all(&frame(0x8a, b"")).await.unwrap();
    assert!(world.frame().await.1.contains("ack"));
    for number in 1..100 {
        world.expect_ping(number).await;
    }
    for _ in 0..5 {
        assert!(world.events.recv().await.is_some());
    }
    // Now the client is read again, and expected to answer.
    world.expect_ping(100).await;
    world.expect_ping_timeout().await;
    assert_eq!(world.seconds(), 505);
}

#[tokio::test(start_paused = true)]
async fn a_busy_owner_hears_nothing_of_a_client_that_has_come_and_gone() {
    let mut world = World::new(1 << 20, |config| config.inbound_events_max = 1);
    let other = WebSocketEvent::Disconnected {
        client: ClientId(7),
        code: CloseCode::ABNORMAL,
        reason: "another one".into(),
    };
    world.shared.events.send(other).await.unwrap();
    world.client.write_all(REQUEST.as_bytes()).await.unwrap();
    while world.client.read_u8().await.unwrap() != 0x89 {}
    // The client is pinged though its events wait, and the next ping shows that it is gone.
    drop(world.client);
    world.task.await.unwrap();
    assert_eq!(world.start.elapsed().as_secs(), 5);
    let Some(WebSocketEvent::Disconnected { client, reason, .. }) = world.events.recv().await else {
        panic!("another event")
    };
    assert_eq!((client, reason), (ClientId(7), "another one".into()));
    assert!(world.events.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    // Room for the upgrade, but not for a ping.
    let mut world = World::new(170, |_| {});
    world.client.write_all(REQUEST.as_bytes()).await.unwrap();
    // Pongs alone do not save it.
    for _ in 0..4 {
        sleep(Duration::from_secs(1)).await;
        world.client.write_all(&frame(0x8a, b"")).await.unwrap();
    }
    while !matches!(
        world.events.recv().await,
        Some(WebSocketEvent::Disconnected { .. })
    ) {}
    assert_eq!(
        world.seconds(),
        7,
        "one interval, and the time limit for the CLOSE frame"
    );
    world.task.await.unwrap();
    assert_eq!(world.shared.closes.get(CloseCause::PingTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_a_deaf_client_limited_time() {
    let mut world = World::new(200, |_| {});
    world.client.write_all(REQUEST.as_bytes()).await.unwrap();
    assert!(matches!(
        world.events.recv().await,
        Some(WebSocketEvent::Connected(_))
    ));
    world.shared.shutdown.cancel();
    world.task.await.unwrap();
    assert!(world.start.elapsed() <= 3 * world.shared.config.close_timeout);
}
