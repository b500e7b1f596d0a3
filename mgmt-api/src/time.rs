//! Time as the state machines know it.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A point in time: how long ago the process (or the recording, or the simulation) started.
///
/// Unlike an `Instant` it can be written to a journal, printed and compared without reading a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Now(Duration);

impl Now {
    pub const START: Self = Self(Duration::ZERO);

    /// The point this long after the start.
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long ago the start was.
    pub const fn since_start(self) -> Duration {
        self.0
    }
}

/// Saturates: a deadline beyond the end of time never comes.
impl Add<Duration> for Now {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Zero if the other point is later.
impl Sub for Now {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// In seconds: `12.5s`.
impl fmt::Display for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64())
    }
}

/// A time of day, in UTC as in the logs: what operators are told, to the second. A state machine gets that of its start and adds to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallClock {
    since_1970: Duration,
}

impl WallClock {
    /// The time this long after the beginning of 1970.
    pub const fn from_unix(since_1970: Duration) -> Self {
        Self { since_1970 }
    }

    /// In seconds since the beginning of 1970.
    pub const fn unix_seconds(self) -> u64 {
        self.since_1970.as_secs()
    }

    /// In milliseconds since the beginning of 1970.
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.since_1970.as_millis()).unwrap_or(u64::MAX)
    }

    /// How far it is from another time.
    pub const fn abs_diff(self, other: Self) -> Duration {
        self.since_1970.abs_diff(other.since_1970)
    }

    /// How an operator is told of it at another time: without the date if it is of the same day.
    pub fn told_at(self, now: Self) -> String {
        let text = self.to_string();
        let same_day = self.since_1970.as_secs() / DAY == now.since_1970.as_secs() / DAY;
        match text.split_once(' ') {
            Some((_, time)) if same_day => time.to_owned(),
            _ => text,
        }
    }
}

impl WallClock {
    /// As RFC 3339 has it: `2026-11-28T14:48:15Z`.
    pub fn to_rfc3339(self) -> String {
        self.to_string().replacen(' ', "T", 1) + "Z"
    }
}

const DAY: u64 = 24 * 60 * 60;

impl Add<Duration> for WallClock {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_unix(self.since_1970.saturating_add(duration))
    }
}

/// Zero if the time is less than this after the beginning of 1970.
impl Sub<Duration> for WallClock {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self::from_unix(self.since_1970.saturating_sub(duration))
    }
}

/// Date and time: `2026-11-28 14:48:15`.
impl fmt::Display for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.since_1970.as_secs()).unwrap_or(i64::MAX);
        let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        time.strftime("%Y-%m-%d %H:%M:%S").fmt(f)
    }
}

/// How a daemon's host, and the daemon itself, are besides what its core decides. A core is told when that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// The time of day: it was set since the core was last told.
    pub wall_clock: WallClock,
    /// What an operator should mend, although all may run as deployed.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_written_with_its_date_unless_it_is_of_the_day() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_795_877_295, "2026-11-28 14:48:15"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            let time = WallClock::from_unix(Duration::from_secs(seconds));
            assert_eq!(time.to_string(), text);
            assert_eq!(time.to_rfc3339().replace(['T', 'Z'], " "), format!("{text} "));
        }
        let at = WallClock::from_unix(Duration::from_millis(1_795_877_295_600));
        let later = at - Duration::from_millis(700) + Duration::from_millis(1_200);
        assert_eq!(later.to_string(), "2026-11-28 14:48:16");
        assert_eq!(at.told_at(at + Duration::from_secs(3600)), "14:48:15");
        assert_eq!(
            at.told_at(at + Duration::from_secs(86_400)),
            "2026-11-28 14:48:15"
        );
        assert!(!WallClock::from_unix(Duration::MAX).to_string().is_empty());
    }
}
