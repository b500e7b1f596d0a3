//! The Broker endpoint of a daemon, and what is known of its peers.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use broker_codec::{EndpointId, Recipients, Topic, TopicTooLong, data::ZeekString};
use broker_endpoint::{
    Credit, Endpoint, EndpointConfig, EndpointError, EndpointEvent, EndpointHandle, PeerAddress, PeerInfo,
    PeeringError, PublishError,
    tls::{PeerCertificate, Revoked},
    with_causes,
};
use counters::Counters;
use mgmt_api::{Principal, Transport, access::Grant};
use tokio::time::Instant;

use crate::{
    Counted, attempts::Attempts, config::Listener, daemon::Beginning, error::HostError, grants,
    grants::Grants,
};

/// The Broker endpoint, and what is known of its peers.
#[derive(Debug)]
pub struct Peers {
    endpoint: Endpoint,
    pub handle: EndpointHandle,
    listening: Vec<SocketAddr>,
    known: BTreeMap<EndpointId, Peer>,
    counters: Counters<Counted>,
    grants: Grants,
    revoked: Revoked,
    /// Where we connect to, and could not when we last tried.
    unavailable: Attempts<PeerAddress>,
}

#[derive(Debug)]
struct Peer {
    role: &'static str,
    address: SocketAddr,
    /// How many of its messages were not obeyed.
    refused: u64,
    certificate: Option<PeerCertificate>,
    /// What it may, where roles are set.
    grant: Option<Grant>,
    /// Its connection ends, and what it still says does not count.
    is_cut: bool,
}

/// An event cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Topic(#[from] TopicTooLong),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Topics of these names, without those that are longer than a topic can be: no peer could publish there either.
pub fn topics_of(names: &[ZeekString]) -> Vec<Topic> {
    names.iter().flat_map(Topic::new).collect()
}

impl Peers {
    /// Starts the endpoint, and listens unless the configuration says not to. Connects to no peer yet. `peers` says in an error who
    /// cannot be served.
    pub async fn start(
        beginning: &mut Beginning,
        config: EndpointConfig,
        listener: &Listener,
        peers: &'static str,
    ) -> Result<Self, HostError> {
        let failed = move |error: EndpointError| {
            let (is_tls, is_host) = (error.is_about_tls(), error.is_about_the_host());
            let why = Box::new(error);
            match (is_tls, is_host) {
                (true, _) => HostError::BrokerTls { peers, why },
                (false, true) => HostError::Listener { peers, why },
                (false, false) => HostError::Broker { peers, why },
            }
        };
        let revoked = config.tls.revoked();
        let endpoint = Endpoint::start(config).map_err(failed)?;
        let handle = endpoint.handle();
        beginning.registry.add("broker_", &handle.counters());
        let listening = match listener {
            Listener::Off => Vec::new(),
            Listener::At(PeerAddress { host, port }) => handle.listen(host, *port).await.map_err(failed)?,
        };
        Ok(Self {
            endpoint,
            handle,
            listening,
            known: BTreeMap::new(),
            counters: beginning.counters.clone(),
            grants: beginning.grants(),
            revoked,
            unavailable: Attempts::default(),
        })
    }

    /// Where peers can connect, with the ports that the system chose.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// What peers do next; `None` if the endpoint has ended by itself. May be cancelled without losing anything.
    pub async fn recv(&mut self) -> Option<EndpointEvent> {
        loop {
            let event = self.endpoint.recv().await?;
            match &event {
                EndpointEvent::Message(message) if self.is_cut(message.peer) => {}
                _ => return Some(event),
            }
        }
    }

    fn is_cut(&self, peer: EndpointId) -> bool {
        self.known.get(&peer).is_some_and(|peer| peer.is_cut)
    }

    /// A peer is there. Returns what it may, where roles are set.
    pub fn added(&mut self, peer: &PeerInfo, role: &'static str) -> Option<Grant> {
        if let Some(target) = &peer.dialled {
            self.unavailable.ended(target);
        }
        let address = peer.address;
        let certificate = peer.certificate.clone();
        let grant = self.grants.of(certificate.as_ref());
        // Since its handshake it may have been revoked.
        let is_cut = certificate.as_ref().is_some_and(|shown| self.revoked.has(shown));
        if is_cut {
            self.handle.cut(peer.id);
        }
        let known = Peer {
            role,
            address,
            refused: 0,
            certificate,
            grant: grant.clone(),
            is_cut,
        };
        self.known.insert(peer.id, known);
        grant
    }

