//! What one client costs the others: attacks of one sender, with a bystander who asks 20 times a second.

use std::{
    fmt,
    future::pending,
    net::SocketAddr,
    time::{Duration, Instant},
};

use broker_codec::{Topic, zeek::Event};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, EndpointHandle, tls::TlsConfig, with_causes};
use futures_util::{SinkExt as _, StreamExt as _, future::join_all};
use mgmt_api::{AgentMessage, topics};
use serde::Serialize;
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{
    Failure,
    bystander::Bystander,
    client::encode,
    measure::get_instances,
    process::Controller,
    report::{Summary, mebibytes, milliseconds},
};

/// How often the bystander asks.
const PERIOD: Duration = Duration::from_millis(50);

/// How long an attack lasts at least.
const LASTING: Duration = Duration::from_secs(4);

/// When memory has to be back.
const BACK_AFTER: Duration = Duration::from_secs(30);

/// The bystander's 99th percentile.
const P99_MAX: Duration = Duration::from_millis(20);

/// Memory has to be back within this share of the start, or this many KiB.
const GROWTH_MAX: (u64, u64) = (5, 10 * 1024);

/// What became of each attack.
#[derive(Debug, Serialize)]
pub(crate) struct Attacks(Vec<Attacked>);

#[derive(Debug, Serialize)]
struct Attacked {
    name: &'static str,
    bystander: Summary,
    /// Why the bystander lost its connection, if it did.
    closed: Option<String>,
    rss_before_kib: u64,
    rss_at_end_kib: u64,
    rss_later_kib: u64,
}

impl Attacked {
    /// Whether the bystander was served and the memory is back.
    fn is_borne(&self) -> bool {
        let (share, kib) = GROWTH_MAX;
        let growth = self.rss_later_kib.saturating_sub(self.rss_before_kib);
        self.closed.is_none()
            && u128::from(self.bystander.p99_us) < P99_MAX.as_micros()
            && growth <= (self.rss_before_kib / share).max(kib)
    }
}

impl Attacks {
    /// Carries the attacks out, one after the other.
    pub(crate) async fn carry_out(controller: &Controller) -> Result<Self, Failure> {
        let (clients, peers) = (controller.address, controller.broker);
        let mut results = Vec::new();
        // The first answer makes it allocate what it needs anyhow.
        sleep(Duration::from_secs(1)).await;
        let rss_before_kib = controller.memory()?.rss_kib;
        for name in NAMES {
            let bystander = Bystander::start(clients, PERIOD);
            sleep(LASTING / 8).await;
            let began = Instant::now();
            // Most last until they are ended, as their connections have to.
            let _ = timeout(LASTING, attack(name, clients, peers)).await;
            sleep(LASTING.saturating_sub(began.elapsed())).await;
            let rss_at_end_kib = controller.memory()?.rss_kib;
            let (times, closed) = bystander.stop().await;
            sleep(BACK_AFTER).await;
            results.push(Attacked {
                name,
                bystander: Summary::of(&times),
                closed: closed.map(|error| with_causes(&error)),
                rss_before_kib,
                rss_at_end_kib,
                rss_later_kib: controller.memory()?.rss_kib,
            });
        }
        Ok(Self(results))
    }

    /// Whether the bystander was served during all, and the memory is back after each.
    pub(crate) fn are_borne(&self) -> bool {
        self.0.iter().all(Attacked::is_borne)
    }
}

impl fmt::Display for Attacks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<44} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "attack; ms and MiB", "median", "p99", "before", "at end", "30 s on"
        )?;
        for attacked in &self.0 {
            let name = attacked.name;
            let [median, p99] = [attacked.bystander.median_us, attacked.bystander.p99_us].map(milliseconds);
            let [before, at_end, later] = [
                attacked.rss_before_kib,
                attacked.rss_at_end_kib,
                attacked.rss_later_kib,
            ]
            .map(mebibytes);
            let borne = if attacked.is_borne() { "borne" } else { "NOT BORNE" };
            writeln!(
                out,
                "{name:<44} {median:>9} {p99:>9} {before:>9} {at_end:>9} {later:>9} {borne:>9}"
            )?;
            if let Some(reason) = &attacked.closed {
                writeln!(out, "    the bystander was closed: {reason}")?;
            }
        }
        Ok(())
    }
}

