use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use broker_codec::{ConnId, EndpointId, Filter, handshake::Side};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    EndpointConfig, EndpointEvent, Message, PeerAddress, PeerInfo, counters::Counters, limits::Limits,
};
use crate::{
    connection::{Outbox, OutboxLimits},
    listen::Pending,
    tls::{Acceptance, Connection},
};

/// What all tasks of an endpoint have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: EndpointId,
    pub(crate) config: EndpointConfig,
    pub(crate) counters: Counters,
    /// How accepted connections are protected.
    pub(crate) acceptance: Acceptance,
    /// How connections that we open are protected.
    pub(crate) protection: Connection,
    /// The places for accepted connections.
    pub(crate) limits: Limits,
    /// The accepted connections whose handshake has not begun.
    pub(crate) waiting: Pending,
    /// The accepted connections that are in their handshake.
    pub(crate) handshakes: Pending,
    /// Cancelled when the owner is gone.
    pub(crate) stopped: CancellationToken,
    pub(super) epoch: Instant,
    pub(super) connections: AtomicU64,
    /// Not bounded, but a connection has at most a few reports under way: it waits for the answer to each, and the owner
    /// never waits for a connection.
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) events: mpsc::Sender<QueuedEvent>,
    pub(super) memory: Arc<Semaphore>,
}

/// What a connection tells the owner of the routing state.
#[derive(Debug)]
pub(crate) enum Report {
    /// A handshake has found out who the peer is. Answered by [`Order::Admit`](crate::connection::Order::Admit).
    Identified {
        conn: ConnId,
        peer: EndpointId,
        side: Side,
        outbox: Arc<Outbox>,
        leave: CancellationToken,
    },
    /// A handshake is complete. Answered by [`Order::Begin`](crate::connection::Order::Begin).
    Established {
        conn: ConnId,
        filter: Filter,
        info: PeerInfo,
    },
    /// A peer wants to receive something else.
    FilterChanged {
        conn: ConnId,
        filter: Filter,
        done: oneshot::Sender<()>,
    },
    /// A connection has ended.
    Gone {
        conn: ConnId,
        /// The peer whose end was not announced because the task panicked.
        orphan: Option<PeerInfo>,
    },
    /// A connection was refused because there is another one with this peer. The answer is when that one ends; `None` if
    /// there is none.
    Redundant {
        peer: EndpointId,
        reply: oneshot::Sender<Option<oneshot::Receiver<()>>>,
    },
    /// Nothing connects to this address any more, unless another dialer was started since.
    DialerEnded { address: PeerAddress, number: u64 },
}

/// An event in the queue, with the memory it was granted.
#[derive(Debug)]
pub(super) struct QueuedEvent {
    pub(super) event: EndpointEvent,
    pub(super) _memory: Memory,
}

/// Memory for messages, given back when it is dropped.
pub(crate) type Memory = Option<Arc<OwnedSemaphorePermit>>;

impl Shared {
    /// The time since the start, which is the clock of the codec's machines.
    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub(crate) fn instant(&self, since_start: Duration) -> Instant {
        self.epoch + since_start
    }

    pub(crate) fn next_connection(&self) -> ConnId {
        ConnId(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) const fn outbox_limits(&self) -> OutboxLimits {
        OutboxLimits {
            messages: self.config.outbound_messages_max,
            bytes: self.config.outbound_bytes_max,
            policy: self.config.overflow,
        }
    }

    /// Tells the owner something; without effect when it is gone.
    pub(crate) fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }

    /// Waits until a message that may take so many bytes can be taken.
    pub(crate) async fn reserve_memory(&self, bytes: usize) -> Memory {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // The semaphore is never closed, and the configuration was checked to have room for the largest message.
        let permit = Arc::clone(&self.memory).acquire_many_owned(permits).await;
        permit.ok().map(Arc::new)
    }

    /// Queues an event for the owner of the endpoint; without effect when it is gone.
    pub(crate) async fn deliver(&self, event: EndpointEvent) {
        self.queue(event, None).await;
    }

    pub(crate) async fn deliver_message(&self, message: Message, memory: Memory) {
        self.queue(EndpointEvent::Message(message), memory).await;
    }

    async fn queue(&self, event: EndpointEvent, memory: Memory) {
        let _ = self
            .events
            .send(QueuedEvent {
                event,
                _memory: memory,
            })
            .await;
    }
}
