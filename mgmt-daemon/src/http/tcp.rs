//! HTTP over TCP, with TLS or on loopback addresses.
//!
//! | limit | then |
//! |---|---|
//! | [`CONNECTIONS_MAX`] connections, [`CONNECTIONS_OF_ADDRESS_MAX`] of an address, with IPv6 of its /64 | for a further one, one is closed on which no good token or certificate was shown ([`Connections`]); if there is none, the further one is; either is counted |
//! | [`HANDSHAKE_TIMEOUT`] for the TLS handshake, [`HEAD_TIMEOUT`] for a request's head | the connection is closed |
//!
//! What one may have under way is in [`under_way`](super::under_way). Heads, bodies and the time that a connection may last have the limits of the control socket's ([`connection`](super::connection)).

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router, http::StatusCode, middleware};
use broker_endpoint::{
    pending::{Pending, Place},
    tls::{Acceptance, RenewTls, TlsContext, is_tls, peer_certificate},
    with_causes,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    admit::{Caller, Entrance, admit},
    answer::Problem,
    audited::audit,
    connection::{self, HEAD_TIMEOUT, Lasting, complete},
    door::Shared,
    guard::Guard,
    shares::{Share, Shares},
    under_way::UnderWay,
};
use crate::{Counted, config::HttpConfig, error::HostError, pace::network};

/// How many connections there may be at a time.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// How many of them may be of one address.
pub(super) const CONNECTIONS_OF_ADDRESS_MAX: usize = 64;
/// How long the TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted, as where there are too many open files.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// While all places are taken, one is replaced in so long: so one that has just connected has the time to say who it is.
const REPLACEMENT: Duration = Duration::from_millis(1);
/// How often a connection that lasts is asked whether it still may: tokens expire.
const RECHECK: Duration = Duration::from_secs(60);

/// Serves over TCP until it is dropped.
#[derive(Debug)]
pub(super) struct TcpServer {
    pub(super) address: SocketAddr,
    pub(super) renewal: Option<RenewTls>,
    task: JoinHandle<()>,
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TcpServer {
    /// Listens, if that is configured.
    ///
    /// # Errors
    ///
    /// If it cannot listen there, or cannot use the files of its certificate.
    pub(super) async fn open(
        config: &HttpConfig,
        shared: &Shared,
        under_way: UnderWay,
        routes: Router,
    ) -> Result<Option<Self>, HostError> {
        let Some(address) = config.listen else {
            return Ok(None);
        };
        let tls = TlsContext::new(&config.tls).map_err(HostError::HttpTls)?;
        let failed = |source| HostError::Http { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let entrance = Arc::new(Entrance {
            grants: shared.grants.clone(),
            guard: Guard::default(),
            hosts: config.hosts.clone(),
            tls: tls.clone(),
            revoked: config.tls.revoked(),
            under_way,
            counters: shared.counters.clone(),
        });
        let routes = complete(routes)
            .layer(middleware::from_fn_with_state(Arc::clone(&entrance), admit))
            .layer(middleware::from_fn_with_state(shared.audit.clone(), audit));
        Ok(Some(Self {
            address: listener.local_addr().map_err(failed)?,
            renewal: tls.map(|tls| RenewTls::new(config.tls.clone(), tls)),
            task: tokio::spawn(accept(listener, routes, entrance)),
        }))
    }
}

/// The connections that there are. They end when this is dropped.
struct Connections {
    tasks: JoinSet<()>,
    places: Shares<IpAddr>,
    /// Those of which it is not known yet who they are, by their network.
    strangers: HashMap<IpAddr, Pending>,
}

impl Connections {
    fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            places: Shares::new(CONNECTIONS_MAX, CONNECTIONS_OF_ADDRESS_MAX),
            strangers: HashMap::new(),
        }
    }

