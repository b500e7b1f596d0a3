//! Summaries of measured times.

use std::time::Duration;

use serde::Serialize;

/// Order statistics of a measurement, in microseconds.
///
/// Percentiles are nearest-rank: each is a time that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) samples: usize,
    pub(crate) min_us: u64,
    pub(crate) median_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

impl Summary {
    /// Summarises at least one measured time.
    pub(crate) fn of(samples: &[Duration]) -> Self {
        let mut sorted: Vec<u64> = samples
            .iter()
            .map(|sample| u64::try_from(sample.as_micros()).unwrap_or(u64::MAX))
            .collect();
        sorted.sort_unstable();
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)];
        Self {
            samples: sorted.len(),
            min_us: rank(0),
            median_us: rank(50),
            p90_us: rank(90),
            p99_us: rank(99),
            max_us: rank(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let samples: Vec<Duration> = (1..=200).rev().map(Duration::from_micros).collect();
        let summary = Summary::of(&samples);
        assert_eq!(
            summary,
            Summary {
                samples: 200,
                min_us: 1,
                median_us: 100,
                p90_us: 180,
                p99_us: 198,
                max_us: 200
            }
        );
    }

    #[test]
    fn one_sample_is_every_percentile() {
        let summary = Summary::of(&[Duration::from_micros(7)]);
        assert_eq!(
            summary,
            Summary {
                samples: 1,
                min_us: 7,
                median_us: 7,
                p90_us: 7,
                p99_us: 7,
                max_us: 7
            }
        );
    }
}
