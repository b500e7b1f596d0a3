//! When Zeek's Supervisor starts a node again, and how it ends one.

use std::time::Duration;

use supervise::process::Policy;

/// Nodes under Zeek's Supervisor (`Supervisor.cc`, `Stem::Revive` and `Stem::KillNode`).
pub(super) const ZEEK: Policy = Policy {
    delay: Duration::from_secs(1),
    starts_per_delay: 3,
    delay_max: Duration::MAX,
    since_start: true,
    steady: Duration::from_millis(30_001),
    forgives: None,
    fails: None,
    terms: 13,
    round: Duration::from_secs(2),
    kills: true,
};

#[cfg(test)]
mod tests {
    use supervise::process::{Effect, Event, Process, Then};

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
        assert_eq!(starts(ZEEK, &[Duration::ZERO; 9]), [0, 1, 2, 3, 5, 7, 9, 13, 17]);
        let lives = [
            [Duration::ZERO; 4].as_slice(),
            &[31 * S, Duration::ZERO, Duration::ZERO],
        ]
        .concat();
        assert_eq!(starts(ZEEK, &lives), [0, 1, 2, 3, 5, 36, 37]);
        // Thirty seconds are not more than thirty seconds.
        let lives = [30 * S, 30 * S, 30 * S, Duration::ZERO, Duration::ZERO];
        assert_eq!(starts(ZEEK, &lives), [0, 30, 60, 90, 92]);
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
        let signals = signals(ZEEK, 15);
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
        let policy = Policy { kills: false, ..ZEEK };
        assert!(
            signals(policy, 50)
                .iter()
                .all(|(_, effect)| *effect == Effect::Terminate)
        );
    }
}
