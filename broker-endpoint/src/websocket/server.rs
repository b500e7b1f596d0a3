use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use broker_codec::{
    json::DataMessage,
    websocket::{Rejection, RejectionCode},
};
use counters::Counters;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    config::{WebSocketConfig, WebSocketTls},
    counted::{CloseCause, Counted},
    event::{ClientInfo, WebSocketEvent},
    http::{self, HandshakeError},
    hub::Hub,
    publisher::Publisher,
    serve::serve,
    shared::Shared,
};
use crate::{
    credit::Credits,
    error::EndpointError,
    listen::{self, incoming::Incoming, pending::Pending},
    socket::Socket,
    tls::RenewTls,
};

/// How long a client may take to be told that there is no room: others wait to be told.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a client waits for the place of one that is evicted.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);

/// So long a client may take for its request before it may be evicted for another one.
const UNDISTURBED: Duration = Duration::from_millis(500);

/// A running server; dropping it ends every connection without a goodbye, see [`WebSocketServer::shutdown`].
///
/// Owns these tasks: one per address that accepts, one per connection, and one that writes publications as JSON.
/// A connection may wait for the owner of the server (when [`WebSocketConfig::inbound_events_max`] events were not
/// taken), never for another connection.
pub struct WebSocketServer<T> {
    addr: SocketAddr,
    shared: Arc<Shared<T>>,
    connections: Arc<Semaphore>,
    events: mpsc::Receiver<WebSocketEvent<T>>,
    publisher: Publisher,
    acceptor: AbortOnDropHandle<()>,
    _publishing: AbortOnDropHandle<()>,
}

impl<T> std::fmt::Debug for WebSocketServer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketServer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> WebSocketServer<T> {
    /// Starts to listen.
    ///
    /// `accept` is called once for each client, and makes the function that parses and authorises what this client
    /// publishes. It runs in the task of the client (for large messages on a thread for blocking work), so it may take
    /// its time without delaying others; what it refuses is answered with an error message, and the connection stays.
    /// What it admits goes to the owner, and to the other clients that subscribed to its topic. If it panics, the
    /// connection ends with code 1011.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on, or a file for TLS cannot be used.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time.
    #[expect(clippy::unused_async, reason = "listening may come to resolve names")]
    pub async fn bind<F, A>(config: WebSocketConfig, accept: F) -> Result<Self, EndpointError>
    where
        F: Fn(&ClientInfo) -> A + Send + Sync + 'static,
        A: FnMut(DataMessage) -> Result<T, Rejection> + Send + 'static,
    {
        let acceptance = config.tls.acceptance()?;
        let address = config.listen;
        let failed = |source| EndpointError::Listen { address, source };
        let listener = listen::open(address, false).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;

        let (events_in, events) = mpsc::channel(config.inbound_events_max);
        let connections = Arc::new(Semaphore::new(config.clients_max));
        let shared = Arc::new(Shared {
            config,
            acceptance,
            upgrading: Pending::default(),
            hub: Arc::new(Hub::default()),
            counters: Counters::default(),
            closes: Counters::default(),
            errors: Counters::default(),
            accept: Box::new(move |info| Box::new(accept(info))),
            events: events_in,
            shutdown: CancellationToken::new(),
            next_client: AtomicU64::new(0),
        });
        let acceptor = Acceptor {
            incoming: Incoming::new(listener),
            shared: Arc::clone(&shared),
            connections: Arc::clone(&connections),
            refusals: Arc::new(Semaphore::new(shared.config.refusals_max)),
            full: false,
            tasks: JoinSet::new(),
        };
        let acceptor = AbortOnDropHandle::new(tokio::spawn(acceptor.run()));
        let (publisher, publishing) = Publisher::start(Arc::clone(&shared.hub));
        Ok(Self {
            addr,
            shared,
            connections,
            events,
            publisher,
            acceptor,
            _publishing: publishing,
        })
    }

    /// Where the server listens, with the port that the system chose.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What loads the certificate again, if the server has one.
    pub fn renewal(&self) -> Option<RenewTls> {
        let (WebSocketTls::Offered(config) | WebSocketTls::Required(config)) = &self.shared.config.tls else {
            return None;
        };
        self.shared.acceptance.renewal(config)
    }

    /// The next event. May be cancelled without losing one. Never `None` while the server lives.
    pub async fn recv(&mut self) -> Option<WebSocketEvent<T>> {
        self.events.recv().await
    }

    /// Asks again which clients hear what is published ([`WebSocketConfig::may_hear`]).
    pub fn reassess(&self) {
        self.shared.hub.reassess(&self.shared.config.may_hear);
    }

    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// What the server has seen so far.
    pub fn counters(&self) -> Counters<Counted> {
        self.shared.counters.clone()
    }