const NAMES: [&str; 8] = [
    "nothing",
    "10,000 hellos of one peer",
    "a request id of 16 MiB",
    "get_instances of one peer without end",
    "get_instances of one client without end",
    "100,000 requests of one client that leaves",
    "100 silent connections",
    "200 clients at once",
];

async fn attack(name: &str, clients: SocketAddr, peers: SocketAddr) {
    match name {
        "10,000 hellos of one peer" => {
            let (peer, _reading) = connected_peer(peers).await;
            let topic = format!("{}/evil", topics::AGENT_PREFIX);
            for number in 0..10_000 {
                let hello = AgentMessage::Hello {
                    instance: format!("evil-{number}").as_str().into(),
                    id: peer.id().to_string().as_str().into(),
                    connecting: true,
                    api_version: mgmt_api::API_VERSION,
                };
                publish(&peer, &topic, &hello).await;
            }
            pending::<()>().await;
        }
        "a request id of 16 MiB" => {
            let (peer, _reading) = connected_peer(peers).await;
            let request = get_instances(&"x".repeat((16 << 20) - 200));
            publish(&peer, topics::CONTROLLER, &request).await;
            pending::<()>().await;
        }
        "get_instances of one peer without end" => {
            let (peer, _reading) = connected_peer(peers).await;
            for number in 0_u32.. {
                let request = get_instances(&format!("flood-{number}"));
                publish(&peer, topics::CONTROLLER, &request).await;
                if number.is_multiple_of(50) {
                    // 5,000 a second.
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
        "get_instances of one client without end" => flood(clients, usize::MAX, true).await,
        "100,000 requests of one client that leaves" => flood(clients, 100_000, false).await,
        "100 silent connections" => {
            let address = |number| if number % 2 == 0 { clients } else { peers };
            let _silent = join_all((0..100).map(|number| TcpStream::connect(address(number)))).await;
            pending::<()>().await;
        }
        "200 clients at once" => {
            let burst = (0..200).map(|_| async {
                if let Ok(mut stream) = TcpStream::connect(clients).await {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            });
            join_all(burst).await;
        }
        _ => pending().await,
    }
}

/// Sends requests as fast as they are read, and reads the answers or does not.
async fn flood(address: SocketAddr, count: usize, reads: bool) {
    let url = format!("ws://{address}/v1/messages/json");
    let Ok((socket, _)) = connect_async(url).await else {
        return;
    };
    let (mut sink, mut stream) = socket.split();
    let send = async {
        let topics = format!("[\"{}\"]", topics::CONTROLLER);
        sink.send(Message::text(topics)).await?;
        for number in 0..count {
            let text = encode(&get_instances(&format!("flood-{number}")));
            sink.feed(Message::text(text)).await?;
        }
        sink.flush().await
    };
    let read = async {
        while reads && stream.next().await.is_some() {}
        pending::<()>().await;
    };
    tokio::select! {
        // The controller may have closed the connection.
        _ = send => {}
        () = read => {}
    }
}

/// A Broker peer that subscribes to what clients do, and the task that reads it: the peer is there until that is dropped.
async fn connected_peer(address: SocketAddr) -> (EndpointHandle, JoinSet<()>) {
    let mut config = EndpointConfig::default();
    config.tls = TlsConfig::Anonymous;
    config.subscriptions = vec![Topic::from_static(topics::CONTROLLER)];
    let mut endpoint = Endpoint::start(config).expect("a valid configuration");
    let handle = endpoint.handle();
    handle.peer(address.into(), None);
    while !matches!(endpoint.recv().await, None | Some(EndpointEvent::PeerAdded(_))) {}
    let mut reading = JoinSet::new();
    reading.spawn(async move { while endpoint.recv().await.is_some() {} });
    (handle, reading)
}

async fn publish(peer: &EndpointHandle, topic: &str, message: &impl Serialize) {
    let event = Event::of(message).expect("an event").native();
    let topic = Topic::new(topic).expect("a short name");
    // It may have been disconnected for what it does.
    let _ = peer.publish(topic, &event.into_data()).await;
}
