//! What is to become of one process, decided without clocks or signals.

use std::time::Duration;

/// When a process is started again, and how it is stopped. Plain data: the schedules that come of it are tested as lists of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Before the first new start.
    pub delay: Duration,
    /// The delay doubles after so many starts of a process that ends early.
    pub starts_per_delay: u32,
    /// It grows no further than this.
    pub delay_max: Duration,
    /// Whether the delay counts from the last start, else from the last end.
    pub since_start: bool,
    /// A process that did its work for so long did not end early.
    pub steady: Duration,
    /// What one that did not end early is forgiven: for each time of this length that it lived, one early end. `None`: all.
    pub forgives: Option<Duration>,
    /// After how many early ends it counts as failed, and how long after each further one it is tried again. `None`: never.
    pub fails: Option<(u32, Duration)>,
    /// How often a process is asked to end.
    pub terms: u32,
    pub round: Duration,
    /// Whether it is killed in the end, else asked for ever.
    pub kills: bool,
}

/// One process: it is told what happens, and says what to do.
///
/// ```text
///            Start                Spawned               Ended
///   Idle ------------> Starting ----------> Running ------------> Waiting
///    ^                  ^  |  NotSpawned       | Stop(then)        |  |
///    |                  |  +-------------------|---------------->--+  |
///    |                  |                      v                      |
///    +--(Then::Stay)----|----------------- Stopping                   |
///                       +--(Then::Start)-------+                      |
///                       +------------------- Tick --------------------+
/// ```
#[derive(Clone, Debug)]
pub struct Process {
    policy: Policy,
    state: State,
    /// When it was last started, since an epoch of the owner's.
    started: Duration,
    /// How often it was started since it last did its work for long.
    starts: u32,
    /// How often it has ended early, and was not forgiven.
    early_ends: u32,
    delay: Duration,
    /// Spreads the starts of processes that end together; 0 does not.
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Starting,
    Running,
    Stopping {
        signals: u32,
        next: Duration,
        then: Then,
    },
    Waiting {
        until: Duration,
        /// Whether it is for its own fault that it waits.
        counts: bool,
    },
}

/// What follows when a process has been stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Stay,
    Start,
    /// It is started as one that has ended by itself.
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Start,
    Stop(Then),
    /// It was started, or found running.
    Spawned,
    NotSpawned,
    /// It was not started, as something that it needs is not there: it is tried again after so long, as often as it takes.
    Lacks(Duration),
    /// It has ended, and did its work for so long.
    Ended {
        /// Without the time at its end in which it did nothing.
        lived: Duration,
    },
    /// The [`Process::deadline`] has come.
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start it, and tell [`Event::Spawned`] or [`Event::NotSpawned`] before anything else.
    Spawn,
    /// Ask it to end: SIGTERM.
    Terminate,
    /// Make it end: SIGKILL.
    Kill,
}

