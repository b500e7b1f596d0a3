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

use mgmt_api::topics::CONTROLLER;
use testkit::Dice;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    controller::Controller,
    limit::{Limit, TIMEOUT},
    websocket::{Client, event_message, request},
};

/// Talks to the controller at an address, and asserts how it is answered.
type Attack = fn(SocketAddr);

/// How long an undisturbed answer may take on a busy machine. An attack that stalls the controller stalls it for seconds.
const UNDISTURBED: Duration = Duration::from_secs(1);

#[test]
fn garbage_is_answered_and_disturbs_no_client() {
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
        limit.poll(|| {
            let failed = self.thread.is_finished();
            assert!(!failed, "the good client failed during: {attack}");
            (self.answers() >= before + 2).then_some(())
        });
    }

    fn stop(self) -> (usize, usize, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the good client was served")
    }
}

/// Code and context of the error that comes next.
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

/// A message is refused as it cannot be read, in these words.
fn assert_refused(client: &mut Client, message: Message, context: &str) {
    let shown = message.to_string();
    client.send(message).expect("the connection is open");
    let (code, actual) = error(client);
    assert_eq!(code, "deserialization_failed", "{shown}");
    assert!(actual.starts_with(context), "{shown}: {actual}");
}

/// A request of this client is served.
fn assert_served(client: &mut Client) {
    client.send_text(&request("get_instances_request", "after the attack", &[]));
    while !client.text().contains("\"after the attack\"") {}
}

fn bad_messages(address: SocketAddr) {
    const NO_ARRAY: &str = "subscriptions not an array";
    const NO_STRING: &str = "individual subscription not a string";
    const NO_JSON: &str = "failed to decode JSON object";
    let mut client = Client::connect(address);
    for (message, context) in [
        ("", NO_ARRAY),
        ("{}", NO_ARRAY),
        ("[\"a\"", NO_ARRAY),
        ("[1]", NO_STRING),
        ("[\"a\", null]", NO_STRING),
    ] {
        assert_refused(&mut client, Message::text(message), context);
    }
    client.send_text(&format!("[\"{CONTROLLER}\"]"));
    let ack = client.text();
    assert!(
        ack.starts_with("{\"type\":\"ack\""),
        "a good subscription may follow: {ack}"
    );
    let deep = format!(
        "{{\"topic\":\"{CONTROLLER}\",\"@data-type\":\"vector\",\"data\":{}",
        "[".repeat(100_000)
    );
    let no_topic = "{\"type\":\"data-message\",\"@data-type\":\"vector\",\"data\":[]}";
    for message in ["", "\u{0}\u{1}", "{\"type\":\"data-message\"", &deep] {
        assert_refused(&mut client, Message::text(message), NO_JSON);
    }
    for garbage in [&b""[..], b"\x00", b"\xff\xfe\xfd", &[0x0e; 4096]] {
        assert_refused(&mut client, Message::binary(garbage.to_vec()), NO_JSON);
    }
    let context = "no topic in top-level JSON object";
    assert_refused(&mut client, Message::text(no_topic), context);
    assert_served(&mut client);
}

