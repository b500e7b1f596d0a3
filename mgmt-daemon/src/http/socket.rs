//! The control socket: a Unix socket that only the daemon's user and root may connect to.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router, extract::DefaultBodyLimit, http::StatusCode, middleware};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use mgmt_api::{Principal, Transport};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::answer::Problem;
use crate::files;

/// How many connections are served at a time.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a connection may last. The core answers within `request_timeout` and some seconds, 10 s by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait when no connection can be accepted, as where there are too many open files.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// Serves operators until it is dropped.
#[derive(Debug)]
pub(super) struct ControlSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

/// Routes, with what every answer has in common.
fn complete(routes: Router) -> Router {
    routes
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
        })
        .layer(middleware::map_response(Problem::of))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

impl ControlSocket {
    /// Listens at this path, if that is possible: nodes are kept, and peers are served, also where no operator can ask.
    pub(super) fn open(path: &Path, routes: Router) -> Option<Self> {
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
    /// Those of the file system; if another daemon listens there; and if the path is longer than a socket's may be, which is 107 bytes, and leads elsewhere than into the
    /// current directory.
    fn listen(path: &Path, routes: Router) -> io::Result<Self> {
        // In the directory that the daemon works in, its path is as long as its name.
        let directory = std::env::current_dir()?;
        let listener = files::listen(path.strip_prefix(directory).unwrap_or(path))?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Self {
            path: path.to_owned(),
            task: tokio::spawn(accept(listener, complete(routes))),
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
        transport: Transport::ControlSocket {
            uid: peer.uid(),
            pid: peer.pid().unwrap_or_default(),
        },
        address: None,
        certificate: None,
    };
    let service = TowerToHyperService::new(routes.layer(Extension(principal)));
    let served = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever it waits for: a request, or that its answer is read.
    let Ok(served) = timeout(CONNECTION_TIMEOUT, served).await else {
        return;
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection on the control socket has ended");
    }
}
