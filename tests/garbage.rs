//! Clients that send garbage disturb no client that behaves. Which answer the server has for each kind of garbage is asserted in the
//! tests of broker-codec (`websocket`) and broker-endpoint (`tests/websocket`); here, what the controller itself refuses.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use testkit::Dice;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    controller::Controller,
    limit::{Limit, PATIENCE},
    websocket::{CONTROLLER_TOPIC, Client, event_message, request},
};

/// Talks to the controller at an address.
type Attack = fn(SocketAddr);

/// How long an undisturbed answer may take on a busy machine. An attack that stalls the controller stalls it for seconds.
const UNDISTURBED: Duration = Duration::from_secs(1);

#[test]
fn garbage_disturbs_no_client() {
    let mut controller = Controller::start::<&str>(&[]);
    let address = controller.websocket();
    let good = GoodClient::start(address);

    let attacks: [(&str, Attack); 8] = [
        ("messages that are no subscriptions and no events", bad_messages),
        ("events that clients may not publish", refused_events),
        ("frames that break RFC 6455", broken_frames),
        ("a message of 64 MiB", huge_message),
        ("10,000 pings", pings),
        ("bytes that are not HTTP", not_http),
        ("a wrong path", wrong_path),
        ("a TLS ClientHello", tls_client_hello),
    ];
    // These wait for the server's time limits, so they run beside the others.
    let slow: Vec<_> = [half_open_request as Attack, half_open_client]
        .into_iter()
        .map(|attack| thread::spawn(move || attack(address)))
        .collect();
    for (name, attack) in &attacks {
        let before = good.answers();
        attack(address);
        good.wait_for_answer_after(before, name);
    }
    for attack in slow {
        attack.join().expect("half-open connections are closed");
    }

    let (sent, answered, slowest) = good.stop();
    assert_eq!(sent, answered, "every request of the good client is answered");
    assert!(
        answered > attacks.len(),
        "the good client was at work: {answered} answers"
    );
    assert!(slowest < UNDISTURBED, "an answer took {slowest:?}");
    let remains = controller.stop();
    assert!(!remains.stderr.contains("panicked"), "{}", remains.stderr);
}

/// A client that asks all the time, in its own thread.
struct GoodClient {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: thread::JoinHandle<(usize, usize, Duration)>,
}

impl GoodClient {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let thread = thread::spawn({
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            move || {
                let mut client = Client::subscribed(address);
                let mut sent = 0;
                let mut slowest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let reqid = format!("good-{sent}.");
                    let started = Instant::now();
                    client.send_text(&request("get_instances_request", &reqid, &[]));
                    sent += 1;
                    // Requests of others on the same topic are heard, too.
                    while !client.text().contains(&reqid) {}
                    slowest = slowest.max(started.elapsed());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                (sent, answered.load(Ordering::Relaxed), slowest)
            }
        });
        Self {
            stop,
            answered,
            thread,
        }
    }

    fn answers(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until a request has been answered that was sent after the attack.
    fn wait_for_answer_after(&self, before: usize, attack: &str) {
        let limit = Limit::new(format_args!("an answer to the good client after: {attack}"));
        while self.answers() < before + 2 {
            assert!(
                !self.thread.is_finished(),
                "the good client failed during: {attack}"
            );
            limit.left();
            thread::yield_now();
        }
    }

    fn stop(self) -> (usize, usize, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the good client was served")
    }
}

