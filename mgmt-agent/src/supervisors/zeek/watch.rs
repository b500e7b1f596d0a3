//! Whether a Supervisor that we have started still answers.

use std::time::Duration;

use mgmt_api::Now;

/// Into how many parts the patience with a silent Supervisor is divided: after each but the last it is asked something.
pub const QUESTIONS: u32 = 4;

/// Watches the process of a Supervisor of ours, from its start to its end.
#[derive(Debug)]
pub(super) struct Watch {
    /// How long it may be silent; for ever if there is no limit.
    patience: Option<Duration>,
    life: Option<Life>,
}

/// The life of a process, as far as it was heard of.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// When it last said something, or was started.
    heard: Now,
    /// When it was last asked, or what `heard` is.
    asked: Now,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// To ask it something.
    Question,
    /// To end it: it has said nothing for so long.
    End(Duration),
}

impl Watch {
    pub(super) const fn new(patience: Option<Duration>) -> Self {
        Self { patience, life: None }
    }

    pub(super) const fn started(&mut self, now: Now) {
        self.life = Some(Life {
            heard: now,
            asked: now,
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

    /// When something is due. It can only be asked while it is connected.
    pub(super) fn deadline(&self, connected: bool) -> Option<Now> {
        let (patience, life) = (self.patience?, self.life?);
        let end = life.heard + patience;
        let question = life.asked + patience / QUESTIONS;
        Some(if connected { end.min(question) } else { end })
    }

    /// What is due now. A process that is to be ended is not watched any more.
    pub(super) fn due(&mut self, now: Now, connected: bool) -> Option<Due> {
        self.deadline(connected).filter(|deadline| *deadline <= now)?;
        let life = self.life.as_mut()?;
        let silence = now.since_start().saturating_sub(life.heard.since_start());
        if Some(silence) >= self.patience {
            self.life = None;
            return Some(Due::End(silence));
        }
        life.asked = now;
        Some(Due::Question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(8);

    fn at(seconds: u64) -> Now {
        Now::from_start(Duration::from_secs(seconds))
    }

    /// What is due at which second, in so many.
    fn seen(watch: &mut Watch, from: u64, seconds: u64, connected: bool) -> Vec<(u64, Due)> {
        let mut seen = Vec::new();
        for second in from..from + seconds {
            while let Some(due) = watch.due(at(second), connected) {
                seen.push((second, due));
            }
            assert!(
                watch
                    .deadline(connected)
                    .is_none_or(|deadline| deadline > at(second))
            );
        }
        seen
    }

    #[test]
    fn a_silent_process_is_asked_three_times_and_then_ended() {
        let mut watch = Watch::new(Some(PATIENCE));
        assert_eq!(seen(&mut watch, 0, 20, true), [], "nothing was started");
        watch.started(at(20));
        let due = [
            (22, Due::Question),
            (24, Due::Question),
            (26, Due::Question),
            (28, Due::End(PATIENCE)),
        ];
        assert_eq!(seen(&mut watch, 20, 100, true), due);
        watch.heard(at(120));
        assert_eq!(seen(&mut watch, 120, 100, true), [], "it is being ended");
    }

    #[test]
    fn every_message_begins_the_time_anew() {
        let mut watch = Watch::new(Some(PATIENCE));
        watch.started(at(0));
        assert_eq!(seen(&mut watch, 0, 8, true).len(), 3);
        watch.heard(at(7));
        assert_eq!(seen(&mut watch, 8, 7, true).len(), 3);
        assert_eq!(seen(&mut watch, 15, 1, true), [(15, Due::End(PATIENCE))]);
    }

    #[test]
    fn one_that_cannot_be_asked_is_ended_as_well() {
        let mut watch = Watch::new(Some(PATIENCE));
        watch.started(at(0));
        assert_eq!(seen(&mut watch, 0, 10, false), [(8, Due::End(PATIENCE))]);
        watch.started(at(10));
        assert_eq!(seen(&mut watch, 10, 5, false), []);
        // Connected at last.
        assert_eq!(watch.due(at(15), true), Some(Due::Question));
        assert_eq!(watch.deadline(true), Some(at(17)));
    }

    #[test]
    fn without_a_limit_or_a_process_nothing_is_due() {
        let mut watch = Watch::new(None);
        watch.started(at(0));
        assert_eq!(seen(&mut watch, 0, 1000, true), []);
        let mut watch = Watch::new(Some(PATIENCE));
        watch.started(at(0));
        watch.ended();
        assert_eq!(seen(&mut watch, 0, 1000, true), []);
    }
}
