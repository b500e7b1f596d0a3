//! Peers: what the Broker endpoint reports becomes the core's inputs, and what the core publishes becomes commands.

use std::time::Duration;

use broker_codec::{
    EndpointId, Payload, Recipients, Topic, data::ZeekString, peering::PeeringEnd, zeek::Event,
};
use broker_endpoint::{
    Credit, EndReason, EndpointConfig, EndpointEvent, PeerAddress, PeerInfo, PeeringError, PublishError,
    with_causes,
};
use mgmt_api::topics;
use mgmt_daemon::{
    daemon::Beginning,
    error::HostError,
    peers::{Peers, SendError, topics_of},
    process::descriptors_for_connections,
};
use tokio::time::Instant;

use crate::{config::Config, core::To, machine::Input};

/// Between attempts to connect to a process of this host, if the setting for other hosts allows only one. As
/// `Broker::default_listen_retry` since Zeek 7.2.
const RETRY: Duration = Duration::from_secs(1);

/// How long a Supervisor may take to listen that was just started, by us or at the same time as we were: Zeek reads its scripts
/// first.
const SUPERVISOR_BEGINNING: Duration = Duration::from_secs(10);

/// What peers are: a controller,
const CONTROLLER: &str = "controller";

/// the Supervisor,
const SUPERVISOR: &str = "Supervisor";

/// or one that has connected and is no controller.
const NODE: &str = "node";

/// The agent's peers.
pub(super) struct BrokerPeers {
    pub(super) peers: Peers,
    supervisor: Option<PeerAddress>,
    /// Where the controller is that we have started, while it is up.
    controller: Option<PeerAddress>,
    /// Whether a controller is there, as the core was last told.
    has_controller: bool,
    /// Until when it is no wonder that the Supervisor does not listen.
    beginning_until: Instant,
}

impl BrokerPeers {
    /// Starts the endpoint. Connects to no peer yet.
    pub(super) async fn start(
        beginning: &mut Beginning,
        config: &Config,
        id: EndpointId,
    ) -> Result<Self, HostError> {
        let mut endpoint = EndpointConfig::default();
        endpoint.id = Some(id);
        endpoint.tls = config.daemon.broker_tls.clone();
        endpoint.fit_descriptors(descriptors_for_connections());
        endpoint.subscriptions = topics_of(&config.settings.subscriptions());
        Ok(Self {
            peers: Peers::start(beginning, endpoint, &config.listen, "nodes and controllers").await?,
            supervisor: config.supervisor.clone(),
            controller: None,
            has_controller: false,
            beginning_until: Instant::now() + SUPERVISOR_BEGINNING,
        })
    }

    /// Connects to a Supervisor that is there already, and to the controller if it is us who connects.
    pub(super) fn connect(&self, config: &Config) {
        if config.start_supervisor.is_none() {
            self.connect_supervisor(config);
        }
        if let Some(controller) = &config.controller {
            self.connect_controller(config, controller, config.daemon.connect_retry);
        }
    }

    fn connect_controller(&self, config: &Config, controller: &PeerAddress, retry: Option<Duration>) {
        tracing::info!("connecting to the controller at {controller}");
        let awaited = topics_of(&config.settings.controller_topics());
        self.peers
            .handle
            .peer_awaiting(controller.clone(), retry, awaited);
    }

    /// Connects to the controller that we have started, which listens there.
    pub(super) fn controller_started(&mut self, config: &Config, address: Option<PeerAddress>) {
        if let Some(address) = &address {
            self.connect_controller(config, address, Some(for_ever(config)));
        } else {
            tracing::error!(
                "the controller listens for no agents, so this one cannot connect to it; set its Management::Controller::listen_port"
            );
        }
        self.controller = address;
    }

    /// Connects no more to where the controller was that we had started.
    pub(super) fn controller_ended(&mut self) {
        if let Some(address) = self.controller.take() {
            self.peers.handle.unpeer(&address);
        }
    }

    /// Connects to the Supervisor that we have just started. Before that, what listens there is another one.
    pub(super) fn supervisor_started(&mut self, config: &Config, address: PeerAddress) {
        self.supervisor = Some(address);
        self.beginning_until = Instant::now() + SUPERVISOR_BEGINNING;
        self.connect_supervisor(config);
    }

    /// Connects no more to where the Supervisor was that we had started.
    pub(super) fn supervisor_ended(&self) {
        if let Some(supervisor) = &self.supervisor {
            self.peers.handle.unpeer(supervisor);
        }
    }

