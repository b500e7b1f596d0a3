//! A Broker endpoint: native peerings with Zeeks and other endpoints.
//!
//! ```text
//!   program --- EndpointHandle ---> owner of the routing state <--- reports --- connection --- peer
//!      ^                                      |                                  ^   |
//!      |                                      +----------- outbox ---------------+   |
//!      +----------------------------- events ------------------------------------- +
//! ```
//!
//! * The owner (`task`) never waits: outboxes take what it puts in or say what was dropped, and reports are answered at once.
//! * Events go from the connections to the program directly, through one short queue. While it is full, connections do not
//!   read; they go on writing, and the owner goes on routing. Connections take turns there, and each has credit for so many
//!   messages, see [`Credit`].
//! * A connection is registered with the owner from when its peer is known until its end was announced.

mod config;
mod counters;
mod event;
mod limits;
mod shared;
mod task;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use broker_codec::{
    Data, EndpointId, Envelope, EnvelopeKind, Router, Topic,
    binary::{self, EncodeError},
    envelope::TTL_DEFAULT,
    frame::FrameError,
};
use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use config::{EndpointConfig, OverflowPolicy};
pub use counters::EndpointCounters;
pub use event::{
    EndReason, EndpointEvent, Message, ParsePeerAddressError, PeerAddress, PeerInfo, PeeringError,
};
pub(crate) use shared::{Report, Shared};

use crate::{
    Among, Credit, EndpointError,
    listen::{self, Pending},
    tls::{Acceptance, Connection, TlsContext},
};
use shared::QueuedEvent;
use task::{Command, Task};

/// How many commands of the program may wait for the owner of the routing state, which never waits itself.
const COMMANDS_MAX: usize = 1024;

/// A running endpoint. Dropping it ends every connection without a goodbye, see [`Endpoint::shutdown`].
///
/// One task owns the routing state and each connection has one more, so that a peer that is slow, silent or hostile does
/// not delay another.
#[derive(Debug)]
pub struct Endpoint {
    handle: EndpointHandle,
    events: mpsc::Receiver<QueuedEvent>,
    leave: CancellationToken,
    task: JoinSet<()>,
}

/// Publishes, subscribes, listens and connects for an [`Endpoint`]; cheap to clone.
#[derive(Clone, Debug)]
pub struct EndpointHandle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    credit: Credit,
}

/// A message cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The value cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The message would be larger than [`EndpointConfig::message_max`].
    #[error("message to {topic}: {source}")]
    TooLong {
        /// Where it should go.
        topic: Topic,
        /// How long it is.
        source: FrameError,
    },
    /// Zeek 6.1 and older close the connection for it.
    #[error("topic is empty")]
    EmptyTopic,
    /// Nothing on such a topic leaves an endpoint.
    #[error("topic {0} is reserved for use within an endpoint")]
    LocalTopic(Topic),
    /// The endpoint has ended.
    #[error("endpoint has ended")]
    Ended,
}

