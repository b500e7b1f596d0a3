//! The control socket: a Unix socket that the daemon's user and root may connect to, and a group if one is configured.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{PermissionsExt as _, lchown},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router, middleware};
use mgmt_api::{Principal, Transport};
use rustix::process::geteuid;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    audited,
    connection::{self, Lasting, complete},
};
use crate::{
    audit::Audit,
    config::{SocketConfig, SocketGroup},
    files,
};

/// How many connections are served at a time.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Where a group may use it.
const GROUP_MODE: u32 = 0o660;
/// How often it is looked whether the socket still has its path: it may have been removed, with its directory or alone.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long to wait when no connection can be accepted, as where there are too many open files.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// Serves operators until it is dropped.
#[derive(Debug)]
pub(super) struct ControlSocket {
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Listens at this path, if that is possible: nodes are kept, and peers are served, also where no operator can ask.
    pub(super) fn open(config: &SocketConfig, routes: Router, audit: &Audit) -> Option<Self> {
        let routes = complete(routes).layer(middleware::from_fn_with_state(audit.clone(), audited::audit));
        Self::listen(config, routes)
            .inspect_err(|error| {
                tracing::warn!(
                    "operators cannot ask this daemon: it cannot listen on its control socket {}: {error}; \
                     see the setting control_socket",
                    config.path.display()
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
    fn listen(config: &SocketConfig, routes: Router) -> io::Result<Self> {
        let listener = Listener::new(config.clone())?;
        Ok(Self {
            task: tokio::spawn(accept(listener, routes)),
        })
    }
}

/// A socket that listens. Its file goes with it.
struct Listener {
    config: SocketConfig,
    socket: UnixListener,
    /// Its file as it was made.
    file: Option<Metadata>,
}

impl Listener {
    fn new(config: SocketConfig) -> io::Result<Self> {
        let path = &config.path;
        // In the directory that the daemon works in, its path is as long as its name.
        let directory = std::env::current_dir();
        let short = directory
            .ok()
            .and_then(|directory| path.strip_prefix(directory).ok());
        let socket = UnixListener::from_std(files::listen(short.unwrap_or(path))?)?;
        if let Some(group) = &config.group {
            admit(path, group.gid);
        }
        Ok(Self {
            socket,
            file: fs::symlink_metadata(path).ok(),
            config,
        })
    }

    /// Whether the path is this socket's.
    fn is_there(&self) -> bool {
        let found = fs::symlink_metadata(&self.config.path);
        matches!((&self.file, found), (Some(made), Ok(found)) if files::is_same(made, &found))
    }

    /// Listens anew if the path is no longer this socket's.
    fn keep(&mut self, trouble: &mut Option<String>) {
        if self.is_there() {
            return;
        }
        let path = &self.config.path;
        match Self::new(self.config.clone()) {
            Ok(listener) => {
                tracing::warn!(
                    "the control socket {} was gone, and is there again",
                    path.display()
                );
                (*self, *trouble) = (listener, None);
            }
            Err(error) => {
                let reason = Some(error.to_string());
                if *trouble != reason {
                    tracing::warn!(
                        "the control socket {} is gone, and cannot be made again: {error}; operators cannot ask this daemon until it can",
                        path.display()
                    );
                    *trouble = reason;
                }
            }
        }
    }
}

/// Lets the users of a group connect.
fn admit(path: &Path, gid: u32) {
    let admitted = lchown(path, None, Some(gid))
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(GROUP_MODE)));
    if let Err(error) = admitted {
        tracing::warn!(
            "the group of control_socket_group cannot use the control socket {}: {error}; the daemon's user must be a member of it",
            path.display()
        );
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.config.path);
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connections end with this task.
async fn accept(mut listener: Listener, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble = None;
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.socket.accept().await))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            _ = look.tick() => {
                listener.keep(&mut trouble);
                continue;
            }
        };
        let Some((place, accepted)) = accepted else { return };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve(
                    stream,
                    routes.clone(),
                    listener.config.group.clone(),
                    place,
                ));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the control socket, and tries again");
                sleep(ACCEPT_RETRY).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: UnixStream, routes: Router, group: Option<SocketGroup>, _place: OwnedSemaphorePermit) {
    let Ok(peer) = stream.peer_cred() else { return };
    let is_own = [0, geteuid().as_raw()].contains(&peer.uid());
    let principal = Principal {
        transport: Transport::ControlSocket {
            uid: peer.uid(),
            pid: peer.pid().unwrap_or_default(),
        },
        address: None,
        certificate: None,
        grant: group.filter(|_| !is_own).map(|group| group.grant()),
    };
    let lasting = Lasting::default();
    let routes = routes
        .layer(Extension(principal))
        .layer(Extension(lasting.clone()));
    connection::serve(stream, routes, &lasting, None).await;
}
