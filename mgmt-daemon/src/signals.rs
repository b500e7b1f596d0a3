//! The signals that mean something to a daemon.

use std::{pin::pin, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use crate::error::{HostError, system};

/// So long after a SIGTERM another one is the same: `timeout` and others send it to the process and to its process group. An
/// operator who is impatient sends the second one later, or a SIGINT.
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
pub(crate) enum Asked {
    /// To end; the signal's name.
    End(&'static str),
    /// To read what can be changed while the daemon runs, and to open logs anew: SIGHUP.
    Reload,
}

/// The signals that mean something.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// When the last SIGTERM that counted came.
    terminated: Option<Instant>,
}

impl Signals {
    /// Takes them over from the system.
    pub(crate) fn new() -> Result<Self, HostError> {
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
    pub(crate) async fn end(&mut self) -> &'static str {
        loop {
            if let Asked::End(name) = self.recv().await {
                return name;
            }
        }
    }

    /// What the next signal asks for. May be cancelled.
    pub(crate) async fn recv(&mut self) -> Asked {
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
                _ = hangup => return Asked::Reload,
            }
        }
    }
}