/// The error that answers a message, which is refused as it cannot be read.
fn refused(client: &mut Client, message: Message) -> String {
    #[derive(serde::Deserialize)]
    struct ErrorMessage {
        r#type: String,
        code: String,
        context: String,
    }

    client.send(message).expect("the connection is open");
    let limit = Limit::new("an error message");
    loop {
        let text = client.text_by(&limit);
        // The good client's traffic is heard by every subscriber of the topic.
        if text.contains("\"good-") {
            continue;
        }
        let error: ErrorMessage = serde_json::from_str(&text)
            .unwrap_or_else(|problem| panic!("{problem}: not an error message: {text}"));
        let kind = (error.r#type.as_str(), error.code.as_str());
        assert_eq!(kind, ("error", "deserialization_failed"), "{text}");
        return error.context;
    }
}

/// A request of this client is served.
fn assert_served(client: &mut Client) {
    client.send_text(&request("get_instances_request", "after the attack", &[]));
    while !client.text().contains("\"after the attack\"") {}
}

fn bad_messages(address: SocketAddr) {
    let mut client = Client::connect(address);
    for message in ["", "{}", "[\"a\"", "[1]", "[\"a\", null]"] {
        refused(&mut client, Message::text(message));
    }
    client.send_text(&format!("[\"{CONTROLLER_TOPIC}\"]"));
    let ack = client.text();
    assert!(
        ack.starts_with("{\"type\":\"ack\""),
        "a good subscription may follow: {ack}"
    );
    let deep = format!(
        "{{\"topic\":\"{CONTROLLER_TOPIC}\",\"@data-type\":\"vector\",\"data\":{}",
        "[".repeat(100_000)
    );
    for message in [
        "\u{0}\u{1}",
        "{\"type\":\"data-message\"",
        &deep,
        "{\"type\":\"data-message\",\"@data-type\":\"vector\",\"data\":[]}",
    ] {
        refused(&mut client, Message::text(message));
    }
    for garbage in [&b""[..], b"\x00", b"\xff\xfe\xfd", &[0x0e; 4096]] {
        refused(&mut client, Message::binary(garbage.to_vec()));
    }
    assert_served(&mut client);
}

/// What is no event of the API, and what would give orders in the name of the controller or an agent.
fn refused_events(address: SocketAddr) {
    const AGENT: &str = "zeek/management/agent/instance-1";
    const API: &str = "Management::Controller::API";
    let mut client = Client::subscribed(address);
    let string = "{\"@data-type\":\"string\",\"data\":\"x\"}";
    let wrong_type = request("get_configuration_request", "r", &[string]);
    let no_node = request(
        "stage_configuration_request",
        "r",
        &[
            "{\"@data-type\":\"vector\",\"data\":[{\"@data-type\":\"string\",\"data\":\"id\"},\
            {\"@data-type\":\"set\",\"data\":[]},\
            {\"@data-type\":\"set\",\"data\":[{\"@data-type\":\"count\",\"data\":7}]}]}",
        ],
    );
    let foreign = |topic: &str, event: &str| event_message(topic, event, string);
    let value = |value: &str| format!("{{\"topic\":\"{CONTROLLER_TOPIC}\",\"@data-type\":{value}}}");
    for (message, place) in [
        (value("\"vector\",\"data\":[]"), ""),
        (value("\"count\",\"data\":1"), ""),
        (request("no_such_request", "r", &[]), ""),
        // In no release: `get_configuration_request` would be one of Zeek 5.0.0-rc1.
        (request("stage_configuration_request", "r", &[]), ""),
        (wrong_type.clone(), "deployed"),
        (wrong_type, "expected bool"),
        (no_node, "config.nodes[0]"),
        (
            foreign(CONTROLLER_TOPIC, &format!("{API}::notify_agents_ready")),
            "",
        ),
        (
            foreign(CONTROLLER_TOPIC, &format!("{API}::get_instances_response")),
            "",
        ),
        (
            foreign(CONTROLLER_TOPIC, "Management::Agent::API::agent_standby_request"),
            "",
        ),
        (
            foreign(CONTROLLER_TOPIC, "Management::Request::request_expired"),
            "",
        ),
        (foreign(CONTROLLER_TOPIC, "zeek_init"), ""),
        (
            foreign(AGENT, "Management::Agent::API::agent_standby_request"),
            "",
        ),
        (foreign("zeek/supervisor", "SupervisorControl::stop_request"), ""),
        (foreign(AGENT, &format!("{API}::get_instances_request")), ""),
    ] {
        let context = refused(&mut client, Message::text(&message));
        let begins = context.starts_with("failed to create Zeek event");
        assert!(begins && context.contains(place), "{message}: {context}");
    }
    assert_served(&mut client);
}

/// A reserved bit, an unknown opcode, no mask, a ping of 126 bytes, a continuation of nothing, and text that is not UTF-8.
fn broken_frames(address: SocketAddr) {
    let long = [&b"\x89\xfe\x00\x7e"[..], &[0; 130]].concat();
    for frame in [
        b"\xc1\x80\0\0\0\0",
        &b"\x83\x80\0\0\0\0"[..],
        b"\x81\x02[]",
        &long,
        b"\x80\x80\0\0\0\0",
        b"\x81\x82\0\0\0\0\xc3\x28",
    ] {
        let mut client = Client::deaf(address);
        client.socket().write_all(frame).expect("the connection is open");
        assert!(client.close().is_some(), "a code is given");
    }
}

fn huge_message(address: SocketAddr) {
    const TOO_BIG: u16 = 1009;
    let mut client = Client::deaf(address);
    // The server closes as soon as the frame's header announces its size; the rest may fail to be sent.
    let _ = client.send(Message::text(" ".repeat(64 << 20)));
    let close = client.close().expect("a code is given");
    assert_eq!(close.0, TOO_BIG, "{close:?}");
}

fn pings(address: SocketAddr) {
    let mut client = Client::subscribed(address);
    for _ in 0..100 {
        for _ in 0..100 {
            let ping = Message::Ping(Vec::new().into());
            client.send(ping).expect("the connection is open");
        }
        let mut pongs = 0;
        while pongs < 100 {
            let message = client.message().expect("pings are answered");
            pongs += usize::from(message.is_pong());
        }
    }
    assert_served(&mut client);
}

/// Sends bytes on a bare connection and reads until it is closed.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).expect("the controller accepts connections");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a time-out can be set");
    socket.write_all(bytes).expect("the connection is open");
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => answer,
        // Unread input makes the system reset the connection after what was answered.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("the connection was not closed: {error}"),
    }
}