    /// Connections ended after their upgrade, by cause.
    pub fn closes(&self) -> Counters<CloseCause> {
        self.shared.closes.clone()
    }

    /// Error messages sent, by code.
    pub fn errors(&self) -> Counters<RejectionCode> {
        self.shared.errors.clone()
    }

    /// Connections open now, those in their HTTP upgrade included.
    pub fn connections_open(&self) -> usize {
        let free = self.connections.available_permits();
        self.shared.config.clients_max.saturating_sub(free)
    }

    /// Stops listening, delivers what was published, and ends every connection with code 1001 "Terminating", as
    /// Zeek's server does. Takes at most four times [`WebSocketConfig::close_timeout`]: for what waits to be sent, for
    /// the CLOSE frame, and for the client to close in turn.
    pub async fn shutdown(self) {
        let Self {
            shared,
            events,
            publisher,
            acceptor,
            ..
        } = self;
        // Connections that wait for room in this queue need it no more.
        drop(events);
        publisher.flush().await;
        shared.shutdown.cancel();
        // An acceptor that panicked has aborted its connections.
        let _ = timeout(shared.config.close_timeout.saturating_mul(4), acceptor).await;
    }
}

/// Accepts connections on one address, and owns their tasks.
struct Acceptor<T> {
    incoming: Incoming,
    shared: Arc<Shared<T>>,
    connections: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    /// Whether the last connection was refused; only the first of a row is logged.
    full: bool,
    tasks: JoinSet<()>,
}

impl<T: Send + 'static> Acceptor<T> {
    async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.shared.shutdown.cancelled() => break,
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        // Panics of a session are caught closer to it.
                        self.shared.counters.increment(Counted::Panics);
                        tracing::error!(%error, "connection task failed");
                    }
                }
                (refusal, (stream, peer)) = accept(&mut self.incoming, &self.refusals, &self.shared.counters) => {
                    self.admit(stream, peer, refusal);
                }
            }
        }
        drop(self.incoming);
        while self.tasks.join_next().await.is_some() {}
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr, refusal: Option<OwnedSemaphorePermit>) {
        let shared = Arc::clone(&self.shared);
        shared.counters.increment(Counted::Connections);
        // Answers are small and awaited; a failure costs speed only.
        let _ = stream.set_nodelay(true);
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            self.full = false;
            self.tasks.spawn(converse(stream, peer, shared, permit));
            return;
        }
        if shared.upgrading.evict(UNDISTURBED) {
            let connections = Arc::clone(&self.connections);
            self.tasks.spawn(async move {
                match timeout(EVICTION_TIMEOUT, connections.acquire_owned()).await {
                    Ok(Ok(permit)) => {
                        drop(refusal);
                        converse(stream, peer, shared, permit).await;
                    }
                    _ => refuse(stream, &shared).await,
                }
            });
            return;
        }
        shared.counters.increment(Counted::Refused);
        if !std::mem::replace(&mut self.full, true) {
            let max = shared.config.clients_max;
            tracing::warn!(%peer, max, "all connections of clients are in use, further ones are refused");
        }
        self.tasks.spawn(async move {
            refuse(stream, &shared).await;
            drop(refusal);
        });
    }
}

/// Accepts a connection when it can be refused if it has to be: further ones wait in the system's queue.
async fn accept(
    incoming: &mut Incoming,
    refusals: &Arc<Semaphore>,
    counters: &Counters<Counted>,
) -> (Option<OwnedSemaphorePermit>, (TcpStream, SocketAddr)) {
    // The semaphore is never closed.
    let refusal = Arc::clone(refusals).acquire_owned().await.ok();
    (
        refusal,
        incoming.next(|| counters.increment(Counted::AcceptErrors)).await,
    )
}

async fn converse<T: Send + 'static>(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared<T>>,
    permit: OwnedSemaphorePermit,
) {
    let credits = Credits::new();
    let socket = Socket::new(stream, Arc::clone(&credits));
    serve(socket, peer, credits, shared).await;
    drop(permit);
}

/// Tells a client that there is no room for it, over TLS if that is what it speaks.
async fn refuse<T>(stream: TcpStream, shared: &Shared<T>) {
    let config = &shared.config;
    let refusal = async {
        if let Ok(mut stream) = shared.acceptance.accept(stream, config.handshake_timeout).await {
            let max = config.clients_max;
            http::refuse(&mut stream, &HandshakeError::Full { max }, config.close_timeout).await;
        }
    };
    // What cannot be told to a client in time is not told.
    let _ = timeout(REFUSAL_TIMEOUT, refusal).await;
}
