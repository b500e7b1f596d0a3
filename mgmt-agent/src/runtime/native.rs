//! Peers: what the Broker endpoint reports becomes the core's inputs, and what the core publishes becomes commands.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use broker_codec::{EndpointId, Topic, TopicTooLong, data::ZeekString, peering::PeeringEnd, zeek::Event};
use broker_endpoint::{
    Credit, EndReason, Endpoint, EndpointConfig, EndpointError, EndpointEvent, EndpointHandle, PeerAddress,
    PeerInfo, PeeringError, PublishError,
};
use mgmt_api::topics;
use mgmt_daemon::{
    attempts::Attempts,
    log::object,
    process::{descriptors_for_connections, with_causes},
};
use tokio::time::Instant;

use crate::{
    config::{Config, Listener},
    core::broker::Input,
};

/// Between attempts to connect to the Supervisor, if the setting for the controller allows only one. As
/// `Broker::default_listen_retry` since Zeek 7.2.
const SUPERVISOR_RETRY: Duration = Duration::from_secs(1);

/// How long a Supervisor may take to listen that was just started, by us or at the same time as we were: Zeek reads its scripts
/// first.
const SUPERVISOR_BEGINNING: Duration = Duration::from_secs(10);

/// A peer that has connected and is no controller.
const NODE: &str = "node";

/// The Broker endpoint, and what is known of its peers.
pub(super) struct Native {
    endpoint: Endpoint,
    handle: EndpointHandle,
    listening: Vec<SocketAddr>,
    supervisor: PeerAddress,
    /// Until when it is no wonder that the Supervisor does not listen.
    beginning_until: Instant,
    peers: BTreeMap<EndpointId, Peer>,
    /// Where we connect to, and could not when we last tried.
    unavailable: Attempts<PeerAddress>,
    refused: u64,
}

struct Peer {
    role: &'static str,
    address: SocketAddr,
    /// How many of its messages were not obeyed.
    refused: u64,
}

