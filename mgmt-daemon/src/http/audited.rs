//! A line of the audit log for each request over HTTP, also those that get no further than to be refused.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use jiff::Timestamp;
use mgmt_api::Principal;
use tokio::time::Instant;

use super::{
    admit::Caller,
    answer::{MONITORED, Reason},
};
use crate::audit::{Audit, Line, Outcome, What};

/// What is learnt of a request on its way.
#[derive(Clone, Debug, Default)]
pub struct Note(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    who: Option<Principal>,
    what: What,
    /// Of what is refused to one address now and then a line is enough.
    is_left_out: bool,
}

impl Note {
    pub(super) fn is_of(&self, principal: &Principal) {
        self.lock().who = Some(principal.clone());
    }

    pub(super) fn leave_out(&self) {
        self.lock().is_left_out = true;
    }

    pub(super) fn complete(&self, complete: impl FnOnce(&mut What)) {
        complete(&mut self.lock().what);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a request answered, and writes a line about it. What monitors the daemon has none as long as it may.
pub(super) async fn audit(State(audit): State<Audit>, mut request: Request, next: Next) -> Response {
    let (time, since) = (Timestamp::now(), Instant::now());
    let path = request.uri().path();
    let is_monitor = MONITORED.contains(&path);
    let note = Note::default();
    note.complete(|what| what.request = format!("{} {path}", request.method()));
    let caller = request.extensions().get::<Arc<Caller>>().cloned();
    if let Some(user) = request.extensions().get() {
        note.is_of(user);
    }
    request.extensions_mut().insert(note.clone());
    let response = next.run(request).await;
    let reason = response.extensions().get::<Reason>();
    let outcome = outcome(response.status(), reason);
    let Noted {
        who,
        what,
        is_left_out,
    } = std::mem::take(&mut *note.lock());
    if !is_left_out && !(is_monitor && !matches!(outcome, Outcome::Refused(_))) {
        audit.record(Line {
            time,
            who,
            address: caller.map(|caller| caller.address),
            what,
            outcome,
            took: since.elapsed(),
        });
    }
    response
}

fn outcome(status: StatusCode, reason: Option<&Reason>) -> Outcome {
    let reason = || reason.map_or_else(|| status.to_string(), |Reason(reason)| reason.clone());
    match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::MISDIRECTED_REQUEST
        | StatusCode::TOO_MANY_REQUESTS => Outcome::Refused(reason()),
        status if status.is_client_error() || status.is_server_error() => Outcome::Failed(reason()),
        _ => Outcome::Done,
    }
}