    /// A place for one more. If all are taken, a stranger makes room, of this network if that has as many as it may have, else of the network that has the most
    /// strangers: the one that has been silent for longest.
    async fn place(&mut self, network: IpAddr) -> Option<(Share<IpAddr>, Place)> {
        loop {
            if let Some(share) = self.places.take(network, 1) {
                self.strangers.retain(|_, strangers| !strangers.is_empty());
                return Some((share, self.strangers.entry(network).or_default().enter()));
            }
            let crowd = if self.places.taken_by(&network) < CONNECTIONS_OF_ADDRESS_MAX {
                self.strangers.values().max_by_key(|strangers| strangers.len())
            } else {
                self.strangers.get(&network)
            };
            if !crowd.is_some_and(|strangers| strangers.evict(Duration::ZERO)) {
                return None;
            }
            self.tasks.join_next().await;
            sleep(REPLACEMENT).await;
        }
    }
}

async fn accept(listener: TcpListener, routes: Router, entrance: Arc<Entrance>) {
    let mut connections = Connections::new();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => match connections.place(network(address.ip())).await {
                Some((share, place)) => {
                    let (routes, entrance) = (routes.clone(), Arc::clone(&entrance));
                    connections.tasks.spawn(async move {
                        let _share = share;
                        let evicted = place.evicted();
                        tokio::select! {
                            () = serve(stream, address, place, routes, Arc::clone(&entrance)) => {}
                            () = evicted => entrance.refused(
                                Counted::HttpConnectionsRefused,
                                address.ip(),
                                "a connection of which it was not known who it is, as there are too many",
                            ),
                        }
                    });
                }
                None => entrance.refused(
                    Counted::HttpConnectionsRefused,
                    address.ip(),
                    "a connection, as there are too many",
                ),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection over HTTP, and tries again");
                sleep(ACCEPT_RETRY).await;
            }
        }
        while connections.tasks.try_join_next().is_some() {}
    }
}

async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
    mut routes: Router,
    entrance: Arc<Entrance>,
) {
    let _ = stream.set_nodelay(true);
    let acceptance = match &entrance.tls {
        None => Acceptance::Plaintext,
        // So that one who speaks without TLS is told.
        Some(tls) => Acceptance::Either(tls.clone()),
    };
    let stream = match acceptance.accept(stream, HANDSHAKE_TIMEOUT).await {
        Ok(stream) => stream,
        Err(error) => {
            let what = format!("a connection: {}", with_causes(&error));
            return entrance.refused(Counted::HttpHandshakesFailed, address.ip(), &what);
        }
    };
    if entrance.tls.is_some() && !is_tls(&stream) {
        entrance.refused(
            Counted::HttpHandshakesFailed,
            address.ip(),
            "a connection without TLS",
        );
        routes = Router::new().fallback(async || {
            let detail = "this port speaks HTTP with TLS: use https://";
            Problem::new(StatusCode::BAD_REQUEST, detail)
        });
    }
    let caller = Arc::new(Caller::new(address, peer_certificate(&stream), place));
    let lasting = Lasting::default();
    let routes = routes
        .layer(Extension(Arc::clone(&caller)))
        .layer(Extension(lasting.clone()));
    tokio::select! {
        () = connection::serve(stream, routes, &lasting, Some(HEAD_TIMEOUT)) => {}
        () = may_no_more(&entrance, &caller, &lasting) => {
            tracing::info!(%address, "closed an event stream: the token of its reader was revoked or has expired, or its roles have changed");
        }
        certificate = entrance.revoked.comes_to_have(caller.certificate.as_ref()) => {
            tracing::warn!(%address, %certificate, "the certificate of a client is revoked (deny list), its HTTP connection ends");
        }
    }
}

/// Waits until who reads an answer that goes on may not any more. Other answers are short.
async fn may_no_more(entrance: &Entrance, caller: &Caller, lasting: &Lasting) {
    let mut changes = entrance.grants.changes();
    loop {
        // The sender is kept with the grants. Without a change it is time to look.
        let _ = timeout(RECHECK, changes.changed()).await;
        if lasting.has_begun() && !entrance.still_knows(caller) {
            return;
        }
    }
}