    fn connect_supervisor(&self, config: &Config) {
        let Some(supervisor) = &self.supervisor else {
            return;
        };
        tracing::info!("connecting to the Supervisor at {supervisor}");
        let awaited = topics_of(std::slice::from_ref(&config.settings.zeek.topic));
        self.peers
            .handle
            .peer_awaiting(supervisor.clone(), Some(for_ever(config)), awaited);
    }

    /// What peers do next, and the credit that it has of its sender's; `None` if the endpoint has ended by itself. May be cancelled without losing anything.
    ///
    /// Messages are read on the loop, large ones as well: they come from the controller and from the host's own nodes, and
    /// a configuration of 2,000 nodes takes some ten milliseconds.
    pub(super) async fn next(&mut self) -> Option<(Input, Credit)> {
        let mut credit = Credit::none();
        loop {
            let input = match self.peers.recv().await? {
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

    /// Sends an event to a peer, or to every peer that has subscribed to the topic.
    pub(super) async fn publish(
        &self,
        to: To,
        topic: &ZeekString,
        event: Event,
        credit: &Credit,
    ) -> Result<(), SendError> {
        let Some((handle, topic)) = self.peers.sending(topic, credit)? else {
            return Ok(());
        };
        let payload = Payload::of(&event.native().into_data()).map_err(PublishError::from)?;
        match to {
            To::One(peer) => handle.publish_to(peer, topic, payload).await?,
            To::Subscribers { except } => {
                let among = Recipients::Except(except);
                handle.publish_encoded(among, topic, payload).await?;
            }
        }
        Ok(())
    }

    /// What we connect to at this address.
    fn role(&self, address: &PeerAddress) -> &'static str {
        if self.supervisor.as_ref() == Some(address) {
            SUPERVISOR
        } else {
            CONTROLLER
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
            None if listens(topics::CONTROLLER) || listens(topics::CLUSTER_CONTROLLER) => CONTROLLER,
            None => NODE,
        };
        // Nodes come up and end; what that means for them is told by their names.
        if role == NODE {
            tracing::debug!(peer = %id, %address, "{role} connected");
        } else {
            tracing::info!(peer = %id, %address, "{role} connected");
        }
        self.peers.added(peer, role);
        let principal = self.peers.principal(*id);
        let principal = principal.filter(|principal| principal.grant.is_some());
        Input::PeerAdded {
            peer: *id,
            address: address.to_string(),
            is_supervisor: dialled.is_some() && dialled.as_ref() == self.supervisor.as_ref(),
            is_ours: listens(topics::LINK),
            principal: principal.map(Box::new),
        }
    }

    fn lost(&mut self, peer: &PeerInfo, end: &EndReason) -> Input {
        let reason = with_causes(end);
        let PeerInfo { id, address, .. } = peer;
        let (role, refused) = self.peers.removed(*id);
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

    /// Whether a controller is there, if that is news to the core.
    pub(super) fn controller_news(&mut self) -> Option<bool> {
        let has_controller = self.peers.count(CONTROLLER) > 0;
        let before = std::mem::replace(&mut self.has_controller, has_controller);
        (before != has_controller).then_some(has_controller)
    }

    /// How many peers of each kind there are.
    pub(super) fn kinds(&self) -> [(&'static str, usize); 3] {
        let count = |role| self.peers.count(role);
        [
            ("controller", count(CONTROLLER)),
            ("node", count(NODE)),
            ("supervisor", count(SUPERVISOR)),
        ]
    }

    fn unavailable(&mut self, address: &PeerAddress, error: &PeeringError) {
        let place = format!("the {} at {address}", self.role(address));
        if matches!(
            error,
            PeeringError::Useless(EndReason::Ended(PeeringEnd::Unsubscribed))
        ) {
            tracing::warn!("{place} does not hear us: {error}; connecting again");
        } else if self.supervisor.as_ref() == Some(address) && Instant::now() < self.beginning_until {
            let error = with_causes(error);
            tracing::debug!(%address, error, "the Supervisor does not listen yet");
        } else {
            self.peers.unavailable(address, error, &place);
        }
    }
}

/// Again and again, to what the agent needs on its host.
fn for_ever(config: &Config) -> Duration {
    config.daemon.connect_retry.unwrap_or(RETRY)
}