impl Process {
    /// One that does not run, and is not to.
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            state: State::Idle,
            started: Duration::ZERO,
            starts: 0,
            early_ends: 0,
            delay: policy.delay,
            seed: 0,
        }
    }

    /// Has it wait up to a quarter longer each time, by a seed of its own.
    #[must_use]
    pub const fn spread(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// As one that has never run, and is not to.
    pub const fn forget(&mut self) {
        *self = Self::new(self.policy).spread(self.seed);
    }

    /// Takes in what happens at a time since the owner's epoch.
    #[must_use]
    pub fn step(&mut self, now: Duration, event: Event) -> Option<Effect> {
        match (event, self.state) {
            (Event::Start, State::Idle | State::Waiting { .. }) => Some(self.start()),
            (Event::Spawned, _) => {
                self.started = now;
                self.state = State::Running;
                None
            }
            (Event::NotSpawned, _) => {
                self.started = now;
                self.early_ends += 1;
                self.wait(now);
                None
            }
            (Event::Lacks(delay), _) => {
                let (until, counts) = (now + delay, false);
                self.state = State::Waiting { until, counts };
                None
            }
            (Event::Stop(then), State::Running) => {
                let next = now + self.policy.round;
                self.state = State::Stopping {
                    signals: 1,
                    next,
                    then,
                };
                Some(Effect::Terminate)
            }
            (Event::Stop(new), State::Stopping { signals, next, .. }) => {
                self.state = State::Stopping {
                    signals,
                    next,
                    then: new,
                };
                None
            }
            (Event::Stop(then), State::Idle | State::Starting | State::Waiting { .. }) => {
                self.follow(now, then)
            }
            (Event::Ended { lived }, state) => {
                self.forgive(lived);
                if let State::Stopping { then, .. } = state {
                    return self.follow(now, then);
                }
                self.early_ends += u32::from(lived < self.policy.steady);
                self.follow(now, Then::Wait)
            }
            (Event::Tick, State::Waiting { until, counts }) if now >= until => {
                if counts {
                    self.starts += 1;
                    if self.starts.is_multiple_of(self.policy.starts_per_delay) {
                        self.delay = self.delay.saturating_mul(2).min(self.policy.delay_max);
                    }
                }
                Some(self.start())
            }
            (Event::Tick, State::Stopping { signals, next, then }) if now >= next => {
                let next = now + self.policy.round;
                let kill = self.policy.kills && signals >= self.policy.terms;
                self.state = State::Stopping {
                    signals: signals.saturating_add(1),
                    next,
                    then,
                };
                Some(if kill { Effect::Kill } else { Effect::Terminate })
            }
            (Event::Start | Event::Tick, _) => None,
        }
    }

    fn start(&mut self) -> Effect {
        self.state = State::Starting;
        Effect::Spawn
    }

    fn follow(&mut self, now: Duration, then: Then) -> Option<Effect> {
        match then {
            Then::Stay => self.state = State::Idle,
            Then::Start => return Some(self.start()),
            Then::Wait => self.wait(now),
        }
        None
    }

    fn wait(&mut self, now: Duration) {
        let from = if self.policy.since_start {
            self.started
        } else {
            now
        };
        let delay = match self.policy.fails {
            Some((_, retry)) if self.has_failed() => retry,
            _ => self.delay,
        };
        self.state = State::Waiting {
            until: from.saturating_add(self.spread_out(delay)),
            counts: true,
        };
    }

    /// What it has lived for makes up for early ends before.
    fn forgive(&mut self, lived: Duration) {
        let all = self.policy.forgives.is_none() && lived >= self.policy.steady;
        let forgiven = match self.policy.forgives {
            _ if all => u32::MAX,
            Some(each) if !each.is_zero() => {
                u32::try_from(lived.as_nanos() / each.as_nanos()).unwrap_or(u32::MAX)
            }
            _ => 0,
        };
        self.starts = self.starts.saturating_sub(forgiven);
        self.early_ends = self.early_ends.saturating_sub(forgiven);
        self.delay = self
            .delay
            .checked_div(2_u32.checked_pow(forgiven).unwrap_or(u32::MAX))
            .unwrap_or_default()
            .max(self.policy.delay);
    }

    fn spread_out(&self, delay: Duration) -> Duration {
        if self.seed == 0 {
            return delay;
        }
        // Any function would do that differs by process and by attempt.
        let mixed = (self.seed ^ u64::from(self.starts)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        delay + delay.mul_f64(f64::from(u16::try_from(mixed).unwrap_or_default()) / 4096.0)
    }

    /// Whether it has ended early so often that it counts as failed.
    pub fn has_failed(&self) -> bool {
        self.policy.fails.is_some_and(|(ends, _)| self.early_ends >= ends)
    }

    /// When [`Event::Tick`] is due.
    pub const fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Stopping { next, .. } => Some(next),
            State::Waiting { until, .. } => Some(until),
            State::Idle | State::Starting | State::Running => None,
        }
    }

    /// Whether it is being stopped.
    pub const fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. })
    }

    /// Whether it was told to start, and neither has nor has not.
    pub const fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting)
    }

    /// How long after its end, or its start, one is started again that did its work for so long.
    pub fn delay_after(&self, lived: Duration) -> Duration {
        if lived >= self.policy.steady {
            self.policy.delay
        } else {
            self.delay
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    const POLICY: Policy = Policy {
        delay: S,
        starts_per_delay: 3,
        delay_max: Duration::MAX,
        since_start: true,
        steady: Duration::from_secs(30),
        forgives: None,
        fails: None,
        terms: 13,
        round: Duration::from_secs(2),
        kills: true,
    };

    #[test]
    fn what_follows_a_stop_is_as_it_was_asked_for_last() {
        for (then, effect) in [
            (Then::Stay, None),
            (Then::Start, Some(Effect::Spawn)),
            (Then::Wait, None),
        ] {
            let mut process = Process::new(POLICY);
            let _ = process.step(Duration::ZERO, Event::Spawned);
            assert_eq!(process.step(S, Event::Stop(Then::Wait)), Some(Effect::Terminate));
            assert_eq!(process.step(S, Event::Stop(then)), None);
            assert!(process.is_stopping());
            assert_eq!(process.step(2 * S, Event::Ended { lived: S }), effect);
            assert_eq!(process.deadline().is_some(), then == Then::Wait);
        }
        let mut waiting = Process::new(POLICY);
        assert_eq!(waiting.step(S, Event::NotSpawned), None);
        assert_eq!(waiting.deadline(), Some(2 * S));
        assert_eq!(waiting.step(S, Event::Stop(Then::Stay)), None);
        assert_eq!(waiting.deadline(), None);
    }
}