/// What is no event of the API, and what would give orders in the name of the controller or an agent.
fn refused_events(address: SocketAddr) {
    const AGENT: &str = "zeek/management/agent/instance-1";
    const STANDBY: &str = "Management::Agent::API::agent_standby_request";
    const API: &str = "Management::Controller::API";
    let mut client = Client::subscribed(address);
    let string = "{\"@data-type\":\"string\",\"data\":\"x\"}";
    let value = |value: &str| format!("{{\"topic\":\"{CONTROLLER}\",\"@data-type\":{value}}}");
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
    let mut refused = |message: String, reason: &str| {
        let context = format!("failed to create Zeek event: {reason}");
        assert_refused(&mut client, Message::text(message), &context);
    };
    let stage = format!("{API}::stage_configuration_request");
    let not_boolean = format!("{API}::get_configuration_request.deployed: expected boolean, found string");
    let no_record = format!("{stage}.config.nodes[0]: expected vector, found count");
    refused(value("\"count\",\"data\":1"), "a Zeek message is a list");
    let begins = "a Zeek message begins with version 1";
    refused(value("\"vector\",\"data\":[]"), begins);
    refused(wrong_type, &not_boolean);
    refused(no_node, &no_record);
    // In no release: `get_configuration_request` would be one of Zeek 5.0.0-rc1.
    let too_few = format!("{stage}: expected 2 arguments, got 1");
    refused(event_message(CONTROLLER, &stage, string), &too_few);
    for event in [
        &*format!("{API}::no_such_request"),
        &format!("{API}::notify_agents_ready"),
        &format!("{API}::get_instances_response"),
        STANDBY,
        "Management::Request::request_expired",
        "zeek_init",
    ] {
        let message = event_message(CONTROLLER, event, string);
        refused(message, &format!("unknown event `{event}`"));
    }
    for (topic, event) in [
        (AGENT, STANDBY),
        ("zeek/supervisor", "SupervisorControl::stop_request"),
        (AGENT, &format!("{API}::get_instances_request")),
    ] {
        let closed = format!("topic {topic} is not open to clients, only {CONTROLLER}");
        refused(event_message(topic, event, string), &closed);
    }
    assert_served(&mut client);
}

fn broken_frames(address: SocketAddr) {
    const PROTOCOL: u16 = 1002;
    const INVALID_PAYLOAD: u16 = 1007;
    let close = |frame: &[u8]| {
        let mut client = Client::deaf(address);
        client.socket().write_all(frame).expect("the connection is open");
        client.close()
    };
    let long = [&b"\x89\xfe\x00\x7e"[..], &[0; 130]].concat();
    let too_big = "Control frame too big (payload must be 125 bytes or less)";
    for (frame, reason) in [
        (&b"\xc1\x80\0\0\0\0"[..], "Reserved bits are non-zero"),
        (b"\x83\x80\0\0\0\0", "Encountered invalid opcode: 3"),
        (b"\x81\x02[]", "Received an unmasked frame from client"),
        (&long, too_big),
        (b"\x80\x80\0\0\0\0", "Continue frame but nothing to continue"),
    ] {
        let reason = format!("client breaks the WebSocket protocol: {reason}");
        assert_eq!(close(frame), Some((PROTOCOL, reason)));
    }
    let reason = "text message is not UTF-8".to_owned();
    let no_text = b"\x81\x82\0\0\0\0\xc3\x28";
    assert_eq!(close(no_text), Some((INVALID_PAYLOAD, reason)));
}

fn huge_message(address: SocketAddr) {
    const TOO_BIG: u16 = 1009;
    let mut client = Client::deaf(address);
    // The server closes as soon as the frame's header announces its size; the rest may fail to be sent.
    let _ = client.send(Message::text(" ".repeat(64 << 20)));
    let reason = "message too big: at most 16777216 bytes are allowed".to_owned();
    assert_eq!(client.close(), Some((TOO_BIG, reason)));
}

fn pings(address: SocketAddr) {
    let mut client = Client::subscribed(address);
    for hundred in 0..100_u8 {
        for number in 0..100 {
            let ping = Message::Ping(vec![hundred, number].into());
            client.send(ping).expect("the connection is open");
        }
        let mut pongs = (0..100).map(|number| vec![hundred, number]);
        while pongs.len() > 0 {
            if let Message::Pong(payload) = client.message().expect("pings are answered") {
                assert_eq!(Some(payload.to_vec()), pongs.next(), "in their order");
            }
        }
    }
    assert_served(&mut client);
}

/// Sends bytes on a bare connection and reads until it is closed.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).expect("the controller accepts connections");
    socket
        .set_read_timeout(Some(TIMEOUT))
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
    for (text, status) in [
        (&b"EHLO example.org\r\n\r\n"[..], &b"HTTP/1.1 400 "[..]),
        (
            b"GET /v1/messages/json HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HTTP/1.1 426 ",
        ),
    ] {
        let answer = exchange(address, text);
        assert!(answer.starts_with(status), "{}", answer.escape_ascii());
    }
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
