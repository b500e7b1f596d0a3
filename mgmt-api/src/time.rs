//! Time as the state machines know it.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A point in time: how long ago the process (or the recording, or the simulation) started.
///
/// Unlike an `Instant` it can be written to a journal, printed and compared without reading a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Now(Duration);

impl Now {
    /// The start.
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
