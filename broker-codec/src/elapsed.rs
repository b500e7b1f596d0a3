use std::{fmt, time::Duration};

/// How long something took, as operators are told: `0.25 s`, `8 s`, `1 min 35 s`, `2 h 5 min`, `3 d 4 h`.
#[derive(Clone, Copy, Debug)]
pub struct Elapsed(pub Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let seconds = (milliseconds + 500) / 1000;
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        let ((large, unit), (small, small_unit)) = match (days, hours, minutes) {
            (0, 0, 0) if (1..1000).contains(&milliseconds) => {
                let fraction = format!("{milliseconds:03}");
                return write!(f, "0.{} s", fraction.trim_end_matches('0'));
            }
            (0, 0, 0) => return write!(f, "{seconds} s"),
            (0, 0, _) => ((minutes, "min"), (seconds % 60, "s")),
            (0, _, _) => ((hours, "h"), (minutes % 60, "min")),
            _ => ((days, "d"), (hours % 24, "h")),
        };
        write!(f, "{large} {unit}")?;
        match small {
            0 => Ok(()),
            _ => write!(f, " {small} {small_unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_two_units_and_without_what_is_too_small_to_matter() {
        for (milliseconds, text) in [
            (0, "0 s"),
            (250, "0.25 s"),
            (7, "0.007 s"),
            (999, "0.999 s"),
            (8_000, "8 s"),
            (30_002, "30 s"),
            (59_999, "1 min"),
            (95_000, "1 min 35 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(Elapsed(Duration::from_millis(milliseconds)).to_string(), text);
        }
        assert_eq!(
            Elapsed(Duration::from_micros(30_002_054)).to_string(),
            "30 s",
            "what a silent peer was said to be"
        );
        assert!(Elapsed(Duration::MAX).to_string().contains(" d"));
    }
}
