use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker_codec::{
    ConnId, EndpointId, Envelope, EnvelopeKind, Recipients,
    endpoint::{self, Output},
    handshake::Role,
};
use bytes::{Bytes, BytesMut};
use counters::Counters;
use futures_util::FutureExt as _;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

use super::{
    config::EndpointConfig,
    counted::Counted,
    event::{EndpointEvent, PeerAddress, PeerInfo},
    limits::Limits,
};
use crate::{
    credit::Hold,
    listen::{handshakes::Handshakes, pending::Pending},
    queue::{Kind, Queue, QueueLimits, WhenFull},
    tls::{Acceptance, Connection},
};

/// What all tasks of an endpoint have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: EndpointId,
    pub(crate) config: EndpointConfig,
    pub(crate) counters: Counters<Counted>,
    /// How accepted connections are protected.
    pub(crate) acceptance: Acceptance,
    /// How connections that we open are protected.
    pub(crate) protection: Connection,
    /// The places for accepted connections.
    pub(crate) limits: Limits,
    /// The accepted connections whose handshake has not begun.
    pub(crate) waiting: Pending,
    /// The accepted connections that are in their handshake.
    pub(crate) handshakes: Handshakes,
    /// Cancelled when all connections are to end in good order.
    pub(super) leave: CancellationToken,
    /// Cancelled when all tasks are to end at once.
    pub(super) stopped: CancellationToken,
    /// What connects to an address, and how that is ended.
    pub(super) dialers: Mutex<BTreeMap<PeerAddress, CancellationToken>>,
    /// Listeners and dialers, which own the tasks of their connections.
    pub(super) tasks: TaskTracker,
    /// Handles may be used outside of it.
    pub(super) runtime: Handle,
    pub(super) epoch: Instant,
    pub(super) routing: Mutex<Routing>,
    pub(super) events: mpsc::Sender<QueuedEvent>,
    pub(super) memory: Arc<Semaphore>,
}

/// The codec's endpoint, and how its connections are reached.
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) endpoint: endpoint::Endpoint,
    connections: HashMap<ConnId, Entry>,
    last_number: u64,
}

#[derive(Debug)]
struct Entry {
    queue: Arc<Queue>,
    outputs: mpsc::UnboundedSender<Box<Output>>,
    leave: CancellationToken,
    cut: CancellationToken,
    ended: CancellationToken,
    /// Once it is a peering.
    info: Option<PeerInfo>,
    /// Whether the last message for it found no room.
    overflowing: bool,
}

