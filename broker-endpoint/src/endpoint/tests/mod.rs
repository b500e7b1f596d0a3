//! Endpoints on loopback: among themselves, and against scripts that speak bytes.

mod attacks;
mod awaited;
mod conversations;
mod credit;
mod established;
mod pairs;
mod restarts;
mod slow;

use std::{net::SocketAddr, time::Duration};

use broker_codec::{Data, handshake::Role};
use testkit::ReservedPort;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    connection::{Connection, Outcome, awaited::Awaited},
    tls::{self, TlsConfig, testing::Authority},
};

/// How long to wait for what must happen; never for what must not.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The smaller id of `broker-wire` examples: an endpoint with it is the originator.
const SMALL: &str = "11111111-1111-4111-8111-111111111111";

/// The larger id.
const LARGE: &str = "eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee";

fn id(text: &str) -> EndpointId {
    text.parse().expect("an id")
}

/// A configuration by which no time is too long: on a machine that is busy, what takes milliseconds may take many seconds. Tests
/// that are about time say which.
fn patient() -> EndpointConfig {
    const EVER: Duration = Duration::from_secs(3600);
    EndpointConfig {
        liveness: None,
        handshake_timeout: EVER,
        connect_timeout: EVER,
        ..EndpointConfig::default()
    }
}

/// The same without TLS.
fn plaintext() -> EndpointConfig {
    EndpointConfig {
        tls: TlsConfig::Off,
        ..patient()
    }
}

/// The same with the smaller id.
fn small() -> EndpointConfig {
    EndpointConfig {
        id: Some(id(SMALL)),
        ..plaintext()
    }
}

/// An endpoint that subscribes to these topics.
fn subscribed(topics: &[&str]) -> Endpoint {
    start(EndpointConfig {
        subscriptions: topics.iter().map(|text| topic(text)).collect(),
        ..plaintext()
    })
}

fn start(config: EndpointConfig) -> Endpoint {
    Endpoint::start(config).expect("the configuration is valid")
}

async fn listen(endpoint: &Endpoint, host: &str) -> SocketAddr {
    let addresses = endpoint.handle().listen(host, 0).await.expect("listening");
    addresses[0]
}

async fn next(endpoint: &mut Endpoint) -> EndpointEvent {
    timeout(TIMEOUT, endpoint.recv())
        .await
        .expect("an event in time")
        .expect("the endpoint runs")
}

async fn peer_added(endpoint: &mut Endpoint) -> PeerInfo {
    match next(endpoint).await {
        EndpointEvent::PeerAdded(peer) => peer,
        other => panic!("expected a peer, got {other:?}"),
    }
}

/// Has an endpoint connect to another one, once.
async fn meet(endpoint: &mut Endpoint, address: SocketAddr, peer: &mut Endpoint) {
    peer.handle().peer(address.into(), None);
    assert_eq!(peer_added(endpoint).await.id, peer.id());
    assert_eq!(peer_added(peer).await.id, endpoint.id());
}

async fn publish(endpoint: &Endpoint, name: &str, data: &Data) {
    let published = endpoint.handle().publish(topic(name), data).await;
    published.expect("published");
}

async fn message(endpoint: &mut Endpoint) -> Message {
    match next(endpoint).await {
        EndpointEvent::Message(message) => message,
        other => panic!("expected a message, got {other:?}"),
    }
}

/// As [`peer_added`] where attempts to connect may fail before.
async fn peer_added_at_last(endpoint: &mut Endpoint) -> PeerInfo {
    loop {
        match next(endpoint).await {
            EndpointEvent::PeerUnavailable { .. } => {}
            EndpointEvent::PeerAdded(peer) => return peer,
            other => panic!("expected a peer, got {other:?}"),
        }
    }
}

/// A peering is in the list until right after the event of its end: waits until there are so many.
async fn peers_left(endpoint: &Endpoint, count: usize) -> Vec<PeerInfo> {
    let wait = async {
        loop {
            let peers = endpoint.handle().peers();
            if peers.len() == count {
                return peers;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, wait).await.expect("so many are left")
}

async fn peer_lost(endpoint: &mut Endpoint) -> EndReason {
    match next(endpoint).await {
        EndpointEvent::PeerLost { reason, .. } => reason,
        other => panic!("expected a loss, got {other:?}"),
    }
}

async fn peer_removed(endpoint: &mut Endpoint) -> EndReason {
    match next(endpoint).await {
        EndpointEvent::PeerRemoved { reason, .. } => reason,
        other => panic!("expected a removal, got {other:?}"),
    }
}

async fn peer_unavailable(endpoint: &mut Endpoint) -> (PeeringError, Option<Duration>) {
    match next(endpoint).await {
        EndpointEvent::PeerUnavailable { error, retry, .. } => (error, retry),
        other => panic!("expected a failure, got {other:?}"),
    }
}

fn topic(text: &str) -> Topic {
    text.try_into().expect("short")
}

/// The other end of a connection: says and expects bytes, written in hexadecimal with any spaces.
struct Script<S = TcpStream>(S);

impl Script {
    async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("connected"))
    }

    /// Connects with little room for what it does not read, whatever the system's settings.
    async fn connect_narrowly(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(64 * 1024).expect("set");
        Self(socket.connect(address).await.expect("connected"))
    }

    async fn accept(listener: &TcpListener) -> Self {
        let accepted = timeout(TIMEOUT, listener.accept()).await.expect("in time");
        Self(accepted.expect("accepted").0)
    }

    /// Accepts a connection of an endpoint with the smaller id, and becomes its peer with the larger one.
    async fn accept_peer(listener: &TcpListener, syn_ack: &str) -> Self {
        let mut script = Self::accept(listener).await;
        script.expect(HELLO_SMALL).await;
        script.say(HELLO_LARGE).await;
        script.expect(VERSION_SELECT_SMALL).await;
        script.frame().await;
        script.say(syn_ack).await;
        script.expect(ACK).await;
        script
    }

    /// Breaks the connection as a crashed machine does when it is back.
    fn reset(self) {
        let socket = self.0.into_std().expect("a socket");
        let socket = socket2::Socket::from(socket);
        socket.set_linger(Some(Duration::ZERO)).expect("set");
        drop(socket);
    }

    /// Connects with the larger id and no subscriptions, and becomes a peer of an endpoint with the smaller one.
    async fn peer_with(address: SocketAddr) -> Self {
        let mut script = Self::connect(address).await;
        script.become_peer(SYN_ACK_EMPTY).await;
        script
    }
}

