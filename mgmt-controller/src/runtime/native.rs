//! Native peers: what the Broker endpoint reports becomes the core's inputs, and what the core wants becomes commands.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use broker_codec::{
    EndpointId, Topic, TopicTooLong,
    data::{Address, Port, ZeekString},
};
use broker_endpoint::{
    Credit, Endpoint, EndpointConfig, EndpointError, EndpointEvent, EndpointHandle, Message, PeerAddress,
    PeerInfo, PeeringError, PublishError, websocket::is_long,
};
use mgmt_daemon::{
    attempts::Attempts,
    log::object,
    process::{descriptors_for_connections, with_causes},
};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    config::{Config, Listener},
    core::Input,
    wire::{FromPeer, Inbound, NativePeers, PeerReader, Refusal, ToNative, Wire},
};

/// The Broker endpoint, and what is known of its peers.
pub(super) struct Native {
    endpoint: Endpoint,
    handle: EndpointHandle,
    listening: Vec<SocketAddr>,
    retry: Option<Duration>,
    peers: BTreeMap<EndpointId, Peer>,
    /// Where we connect to, and could not when we last tried.
    unavailable: Attempts<PeerAddress>,
    /// Where we connect to, and for which instance.
    targets: BTreeMap<PeerAddress, ZeekString>,
    /// A large message that is being read on another thread. What comes after it waits for it.
    decoding: Option<JoinHandle<Decoded>>,
    refused: u64,
}

struct Peer {
    address: SocketAddr,
    /// How many of its messages were not obeyed.
    refused: u64,
}

struct Decoded {
    peer: EndpointId,
    topic: Topic,
    outcome: Result<FromPeer, Refusal>,
    credit: Credit,
}

