//! The control socket: a Unix socket that only the daemon's user and root may connect to.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use mgmt_api::{Principal, Transport};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::Problem;
use crate::files;

/// How many connections are served at a time.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the head of the next request may take, also on a connection that is idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request may take, its body and its answer included. What the core does for one takes less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait when no connection can be accepted, as where there are too many open files.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// Serves operators until it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

/// The routes of a daemon, with what every answer has in common.
pub fn routes(routes: Router) -> Router {
    routes
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
        })
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn in_time(request: Request, next: Next) -> Response {
    let Ok(answer) = timeout(REQUEST_TIMEOUT, next.run(request)).await else {
        let took = format!("it took more than {} s", REQUEST_TIMEOUT.as_secs());
        return Problem::new(StatusCode::REQUEST_TIMEOUT, took).into_response();
    };
    Problem::of(answer).await
}

impl ControlSocket {
    /// Listens at this path, if that is possible: nodes are kept, and peers are served, also where no operator can ask.
    pub fn open(path: &Path, routes: Router) -> Option<Self> {
        Self::listen(path, routes)
            .inspect_err(|error| {
                tracing::warn!(
                    "operators cannot ask this daemon: it cannot listen on its control socket {}: {error}; \
                     see the setting control_socket",
                    path.display()
                );
            })
            .ok()
    }

    /// Listens at this path, in place of what an earlier daemon has left there. The caller sees to it that no other daemon uses it.
    ///
    /// # Errors
    ///
    /// Those of the file system; and if the path is longer than a socket's may be, which is 107 bytes.
    fn listen(path: &Path, routes: Router) -> io::Result<Self> {
        let listener = UnixListener::from_std(files::listen(path)?)?;
        Ok(Self {
            path: path.to_owned(),
            task: tokio::spawn(accept(listener, routes)),
        })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connections end with this task.
async fn accept(listener: UnixListener, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, routes.clone(), place));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the control socket, and tries again");
                sleep(ACCEPT_RETRY).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: UnixStream, routes: Router, _place: OwnedSemaphorePermit) {
    let Ok(peer) = stream.peer_cred() else { return };
    let principal = Principal {
        transport: Transport::Socket {
            uid: peer.uid(),
            pid: peer.pid().unwrap_or_default(),
        },
        address: None,
        certificate: None,
    };
    let service = TowerToHyperService::new(routes.layer(Extension(principal)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection on the control socket has ended");
    }
}
