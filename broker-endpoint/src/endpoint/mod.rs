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
mod publish;
pub(crate) mod shared;
#[cfg(test)]
mod tests;

use std::{
    collections::btree_map,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use broker_codec::{EndpointId, Topic, peering::BYE_TIMEOUT};
use counters::Counters;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

pub use config::EndpointConfig;
pub use counted::Counted;
pub use event::{
    EndReason, EndpointEvent, Message, ParsePeerAddressError, PeerAddress, PeerInfo, PeeringError,
};
pub use publish::PublishError;

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