/// An event cannot be sent to native peers.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Topic(#[from] TopicTooLong),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Native {
    /// Starts the endpoint, and listens unless the configuration says not to. Agents can be connected to in either case.
    pub(super) async fn start(config: &Config, id: EndpointId, wire: &Wire) -> Result<Self, EndpointError> {
        let mut endpoint = EndpointConfig::default();
        endpoint.id = Some(id);
        endpoint.tls = config.daemon.broker_tls.clone();
        // The WebSocket port has the other half.
        endpoint.fit_descriptors(descriptors_for_connections() / 2);
        for prefix in wire.subscriptions() {
            // Longer than a topic can be: no peer could publish there either.
            endpoint.subscriptions.extend(Topic::new(&prefix));
        }
        let endpoint = Endpoint::start(endpoint)?;
        let handle = endpoint.handle();
        let listening = match &config.broker {
            Listener::Off => Vec::new(),
            Listener::At(PeerAddress { host, port }) => handle.listen(host, *port).await?,
        };
        Ok(Self {
            endpoint,
            handle,
            listening,
            retry: config.daemon.connect_retry,
            peers: BTreeMap::new(),
            unavailable: Attempts::default(),
            targets: BTreeMap::new(),
            decoding: None,
            refused: 0,
        })
    }

    /// Where peers can connect, with the ports that the system chose.
    pub(super) fn local_addrs(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// How many messages of peers were not obeyed.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// What peers do next, and the credit that it has of its sender's; `None` if the endpoint has ended by itself. May be cancelled without losing anything.
    pub(super) async fn next(&mut self, wire: &mut Wire) -> Option<(FromPeer, Credit)> {
        loop {
            if let Some(decoding) = &mut self.decoding {
                let decoded = decoding.await;
                self.decoding = None;
                match decoded {
                    Ok(decoded) => {
                        if let Some(read) = self.decoded(decoded) {
                            return Some(read);
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "a message of a peer was lost, reading it panicked");
                    }
                }
                continue;
            }
            let input = match self.endpoint.recv().await? {
                EndpointEvent::Message(message) => {
                    // Peers say nothing before they are there, and nothing after they are gone.
                    let Some(reader) = wire.reader(message.peer) else {
                        continue;
                    };
                    if is_long(&message.data) {
                        self.decoding = Some(tokio::task::spawn_blocking(move || decode(&reader, message)));
                        continue;
                    }
                    match self.decoded(decode(&reader, message)) {
                        Some(read) => return Some(read),
                        None => continue,
                    }
                }
                EndpointEvent::PeerAdded(peer) => {
                    let description = format!("Broker peer {} at {}", peer.id, peer.address);
                    wire.peer_added(peer.id, peer.dialled.is_some(), description);
                    self.added(&peer)
                }
                EndpointEvent::PeerLost { peer, reason } | EndpointEvent::PeerRemoved { peer, reason } => {
                    wire.peer_lost(peer.id);
                    self.lost(&peer, with_causes(&reason))
                }
                EndpointEvent::PeerUnavailable { address, error, .. } => {
                    self.unavailable(&address, &error);
                    continue;
                }
                _ => continue,
            };
            let read = FromPeer {
                inbound: vec![Inbound { input, copy: None }],
                answers: Vec::new(),
            };
            return Some((read, Credit::none()));
        }
    }

    /// Sends an event to the native peers that are to get it, with the credit of what it follows from.
    pub(super) async fn publish(&self, event: &ToNative, credit: &Credit) -> Result<(), SendError> {
        if self.peers.is_empty() {
            return Ok(());
        }
        let (topic, data) = (Topic::new(&event.topic)?, event.to_data());
        let handle = self.handle.with_credit(credit);
        match &event.to {
            NativePeers::One(peer) => handle.publish_to(*peer, topic, &data).await?,
            NativePeers::Subscribers(among) => {
                handle.publish_among(among.clone(), topic, &data).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn connect(&mut self, host: Address, port: Port, instance: Option<&ZeekString>) {
        let address = target(host, port);
        if let Some(instance) = instance {
            self.targets.insert(address.clone(), instance.clone());
        }
        tracing::info!("connecting to {}", self.place(&address));
        self.handle.peer(address, self.retry).await;
    }

    pub(super) async fn disconnect(&mut self, host: Address, port: Port) {
        let address = target(host, port);
        tracing::info!("not connecting to {} any more", self.place(&address));
        self.targets.remove(&address);
        self.unavailable.ended(&address);
        self.handle.unpeer(address).await;
    }

    pub(super) async fn close(&self, peer: EndpointId) {
        self.handle.disconnect(peer).await;
    }

    /// Leaves all peers in good order, within the time that [`Endpoint::shutdown`] names.
    pub(super) async fn leave(self) {
        tracing::debug!(json.broker = object(&self.handle.counters()), "Broker endpoint");
        self.endpoint.shutdown().await;
    }

    /// By which lines of the log are counted.
    pub(super) fn describe(&self, id: EndpointId) -> String {
        match self.peers.get(&id) {
            Some(peer) => format!("Broker peer {id} at {}", peer.address),
            None => format!("Broker peer {id}"),
        }
    }

    fn added(&mut self, peer: &PeerInfo) -> Input {
        let PeerInfo {
            id, address, dialled, ..
        } = peer;
        if let Some(target) = dialled {
            tracing::debug!(peer = %id, "connected to {}", self.place(target));
            self.unavailable.ended(target);
        } else {
            tracing::debug!(peer = %id, %address, "a peer has connected");
        }
        self.peers.insert(
            *id,
            Peer {
                address: *address,
                refused: 0,
            },
        );
        // We connect to addresses, not to names: the address of such a peer is the one that was asked for.
        let port = dialled.as_ref().map_or(address.port(), |target| target.port);
        Input::PeerAdded {
            peer: *id,
            address: Address::from(address.ip()),
            port: Port::tcp(port),
            dialled: dialled.is_some(),
        }
    }

    fn place(&self, address: &PeerAddress) -> String {
        match self.targets.get(address) {
            Some(instance) => format!("instance {instance} at {address}"),
            None => format!("an agent at {address}"),
        }
    }

    fn lost(&mut self, peer: &PeerInfo, reason: String) -> Input {
        let refused = self.peers.remove(&peer.id).map_or(0, |peer| peer.refused);
        tracing::debug!(peer = %peer.id, address = %peer.address, refused, reason, "a peer is gone");
        Input::PeerLost {
            peer: peer.id,
            reason,
        }
    }

    fn unavailable(&mut self, address: &PeerAddress, error: &PeeringError) {
        let error = with_causes(error);
        match self.unavailable.failed(address.clone(), &error, Instant::now()) {
            None => tracing::debug!("{} still cannot be reached: {error}", self.place(address)),
            Some(lasting) if lasting.is_zero() => {
                tracing::warn!("{} cannot be reached: {error}", self.place(address));
            }
            Some(lasting) => {
                let minutes = lasting.as_secs() / 60;
                let place = self.place(address);
                tracing::warn!("{place} cannot be reached for {minutes} minutes now: {error}");
            }
        }
    }

    fn decoded(&mut self, decoded: Decoded) -> Option<(FromPeer, Credit)> {
        let Decoded {
            peer,
            topic,
            outcome,
            credit,
        } = decoded;
        match outcome {
            Ok(read) => Some((read, credit)),
            Err(refusal) => {
                self.refuse(peer, &topic, &refusal);
                None
            }
        }
    }

    /// A peer that says many such things must not fill the log: after the first, they are counted, and told when it goes.
    fn refuse(&mut self, id: EndpointId, topic: &Topic, refusal: &Refusal) {
        self.refused += 1;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.refused += 1;
        let address = peer.address;
        if peer.refused == 1 {
            tracing::warn!(peer = %id, %address, %topic, %refusal, "ignored a message of a peer, further ones are only counted");
        } else {
            tracing::debug!(peer = %id, %address, %topic, %refusal, "ignored a message of a peer");
        }
    }
}

fn decode(reader: &PeerReader, message: Message) -> Decoded {
    let Message {
        peer,
        topic,
        data,
        credit,
    } = message;
    let outcome = reader.read(topic.as_ref(), data);
    Decoded {
        peer,
        topic,
        outcome,
        credit,
    }
}

fn target(host: Address, port: Port) -> PeerAddress {
    let host: std::net::IpAddr = host.into();
    PeerAddress::new(host.to_string(), port.number)
}
