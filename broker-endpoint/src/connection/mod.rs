//! One connection: its task drives the handshake and then the peering.

mod handshake;
mod inbound;
mod outbox;
mod peering;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use broker_codec::{ConnId, EndpointId, Topic, handshake::Role};
use bytes::BytesMut;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_util::sync::CancellationToken;

#[cfg(test)]
pub(crate) use handshake::{IDENTIFICATION_FRAME_MAX, REFUSAL_TIMEOUT, REFUSED_BYTES_MAX};
pub(crate) use outbox::{Order, Outbox, OutboxLimits, Pushed, QueuedKind};

use crate::{
    credit::Credits,
    endpoint::{EndReason, EndpointEvent, PeerAddress, PeerInfo, PeeringError, Report, Shared},
    listen::Place,
    tls::Transport,
};

/// What a connection's task begins with.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) role: Role,
    pub(crate) address: SocketAddr,
    /// If we opened the connection: what for.
    pub(crate) dialled: Option<PeerAddress>,
    /// What the peer must subscribe to.
    pub(crate) awaited: Awaited,
    /// What the peer may have under way.
    pub(crate) credits: Arc<Credits>,
    /// Cancelled when the connection is to end: by BYE if it is a peering.
    pub(crate) leave: CancellationToken,
    /// When the handshake must be complete.
    pub(crate) deadline: Duration,
    /// If the connection was accepted: until the handshake is complete.
    pub(crate) handshake: Option<HandshakePlace>,
}

/// The subscription that a peer must make which we connect to: one of these topics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Awaited {
    topics: Vec<Topic>,
    /// The peer that has not made it, and how often.
    vain: Option<(EndpointId, u32)>,
}

/// How often a peer is left because its subscription has not come. Then it has lost none: it never subscribes, and is taken as it is.
const VAIN_MAX: u32 = 3;

impl Awaited {
    pub(crate) fn new(topics: Vec<Topic>) -> Self {
        Self { topics, vain: None }
    }

    /// What is awaited of this peer.
    fn of(&self, peer: EndpointId) -> &[Topic] {
        match self.vain {
            Some((vain, VAIN_MAX..)) if vain == peer => &[],
            _ => &self.topics,
        }
    }

    /// The peer was awaited in vain.
    pub(crate) fn note_vain(&mut self, peer: EndpointId) {
        let before = self.vain.filter(|(vain, _)| *vain == peer);
        self.vain = Some((peer, before.map_or(1, |(_, times)| times + 1)));
    }
}

/// The place of an accepted connection that is in its handshake.
pub(crate) struct HandshakePlace {
    /// In all.
    pub(crate) pending: Place,
    /// Among those of its address.
    pub(crate) of_address: Option<OwnedSemaphorePermit>,
}

/// How many bytes may wait in the system for a peer that has no room for them. What waits in our own queue can still be dropped
/// by policy, is counted, and takes less memory because it is shared by all peers that it is for.
const UNSENT_MAX: u32 = 128 * 1024;

/// Prepares the socket of a connection, accepted or opened.
pub(crate) fn prepare(stream: &TcpStream) {
    // Events are small and must not wait for more. A failure costs speed or memory only.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MAX);
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It never was a peering.
    Failed {
        error: PeeringError,
        /// Who it was with, if that became known.
        peer: Option<EndpointId>,
    },
    /// It was one.
    Ended {
        /// Whether we left on request.
        requested: bool,
    },
}

impl Connection {
    /// Runs until the connection has ended. Events about an established peering are sent from here; that a connection
    /// failed is for the caller to report.
    pub(crate) async fn run<S>(&mut self, mut transport: Transport<S>) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shared = Arc::clone(&self.shared);
        let mut registration = Registration::new(&shared);
        let mut buffer = BytesMut::new();
        let shaken = handshake::run(self, &registration, &mut transport, &mut buffer).await;
        let info = match shaken {
            Ok(info) => info,
            Err(handshake::Failure { error, peer }) => return Outcome::Failed { error, peer },
        };
        let place = self
            .handshake
            .take()
            .map(|_| shared.limits.peer(self.address.ip()));
        if let Some(None) = place {
            return Outcome::Failed {
                error: PeeringError::TooManyPeers,
                peer: Some(info.id),
            };
        }
        let outbox = Arc::clone(&registration.outbox);
        let mut driver = peering::Driver::new(self, (registration.id, &outbox), &info, transport, buffer);
        if let Err(reason) = driver.await_subscription().await {
            return if reason.is_request() {
                Outcome::Ended { requested: true }
            } else {
                Outcome::Failed {
                    error: PeeringError::Useless(reason),
                    peer: Some(info.id),
                }
            };
        }
        shared.counters.peers_added.increment();
        registration.announced = Some(info.clone());
        shared.deliver(EndpointEvent::PeerAdded(info.clone())).await;
        let reason = driver.run().await;
        let requested = reason.is_request();
        // Before the registration is dropped: a peer that comes back must not be added before it is lost.
        registration.outbox.close();
        registration.announced = None;
        shared.deliver(end_event(&shared, info, reason)).await;
        Outcome::Ended { requested }
    }
}

fn end_event(shared: &Shared, peer: PeerInfo, reason: EndReason) -> EndpointEvent {
    if reason.is_removal() {
        shared.counters.peers_removed.increment();
        EndpointEvent::PeerRemoved { peer, reason }
    } else {
        shared.counters.peers_lost.increment();
        EndpointEvent::PeerLost { peer, reason }
    }
}

/// A connection's place in the tables of the owner, until it is dropped: also if the task panics.
struct Registration {
    id: ConnId,
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
    /// The peer whose end is still to be announced.
    announced: Option<PeerInfo>,
}

impl Registration {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            id: shared.next_connection(),
            outbox: Arc::new(Outbox::new(shared.outbox_limits())),
            shared: Arc::clone(shared),
            announced: None,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.outbox.close();
        self.shared.report(Report::Gone {
            conn: self.id,
            orphan: self.announced.take(),
        });
    }
}
