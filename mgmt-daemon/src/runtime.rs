//! What the task that owns a core needs of the system.

pub use broker_endpoint::at;
use broker_endpoint::{
    EndpointError,
    tls::{TlsConfig, TlsConfigError},
};
use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use crate::{files, process::with_causes};
use mgmt_api::Now;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

/// A daemon cannot start, or cannot go on, because of its host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    #[error("cannot change to the working directory {path}")]
    WorkingDir { path: PathBuf, source: io::Error },
    #[error("cannot write the ready file {path}")]
    ReadyFile { path: PathBuf, source: io::Error },
    #[error("cannot write the journal {path}")]
    Journal { path: PathBuf, source: io::Error },
    #[error("cannot {operation}")]
    System {
        operation: &'static str,
        source: io::Error,
    },
    #[error(
        "cannot serve {peers} over Broker: {}; --listen needs an address, an interface or a host name of this machine",
        with_causes(.why)
    )]
    Listener {
        peers: &'static str,
        why: Box<EndpointError>,
    },
    #[error(
        "cannot serve {peers} over Broker: {}; end the process that has the port, or choose another by --listen",
        with_causes(.why)
    )]
    Broker {
        peers: &'static str,
        why: Box<EndpointError>,
    },
    #[error("cannot serve {peers} over Broker with the Broker::ssl_ settings: {}", with_causes(.why))]
    BrokerTls {
        peers: &'static str,
        why: Box<EndpointError>,
    },
    #[error("{0} has stopped, which is a fault in this program")]
    Stopped(&'static str),
    #[error("ended by a second signal before everything was written")]
    Interrupted,
}

/// [`HostError::System`]
pub const fn system(operation: &'static str, source: io::Error) -> HostError {
    HostError::System { operation, source }
}

/// Runs a daemon to its end, on one thread: all that is slow has threads of its own, and one thread for the rest costs
/// least, in memory and in latency.
pub fn block_on<E: From<HostError>>(daemon: impl Future<Output = Result<(), E>>) -> Result<(), E> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| system("start the asynchronous runtime", source))?;
    let outcome = runtime.block_on(daemon);
    // After a second signal, nothing that still blocks is waited for.
    runtime.shutdown_background();
    outcome
}

/// Creates and enters the working directory. Zeek's processes work in their own; so do core dumps.
pub fn enter(path: &Path) -> Result<(), HostError> {
    files::create_dir_all(path)
        .and_then(|()| std::env::set_current_dir(path))
        .map_err(|source| HostError::WorkingDir {
            path: path.to_path_buf(),
            source,
        })
}

/// Warns of certificates of ours that are not valid today: peers refuse them, and say so in their own logs only.
pub fn warn_of_dates(config: &TlsConfig) {
    if let Err(error @ TlsConfigError::NotValidToday { .. }) = config.check_dates() {
        tracing::warn!(
            "{error}: peers are going to refuse it, or to be refused; renew it, and check the clock"
        );
    }
}

/// Random bytes of the system.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], HostError> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(system("draw random numbers", io::Error::other(error))),
    }
}

/// When that is, for a process that started then; none if the system's clock does not go so far.
pub fn instant(started: Instant, at: Now) -> Option<Instant> {
    started.checked_add(at.since_start())
}

/// So long after a SIGTERM another one is the same: `timeout` and others send it to the process and to its process group. Who is
/// impatient needs longer, or a SIGINT.
const SAME_TERMINATION: Duration = Duration::from_secs(1);

/// Signals that have no meaning here, and would end the process: an operator or a script that takes us for another program must not
/// take a sensor's agent away. Zeek goes on, too. They are taken over rather than ignored, as children inherit what is ignored.
const WITHOUT_MEANING: [fn() -> SignalKind; 3] = [
    SignalKind::user_defined1,
    SignalKind::user_defined2,
    SignalKind::alarm,
];

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end; the signal's name.
    End(&'static str),
    /// To open logs anew: SIGHUP.
    Reopen,
}

/// The signals that mean something.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// When the last SIGTERM that counted came.
    terminated: Option<Instant>,
}

impl Signals {
    /// Takes them over from the system.
    pub fn new() -> Result<Self, HostError> {
        let take = |kind| signal(kind).map_err(|source| system("handle signals", source));
        for kind in WITHOUT_MEANING {
            // It stays taken over when this is dropped.
            let _ = take(kind())?;
        }
        Ok(Self {
            hangup: take(SignalKind::hangup())?,
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            terminated: None,
        })
    }

    /// The name of the next signal that asks for the end; others are passed over. May be cancelled.
    pub async fn end(&mut self) -> &'static str {
        loop {
            if let Asked::End(name) = self.recv().await {
                return name;
            }
        }
    }

    /// What the next signal asks for. May be cancelled.
    pub async fn recv(&mut self) -> Asked {
        loop {
            let terminate = pin!(self.terminate.recv());
            let interrupt = pin!(self.interrupt.recv());
            let hangup = pin!(self.hangup.recv());
            tokio::select! {
                _ = terminate => {
                    let now = Instant::now();
                    if self.terminated.is_none_or(|before| now - before > SAME_TERMINATION) {
                        self.terminated = Some(now);
                        return Asked::End("SIGTERM");
                    }
                }
                _ = interrupt => return Asked::End("SIGINT"),
                _ = hangup => return Asked::Reopen,
            }
        }
    }
}
