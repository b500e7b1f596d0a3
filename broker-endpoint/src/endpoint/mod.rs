//! A Broker endpoint: native peerings with Zeeks and other endpoints.
//!
//! ```text
//!   program --- EndpointHandle ---> codec's endpoint, <--- frames, time --- connection --- peer
//!      ^                             behind a lock    ---- outputs, queue ---->  |
//!      +------------------------------------ events -----------------------------+
//! ```
//!
//! * The lock (`shared`) is held for the header of a frame or the routing of a message, and never while anything waits: queues take
//!   what is put in or say what was dropped.
//! * Events go from the connections to the program directly, through one short queue. While it is full, connections do not
//!   read; they go on writing, and routing goes on. Connections take turns there, and each has credit for so many messages, see
//!   [`Credit`].

pub(crate) mod config;
pub(crate) mod counted;
pub(crate) mod event;
pub(crate) mod limits;
pub(crate) mod shared;
#[cfg(test)]
mod tests;

use std::{
    collections::btree_map,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use broker_codec::{
    Data, EndpointId, Envelope, EnvelopeKind, Recipients, Topic,
    binary::{self, EncodeError},
    envelope::TTL_DEFAULT,
    frame::FrameError,
    peering::BYE_TIMEOUT,
};
use bytes::{Bytes, BytesMut};
use counters::Counters;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::coop::consume_budget,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

pub use config::EndpointConfig;
pub use counted::Counted;
pub use event::{
    EndReason, EndpointEvent, Message, ParsePeerAddressError, PeerAddress, PeerInfo, PeeringError,
};

use crate::{
    connect,
    credit::Credit,
    error::EndpointError,
    listen::{self, handshakes::Handshakes, pending::Pending},
    sync::lock,
    tls::{Acceptance, Connection, RenewTls, TlsContext},
};
use shared::{QueuedEvent, Routing, Shared};

/// What leaving peers may take longer than the wait for their answers.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);

/// A running endpoint. Dropping it ends every connection without a goodbye, see [`Endpoint::shutdown`].
///
/// Each connection has a task, so that a peer that is slow, silent or hostile does not delay another.
#[derive(Debug)]
pub struct Endpoint {
    handle: EndpointHandle,
    events: mpsc::Receiver<QueuedEvent>,
}

/// Publishes, subscribes, listens and connects for an [`Endpoint`]; cheap to clone.
#[derive(Clone, Debug)]
pub struct EndpointHandle {
    shared: Arc<Shared>,
    credit: Credit,
}

/// A message cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The message would be larger than [`EndpointConfig::message_max`].
    #[error("message to {topic}: {source}")]
    TooLong { topic: Topic, source: FrameError },
    /// Zeek 6.1 and older close the connection for it.
    #[error("topic is empty")]
    EmptyTopic,
    /// Nothing on such a topic leaves an endpoint.
    #[error("topic {0} is reserved for use within an endpoint")]
    LocalTopic(Topic),
    #[error("endpoint has ended")]
    Ended,
}

impl Endpoint {
    /// Starts an endpoint that neither listens nor connects yet.
    ///
    /// # Errors
    ///
    /// If a file for TLS cannot be used.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(config: EndpointConfig) -> Result<Self, EndpointError> {
        let tls = TlsContext::new(&config.tls)?;
        let id = match config.id {
            Some(id) => id,
            None => random_id()?,
        };
        let mut endpoint = broker_codec::Endpoint::new(id, config.liveness);
        for prefix in &config.subscriptions {
            endpoint.subscribe(prefix.clone())?;
        }
        let (event_sender, events) = mpsc::channel(config.inbound_events_max);
        let shared = Arc::new(Shared {
            id,
            counters: Counters::default(),
            acceptance: tls.clone().map_or(Acceptance::Plaintext, Acceptance::Tls),
            protection: tls.map_or(Connection::Plaintext, Connection::Tls),
            limits: limits::Limits::new(&config),
            waiting: Pending::default(),
            handshakes: Handshakes::new(config.handshakes_max, config.handshake_timeout / 3),
            leave: CancellationToken::new(),
            stopped: CancellationToken::new(),
            dialers: Mutex::default(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            epoch: Instant::now(),
            routing: Mutex::new(Routing::new(endpoint)),
            events: event_sender,
            memory: Arc::new(Semaphore::new(config.inbound_bytes_max)),
            config,
        });
        let credit = Credit::none();
        Ok(Self {
            handle: EndpointHandle { shared, credit },
            events,
        })
    }

    pub fn id(&self) -> EndpointId {
        self.handle.id()
    }

    /// A handle for everything but events.
    pub fn handle(&self) -> EndpointHandle {
        self.handle.clone()
    }

    /// The next event. May be cancelled without losing one. Never `None` while the endpoint lives.
    ///
    /// While events are not fetched, peers are not read from, and after some time they drop what they have for us.
    pub async fn recv(&mut self) -> Option<EndpointEvent> {
        self.events.recv().await.map(|queued| queued.event)
    }

    /// Leaves all peers in good order: sends what was published, says BYE, waits for the answers, and closes. Events that
    /// still come are dropped. Takes at most five seconds.
    pub async fn shutdown(mut self) {
        let shared = Arc::clone(&self.handle.shared);
        // Connections that wait for another one are told why they end.
        shared.call(broker_codec::Endpoint::shut_down);
        shared.leave.cancel();
        shared.tasks.close();
        let ended = timeout(BYE_TIMEOUT + SHUTDOWN_MARGIN, shared.tasks.wait());
        tokio::pin!(ended);
        let in_time = loop {
            tokio::select! {
                result = &mut ended => break result.is_ok(),
                // Connections must be able to say that they have ended.
                Some(event) = self.events.recv() => drop(event),
            }
        };
        if !in_time {
            warn!("connections did not end in time and are cut");
        }
        drop(self);
        shared.tasks.wait().await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.handle.shared.stopped.cancel();
        debug!(id = %self.id(), "endpoint ended");
    }
}

