//! What systemd is told of the daemon as its service (`sd_notify(3)`): when it is ready, reloads or ends, and that it lives.
//!
//! Where systemd has not started it, nothing is told.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

/// When the service manager wants to hear that the daemon lives.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// How often it wants to hear that the loop goes on: twice as often as it waits for that (`WatchdogSec=`).
    interval: Option<Duration>,
    last: Instant,
}

impl Watchdog {
    pub(crate) fn new() -> Self {
        Self {
            interval: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            last: Instant::now(),
        }
    }

    /// When it is to hear again that the loop goes on.
    pub(crate) fn due(&self) -> Option<Instant> {
        Some(self.last + self.interval?)
    }

    pub(crate) fn alive(&mut self) {
        self.last = Instant::now();
        tell(&[NotifyState::Watchdog]);
    }
}

pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The daemon works as well without being heard.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd does not hear how the daemon is");
    }
}
