//! Which of many failed attempts an operator hears of.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// After the first failure, the next line about the same one comes after this time, the one after that after twice as long, and
/// so on.
const INTERVAL_MIN: Duration = Duration::from_secs(60);

/// Lines never come less often.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// So many reasons are told apart for one target. Others are news whenever they come.
const REASONS_MAX: usize = 16;

/// Failed attempts, by their target: a new reason is told at once, a known one at growing intervals.
#[derive(Debug)]
pub struct Attempts<T>(BTreeMap<T, BTreeMap<String, Reason>>);

#[derive(Debug)]
struct Reason {
    since: Instant,
    next: Instant,
    interval: Duration,
}

impl<T> Default for Attempts<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Attempts<T> {
    /// An attempt has failed. If that is worth a line: for how long attempts have failed for this reason, zero if it is new.
    pub fn failed(&mut self, target: T, reason: &str, now: Instant) -> Option<Duration> {
        let reasons = self.0.entry(target).or_default();
        if let Some(known) = reasons.get_mut(reason) {
            if now < known.next {
                return None;
            }
            known.interval = known.interval.saturating_mul(2).min(INTERVAL_MAX);
            known.next = now + known.interval;
            return Some(now.saturating_duration_since(known.since));
        }
        if reasons.len() < REASONS_MAX {
            let known = Reason {
                since: now,
                next: now + INTERVAL_MIN,
                interval: INTERVAL_MIN,
            };
            reasons.insert(reason.to_owned(), known);
        }
        Some(Duration::ZERO)
    }

    /// It has succeeded, or there will be no further one.
    pub fn ended(&mut self, target: &T) {
        self.0.remove(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_reason_is_told_at_once_and_a_known_one_at_growing_intervals() {
        let mut attempts = Attempts::default();
        let start = Instant::now();
        let mut told = Vec::new();
        for second in 0..1000 {
            let reason = if second == 500 {
                "wrong certificate"
            } else {
                "refused"
            };
            if let Some(lasting) = attempts.failed("agent", reason, start + Duration::from_secs(second)) {
                told.push((second, reason, lasting.as_secs()));
            }
        }
        let refused = |second| (second, "refused", second);
        let expected = [
            refused(0),
            refused(60),
            refused(180),
            refused(420),
            (500, "wrong certificate", 0),
            refused(900),
        ];
        assert_eq!(told, expected);
        attempts.ended(&"agent");
        assert!(attempts.failed("agent", "refused", start).is_some());
    }

    #[test]
    fn reasons_take_only_so_much_memory() {
        let mut attempts = Attempts::default();
        for reason in 0..10 * REASONS_MAX {
            assert!(attempts.failed((), &reason.to_string(), Instant::now()).is_some());
        }
        assert_eq!(attempts.0[&()].len(), REASONS_MAX);
    }
}
