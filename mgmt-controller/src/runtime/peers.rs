//! Native peers: what the Broker endpoint reports becomes the core's inputs, and what the core wants becomes commands.

use std::{collections::BTreeMap, time::Duration};

use broker_codec::{
    EndpointId, Topic,
    data::{Address, Port, ZeekString},
};
use broker_endpoint::{
    Credit, EndpointConfig, EndpointEvent, Message, PeerAddress, PeerInfo, PublishError, websocket::is_long,
    with_causes,
};
use mgmt_api::{access::Grant, topics};
use mgmt_daemon::{
    daemon::Beginning,
    error::HostError,
    peers::{Peers, SendError, topics_of},
    process::descriptors_for_connections,
};
use tokio::task::JoinHandle;

use super::of_peer;
use crate::{
    config::Config,
    core::{Input, may_hear},
    wire::{FromPeer, Inbound, NativePeers, PeerSession, Refusal, ToNative, Wire},
};

/// What peers are, to the log: which of them are agents, the core knows.
pub(super) const PEER: &str = "Broker peer";

/// The controller's native peers.
pub(super) struct BrokerPeers {
    pub(super) peers: Peers,
    retry: Option<Duration>,
    /// Where we connect to, and for which instance.
    targets: BTreeMap<PeerAddress, ZeekString>,
    /// A large message that is being read on another thread. What comes after it waits for it.
    decoding: Option<JoinHandle<Decoded>>,
}

struct Decoded {
    session: PeerSession,
    peer: EndpointId,
    topic: Topic,
    outcome: Result<FromPeer, Refusal>,
    credit: Credit,
}

impl BrokerPeers {
    /// Starts the endpoint. Agents can be connected to also if nothing listens.
    pub(super) async fn start(
        beginning: &mut Beginning,
        config: &Config,
        id: EndpointId,
        wire: &Wire,
    ) -> Result<Self, HostError> {
        let mut endpoint = EndpointConfig::default();
        endpoint.id = Some(id);
        endpoint.tls = config.daemon.broker_tls.clone();
        // The WebSocket port has the other half.
        endpoint.fit_descriptors(descriptors_for_connections() / 2);
        endpoint.subscriptions = topics_of(&wire.subscriptions());
        Ok(Self {
            peers: Peers::start(beginning, endpoint, &config.broker, "agents").await?,
            retry: config.daemon.connect_retry,
            targets: BTreeMap::new(),
            decoding: None,
        })
    }

    /// What peers do next, and the credit that it has of its sender's; `None` if the endpoint has ended by itself. May be cancelled without losing anything.
    pub(super) async fn next(&mut self, wire: &mut Wire) -> Option<(FromPeer, Credit)> {
        loop {
            if let Some(decoding) = &mut self.decoding {
                let decoded = decoding.await;
                self.decoding = None;
                match decoded {
                    Ok(decoded) => {
                        if let Some(read) = self.decoded(wire, decoded) {
                            return Some(read);
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "a message of a peer was lost, reading it panicked");
                    }
                }
                continue;
            }
            let input = match self.peers.recv().await? {
                EndpointEvent::Message(message) => {
                    // Peers say nothing before they are there, and nothing after they are gone.
                    let Some(session) = wire.session(message.peer) else {
                        continue;
                    };
                    if is_long(&message.data) {
                        self.decoding = Some(tokio::task::spawn_blocking(move || decode(session, message)));
                        continue;
                    }
                    match self.decoded(wire, decode(session, message)) {
                        Some(read) => return Some(read),
                        None => continue,
                    }
                }
                EndpointEvent::PeerAdded(peer) => {
                    let grant = self.peers.added(&peer, PEER);
                    let principal = of_peer(&peer, grant.clone());
                    wire.peer_added(peer.id, peer.dialled.is_some(), principal);
                    self.added(&peer, grant)
                }
                EndpointEvent::PeerLost { peer, reason } | EndpointEvent::PeerRemoved { peer, reason } => {
                    wire.peer_lost(peer.id);
                    self.lost(&peer, with_causes(&reason))
                }
                EndpointEvent::PeerUnavailable { address, error, .. } => {
                    let place = self.place(&address);
                    self.peers.unavailable(&address, &error, &place);
                    continue;
                }
                _ => continue,
            };
            let read = FromPeer {
                inbound: Some(Inbound { input, copy: None }),
                answers: Vec::new(),
            };
            return Some((read, Credit::none()));
        }
    }

