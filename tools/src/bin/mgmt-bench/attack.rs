//! What one client costs the others: attacks of one sender, with a bystander who asks 20 times a second.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use broker_codec::{Data, Topic, zeek::Event};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, EndpointHandle, tls::TlsConfig};
use futures_util::{SinkExt as _, StreamExt as _, future::join_all};
use mgmt_api::{AgentMessage, ClientRequest, topics};
use serde::Serialize;
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{
    client::{Client, ClientError, Encoded},
    process::{Controller, ProcessError},
    stats::Summary,
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

#[derive(Debug, Serialize)]
pub(crate) struct Attacked {
    pub(crate) name: &'static str,
    pub(crate) bystander: Summary,
    /// Why the bystander lost its connection, if it did.
    pub(crate) closed: Option<String>,
    pub(crate) rss_before_kib: u64,
    pub(crate) rss_at_end_kib: u64,
    pub(crate) rss_later_kib: u64,
}

impl Attacked {
    /// Whether the bystander was served and the memory is back.
    pub(crate) fn is_borne(&self) -> bool {
        let (share, kib) = GROWTH_MAX;
        let growth = self.rss_later_kib.saturating_sub(self.rss_before_kib);
        self.closed.is_none()
            && u128::from(self.bystander.p99_us) < P99_MAX.as_micros()
            && growth <= (self.rss_before_kib / share).max(kib)
    }
}

/// Carries the attacks out, one after the other.
pub(crate) async fn attacks(controller: &Controller) -> Result<Vec<Attacked>, ProcessError> {
    let (clients, peers) = (controller.address, controller.broker);
    let mut results = Vec::new();
    // The first answer makes it allocate what it needs anyhow.
    sleep(Duration::from_secs(1)).await;
    let before = controller.memory()?.rss_kib;
    for name in NAMES {
        let (stop, stopped) = oneshot::channel();
        let bystander = tokio::spawn(bystander(clients, stopped));
        sleep(LASTING / 8).await;
        let began = Instant::now();
        attack(name, clients, peers).await;
        sleep(LASTING.saturating_sub(began.elapsed())).await;
        let at_end = controller.memory()?.rss_kib;
        // It may have ended before.
        let _ = stop.send(());
        let (times, closed) = bystander.await.expect("it does not panic");
        sleep(BACK_AFTER).await;
        results.push(Attacked {
            name,
            bystander: Summary::of(&times),
            closed: closed.map(|error| error.to_string()),
            rss_before_kib: before,
            rss_at_end_kib: at_end,
            rss_later_kib: controller.memory()?.rss_kib,
        });
    }
    Ok(results)
}

/// Asks until told to stop, or until its connection is lost.
async fn bystander(
    address: SocketAddr,
    mut stopped: oneshot::Receiver<()>,
) -> (Vec<Duration>, Option<ClientError>) {
    let mut times = vec![];
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = match Client::connect(address).await {
        Ok(client) => client,
        Err(error) => return (vec![Duration::MAX], Some(error)),
    };
    for number in 0.. {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        let request = get_instances(&format!("bystander-{number}"));
        match client.request(Encoded::new(&request)).await {
            Ok(answer) => times.push(answer.elapsed),
            Err(error) => {
                times.push(Duration::MAX);
                return (times, Some(error));
            }
        }
    }
    (times, None)
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
            let (peer, reading) = peer(peers).await;
            let topic = format!("{}/evil", topics::AGENT_PREFIX);
            for number in 0..10_000 {
                let hello = AgentMessage::Hello {
                    instance: format!("evil-{number}").as_str().into(),
                    id: peer.id().to_string().as_str().into(),
                    connecting: true,
                    api_version: mgmt_api::API_VERSION,
                };
                publish(&peer, topic.as_bytes(), Event::of(&hello).expect("an event")).await;
            }
            sleep(LASTING).await;
            reading.abort();
        }
        "a request id of 16 MiB" => {
            let (peer, reading) = peer(peers).await;
            let request = get_instances(&"x".repeat((16 << 20) - 200));
            publish(
                &peer,
                topics::CONTROLLER.as_bytes(),
                Event::of(&request).expect("an event"),
            )
            .await;
            sleep(LASTING).await;
            reading.abort();
        }
        "get_instances of one peer without end" => {
            let (peer, reading) = peer(peers).await;
            let flood = async {
                for number in 0..100_000 {
                    let request = get_instances(&format!("flood-{number}"));
                    publish(
                        &peer,
                        topics::CONTROLLER.as_bytes(),
                        Event::of(&request).expect("an event"),
                    )
                    .await;
                    if number % 50 == 0 {
                        // 5,000 a second.
                        sleep(Duration::from_millis(10)).await;
                    }
                }
            };
            let _ = timeout(LASTING, flood).await;
            reading.abort();
        }
        "get_instances of one client without end" => flood(clients, usize::MAX, true).await,
        "100,000 requests of one client that leaves" => flood(clients, 100_000, false).await,
        "100 silent connections" => {
            let silent: Vec<_> = join_all(
                (0..100).map(|number| TcpStream::connect(if number % 2 == 0 { clients } else { peers })),
            )
            .await;
            sleep(LASTING).await;
            drop(silent);
        }
        "200 clients at once" => {
            let burst = (0..200).map(|_| async {
                if let Ok(mut stream) = TcpStream::connect(clients).await {
                    let _ = timeout(LASTING, stream.read_to_end(&mut Vec::new())).await;
                }
            });
            join_all(burst).await;
        }
        _ => sleep(LASTING).await,
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
        if sink.send(Message::text(topics)).await.is_err() {
            return;
        }
        for number in 0..count {
            let text = Encoded::new(&get_instances(&format!("flood-{number}"))).text;
            if sink.feed(Message::text(text)).await.is_err() {
                return;
            }
        }
        let _ = sink.flush().await;
    };
    let read = async {
        while reads && stream.next().await.is_some() {}
        std::future::pending::<()>().await;
    };
    let both = async {
        tokio::select! {
            () = send => {}
            () = read => {}
        }
    };
    let _ = timeout(LASTING, both).await;
}

/// A Broker peer that subscribes to what clients do, and the task that reads it: the peer is there until that ends.
async fn peer(address: SocketAddr) -> (EndpointHandle, JoinHandle<()>) {
    let mut config = EndpointConfig::default();
    config.tls = TlsConfig::Anonymous;
    config.subscriptions = vec![topic(topics::CONTROLLER.as_bytes())];
    let mut endpoint = Endpoint::start(config).expect("a valid configuration");
    let handle = endpoint.handle();
    handle.peer(address.into(), None);
    while !matches!(endpoint.recv().await, None | Some(EndpointEvent::PeerAdded(_))) {}
    let reading = tokio::spawn(async move { while endpoint.recv().await.is_some() {} });
    (handle, reading)
}

async fn publish(peer: &EndpointHandle, to: &[u8], event: Event) {
    let event = Event {
        metadata: Some(Vec::new()),
        ..event
    };
    let data: Data = event.into_data();
    // It may have been disconnected for what it does.
    let _ = peer.publish(topic(to), &data).await;
}

fn topic(name: &[u8]) -> Topic {
    Topic::new(name).expect("a short name")
}

fn get_instances(reqid: &str) -> ClientRequest {
    ClientRequest::GetInstances { reqid: reqid.into() }
}
