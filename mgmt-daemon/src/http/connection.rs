//! One connection, of either kind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::DefaultBodyLimit, http::StatusCode, middleware};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::answer::Problem;

/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The longest body of a request, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the head of a request may take where it is limited, also the next one of a connection.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests may begin on a connection.
const KEPT_ALIVE: Duration = Duration::from_secs(30);
/// How long the last one may take then. The core answers within `request_timeout` and some seconds, 10 s by default.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// An answer that goes on, as a stream of events does, says so again and again: a connection without lasts no longer than
/// [`KEPT_ALIVE`] and [`LAST_ANSWER`].
#[derive(Clone, Debug, Default)]
pub struct Lasting(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Since this was last looked at.
    goes_on: AtomicBool,
    has_begun: AtomicBool,
}

impl Lasting {
    /// The answer goes on: its reader has taken what was sent before.
    pub fn goes_on(&self) {
        self.0.goes_on.store(true, Ordering::Relaxed);
        self.0.has_begun.store(true, Ordering::Relaxed);
    }

    /// Whether there is an answer that goes on.
    pub(super) fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Relaxed)
    }

    fn has_gone_on(&self) -> bool {
        self.0.goes_on.swap(false, Ordering::Relaxed)
    }
}

/// Routes, with what every answer has in common.
pub(super) fn complete(routes: Router) -> Router {
    routes
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
        })
        .layer(middleware::map_response(Problem::of))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Serves requests one after the other, until the connection ends or has lasted too long. A head has to come within some time, if one is given.
pub(super) async fn serve<S>(stream: S, routes: Router, lasting: &Lasting, head: Option<Duration>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    if head.is_some() {
        builder.timer(TokioTimer::new()).header_read_timeout(head);
    }
    let service = TowerToHyperService::new(routes);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let (mut time, mut is_last) = (KEPT_ALIVE, false);
    // Whatever it waits for: a request, or that its answer is read.
    let served = loop {
        match timeout(time, &mut served).await {
            Ok(served) => break served,
            Err(_) if !is_last => {
                // The answer to the request that is under way says so.
                served.as_mut().graceful_shutdown();
                (time, is_last) = (LAST_ANSWER, true);
            }
            Err(_) if lasting.has_gone_on() => {}
            Err(_) => return,
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of an operator has ended");
    }
}
