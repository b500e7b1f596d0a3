use std::time::Duration;

/// When a node that ended by itself is started again (`Stem::Revive`).
///
/// Zeek waits for a second since the last start, twice as long after each third attempt, for ever and without an upper
/// bound; a node that lived for 30 seconds begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revival {
    attempts: u32,
    delay: Duration,
}

const DELAY: Duration = Duration::from_secs(1);
const ATTEMPTS_PER_DELAY: u32 = 3;
const GOOD_LIFE: Duration = Duration::from_secs(30);

impl Revival {
    pub(super) const fn new() -> Self {
        Self {
            attempts: 0,
            delay: DELAY,
        }
    }

    /// How long after its last start the node may be started again.
    pub(super) const fn delay(&self) -> Duration {
        self.delay
    }

    /// The node is started again.
    pub(super) const fn revived(&mut self) {
        self.attempts += 1;
        if self.attempts.is_multiple_of(ATTEMPTS_PER_DELAY) {
            self.delay = self.delay.saturating_mul(2);
        }
    }

    /// The node has ended after this time.
    pub(super) fn lived(&mut self, life: Duration) {
        if life > GOOD_LIFE {
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_at_each_third_attempt_and_start_anew_after_a_good_life() {
        let mut revival = Revival::new();
        let mut delays = Vec::new();
        for _ in 0..8 {
            delays.push(revival.delay().as_secs());
            revival.revived();
            revival.lived(Duration::from_secs(29));
        }
        assert_eq!(delays, [1, 1, 1, 2, 2, 2, 4, 4]);
        revival.lived(Duration::from_secs(31));
        assert_eq!(revival, Revival::new());
    }
}