/// A connection that [`Shared::open`] has made known.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: ConnId,
    pub(crate) queue: Arc<Queue>,
    /// What is to be done besides sending what is in the queue. Not bounded, but at most the messages of a handshake and the end.
    /// In boxes: the channel has room for 32 from the beginning.
    pub(crate) outputs: mpsc::UnboundedReceiver<Box<Output>>,
    /// Cancelled when the connection is to end at once.
    pub(crate) cut: CancellationToken,
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

    /// Runs a listener, a dialler or the like until it ends, or the endpoint is dropped.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(self);
        let task = AssertUnwindSafe(task).catch_unwind();
        let task = async move {
            if let Some(Err(_)) = shared.stopped.run_until_cancelled(task).await {
                shared.counters.increment(Counted::Panics);
                error!("a task of the endpoint panicked");
            }
        };
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Begins the handshake of a connection, which is known from now on until [`Self::close`].
    pub(crate) fn open(&self, role: Role, deadline: Duration, leave: &CancellationToken) -> Link {
        let queue = Arc::new(Queue::new(QueueLimits {
            messages: self.config.outbound_messages_max,
            bytes: self.config.outbound_bytes_max,
            when_full: WhenFull::DropOldest,
        }));
        let (sender, outputs) = mpsc::unbounded_channel();
        let entry = Entry {
            queue: Arc::clone(&queue),
            outputs: sender,
            leave: leave.clone(),
            cut: CancellationToken::new(),
            ended: CancellationToken::new(),
            info: None,
            overflowing: false,
        };
        let cut = entry.cut.clone();
        let mut routing = self.lock();
        routing.last_number += 1;
        let id = ConnId(routing.last_number);
        routing.connections.insert(id, entry);
        routing.call(|endpoint| endpoint.open(id, role, deadline));
        Link {
            id,
            queue,
            outputs,
            cut,
        }
    }

    /// Calls the codec's endpoint, and brings what follows to the connections.
    pub(crate) fn call<R>(&self, call: impl FnOnce(&mut endpoint::Endpoint) -> R) -> R {
        self.lock().call(call)
    }

    /// The connection is a peering of which the program has heard.
    pub(crate) fn announce(&self, conn: ConnId, info: PeerInfo) {
        if let Some(entry) = self.lock().connections.get_mut(&conn) {
            entry.info = Some(info);
        }
    }

    /// The connection is closed.
    pub(crate) fn close(&self, conn: ConnId) {
        let mut routing = self.lock();
        routing.call(|endpoint| endpoint.closed(conn));
        if let Some(entry) = routing.connections.remove(&conn) {
            entry.queue.close();
            entry.ended.cancel();
        }
    }

    /// Leaves a peer in good order.
    pub(crate) fn leave(&self, peer: EndpointId) {
        let routing = self.lock();
        let conn = routing.endpoint.connection_with(peer);
        let entry = conn.and_then(|conn| routing.connections.get(&conn));
        if let Some(entry) = entry.filter(|entry| entry.info.is_some()) {
            entry.leave.cancel();
        }
    }

    /// Ends the connection with a peer at once.
    pub(crate) fn cut(&self, peer: EndpointId) {
        let routing = self.lock();
        let conn = routing.endpoint.connection_with(peer);
        if let Some(entry) = conn.and_then(|conn| routing.connections.get(&conn)) {
            entry.cut.cancel();
        }
    }

    /// If there is a connection with this peer, established or not: what is cancelled at its end.
    pub(crate) fn connection_with(&self, peer: EndpointId) -> Option<CancellationToken> {
        let routing = self.lock();
        let conn = routing.endpoint.connection_with(peer)?;
        let entry = routing.connections.get(&conn)?;
        Some(entry.ended.clone())
    }

    /// The peers that there are now, ascending by id.
    pub(crate) fn peers(&self) -> Vec<PeerInfo> {
        let routing = self.lock();
        let peers = routing.endpoint.peers();
        peers
            .filter_map(|(_, conn)| routing.connections.get(&conn)?.info.clone())
            .collect()
    }

    /// Puts a frame, in two parts, into the queues of those for whom the envelope, which has no payload, is.
    pub(crate) fn publish(
        &self,
        route: &Envelope,
        frame: &[Bytes; 2],
        recipients: &Recipients<EndpointId>,
        hold: &Hold,
    ) {
        let mut routing = self.lock();
        let Routing {
            endpoint,
            connections,
            ..
        } = &mut *routing;
        let mut is_delivered = false;
        for conn in endpoint.recipients(route, recipients) {
            is_delivered = true;
            let Some(entry) = connections.get_mut(&conn) else {
                continue;
            };
            let dropped = entry.queue.push_parts(frame.clone(), Kind::Message, hold.clone());
            self.counters.add(Counted::Overflowed, dropped);
            let was_overflowing = std::mem::replace(&mut entry.overflowing, dropped > 0);
            if dropped > 0 && !was_overflowing {
                let peer = endpoint.peer(conn).map(tracing::field::display);
                warn!(
                    peer,
                    "peer reads too slowly, the oldest messages for it are dropped"
                );
            }
        }
        if !is_delivered && !route.receiver.is_nil() {
            self.counters.increment(Counted::Undeliverable);
        }
    }

    /// Waits until a message that may take so many bytes can be taken.
    pub(crate) async fn reserve_memory(&self, bytes: usize) -> Memory {
        let permits = u32::try_from(bytes.min(self.config.inbound_bytes_max)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let permit = Arc::clone(&self.memory).acquire_many_owned(permits).await;
        permit.ok().map(Arc::new)
    }

    /// Queues an event for the owner of the endpoint; without effect when it is gone.
    pub(crate) async fn deliver(&self, event: EndpointEvent, memory: Memory) {
        let _ = self
            .events
            .send(QueuedEvent {
                event,
                _memory: memory,
            })
            .await;
    }

    fn lock(&self) -> MutexGuard<'_, Routing> {
        // A panic under the lock is one of the codec, about one connection.
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routing {
    pub(super) fn new(endpoint: endpoint::Endpoint) -> Self {
        Self {
            endpoint,
            connections: HashMap::new(),
            last_number: 0,
        }
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut endpoint::Endpoint) -> R) -> R {
        let result = call(&mut self.endpoint);
        while let Some((conn, output)) = self.endpoint.poll() {
            let Some(entry) = self.connections.get(&conn) else {
                continue;
            };
            match output {
                Output::Send(envelope) => entry.send(&envelope),
                // A connection that has ended needs no more.
                output => drop(entry.outputs.send(Box::new(output))),
            }
        }
        result
    }
}

impl Entry {
    fn send(&self, envelope: &Envelope) {
        let kind = match envelope.kind {
            EnvelopeKind::Pong => Kind::Pong,
            _ => Kind::Control,
        };
        let mut frame = BytesMut::new();
        // A pong is as long as its ping, which had room in a frame, and a filter was measured when it grew.
        if envelope.encode_frame(&mut frame).is_ok() {
            self.queue.push(frame.freeze(), kind, Hold::default());
        }
    }
}
