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
    /// How often a process is asked to end.
    pub terms: u32,
    pub round: Duration,
    /// Whether it is killed in the end, else asked for ever.
    pub kills: bool,
}

impl Policy {
    /// Nodes under Zeek's Supervisor (`Supervisor.cc`, `Stem::Revive` and `Stem::KillNode`).
    pub const ZEEK: Self = Self {
        delay: Duration::from_secs(1),
        starts_per_delay: 3,
        delay_max: Duration::MAX,
        since_start: true,
        steady: Duration::from_millis(30_001),
        terms: 13,
        round: Duration::from_secs(2),
        kills: true,
    };
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
    delay: Duration,
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
            delay: policy.delay,
        }
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
                self.wait(now);
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
                self.delay = self.delay_after(lived);
                if lived >= self.policy.steady {
                    self.starts = 0;
                }
                match state {
                    State::Stopping { then, .. } => self.follow(now, then),
                    _ => self.follow(now, Then::Wait),
                }
            }
            (Event::Tick, State::Waiting { until }) if now >= until => {
                self.starts += 1;
                if self.starts.is_multiple_of(self.policy.starts_per_delay) {
                    self.delay = self.delay.saturating_mul(2).min(self.policy.delay_max);
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
        self.state = State::Waiting {
            until: from.saturating_add(self.delay),
        };
    }

    /// When [`Event::Tick`] is due.
    pub const fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Stopping { next, .. } => Some(next),
            State::Waiting { until } => Some(until),
            State::Idle | State::Starting | State::Running => None,
        }
    }

    /// Whether it is being stopped.
    pub const fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. })
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

    /// When a process is started that ends each time after it has lived for so long.
    fn starts(policy: Policy, lives: &[Duration]) -> Vec<u64> {
        let mut process = Process::new(policy);
        let mut now = Duration::ZERO;
        let mut effect = process.step(now, Event::Start);
        let mut times = Vec::new();
        for lived in lives {
            assert_eq!(effect, Some(Effect::Spawn));
            times.push(now.as_secs());
            assert_eq!(process.step(now, Event::Spawned), None);
            assert_eq!(process.deadline(), None);
            now += *lived;
            assert_eq!(process.step(now, Event::Ended { lived: *lived }), None);
            now = now.max(process.deadline().unwrap());
            effect = process.step(now, Event::Tick);
        }
        times
    }

    #[test]
    fn zeek_starts_a_node_later_after_each_third_start_and_anew_after_a_good_life() {
        assert_eq!(
            starts(Policy::ZEEK, &[Duration::ZERO; 9]),
            [0, 1, 2, 3, 5, 7, 9, 13, 17]
        );
        let lives = [
            [Duration::ZERO; 4].as_slice(),
            &[31 * S, Duration::ZERO, Duration::ZERO],
        ]
        .concat();
        assert_eq!(starts(Policy::ZEEK, &lives), [0, 1, 2, 3, 5, 36, 37]);
        // Thirty seconds are not more than thirty seconds.
        let lives = [30 * S, 30 * S, 30 * S, Duration::ZERO, Duration::ZERO];
        assert_eq!(starts(Policy::ZEEK, &lives), [0, 30, 60, 90, 92]);
    }

    /// When a process is signalled that does not end, and how.
    fn signals(policy: Policy, count: usize) -> Vec<(u64, Effect)> {
        let mut process = Process::new(policy);
        let _ = process.step(Duration::ZERO, Event::Spawned);
        let mut signals = Vec::new();
        let mut effect = process.step(Duration::ZERO, Event::Stop(Then::Stay));
        let mut now = Duration::ZERO;
        while signals.len() < count {
            signals.push((now.as_secs(), effect.unwrap()));
            now = process.deadline().unwrap();
            effect = process.step(now, Event::Tick);
        }
        signals
    }

    #[test]
    fn zeek_asks_thirteen_times_and_then_kills() {
        let signals = signals(Policy::ZEEK, 15);
        let times: Vec<u64> = signals.iter().map(|(time, _)| *time).collect();
        assert_eq!(times, (0..15).map(|round| round * 2).collect::<Vec<_>>());
        assert!(
            signals[..13]
                .iter()
                .all(|(_, effect)| *effect == Effect::Terminate)
        );
        assert!(signals[13..].iter().all(|(_, effect)| *effect == Effect::Kill));
    }

    #[test]
    fn a_policy_that_does_not_kill_asks_for_ever() {
        let policy = Policy {
            kills: false,
            ..Policy::ZEEK
        };
        assert!(
            signals(policy, 50)
                .iter()
                .all(|(_, effect)| *effect == Effect::Terminate)
        );
    }

    #[test]
    fn what_follows_a_stop_is_as_it_was_asked_for_last() {
        for (then, effect) in [
            (Then::Stay, None),
            (Then::Start, Some(Effect::Spawn)),
            (Then::Wait, None),
        ] {
            let mut process = Process::new(Policy::ZEEK);
            let _ = process.step(Duration::ZERO, Event::Spawned);
            assert_eq!(process.step(S, Event::Stop(Then::Wait)), Some(Effect::Terminate));
            assert_eq!(process.step(S, Event::Stop(then)), None);
            assert!(process.is_stopping());
            assert_eq!(process.step(2 * S, Event::Ended { lived: S }), effect);
            assert_eq!(process.deadline().is_some(), then == Then::Wait);
        }
        let mut waiting = Process::new(Policy::ZEEK);
        assert_eq!(waiting.step(S, Event::NotSpawned), None);
        assert_eq!(waiting.deadline(), Some(2 * S));
        assert_eq!(waiting.step(S, Event::Stop(Then::Stay)), None);
        assert_eq!(waiting.deadline(), None);
    }
}
