//! Whether a Supervisor that we have started still answers.

use std::time::Duration;

use mgmt_api::Now;

/// The timeout of a silent Supervisor is so many intervals: after each but the last it is probed.
const PROBE_INTERVALS: u32 = 4;

/// Watches the process of a Supervisor of ours, from its start to its end.
#[derive(Debug)]
pub(super) struct Watch {
    /// How long it may be silent; for ever if there is no limit.
    timeout: Option<Duration>,
    life: Option<Life>,
}

/// The life of a process, as far as it was heard of.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// When it last said something, or was started.
    heard: Now,
    /// When it was last probed, or what `heard` is.
    probed: Now,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// To ask it something that it has to answer.
    HealthProbe,
    /// To end it: it has said nothing for so long.
    End(Duration),
}

impl Watch {
    pub(super) const fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, life: None }
    }

    pub(super) const fn started(&mut self, now: Now) {
        self.life = Some(Life {
            heard: now,
            probed: now,
        });
    }

    pub(super) const fn ended(&mut self) {
        self.life = None;
    }

    /// The process has said something.
    pub(super) const fn heard(&mut self, now: Now) {
        if self.life.is_some() {
            self.started(now);
        }
    }

    /// When something is due. It can only be probed while it is connected.
    pub(super) fn deadline(&self, connected: bool) -> Option<Now> {
        let (timeout, life) = (self.timeout?, self.life?);
        let end = life.heard + timeout;
        let probe = life.probed + timeout / PROBE_INTERVALS;
        Some(if connected { end.min(probe) } else { end })
    }

    /// What is due now. A process that is to be ended is not watched any more.
    pub(super) fn due(&mut self, now: Now, connected: bool) -> Option<Due> {
        self.deadline(connected).filter(|deadline| *deadline <= now)?;
        let life = self.life.as_mut()?;
        let silence = now.since_start().saturating_sub(life.heard.since_start());
        if Some(silence) >= self.timeout {
            self.life = None;
            return Some(Due::End(silence));
        }
        life.probed = now;
        Some(Due::HealthProbe)
    }
}
