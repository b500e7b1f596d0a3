//! Who asks for something over TCP that is for those who have no token and no certificate yet.

use std::{net::SocketAddr, sync::Arc};

use axum::http::{
    StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{admit::Entrance, answer::Problem, note::Note};
use crate::Counted;

/// A sender that has shown a secret, or something in the body of its request, which the route looks at.
#[derive(Clone, Debug)]
pub struct Stranger {
    entrance: Arc<Entrance>,
    address: SocketAddr,
    secret: Option<String>,
    note: Note,
}

impl Stranger {
    pub(super) fn new(
        entrance: Arc<Entrance>,
        address: SocketAddr,
        secret: Option<String>,
        note: Note,
    ) -> Self {
        Self {
            entrance,
            address,
            secret,
            note,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has shown as `Authorization: Bearer`.
    pub fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }

    /// It is known now what the request is about, for the audit log.
    pub fn is_about(&self, targets: Vec<String>) {
        self.note.complete(|what| what.targets = targets);
    }

    /// It may ask, and has asked too often: it may again after this time, in seconds.
    pub fn asks_too_often(&self, detail: impl Into<String>, seconds: &'static str) -> Problem {
        self.entrance.refused(
            Counted::HttpSlowedDown,
            self.address.ip(),
            "a request for a certificate, of an instance that has got too many",
        );
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).with(RETRY_AFTER, seconds)
    }

    /// It is none that may ask: after some of these its address is slowed down, as after wrong tokens.
    pub fn was_wrong(&self, detail: impl Into<String>) -> Problem {
        let address = self.address.ip();
        self.entrance.guard.was_wrong(address);
        self.entrance.refused(
            Counted::HttpUnauthenticated,
            address,
            "a request for a certificate, without what it takes",
        );
        Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, "Bearer")
    }
}