/// A connection of an endpoint that neither its listeners nor its diallers have made.
fn connection_of(endpoint: &Endpoint, role: Role) -> Connection {
    let shared = &endpoint.handle.shared;
    Connection {
        credits: crate::credit::Credits::new(),
        shared: Arc::clone(shared),
        role,
        address: ([127, 0, 0, 1], 1).into(),
        dialled: None,
        awaited: Awaited::default(),
        leave: CancellationToken::new(),
        deadline: shared.now() + shared.config.handshake_timeout,
        handshake: None,
    }
}

impl Script<DuplexStream> {
    /// Connects to an endpoint without the system in between: on a connection in memory nothing is under way while a clock that the
    /// test has stopped jumps. Also the connection's end, on the endpoint's side.
    fn connect_in_memory(endpoint: &Endpoint) -> (Self, JoinHandle<Outcome>) {
        let (ours, theirs) = duplex(64 * 1024);
        let mut connection = connection_of(endpoint, Role::Acceptor);
        let task = tokio::spawn(async move { connection.run(tls::plain(ours)).await });
        (Self(theirs), task)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Script<S> {
    async fn say(&mut self, bytes: &str) {
        self.0.write_all(&from_hex(bytes)).await.expect("written");
    }

    async fn expect(&mut self, bytes: &str) {
        let expected = from_hex(bytes);
        let found = self.read(expected.len()).await;
        assert_eq!(to_hex(&found), to_hex(&expected));
    }

    async fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        timeout(TIMEOUT, self.0.read_exact(&mut bytes))
            .await
            .expect("in time")
            .expect("enough bytes");
        bytes
    }

    /// The content of the next frame.
    async fn frame(&mut self) -> Vec<u8> {
        let header = self.read(4).await;
        let len = u32::from_be_bytes(header.try_into().expect("four bytes"));
        self.read(len as usize).await
    }

    /// The other side closes, and says nothing before.
    async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        timeout(TIMEOUT, self.0.read_to_end(&mut rest))
            .await
            .expect("in time")
            .expect("an orderly end");
        assert_eq!(to_hex(&rest), "");
    }

    /// Becomes a peer, with the larger id, of an endpoint with the smaller one.
    async fn become_peer(&mut self, syn_ack: &str) {
        self.become_peer_with_id("eeeeeeeeeeee4eee8eeeeeeeeeeeeeee", syn_ack)
            .await;
    }

    async fn become_peer_with_id(&mut self, id: &str, syn_ack: &str) {
        self.say(&format!("00000017 06 5a45454b {id} 0101")).await;
        self.expect(PROBE).await;
        self.expect(VERSION_SELECT_SMALL).await;
        let syn = self.frame().await;
        assert_eq!(syn[0], 0x0a, "originator_syn");
        self.say(syn_ack).await;
        self.expect(ACK).await;
    }
}

const PROBE: &str = "00000005 07 5a45454b";
const HELLO_SMALL: &str = "00000017 06 5a45454b 11111111111141118111111111111111 0101";
const HELLO_LARGE: &str = "00000017 06 5a45454b eeeeeeeeeeee4eee8eeeeeeeeeeeeeee 0101";
const VERSION_SELECT_SMALL: &str = "00000016 08 5a45454b 11111111111141118111111111111111 01";
const SYN_EMPTY: &str = "00000002 0a 00";
const SYN_ACK_EMPTY: &str = "00000002 0b 00";
/// Every topic.
const SYN_ACK_EVERYTHING: &str = "00000003 0b 01 00";
const ACK: &str = "00000001 0c";

/// A `drop_conn` of the endpoint with the smaller id.
fn drop_small(code: u8, description: &str) -> String {
    let len = 23 + description.len();
    format!(
        "{len:08x} 09 5a45454b 11111111111141118111111111111111 {code:02x} {:02x} {}",
        description.len(),
        to_hex(description.as_bytes())
    )
}

/// By the clock that the test has stopped, whose timers have a resolution of a millisecond.
fn assert_took(began: Instant, expected: Duration) {
    let elapsed = began.elapsed();
    assert!(
        elapsed.abs_diff(expected) < Duration::from_millis(10),
        "{elapsed:?}"
    );
}

/// A frame with an envelope between the two ids, from the larger to the smaller one.
fn envelope_of_large(receiver: &str, kind: u8, topic: &str, payload: &[u8]) -> String {
    let len = 37 + topic.len() + payload.len();
    format!(
        "{len:08x} eeeeeeeeeeee4eee8eeeeeeeeeeeeeee {} {kind:02x} 0010 {:04x} {} {}",
        receiver.replace('-', ""),
        topic.len(),
        to_hex(topic.as_bytes()),
        to_hex(payload)
    )
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string");
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| digit.to_digit(16).expect("a hexadecimal digit"))
        .collect();
    assert!(digits.len().is_multiple_of(2), "two digits for each byte");
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte"))
        .collect()
}
