//! The control socket: a Unix socket that the daemon's user and root may connect to, and a group if one is configured.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{PermissionsExt as _, lchown},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Router, http::StatusCode, middleware};
use counters::Counters;
use mgmt_api::{Principal, Transport};
use rustix::process::geteuid;
use tokio::{
    net::{UnixListener, UnixStream, unix::UCred},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    answer::Problem,
    audited,
    connection::{self, HEAD_TIMEOUT, Lasting, complete},
    shares::{Share, Shares},
    under_way::{self, UnderWay},
};
use crate::{
    Counted,
    attempts::Attempts,
    audit::Audit,
    config::{SocketConfig, SocketGroup},
    files,
};

/// How many connections are served at a time.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// How many of them may be of the group's users: the daemon's user and root have the others for themselves.
const CONNECTIONS_OF_GROUP_MAX: usize = CONNECTIONS_MAX / 2;
/// How many may be of one of these.
const CONNECTIONS_OF_MEMBER_MAX: usize = CONNECTIONS_OF_GROUP_MAX / 2;
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
    directory: PathBuf,
    /// Whether that directory was gone at the last look.
    is_lost: Arc<AtomicBool>,
}

impl ControlSocket {
    /// Listens at this path, if that is possible: nodes are kept, and peers are served, also where no operator can ask.
    pub(super) fn open(
        config: &SocketConfig,
        routes: Router,
        under_way: UnderWay,
        audit: &Audit,
        counters: &Counters<Counted>,
    ) -> Option<Self> {
        let routes = complete(routes)
            .layer(middleware::from_fn_with_state(under_way, under_way::answer))
            .layer(middleware::from_fn_with_state(audit.clone(), audited::audit));
        Self::listen(config, routes, counters.clone())
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
    fn listen(config: &SocketConfig, routes: Router, counters: Counters<Counted>) -> io::Result<Self> {
        let listener = Listener::new(config.clone())?;
        let (directory, is_lost) = (std::env::current_dir()?, Arc::default());
        let look = (directory.clone(), Arc::clone(&is_lost));
        Ok(Self {
            task: tokio::spawn(accept(listener, routes, OfGroup::new(counters), look)),
            directory,
            is_lost,
        })
    }

    /// The directory that the daemon works in, if that was gone at the last look.
    pub(super) fn lost_directory(&self) -> Option<&Path> {
        self.is_lost.load(Ordering::Relaxed).then_some(&self.directory)
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

/// Whether this path is that of the directory that the daemon works in.
fn is_entered(directory: &Path) -> bool {
    let [named, entered] = [directory, Path::new(".")].map(fs::metadata);
    matches!((named, entered), (Ok(named), Ok(entered)) if files::is_same(&named, &entered))
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
async fn accept(
    mut listener: Listener,
    routes: Router,
    mut of_group: OfGroup,
    (directory, is_lost): (PathBuf, Arc<AtomicBool>),
) {
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
                is_lost.store(!is_entered(&directory), Ordering::Relaxed);
                continue;
            }
        };
        let Some((place, accepted)) = accepted else { return };
        match accepted {
            Ok((stream, _)) => {
                let Ok(peer) = stream.peer_cred() else { continue };
                let principal = principal(&peer, listener.config.group.as_ref());
                let Ok(share) = of_group.take(&principal, peer.uid(), &stream) else {
                    continue;
                };
                let routes = routes.clone();
                connections.spawn(async move {
                    let _places = (place, share);
                    serve(stream, routes, principal).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the control socket, and tries again");
                sleep(ACCEPT_RETRY).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// The connections of the group's users.
struct OfGroup {
    places: Shares<u32>,
    refused: Attempts<u32>,
    counters: Counters<Counted>,
}

impl OfGroup {
    fn new(counters: Counters<Counted>) -> Self {
        Self {
            places: Shares::new(CONNECTIONS_OF_GROUP_MAX, CONNECTIONS_OF_MEMBER_MAX),
            refused: Attempts::default(),
            counters,
        }
    }

    /// A place of the group's, if the connection is of a user of it. Where none is left for this user, the connection is told so.
    fn take(
        &mut self,
        principal: &Principal,
        uid: u32,
        stream: &UnixStream,
    ) -> Result<Option<Share<u32>>, Refused> {
        if principal.is_own_user() {
            return Ok(None);
        }
        self.places.take(uid, 1).map(Some).ok_or_else(|| {
            self.counters.increment(Counted::HttpConnectionsRefused);
            let reason = "too many connections of the group's users are open";
            if self.refused.failed(uid, reason, Instant::now()).is_some() {
                tracing::warn!(uid, "refused a connection to the control socket: {reason}");
            }
            let detail = format!(
                "too many connections are open, of which one user of the group may have {CONNECTIONS_OF_MEMBER_MAX} and all together {CONNECTIONS_OF_GROUP_MAX}: try again later"
            );
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
            // It has room in a new connection, and is not waited for.
            let _ = rustix::io::write(stream, &problem.to_http());
            Refused
        })
    }
}

/// A connection has no place.
struct Refused;

fn principal(peer: &UCred, group: Option<&SocketGroup>) -> Principal {
    let is_own = [0, geteuid().as_raw()].contains(&peer.uid());
    Principal {
        transport: Transport::ControlSocket {
            uid: peer.uid(),
            pid: peer.pid().unwrap_or_default(),
        },
        address: None,
        certificate: None,
        grant: group.filter(|_| !is_own).map(SocketGroup::grant),
    }
}

async fn serve(stream: UnixStream, routes: Router, principal: Principal) {
    let head = (!principal.is_own_user()).then_some(HEAD_TIMEOUT);
    let lasting = Lasting::default();
    let routes = routes
        .layer(Extension(principal))
        .layer(Extension(lasting.clone()));
    connection::serve(stream, routes, &lasting, head).await;
}
