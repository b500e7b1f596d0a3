//! Two controllers, measured by turns in one run: the machine is the same for both, so their ratio says more than either figure.

use std::fmt;

use serde::Serialize;

use crate::report::Report;

/// A figure may be so much higher.
const RATIO_MAX: f64 = 1.1;

/// The ratios of each turn, by figure.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Comparison {
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    /// Of each turn, in order of size.
    ratios: Vec<f64>,
}

impl Comparison {
    /// Takes in what both measured in the same turn.
    #[expect(
        clippy::cast_precision_loss,
        reason = "times in microseconds and memory in KiB are small"
    )]
    pub(crate) fn turn(&mut self, ours: &Report, others: &Report) {
        for ((name, our), (_, other)) in std::iter::zip(ours.figures(), others.figures()) {
            let ratio = our.max(1) as f64 / other.max(1) as f64;
            match self.figures.iter_mut().find(|figure| figure.name == name) {
                Some(figure) => figure.ratios.push(ratio),
                None => self.figures.push(Figure {
                    name,
                    ratios: vec![ratio],
                }),
            }
        }
        for figure in &mut self.figures {
            figure.ratios.sort_by(f64::total_cmp);
        }
    }

    /// Whether no figure is higher by more than [`RATIO_MAX`].
    pub(crate) fn is_no_worse(&self) -> bool {
        self.figures.iter().all(|figure| figure.median() <= RATIO_MAX)
    }
}

impl Figure {
    /// Of the turns: one that something disturbed does not count.
    fn median(&self) -> f64 {
        self.ratios[self.ratios.len() / 2]
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<34} {:>7} {:>7} {:>7}",
            "ratio", "median", "least", "most"
        )?;
        for figure in &self.figures {
            let (least, most) = (figure.ratios[0], figure.ratios[figure.ratios.len() - 1]);
            let median = figure.median();
            let mark = if median > RATIO_MAX { "  WORSE" } else { "" };
            writeln!(
                out,
                "{:<34} {median:>7.2} {least:>7.2} {most:>7.2}{mark}",
                figure.name
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(micros: u64) -> Report {
        let mut report = Report::default();
        let time = [Duration::from_micros(micros)];
        report.start(&time, &time);
        report
    }

    #[test]
    fn one_disturbed_turn_does_not_count_and_a_slower_controller_does() {
        let mut comparison = Comparison::default();
        for ours in [100, 900, 105] {
            comparison.turn(&report(ours), &report(100));
        }
        assert!(comparison.is_no_worse(), "{comparison}");
        for _ in 0..4 {
            comparison.turn(&report(120), &report(100));
        }
        assert!(!comparison.is_no_worse() && comparison.to_string().contains("WORSE"));
    }
}