    /// A peer as one that asks for something.
    pub fn principal(&self, id: EndpointId) -> Option<Principal> {
        let peer = self.known.get(&id)?;
        Some(Principal {
            transport: Transport::Broker { peer: id },
            address: Some(peer.address),
            certificate: grants::principals(peer.certificate.as_ref()),
            grant: peer.grant.clone(),
        })
    }

    /// Ends the connections of peers that may something else now than when they came, which connect again, and of those whose certificate is
    /// revoked. Returns which.
    pub fn reassess(&mut self) -> Vec<EndpointId> {
        let mut cut = Vec::new();
        for (id, peer) in &mut self.known {
            if peer.is_cut {
                continue;
            }
            let (role, address) = (peer.role, peer.address);
            let revoked = peer.certificate.as_ref().filter(|shown| self.revoked.has(shown));
            if let Some(certificate) = revoked {
                let certificate = certificate.name();
                tracing::warn!(peer = %id, role, %address, %certificate, "the certificate of a peer is revoked (deny list), its connection ends");
            } else if self.grants.of(peer.certificate.as_ref()) != peer.grant {
                tracing::info!(peer = %id, role, %address, "the roles of a peer have changed, it is to connect again");
            } else {
                continue;
            }
            peer.is_cut = true;
            self.handle.cut(*id);
            cut.push(*id);
        }
        cut
    }

    /// Those among peers for which this holds of what they may, where roles are set.
    pub fn who(
        &self,
        among: &Recipients<EndpointId>,
        may: impl Fn(Option<&Grant>) -> bool,
    ) -> Recipients<EndpointId> {
        if self.known.values().all(|peer| peer.grant.is_none()) {
            return among.clone();
        }
        let permitted = self.known.iter().filter(|(_, peer)| may(peer.grant.as_ref()));
        let permitted = permitted.map(|(id, _)| *id);
        Recipients::Only(permitted.filter(|id| among.include(id)).collect())
    }

    /// A peer is gone. Returns its role, and how many of its messages were not obeyed.
    pub fn removed(&mut self, peer: EndpointId) -> (&'static str, u64) {
        let known = self.known.remove(&peer);
        known.map_or(("peer", 0), |known| (known.role, known.refused))
    }

    /// How many there are that have this role.
    pub fn count(&self, role: &str) -> usize {
        self.known.values().filter(|peer| peer.role == role).count()
    }

    /// By which lines of the log are counted.
    pub fn describe(&self, id: EndpointId) -> String {
        match self.known.get(&id) {
            Some(Peer { role, address, .. }) => format!("{role} {id} at {address}"),
            None => format!("peer {id}"),
        }
    }

    /// A message of a peer is not obeyed. A peer that sends many such ones must not fill the log: after the first, they are counted, and
    /// told when it goes.
    pub fn refuse(&mut self, id: EndpointId, topic: &dyn fmt::Display, reason: &dyn fmt::Display) {
        self.counters.increment(Counted::PeerMessagesRefused);
        let Some(peer) = self.known.get_mut(&id) else {
            return;
        };
        peer.refused += 1;
        let Peer { role, address, .. } = *peer;
        if peer.refused == 1 {
            tracing::warn!(peer = %id, role, %address, %topic, %reason, "ignored a message of a peer, further ones are only counted");
        } else {
            tracing::debug!(peer = %id, role, %address, %topic, %reason, "ignored a message of a peer");
        }
    }

    /// We could not connect: `place` says to which peer, and where. A failure that is known is told at growing intervals.
    pub fn unavailable(&mut self, address: &PeerAddress, error: &PeeringError, place: &str) {
        let error = with_causes(error);
        match self.unavailable.failed(address.clone(), &error, Instant::now()) {
            None => tracing::debug!("still cannot connect to {place}: {error}"),
            Some(lasting) if lasting.is_zero() => tracing::warn!("cannot connect to {place}: {error}"),
            Some(lasting) => {
                let minutes = lasting.as_secs() / 60;
                tracing::warn!("still cannot connect to {place}, for {minutes} minutes: {error}");
            }
        }
    }

    /// We do not connect there any more.
    pub fn not_tried(&mut self, address: &PeerAddress) {
        self.unavailable.ended(address);
    }

    /// To send with, a topic of this name and with the credit of what it follows from; none if there is no peer.
    pub fn sending(
        &self,
        topic: &ZeekString,
        credit: &Credit,
    ) -> Result<Option<(EndpointHandle, Topic)>, TopicTooLong> {
        if self.known.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.handle.with_credit(credit), Topic::new(topic)?)))
    }

    /// Leaves all peers in good order, within the time that [`Endpoint::shutdown`] names.
    pub async fn leave(self) {
        self.endpoint.shutdown().await;
    }
}