impl Endpoint {
    /// Starts an endpoint that neither listens nor connects yet.
    ///
    /// # Errors
    ///
    /// If the configuration makes no sense or a file for TLS cannot be used.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(config: EndpointConfig) -> Result<Self, EndpointError> {
        config.validate()?;
        let tls = TlsContext::new(&config.tls)?;
        let id = match config.id {
            Some(id) => id,
            None => random_id()?,
        };
        let mut router = Router::new(id);
        for prefix in &config.subscriptions {
            router.subscribe(prefix.clone())?;
        }
        let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (report_sender, reports) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::channel(config.inbound_events_max);
        let shared = Arc::new(Shared {
            id,
            counters: counters::Counters::default(),
            acceptance: tls.clone().map_or(Acceptance::Plaintext, Acceptance::Tls),
            protection: tls.map_or(Connection::Plaintext, Connection::Tls),
            limits: limits::Limits::new(&config),
            waiting: Pending::default(),
            handshakes: Pending::default(),
            stopped: CancellationToken::new(),
            epoch: Instant::now(),
            connections: AtomicU64::new(0),
            reports: report_sender,
            events: event_sender,
            memory: Arc::new(Semaphore::new(config.inbound_bytes_max)),
            config,
        });
        let leave = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(
            Task {
                shared: Arc::clone(&shared),
                router,
                commands,
                reports,
                asked: leave.clone(),
                leave: CancellationToken::new(),
                connections: HashMap::new(),
                dialers: BTreeMap::new(),
                last_dialer: 0,
                waiting: HashMap::new(),
                tasks: JoinSet::new(),
            }
            .run(),
        );
        Ok(Self {
            handle: EndpointHandle {
                shared,
                commands: command_sender,
                credit: Credit::none(),
            },
            events,
            leave,
            task,
        })
    }

    /// Our id.
    pub fn id(&self) -> EndpointId {
        self.handle.id()
    }

    /// A handle for everything but events.
    pub fn handle(&self) -> EndpointHandle {
        self.handle.clone()
    }

    /// The next event; `None` if the endpoint ended by a fault of its own, which the log tells. May be cancelled without losing an event.
    ///
    /// While events are not fetched, peers are not read from, and after some time they drop what they have for us.
    pub async fn recv(&mut self) -> Option<EndpointEvent> {
        let queued = tokio::select! {
            biased;
            queued = self.events.recv() => queued,
            () = self.handle.shared.stopped.cancelled() => self.events.try_recv().ok(),
        };
        queued.map(|queued| queued.event)
    }

    /// Leaves all peers in good order: sends what was published, says BYE, waits for the answers, and closes. Events that
    /// still come are dropped. Takes at most five seconds.
    pub async fn shutdown(mut self) {
        self.leave.cancel();
        loop {
            tokio::select! {
                result = self.task.join_next() => {
                    drop(result);
                    return;
                }
                // Connections must be able to say that they have ended.
                Some(event) = self.events.recv() => drop(event),
            }
        }
    }
}

impl EndpointHandle {
    /// Our id.
    pub fn id(&self) -> EndpointId {
        self.shared.id
    }

    /// A handle whose publications keep the credit of a message until peers have taken them.
    #[must_use]
    pub fn with_credit(&self, credit: &Credit) -> Self {
        Self {
            credit: credit.clone(),
            ..self.clone()
        }
    }

