//! Clients that send garbage get a clear answer; a client that behaves notices nothing.

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

use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    controller::Controller,
    limit::{Limit, PATIENCE},
    websocket::{CONTROLLER_TOPIC, Client, event_message, request},
};

/// Talks to the controller at an address, and asserts how it is answered.
type Attack = fn(SocketAddr);

/// How long an undisturbed answer may take on a busy machine. An attack that stalls the controller stalls it for seconds.
const UNDISTURBED: Duration = Duration::from_secs(1);

#[test]
fn garbage_is_answered_and_disturbs_no_client() {
    let mut controller = Controller::start(&["--name", "controller"]);
    let address = controller.websocket();
    let good = GoodClient::start(address);

    let attacks: &[(&str, Attack)] = &[
        ("a first message that is no subscription", bad_subscriptions),
        ("messages that are no events", bad_messages),
        ("events that clients may not publish", foreign_events),
        ("binary frames", binary_frames),
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
    for (name, attack) in attacks {
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

/// Sends a message and returns the error that answers it, as code and context.
fn error_for(client: &mut Client, message: &str) -> (String, String) {
    client.send_text(message);
    error(client)
}

fn error(client: &mut Client) -> (String, String) {
    #[derive(serde::Deserialize)]
    struct ErrorMessage {
        r#type: String,
        code: String,
        context: String,
    }

    let limit = Limit::new("an error message");
    loop {
        let text = client.text_by(&limit);
        // The good client's traffic is heard by every subscriber of the topic.
        if text.contains("\"good-") {
            continue;
        }
        let error: ErrorMessage = serde_json::from_str(&text)
            .unwrap_or_else(|problem| panic!("{problem}: not an error message: {text}"));
        assert_eq!(error.r#type, "error");
        return (error.code, error.context);
    }
}

/// A request of this client is served.
fn assert_served(client: &mut Client) {
    client.send_text(&request("get_instances_request", "after the attack", &[]));
    while !client.text().contains("\"after the attack\"") {}
}

fn assert_rejected(client: &mut Client, message: &str, context: &str) {
    let (code, actual) = error_for(client, message);
    assert_eq!(code, "deserialization_failed", "{message}");
    assert!(
        actual.starts_with(context),
        "{message}: {actual:?} does not start with {context:?}"
    );
}

fn bad_subscriptions(address: SocketAddr) {
    let mut client = Client::connect(address);
    for (message, context) in [
        ("", "subscriptions not an array"),
        ("{}", "subscriptions not an array"),
        ("[\"a\"", "subscriptions not an array"),
        ("[1]", "individual subscription not a string"),
        ("[\"a\", null]", "individual subscription not a string"),
    ] {
        assert_rejected(&mut client, message, context);
    }
    client.send_text(&format!("[\"{CONTROLLER_TOPIC}\"]"));
    let ack = client.text();
    assert!(
        ack.starts_with("{\"type\":\"ack\""),
        "a good subscription may follow: {ack}"
    );
    assert_served(&mut client);
}

fn bad_messages(address: SocketAddr) {
    const EVENT: &str = "failed to create Zeek event";
    let mut client = Client::subscribed(address);
    let deep = format!(
        "{{\"topic\":\"{CONTROLLER_TOPIC}\",\"@data-type\":\"vector\",\"data\":{}",
        "[".repeat(100_000)
    );
    let wrong_type = request(
        "get_configuration_request",
        "r",
        &["{\"@data-type\":\"string\",\"data\":\"T\"}"],
    );
    let no_node = request(
        "stage_configuration_request",
        "r",
        &[
            "{\"@data-type\":\"vector\",\"data\":[{\"@data-type\":\"string\",\"data\":\"id\"},\
            {\"@data-type\":\"set\",\"data\":[]},\
            {\"@data-type\":\"set\",\"data\":[{\"@data-type\":\"count\",\"data\":7}]}]}",
        ],
    );
    for (message, context) in [
        ("", "failed to decode JSON object"),
        ("\u{0}\u{1}", "failed to decode JSON object"),
        ("{\"type\":\"data-message\"", "failed to decode JSON object"),
        (deep.as_str(), "failed to decode JSON object"),
        (
            "{\"type\":\"data-message\",\"@data-type\":\"vector\",\"data\":[]}",
            "no topic in top-level JSON object",
        ),
        (
            &format!("{{\"topic\":\"{CONTROLLER_TOPIC}\",\"@data-type\":\"vector\",\"data\":[]}}"),
            EVENT,
        ),
        (
            &format!("{{\"topic\":\"{CONTROLLER_TOPIC}\",\"@data-type\":\"count\",\"data\":1}}"),
            EVENT,
        ),
        (&request("no_such_request", "r", &[]), EVENT),
        // In no release: `get_configuration_request` would be one of Zeek 5.0.0-rc1.
        (&request("stage_configuration_request", "r", &[]), EVENT),
        (&wrong_type, EVENT),
        (&no_node, EVENT),
    ] {
        assert_rejected(&mut client, message, context);
    }
    let (_, context) = error_for(&mut client, &wrong_type);
    assert!(
        context.contains("deployed") && context.contains("expected bool"),
        "the place and the type: {context}"
    );
    let (_, context) = error_for(&mut client, &no_node);
    assert!(context.contains("config.nodes[0]"), "the place: {context}");
    assert_served(&mut client);
}

/// What would give orders in the name of the controller or an agent.
fn foreign_events(address: SocketAddr) {
    let mut client = Client::subscribed(address);
    let string = "{\"@data-type\":\"string\",\"data\":\"x\"}";
    for (topic, event) in [
        (
            CONTROLLER_TOPIC,
            "Management::Controller::API::notify_agents_ready",
        ),
        (
            CONTROLLER_TOPIC,
            "Management::Controller::API::get_instances_response",
        ),
        (CONTROLLER_TOPIC, "Management::Agent::API::agent_standby_request"),
        (CONTROLLER_TOPIC, "Management::Request::request_expired"),
        (CONTROLLER_TOPIC, "zeek_init"),
        (
            "zeek/management/agent/instance-1",
            "Management::Agent::API::agent_standby_request",
        ),
        ("zeek/supervisor", "SupervisorControl::stop_request"),
        (
            "zeek/management/agent/instance-1",
            "Management::Controller::API::get_instances_request",
        ),
    ] {
        let (code, context) = error_for(&mut client, &event_message(topic, event, string));
        assert_eq!(code, "deserialization_failed", "{topic} {event}: {context}");
    }
    assert_served(&mut client);
}

fn binary_frames(address: SocketAddr) {
    let mut client = Client::subscribed(address);
    for garbage in [&b""[..], b"\x00", b"\xff\xfe\xfd", &[0x0e; 4096]] {
        client
            .send(Message::binary(garbage.to_vec()))
            .expect("the connection is open");
        let (code, context) = error(&mut client);
        assert_eq!(code, "deserialization_failed");
        assert!(context.starts_with("failed to decode JSON object"), "{context}");
    }
    assert_served(&mut client);
}

fn broken_frames(address: SocketAddr) {
    const PROTOCOL: u16 = 1002;
    const INVALID_PAYLOAD: u16 = 1007;
    const MASK: [u8; 4] = [0; 4];
    let frames: [(&str, Vec<u8>, u16); 6] = [
        ("a reserved bit", [&[0xc1, 0x80][..], &MASK].concat(), PROTOCOL),
        ("an unknown opcode", [&[0x83, 0x80][..], &MASK].concat(), PROTOCOL),
        ("no mask", vec![0x81, 0x02, b'[', b']'], PROTOCOL),
        (
            "a ping of 126 bytes",
            [&[0x89, 0xfe, 0x00, 0x7e][..], &MASK, &[0; 126]].concat(),
            PROTOCOL,
        ),
        (
            "a continuation of nothing",
            [&[0x80, 0x80][..], &MASK].concat(),
            PROTOCOL,
        ),
        (
            "text that is not UTF-8",
            [&[0x81, 0x82][..], &MASK, &[0xc3, 0x28]].concat(),
            INVALID_PAYLOAD,
        ),
    ];
    for (name, frame, code) in frames {
        let mut client = Client::deaf(address);
        client.socket().write_all(&frame).expect("the connection is open");
        let close = client
            .close()
            .unwrap_or_else(|| panic!("{name}: a code is given"));
        assert_eq!(close.0, code, "{name}: {close:?}");
        assert!(!close.1.is_empty(), "{name}: a reason is given");
    }
}

fn huge_message(address: SocketAddr) {
    const TOO_BIG: u16 = 1009;
    let mut client = Client::deaf(address);
    // The server closes as soon as the frame's header announces its size; the rest may fail to be sent.
    let _ = client.send(Message::text(" ".repeat(64 << 20)));
    let close = client.close().expect("a code is given");
    assert_eq!(close.0, TOO_BIG, "{close:?}");
    assert!(!close.1.is_empty(), "a reason is given");
}

fn pings(address: SocketAddr) {
    const PINGS: u16 = 10_000;
    const IN_FLIGHT: u16 = 100;
    let mut client = Client::subscribed(address);
    let (mut sent, mut answered) = (0, 0);
    while answered < PINGS {
        while sent < PINGS && sent - answered < IN_FLIGHT {
            client
                .send(Message::Ping(sent.to_be_bytes().to_vec().into()))
                .expect("the connection is open");
            sent += 1;
        }
        match client.message().expect("pings are answered") {
            Message::Pong(payload) => {
                assert_eq!(
                    *payload,
                    answered.to_be_bytes(),
                    "pongs come in the order of the pings"
                );
                answered += 1;
            }
            Message::Text(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
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
    let mut noise = Vec::new();
    let mut state = 1_u32;
    while noise.len() < 1 << 16 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.extend_from_slice(&state.to_be_bytes());
    }
    exchange(address, &noise);
    let answer = exchange(address, b"EHLO example.org\r\n\r\n");
    assert!(
        answer.starts_with(b"HTTP/1.1 400 "),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    let answer = exchange(address, b"GET /v1/messages/json HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        answer.starts_with(b"HTTP/1.1 4"),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
}

/// The original upgrades first and explains then (W-29).
fn wrong_path(address: SocketAddr) {
    const POLICY: u16 = 1008;
    const REASON: &str = "Invalid URI - use /v1/messages/json";
    let mut client = Client::connect_to(address, "/v1/messages/xml");
    assert_eq!(error(&mut client), ("invalid_uri".to_owned(), REASON.to_owned()));
    assert_eq!(client.close(), Some((POLICY, REASON.to_owned())));
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
