//! How a request gets to the daemon's loop, and the answer back.

use std::{collections::BTreeMap, path::Path};

use axum::{
    Extension, Json, Router,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    routing::{get, post},
};
use mgmt_api::{
    Principal,
    operator::{About, Reloaded},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    answer::{Answer, Outcome, Problem},
    socket::ControlSocket,
};
use crate::reload::AskReload;

/// How many requests may wait for the loop.
const REQUESTS_MAX: usize = 64;

/// The way to the loop, which a daemon's routes have as their state.
pub type Door<Q> = mpsc::Sender<Request<Q>>;

/// A request on its way.
#[derive(Debug)]
pub struct Request<Q> {
    principal: Principal,
    asked: Q,
    answer: oneshot::Sender<Outcome>,
}

/// Whose request it is, for a route.
#[derive(Debug)]
pub struct Operator<Q> {
    principal: Principal,
    door: Door<Q>,
}

/// What an operator asks, for the core.
#[derive(Debug)]
pub struct Asked<Q> {
    /// What the answer is given under.
    pub id: u64,
    pub principal: Principal,
    pub request: Q,
}

/// The loop's end: what operators ask, and who waits for an answer. They are served until it is dropped.
#[derive(Debug)]
pub struct Operators<Q> {
    requests: mpsc::Receiver<Request<Q>>,
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
    last: u64,
    /// None if it cannot be had.
    _socket: Option<ControlSocket>,
}

impl<Q: Send + 'static> FromRequestParts<Door<Q>> for Operator<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door<Q>) -> Result<Self, Problem> {
        let principal = Extension::from_request_parts(parts, door).await;
        let Extension(principal) =
            principal.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let door = door.clone();
        Ok(Self { principal, door })
    }
}

/// Has the daemon reload.
async fn asks_reload(reload: &AskReload) -> Result<Json<Reloaded>, Problem> {
    let (answer, answered) = oneshot::channel();
    reload.send(answer).await.map_err(|_| Problem::ending())?;
    let outcome = answered.await.map_err(|_| Problem::ending())?;
    outcome.map(Json).map_err(|reason| {
        let reason = format!("nothing was reloaded, what was in use stays: {reason}");
        Problem::new(StatusCode::CONFLICT, reason)
    })
}

impl<Q> Operator<Q> {
    /// Has the core answer: it does, in its time.
    ///
    /// # Errors
    ///
    /// If the core refuses, or the daemon is ending.
    pub async fn asks(self, request: Q) -> Result<Answer, Problem> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            principal: self.principal,
            asked: request,
            answer,
        };
        self.door.send(request).await.map_err(|_| Problem::ending())?;
        let outcome = answered.await.map_err(|_| Problem::ending())?;
        Ok(Answer(outcome?))
    }
}

impl<Q: Send + 'static> Operators<Q> {
    /// Serves operators at this path: by these routes, `GET /v1`, which says what the daemon is, and
    /// `POST /v1/reload`.
    pub fn serve(path: &Path, about: About, reload: AskReload, routes: Router<Door<Q>>) -> Self {
        let (door, requests) = mpsc::channel(REQUESTS_MAX);
        let routes = routes
            .route("/v1", get(async || Json(about)))
            .route("/v1/reload", post(async move || asks_reload(&reload).await))
            .with_state(door);
        Self {
            requests,
            waiting: BTreeMap::new(),
            last: 0,
            _socket: ControlSocket::open(path, routes),
        }
    }

    /// Waits for the next request. May be cancelled without losing one.
    pub async fn next(&mut self) -> Asked<Q> {
        loop {
            let Some(next) = self.requests.recv().await else {
                return std::future::pending().await;
            };
            // The operator may be gone.
            if next.answer.is_closed() {
                continue;
            }
            self.last += 1;
            self.waiting.insert(self.last, next.answer);
            return Asked {
                id: self.last,
                principal: next.principal,
                request: next.asked,
            };
        }
    }

    /// Gives the answer to an operator, who may be gone.
    pub fn answer(&mut self, id: u64, outcome: Outcome) {
        if let Some(waiting) = self.waiting.remove(&id) {
            let _ = waiting.send(outcome);
        }
    }
}