    /// Listens for peers, any number of times; returns the addresses with the ports that the system chose.
    ///
    /// `host` is an address of this machine, the name of an interface such as `eth0`, or a host name; the empty text stands for
    /// all addresses, IPv6 and IPv4, `0.0.0.0` for all of IPv4. A name is listened on at each of its addresses.
    ///
    /// # Errors
    ///
    /// If the name is unknown or nothing can be listened on.
    pub async fn listen(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, EndpointError> {
        let mut addresses = Vec::new();
        for listener in listen::bind(host, port).await? {
            if let Ok(address) = listener.local_addr() {
                debug!(%address, tls = self.shared.config.tls.name(), "listening for peers");
                addresses.push(address);
            }
            self.command(Command::Listen(listener))
                .await
                .map_err(|_| EndpointError::Ended)?;
        }
        Ok(addresses)
    }

    /// Connects to a peer, and again whenever the connection is lost or cannot be made; `retry` is the time between attempts,
    /// `None` makes only one. What comes of it is an event. Without effect if the address is being connected to already.
    ///
    /// A name is looked up at every attempt and all its addresses are tried.
    pub async fn peer(&self, address: PeerAddress, retry: Option<Duration>) {
        self.peer_awaiting(address, retry, Vec::new()).await;
    }

    /// As [`Self::peer`], to a peer that must want one of these topics: it is added when it has subscribed, and connected to again if
    /// it has not within [`SUBSCRIPTION_TIMEOUT`](broker_codec::peering::SUBSCRIPTION_TIMEOUT), see
    /// [`Peering::awaiting`](broker_codec::peering::Peering::awaiting). After three times the peer is taken as it is.
    pub async fn peer_awaiting(&self, address: PeerAddress, retry: Option<Duration>, awaited: Vec<Topic>) {
        let command = Command::Peer {
            address,
            retry,
            awaited,
        };
        // Without effect after the end, as everything else then.
        let _ = self.command(command).await;
    }

    /// Ends what [`Self::peer`] began: says BYE if the connection is a peering, and does not connect again. A peering that
    /// the other side opened stays.
    pub async fn unpeer(&self, address: PeerAddress) {
        let _ = self.command(Command::Unpeer(address)).await;
    }

    /// Leaves a peer: says BYE and closes the connection. If we had opened it, we do not connect again; the other side may.
    pub async fn disconnect(&self, peer: EndpointId) {
        let _ = self.command(Command::Disconnect(peer)).await;
    }

    /// Announces to all peers that we want to receive what is published on topics with this prefix. There is no way back, as in
    /// Broker.
    ///
    /// # Errors
    ///
    /// If the filter would become too large to be announced, or the endpoint has ended.
    pub async fn subscribe(&self, prefix: Topic) -> Result<(), EndpointError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Subscribe { prefix, reply })
            .await
            .map_err(|_| EndpointError::Ended)?;
        answer.await.map_err(|_| EndpointError::Ended)??;
        Ok(())
    }

    /// Sends a value to every peer that subscribed to a prefix of the topic.
    ///
    /// Never waits for a peer: for one that reads too slowly, [`EndpointConfig::overflow`] says what happens. What one task
    /// publishes arrives in its order. Nothing is acknowledged.
    ///
    /// # Errors
    ///
    /// If the value cannot be sent to anybody.
    pub async fn publish(&self, topic: Topic, data: &Data) -> Result<(), PublishError> {
        self.publish_among(Among::everyone(), topic, data).await
    }

    /// As [`Self::publish`], but only to some of the peers that subscribed.
    ///
    /// # Errors
    ///
    /// If the value cannot be sent to anybody.
    pub async fn publish_among(
        &self,
        among: Among<EndpointId>,
        topic: Topic,
        data: &Data,
    ) -> Result<(), PublishError> {
        self.send(EndpointId::NIL, among, topic, data).await
    }

    /// Sends a value to one peer, whatever it subscribed to. If it is not there, the value is dropped and counted.
    ///
    /// # Errors
    ///
    /// If the value cannot be sent to anybody.
    pub async fn publish_to(
        &self,
        receiver: EndpointId,
        topic: Topic,
        data: &Data,
    ) -> Result<(), PublishError> {
        self.send(receiver, Among::everyone(), topic, data).await
    }

    async fn send(
        &self,
        receiver: EndpointId,
        among: Among<EndpointId>,
        topic: Topic,
        data: &Data,
    ) -> Result<(), PublishError> {
        if topic.is_empty() {
            return Err(PublishError::EmptyTopic);
        }
        if topic.is_local_only() {
            return Err(PublishError::LocalTopic(topic));
        }
        let mut payload = BytesMut::new();
        binary::encode(data, &mut payload)?;
        let envelope = Envelope {
            sender: self.shared.id,
            receiver,
            kind: EnvelopeKind::Data,
            ttl: TTL_DEFAULT,
            topic,
            payload: payload.freeze(),
        };
        let max = self.shared.config.message_max;
        let len = envelope.encoded_len();
        let mut frame = BytesMut::new();
        let encoded = match u32::try_from(len) {
            Ok(len) if len <= max => envelope.encode_frame(&mut frame),
            _ => Err(FrameError::Unsendable { len, max }),
        };
        let route = Envelope {
            payload: Bytes::new(),
            ..envelope
        };
        match encoded {
            Ok(()) => self
                .command(Command::Publish {
                    route,
                    hold: self.credit.hold(frame.len()),
                    frame: frame.freeze(),
                    among,
                })
                .await
                .map_err(|_| PublishError::Ended),
            Err(source) => Err(PublishError::TooLong {
                topic: route.topic,
                source,
            }),
        }
    }

    /// The peers that there are now, ascending by id.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        let (reply, answer) = oneshot::channel();
        if self.command(Command::Peers(reply)).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// What the endpoint has seen so far.
    pub fn counters(&self) -> EndpointCounters {
        self.shared.counters.snapshot()
    }

    async fn command(&self, command: Command) -> Result<(), mpsc::error::SendError<Command>> {
        self.commands.send(command).await
    }
}

fn random_id() -> Result<EndpointId, EndpointError> {
    let mut bytes = [0; EndpointId::LEN];
    getrandom::fill(&mut bytes).map_err(|error| EndpointError::Random(error.into()))?;
    Ok(EndpointId::from_random(bytes))
}
