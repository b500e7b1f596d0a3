//! How far the clock of a sensor is from the controller's. Its agent's status says what time it is there; that was when it was under way for
//! half the time that question and answer took.

use std::time::Duration;

use mgmt_api::{Now, WallClock};

/// From which difference on there is a warning.
const WARNING: Duration = Duration::from_secs(2);

/// By how much another clock is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skew {
    /// In milliseconds; negative if it is behind.
    pub(super) ahead: i64,
    /// By how much that may be wrong, likewise.
    margin: i64,
}

impl Skew {
    /// It was asked and has answered then, by a clock with this time at the start; it said so many milliseconds since 1970.
    pub(super) fn measured(epoch: WallClock, (asked, answered): (Now, Now), told: u64) -> Self {
        let margin = (answered - asked) / 2;
        let here = (epoch + (asked + margin).since_start()).unix_millis();
        let ahead = i128::from(told) - i128::from(here);
        Self {
            ahead: i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX }),
            margin: i64::try_from(margin.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// What an operator is told, if it is certainly too much.
    pub(super) fn warning(self) -> Option<String> {
        let Self { ahead, margin } = self;
        let least = ahead.unsigned_abs().saturating_sub(margin.unsigned_abs());
        let is_too_much = Duration::from_millis(least) >= WARNING;
        let (tenths, side) = (
            (ahead.unsigned_abs() + 50) / 100,
            if ahead < 0 { "behind" } else { "ahead of" },
        );
        is_too_much.then(|| {
            format!(
                "its clock is {}.{} s {side} the controller's: times in logs mislead, and certificates may be refused; have both hosts keep time by NTP",
                tenths / 10,
                tenths % 10
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_round_trip_is_taken_off_and_a_warning_is_certain() {
        let epoch = WallClock::from_unix(Duration::from_secs(1_000));
        let at = |millis| Now::from_start(Duration::from_millis(millis));
        let skew = |asked, answered, told| Skew::measured(epoch, (at(asked), at(answered)), told);
        let even = skew(100, 300, 1_000_200);
        assert_eq!((even.ahead, even.warning()), (0, None));
        let ahead = skew(100, 300, 1_005_200);
        assert_eq!(ahead.ahead, 5_000);
        assert!(
            ahead
                .warning()
                .expect("a warning")
                .starts_with("its clock is 5.0 s ahead of the controller's: ")
        );
        let behind = skew(100, 300, 995_150);
        assert!(
            behind
                .warning()
                .expect("a warning")
                .starts_with("its clock is 5.1 s behind the controller's: ")
        );
        assert!(skew(0, 0, 1_002_000).warning().is_some());
        assert_eq!(skew(0, 0, 1_001_999).warning(), None);
        assert_eq!(
            skew(0, 6_000, 1_005_000).warning(),
            None,
            "the answer may have taken all of the time"
        );
        assert_eq!(skew(0, 0, u64::MAX).ahead, i64::MAX);
    }
}
