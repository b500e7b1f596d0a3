use std::time::Duration;

use tokio::time::Instant;

/// When something may happen: so many times at once, and then at intervals.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    burst: u32,
    /// When as many as possible could happen again.
    rested: Instant,
}

impl Pace {
    pub(super) const fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            burst,
            rested: now,
        }
    }

    /// Not before this time; in the past if at once.
    pub(super) fn next(&self) -> Instant {
        // Before the clock's beginning is in the past, too.
        self.rested
            .checked_sub(self.interval * (self.burst - 1))
            .unwrap_or(self.rested)
    }

    /// Takes note that it happened.
    pub(super) fn note(&mut self, now: Instant) {
        self.rested = self.rested.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_comes_at_once_and_more_at_intervals() {
        const BURST: u32 = 5;
        const INTERVAL: Duration = Duration::from_millis(10);
        let start = Instant::now() + Duration::from_secs(1);
        let mut pace = Pace::new(BURST, INTERVAL, start);
        for _ in 0..BURST {
            assert!(pace.next() <= start);
            pace.note(start);
        }
        for number in 1..=3 {
            assert_eq!(pace.next(), start + INTERVAL * number);
            pace.note(start);
        }
        // After a rest, another burst.
        let later = start + 10 * INTERVAL * BURST;
        for _ in 0..BURST {
            assert!(pace.next() <= later);
            pace.note(later);
        }
        assert!(pace.next() > later);
    }
}