fn not_http(address: SocketAddr) {
    let mut dice = Dice(1);
    let noise: Vec<u8> = (0..1 << 13).flat_map(|_| dice.roll().to_be_bytes()).collect();
    exchange(address, &noise);
    for text in [
        &b"EHLO example.org\r\n\r\n"[..],
        b"GET /v1/messages/json HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let answer = exchange(address, text);
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", answer.escape_ascii());
    }
}

/// The original upgrades first and explains then (W-29).
fn wrong_path(address: SocketAddr) {
    const POLICY: u16 = 1008;
    let mut client = Client::connect_to(address, "/v1/messages/xml");
    assert!(client.text().contains("\"invalid_uri\""));
    assert_eq!(client.close().map(|(code, _)| code), Some(POLICY));
}

/// A client of release 1.2 to 1.4 that was not told to leave TLS off.
fn tls_client_hello(address: SocketAddr) {
    let mut hello = vec![0x16, 0x03, 0x01, 0x00, 0x2f, 0x01, 0x00, 0x00, 0x2b, 0x03, 0x03];
    hello.extend_from_slice(&[0x5a; 32]);
    hello.extend_from_slice(&[0x00, 0x00, 0x04, 0xc0, 0x19, 0x00, 0xff, 0x01, 0x00]);
    let started = Instant::now();
    exchange(address, &hello);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "refused at once, not by a time-out"
    );
}

/// A connection that stops in the middle of its HTTP request.
fn half_open_request(address: SocketAddr) {
    let started = Instant::now();
    exchange(address, b"GET /v1/messages/json HTTP/1.1\r\nHost: ");
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "a slow client has some time"
    );
}

/// A client that vanished without closing: it answers no pings.
fn half_open_client(address: SocketAddr) {
    const INTERNAL: u16 = 1011;
    const REASON: &[u8] = b"Ping timeout";
    let mut client = Client::deaf(address);
    let socket = client.socket();
    let mut received = Vec::new();
    socket
        .read_to_end(&mut received)
        .expect("the connection is closed in time");
    let close_frame = [&[0x88, 14][..], &INTERNAL.to_be_bytes(), REASON].concat();
    assert!(
        received.ends_with(&close_frame),
        "{:?}",
        String::from_utf8_lossy(&received)
    );
}
