//! How a request gets to the daemon's loop, and the answer back.

use std::{collections::BTreeMap, net::SocketAddr};

use axum::{
    Extension,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use broker_endpoint::tls::RenewTls;
use counters::Counters;
use mgmt_api::{
    Principal,
    operator::{About, HttpAddress},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    answer::{Answer, Outcome, Problem},
    note::Note,
    own::{self, Own},
    routes::Routes,
    socket::ControlSocket,
    tcp::TcpServer,
    under_way::UnderWay,
    watch::{self, Watch},
};
use crate::{
    Counted,
    audit::{Audit, What},
    config::{HttpConfig, SocketConfig},
    error::HostError,
    grants::Grants,
    metrics::Durations,
    reload::AskReload,
};

/// How many requests may wait for the loop.
pub(super) const REQUESTS_MAX: usize = 64;

/// The way to the loop, which a daemon's routes have as their state.
pub type Door<Q> = mpsc::Sender<Request<Q>>;

/// A request on its way: an operator asks the core for something.
#[derive(Debug)]
pub struct Request<Q> {
    principal: Principal,
    asked: Q,
    note: Note,
    answer: oneshot::Sender<Outcome>,
}

/// What operators' requests need of the daemon.
#[derive(Clone, Debug)]
pub struct Shared {
    pub(crate) reload: AskReload,
    pub(crate) grants: Grants,
    pub(crate) durations: Durations,
    pub(crate) counters: Counters<Counted>,
    pub(crate) audit: Audit,
}

/// Whose request it is, for a route.
#[derive(Debug)]
pub struct Operator<Q> {
    principal: Principal,
    door: Door<Q>,
    note: Note,
}

/// What is asked of the core.
#[derive(Debug)]
pub enum Asked<Q> {
    /// By an operator. The answer is given by [`Operators::answer`] under this id.
    Request {
        id: u64,
        principal: Principal,
        request: Q,
    },
    /// How it is, by what monitors the daemon. The answer is given to [`Operators::watch`] of this id.
    Vitals { id: u64 },
}

/// The loop's end: what operators ask, and who waits for an answer. They are served until it is dropped.
#[derive(Debug)]
pub struct Operators<Q> {
    requests: mpsc::Receiver<Request<Q>>,
    watches: mpsc::Receiver<Watch>,
    waiting: BTreeMap<u64, Waiting>,
    /// What kind of a request one is, for the durations.
    kind: fn(&Q) -> &'static str,
    durations: Durations,
    watching: BTreeMap<u64, Watch>,
    last: u64,
    tcp: Option<TcpServer>,
    /// None if it cannot be had.
    socket: Option<ControlSocket>,
}

/// An operator who waits for an answer.
#[derive(Debug)]
struct Waiting {
    kind: &'static str,
    since: Instant,
    note: Note,
    answer: oneshot::Sender<Outcome>,
}

impl<Q: Send + 'static> FromRequestParts<Door<Q>> for Operator<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door<Q>) -> Result<Self, Problem> {
        let principal = Extension::from_request_parts(parts, door).await;
        let Extension(principal) =
            principal.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let note = parts.extensions.get().cloned().unwrap_or_default();
        let door = door.clone();
        Ok(Self {
            principal,
            door,
            note,
        })
    }
}

impl<Q> Operator<Q> {
    /// For a route that asks for several things: in the audit log the request stays what it came as.
    #[must_use]
    pub fn for_several(self) -> Self {
        Self {
            note: Note::default(),
            ..self
        }
    }

    /// Has the core answer: it does, in its time.
    ///
    /// # Errors
    ///
    /// If the core refuses, or the daemon is ending.
    pub async fn asks(&self, request: Q) -> Result<Answer, Problem> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            principal: self.principal.clone(),
            asked: request,
            note: self.note.clone(),
            answer,
        };
        self.door.send(request).await.map_err(|_| Problem::ending())?;
        let outcome = answered.await.map_err(|_| Problem::ending())?;
        Ok(Answer::from(outcome?))
    }
}

