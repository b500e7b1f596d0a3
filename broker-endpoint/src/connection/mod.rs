//! One connection: its task drives the handshake and then the peering.

pub(crate) mod awaited;
mod handshake;
mod inbound;
mod peering;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use broker_codec::{EndpointId, handshake::Role};
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

use self::awaited::Awaited;
use crate::{
    credit::Credits,
    endpoint::{
        counted::Counted,
        event::{EndReason, EndpointEvent, PeerAddress, PeerInfo, PeeringError},
        shared::{Link, Shared},
    },
    listen::handshakes::Place,
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

/// The place of an accepted connection that is in its handshake.
#[derive(Default)]
pub(crate) struct HandshakePlace {
    /// In all, unless the peer was silent for all the time that it had.
    pub(crate) in_all: Option<Place>,
    /// Among those of its address, likewise.
    pub(crate) of_address: Option<OwnedSemaphorePermit>,
}

impl HandshakePlace {
    /// Returns when the handshake has to end.
    pub(crate) async fn evicted(&self) {
        match &self.in_all {
            Some(place) => place.evicted().await,
            None => std::future::pending().await,
        }
    }
}

/// How many bytes may wait in the system for a peer that has no room for them. What waits in our own queue can still be dropped,
/// is counted, and takes less memory because it is shared by all peers that it is for.
const UNSENT_MAX: u32 = 128 * 1024;

/// Prepares the socket of a connection, accepted or opened.
pub(crate) fn prepare(stream: &TcpStream) {
    // Events are small and must not wait for more. A failure costs speed or memory only.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MAX);
}

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
        let mut open = Open {
            link: shared.open(self.role, self.deadline, &self.leave),
            shared: &shared,
            announced: None,
        };
        let mut buffer = BytesMut::new();
        let shaken = handshake::run(self, &mut open.link, &mut transport, &mut buffer).await;
        let info = match shaken {
            Ok(info) => info,
            Err(error) => {
                let peer = shared.call(|endpoint| endpoint.peer(open.link.id));
                return Outcome::Failed { error, peer };
            }
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
        let mut driver = peering::Driver::new(self, &mut open.link, &info, transport, buffer);
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
        shared.counters.increment(Counted::PeersAdded);
        open.announced = Some(info.clone());
        shared.deliver(EndpointEvent::PeerAdded(info.clone()), None).await;
        let reason = driver.run().await;
        drop(driver);
        let requested = reason.is_request();
        // Before the connection is closed for the codec: a peer that comes back must not be added before it is lost.
        open.link.queue.close();
        open.announced = None;
        shared.deliver(end_event(&shared, info, reason), None).await;
        Outcome::Ended { requested }
    }
}

fn end_event(shared: &Shared, peer: PeerInfo, reason: EndReason) -> EndpointEvent {
    if reason.is_removal() {
        shared.counters.increment(Counted::PeersRemoved);
        EndpointEvent::PeerRemoved { peer, reason }
    } else {
        shared.counters.increment(Counted::PeersLost);
        EndpointEvent::PeerLost { peer, reason }
    }
}

/// A connection that the codec knows, until this is dropped: also if the task panics.
struct Open<'a> {
    link: Link,
    shared: &'a Arc<Shared>,
    /// The peer whose end is still to be announced.
    announced: Option<PeerInfo>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.shared.close(self.link.id);
        if let Some(peer) = self.announced.take() {
            let shared = Arc::clone(self.shared);
            let end = end_event(&shared, peer, EndReason::Internal);
            self.shared.spawn(async move { shared.deliver(end, None).await });
        }
    }
}