impl EndpointHandle {
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
            let stop = self.shared.leave.child_token();
            let accept = listen::run(Arc::clone(&self.shared), listener, stop);
            self.shared.spawn(accept);
        }
        Ok(addresses)
    }

    /// Connects to a peer, and again whenever the connection is lost or cannot be made; `retry` is the time between attempts,
    /// `None` makes only one. What comes of it is an event. Without effect if the address is being connected to already.
    ///
    /// A name is looked up at every attempt and all its addresses are tried.
    pub fn peer(&self, address: PeerAddress, retry: Option<Duration>) {
        self.peer_awaiting(address, retry, Vec::new());
    }

    /// As [`Self::peer`], to a peer that must want one of these topics: it is added when it has subscribed, and connected to again if
    /// it has not within [`SUBSCRIPTION_TIMEOUT`](broker_codec::peering::SUBSCRIPTION_TIMEOUT), see
    /// [`Peering::await_subscription`](broker_codec::peering::Peering::await_subscription). After three times the peer is taken as it
    /// is.
    pub fn peer_awaiting(&self, address: PeerAddress, retry: Option<Duration>, awaited: Vec<Topic>) {
        let mut dialers = lock(&self.shared.dialers);
        if let btree_map::Entry::Vacant(vacant) = dialers.entry(address.clone()) {
            let stop = vacant.insert(self.shared.leave.child_token()).clone();
            let handle = self.clone();
            self.shared.spawn(async move {
                connect::run(&handle.shared, &address, retry, awaited, &stop).await;
                let mut dialers = lock(&handle.shared.dialers);
                // Otherwise another one may have been started since.
                if !stop.is_cancelled() {
                    dialers.remove(&address);
                }
            });
        }
    }

    /// Ends what [`Self::peer`] began: says BYE if the connection is a peering, and does not connect again. A peering that
    /// the other side opened stays.
    pub fn unpeer(&self, address: &PeerAddress) {
        if let Some(dialer) = lock(&self.shared.dialers).remove(address) {
            dialer.cancel();
        }
    }

    /// Leaves a peer: says BYE and closes the connection. If we had opened it, we do not connect again; the other side may.
    pub fn disconnect(&self, peer: EndpointId) {
        self.shared.leave(peer);
    }

    /// Ends the connection with a peer at once, without a word. Unlike [`Self::disconnect`], if we had opened it we connect again in our time.
    pub fn cut(&self, peer: EndpointId) {
        self.shared.cut(peer);
    }

    /// Announces to all peers that we want to receive what is published on topics with this prefix. There is no way back, as in
    /// Broker.
    ///
    /// # Errors
    ///
    /// If the filter would become too large to be announced.
    pub fn subscribe(&self, prefix: Topic) -> Result<(), EndpointError> {
        Ok(self.shared.call(|endpoint| endpoint.subscribe(prefix))?)
    }

    /// Sends a value to every peer that subscribed to a prefix of the topic.
    ///
    /// Never waits for a peer: of what waits for one that reads too slowly, the oldest is dropped. What one task publishes arrives in
    /// its order. Nothing is acknowledged.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn publish(&self, topic: Topic, data: &Data) -> Result<(), PublishError> {
        self.publish_among(Recipients::all(), topic, data).await
    }

    /// As [`Self::publish`], but only to some of the peers that subscribed.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn publish_among(
        &self,
        recipients: Recipients<EndpointId>,
        topic: Topic,
        data: &Data,
    ) -> Result<(), PublishError> {
        self.send(EndpointId::NIL, recipients, topic, data).await
    }

    /// Sends a value to one peer, whatever it subscribed to. If it is not there, the value is dropped and counted.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn publish_to(
        &self,
        receiver: EndpointId,
        topic: Topic,
        data: &Data,
    ) -> Result<(), PublishError> {
        self.send(receiver, Recipients::all(), topic, data).await
    }

    async fn send(
        &self,
        receiver: EndpointId,
        recipients: Recipients<EndpointId>,
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
        if let Err(source) = encoded {
            let topic = route.topic;
            return Err(PublishError::TooLong { topic, source });
        }
        if self.shared.stopped.is_cancelled() {
            return Err(PublishError::Ended);
        }
        let hold = self.credit.hold(frame.len());
        self.shared.publish(&route, &frame.freeze(), &recipients, &hold);
        // However much is published, connections get their turns to send it.
        consume_budget().await;
        Ok(())
    }

    /// The peers that there are now, ascending by id.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.peers()
    }

    /// What loads the certificate of all connections again, if there is one.
    pub fn renewal(&self) -> Option<RenewTls> {
        self.shared.acceptance.renewal(&self.shared.config.tls)
    }

    /// What the endpoint has seen so far.
    pub fn counters(&self) -> Counters<Counted> {
        self.shared.counters.clone()
    }
}

fn random_id() -> Result<EndpointId, EndpointError> {
    let mut bytes = [0; EndpointId::LEN];
    getrandom::fill(&mut bytes).map_err(|error| EndpointError::Random(error.into()))?;
    Ok(EndpointId::from_random(bytes))
}