    /// Sends an event to the native peers that are to get it, with the credit of what it follows from.
    pub(super) async fn publish(&self, event: ToNative, credit: &Credit) -> Result<(), SendError> {
        let Some((handle, topic)) = self.peers.sending(&event.topic, credit)? else {
            return Ok(());
        };
        let (to, payload) = event.into_payload().map_err(PublishError::from)?;
        match to {
            NativePeers::One(peer) => handle.publish_to(peer, topic, payload).await?,
            NativePeers::Subscribers(among) => {
                let among = self.peers.who(&among, may_hear);
                handle.publish_encoded(among, topic, payload).await?;
            }
        }
        Ok(())
    }

    pub(super) fn connect(&mut self, host: Address, port: Port, instance: Option<&ZeekString>) {
        let address = target(host, port);
        if let Some(instance) = instance {
            self.targets.insert(address.clone(), instance.clone());
        }
        tracing::info!("connecting to {}", self.place(&address));
        self.peers.handle.peer(address, self.retry);
    }

    pub(super) fn disconnect(&mut self, host: Address, port: Port) {
        let address = target(host, port);
        tracing::info!("not connecting to {} any more", self.place(&address));
        self.targets.remove(&address);
        self.peers.not_tried(&address);
        self.peers.handle.unpeer(&address);
    }

    pub(super) fn close(&self, peer: EndpointId) {
        self.peers.handle.disconnect(peer);
    }

    fn added(&self, peer: &PeerInfo, grant: Option<Grant>) -> Input {
        let PeerInfo {
            id,
            address,
            dialled,
            subscriptions,
            ..
        } = peer;
        if let Some(target) = dialled {
            tracing::debug!(peer = %id, "connected to {}", self.place(target));
        } else {
            tracing::debug!(peer = %id, %address, "a peer has connected");
        }
        // We connect to addresses, not to names: the address of such a peer is the one that was asked for.
        let port = dialled.as_ref().map_or(address.port(), |target| target.port);
        Input::PeerAdded {
            peer: *id,
            address: Address::from(address.ip()),
            port: Port::tcp(port),
            dialled: dialled.is_some(),
            is_ours: subscriptions.matches(&Topic::from_static(topics::LINK)),
            grant,
        }
    }

    fn place(&self, address: &PeerAddress) -> String {
        match self.targets.get(address) {
            Some(instance) => format!("instance {instance} at {address}"),
            None => format!("an agent at {address}"),
        }
    }

    fn lost(&mut self, peer: &PeerInfo, reason: String) -> Input {
        let (_, refused) = self.peers.removed(peer.id);
        tracing::debug!(peer = %peer.id, address = %peer.address, refused, reason, "a peer is gone");
        Input::PeerLost {
            peer: peer.id,
            reason,
        }
    }

    fn decoded(&mut self, wire: &mut Wire, decoded: Decoded) -> Option<(FromPeer, Credit)> {
        let Decoded {
            session,
            peer,
            topic,
            outcome,
            credit,
        } = decoded;
        wire.heard(session, outcome.as_ref().ok());
        match outcome {
            Ok(read) => Some((read, credit)),
            Err(refusal) => {
                self.peers.refuse(peer, &topic, &refusal);
                None
            }
        }
    }
}

fn decode(mut session: PeerSession, message: Message) -> Decoded {
    let Message {
        peer,
        topic,
        data,
        credit,
    } = message;
    let outcome = session.read(topic.as_ref(), data);
    Decoded {
        session,
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