impl<Q: Send + 'static> Operators<Q> {
    /// Serves operators on the control socket, and over TCP if that is configured: by these routes, and by those of every daemon ([`own`],
    /// [`watch`]).
    ///
    /// How long requests take is counted by their kind, one of a few words.
    ///
    /// # Errors
    ///
    /// If TCP is configured, and cannot be had. Without its control socket the daemon goes on, and says so.
    pub async fn serve(
        socket: &SocketConfig,
        http: &HttpConfig,
        about: About,
        shared: Shared,
        routes: Routes<Door<Q>>,
        kind: fn(&Q) -> &'static str,
    ) -> Result<Self, HostError> {
        let (door, requests) = mpsc::channel(REQUESTS_MAX);
        let (watch, watches) = mpsc::channel(REQUESTS_MAX);
        let (routes, described) = routes.into_parts();
        let (of_watch, watch_described) = watch::routes().into_parts();
        let (of_own, own_described) = own::routes().into_parts();
        let described = [described, watch_described, own_described].concat();
        let state = Own::new(about, &shared, described);
        let routes = routes
            .with_state(door)
            .merge(of_watch.with_state(watch))
            .merge(of_own.with_state(state));
        let under_way = UnderWay::default();
        Ok(Self {
            requests,
            watches,
            waiting: BTreeMap::new(),
            kind,
            watching: BTreeMap::new(),
            last: 0,
            tcp: TcpServer::open(http, &shared, under_way.clone(), routes.clone()).await?,
            durations: shared.durations.clone(),
            socket: ControlSocket::open(socket, routes, under_way, &shared.audit, &shared.counters),
        })
    }

    /// The directory that the daemon works in, if that is gone: what is written there is lost. It is looked at every five seconds.
    pub fn lost_directory(&self) -> Option<&std::path::Path> {
        self.socket.as_ref()?.lost_directory()
    }

    /// Where it is served over TCP, if it is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().map(|server| server.address)
    }

    /// The same for those who want to ask there.
    pub fn http(&self) -> Option<HttpAddress> {
        let address = self.address()?;
        let is_tls = self.renewal().is_some();
        Some(HttpAddress { address, is_tls })
    }

    /// What loads the certificate of TCP again, if there is one.
    pub fn renewal(&self) -> Option<RenewTls> {
        self.tcp.as_ref()?.renewal.clone()
    }

    /// Waits for the next request. May be cancelled without losing one.
    pub async fn next(&mut self) -> Asked<Q> {
        loop {
            let next = tokio::select! {
                Some(watch) = self.watches.recv() => self.watched(watch),
                Some(request) = self.requests.recv() => self.requested(request),
                else => std::future::pending().await,
            };
            if let Some(asked) = next {
                return asked;
            }
        }
    }

    fn watched(&mut self, watch: Watch) -> Option<Asked<Q>> {
        match watch {
            Watch::Live(answer) => {
                let _ = answer.send(());
                None
            }
            // Who has asked may be gone.
            watch if watch.is_closed() => None,
            watch => {
                let id = self.next_id();
                self.watching.insert(id, watch);
                Some(Asked::Vitals { id })
            }
        }
    }

    fn requested(&mut self, request: Request<Q>) -> Option<Asked<Q>> {
        let Request {
            principal,
            asked: request,
            note,
            answer,
        } = request;
        if answer.is_closed() {
            return None;
        }
        let id = self.next_id();
        let waiting = Waiting {
            kind: (self.kind)(&request),
            since: Instant::now(),
            note,
            answer,
        };
        self.waiting.insert(id, waiting);
        Some(Asked::Request {
            id,
            principal,
            request,
        })
    }

    fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Gives the answer to an operator, who may be gone.
    pub fn answer(&mut self, id: u64, outcome: Outcome) {
        if let Some(waiting) = self.waiting.remove(&id) {
            let Waiting {
                kind, since, answer, ..
            } = waiting;
            self.durations
                .observe("operator", kind, outcome.is_ok(), since.elapsed());
            let _ = answer.send(outcome);
        }
    }

    /// Completes what the audit log says of a request that is not answered yet.
    pub fn note(&self, id: u64, complete: impl FnOnce(&mut What)) {
        if let Some(waiting) = self.waiting.get(&id) {
            waiting.note.complete(complete);
        }
    }

    /// Who waits to hear how the daemon is.
    pub fn watch(&mut self, id: u64) -> Option<Watch> {
        self.watching.remove(&id)
    }
}