/// An event cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Topic(#[from] TopicTooLong),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Native {
    /// Starts the endpoint, and listens unless the configuration says not to. Connects to no peer yet.
    pub(super) async fn start(config: &Config, id: EndpointId) -> Result<Self, EndpointError> {
        let mut endpoint = EndpointConfig::default();
        endpoint.id = Some(id);
        endpoint.tls = config.daemon.broker_tls.clone();
        endpoint.fit_descriptors(descriptors_for_connections());
        endpoint.subscriptions = topics_of(&config.settings.subscriptions());
        let endpoint = Endpoint::start(endpoint)?;
        let handle = endpoint.handle();
        let listening = match &config.listen {
            Listener::Off => Vec::new(),
            Listener::At(PeerAddress { host, port }) => handle.listen(host, *port).await?,
        };
        Ok(Self {
            endpoint,
            handle,
            listening,
            supervisor: config.supervisor.clone(),
            beginning_until: Instant::now() + SUPERVISOR_BEGINNING,
            peers: BTreeMap::new(),
            unavailable: Attempts::default(),
            refused: 0,
        })
    }

    /// Connects to a Supervisor that is there already, and to the controller if it is us who connects.
    pub(super) async fn connect(&self, config: &Config) {
        if config.start_supervisor.is_none() {
            self.connect_supervisor(config).await;
        }
        if let Some(controller) = &config.controller {
            tracing::info!("connecting to the controller at {controller}");
            let awaited = topics_of(&config.settings.controller_topics());
            self.handle
                .peer_awaiting(controller.clone(), retry(config), awaited)
                .await;
        }
    }

    /// Connects to the Supervisor that we have just started. Before that, what listens there is another one.
    pub(super) async fn supervisor_started(&mut self, config: &Config, address: PeerAddress) {
        self.supervisor = address;
        self.beginning_until = Instant::now() + SUPERVISOR_BEGINNING;
        self.connect_supervisor(config).await;
    }

    /// Connects no more to where the Supervisor was that we had started.
    pub(super) async fn supervisor_ended(&self) {
        self.handle.unpeer(self.supervisor.clone()).await;
    }

    /// Again and again: the setting for the controller does not count.
    async fn connect_supervisor(&self, config: &Config) {
        tracing::info!("connecting to the Supervisor at {}", self.supervisor);
        let for_ever = retry(config).unwrap_or(SUPERVISOR_RETRY);
        let awaited = topics_of(std::slice::from_ref(&config.settings.supervisor.topic));
        self.handle
            .peer_awaiting(self.supervisor.clone(), Some(for_ever), awaited)
            .await;
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
    ///
    /// Messages are read on the loop, large ones as well: they come from the controller and from the host's own nodes, and
    /// a configuration of 2,000 nodes takes some ten milliseconds.
    pub(super) async fn next(&mut self) -> Option<(Input, Credit)> {
        let mut credit = Credit::none();
        loop {
            let input = match self.endpoint.recv().await? {
                EndpointEvent::Message(message) => {
                    credit = message.credit;
                    Input::Message {
                        peer: message.peer,
                        topic: message.topic.as_ref().into(),
                        data: message.data,
                    }
                }
                EndpointEvent::PeerAdded(peer) => self.added(&peer),
                EndpointEvent::PeerLost { peer, reason } | EndpointEvent::PeerRemoved { peer, reason } => {
                    self.lost(&peer, &reason)
                }
                EndpointEvent::PeerUnavailable { address, error, .. } => {
                    self.unavailable(&address, &error);
                    continue;
                }
                _ => continue,
            };
            return Some((input, credit));
        }
    }

    /// Sends an event to a peer, or to every peer that has subscribed to the topic, as Zeek 9.0 does: with an empty list of
    /// metadata.
    pub(super) async fn publish(
        &self,
        to: Option<EndpointId>,
        topic: &ZeekString,
        event: Event,
        credit: &Credit,
    ) -> Result<(), SendError> {
        if self.peers.is_empty() {
            return Ok(());
        }
        let event = Event {
            metadata: Some(Vec::new()),
            ..event
        };
        let (topic, data) = (Topic::new(topic)?, event.into_data());
        let handle = self.handle.with_credit(credit);
        match to {
            Some(peer) => handle.publish_to(peer, topic, &data).await?,
            None => handle.publish(topic, &data).await?,
        }
        Ok(())
    }

    /// Leaves all peers in good order, within the time that [`Endpoint::shutdown`] names.
    pub(super) async fn leave(self) {
        tracing::debug!(json.broker = object(&self.handle.counters()), "Broker endpoint");
        self.endpoint.shutdown().await;
    }

    /// A peer that says many such things must not fill the log: after the first, they are counted, and told when it goes.
    pub(super) fn refuse(&mut self, id: EndpointId, topic: &ZeekString, reason: &str) {
        self.refused += 1;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.refused += 1;
        let Peer {
            role,
            address,
            refused,
        } = peer;
        if *refused == 1 {
            tracing::warn!(peer = %id, role, %address, %topic, reason, "ignored a message of a peer, further ones are only counted");
        } else {
            tracing::debug!(peer = %id, role, %address, %topic, reason, "ignored a message of a peer");
        }
    }

    /// What we connect to at this address.
    fn role(&self, address: &PeerAddress) -> &'static str {
        if *address == self.supervisor {
            "Supervisor"
        } else {
            "controller"
        }
    }

    /// A peer in words, by which lines of the log are counted.
    pub(super) fn describe(&self, id: EndpointId) -> String {
        match self.peers.get(&id) {
            Some(peer) => format!("{} {id} at {}", peer.role, peer.address),
            None => format!("peer {id}"),
        }
    }

    fn added(&mut self, peer: &PeerInfo) -> Input {
        let PeerInfo {
            id,
            address,
            dialled,
            subscriptions,
            ..
        } = peer;
        let listens = |topic| subscriptions.matches(&Topic::from_static(topic));
        let role = match dialled {
            Some(target) => self.role(target),
            None if listens(topics::CONTROLLER) || listens(topics::CLUSTER_CONTROLLER) => "controller",
            None => NODE,
        };
        // Nodes come up and end; what that means for them is told by their names.
        if role == NODE {
            tracing::debug!(peer = %id, %address, "{role} connected");
        } else {
            tracing::info!(peer = %id, %address, "{role} connected");
        }
        if let Some(target) = dialled {
            self.unavailable.ended(target);
        }
        let known = Peer {
            role,
            address: *address,
            refused: 0,
        };
        self.peers.insert(*id, known);
        Input::PeerAdded {
            peer: *id,
            address: address.to_string(),
            is_supervisor: dialled.as_ref() == Some(&self.supervisor),
            is_ours: listens(topics::LINK),
        }
    }

    fn lost(&mut self, peer: &PeerInfo, end: &EndReason) -> Input {
        let reason = with_causes(end);
        let PeerInfo { id, address, .. } = peer;
        let known = self.peers.remove(id);
        let (role, refused) = known.map_or(("peer", 0), |known| (known.role, known.refused));
        if role == NODE {
            tracing::debug!(peer = %id, %address, refused, "{role} is gone: {reason}");
        } else {
            tracing::info!(peer = %id, %address, refused, "{role} is gone: {reason}");
        }
        match end {
            EndReason::Ended(PeeringEnd::Silent { .. }) | EndReason::Stuck { .. } => {
                Input::PeerSilent { peer: *id, reason }
            }
            _ => Input::PeerLost { peer: *id, reason },
        }
    }

    fn unavailable(&mut self, address: &PeerAddress, error: &PeeringError) {
        let role = self.role(address);
        if matches!(
            error,
            PeeringError::Useless(EndReason::Ended(PeeringEnd::Unsubscribed))
        ) {
            tracing::warn!("the {role} at {address} does not hear us: {error}; connecting again");
            return;
        }
        let error = with_causes(error);
        if *address == self.supervisor && Instant::now() < self.beginning_until {
            tracing::debug!(%address, error, "the Supervisor does not listen yet");
            return;
        }
        match self.unavailable.failed(address.clone(), &error, Instant::now()) {
            None => tracing::debug!("still cannot connect to the {role} at {address}: {error}"),
            Some(lasting) if lasting.is_zero() => {
                tracing::warn!("cannot connect to the {role} at {address}: {error}");
            }
            Some(lasting) => {
                let minutes = lasting.as_secs() / 60;
                tracing::warn!(
                    "still cannot connect to the {role} at {address}, for {minutes} minutes: {error}"
                );
            }
        }
    }
}

/// Without those that are longer than a topic can be: no peer could publish there either.
fn topics_of(topics: &[ZeekString]) -> Vec<Topic> {
    topics.iter().flat_map(Topic::new).collect()
}

fn retry(config: &Config) -> Option<Duration> {
    config.daemon.connect_retry
}
