//! The results, as a table and as JSON.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::process::Memory;

/// A figure may be so much higher than that of the other controller.
const RATIO_MAX: f64 = 1.1;

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

/// Everything that was measured, by name and in that order.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    times: Vec<(String, Summary)>,
    memory: Vec<(&'static str, Memory)>,
    /// Of the controller's process alone, in KiB.
    resident: Vec<(&'static str, u64)>,
    notes: Vec<String>,
    /// What the controller did not do as it has to.
    faults: Vec<String>,
}

impl Report {
    pub(crate) fn times(&mut self, name: impl Into<String>, samples: &[Duration]) {
        self.times.push((name.into(), Summary::of(samples)));
    }

    pub(crate) fn memory(&mut self, when: &'static str, memory: Memory) {
        self.memory.push((when, memory));
    }

    pub(crate) fn resident(&mut self, name: &'static str, kib: u64) {
        self.resident.push((name, kib));
    }

    pub(crate) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// Whether the controller did all as it has to.
    pub(crate) fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Every figure that a lower number is better for, by name.
    fn figures(&self) -> impl Iterator<Item = (String, u64)> {
        let times = self.times.iter();
        let memory = self.memory.iter();
        times
            .map(|(name, summary)| (name.clone(), summary.median_us))
            .chain(memory.map(|(when, memory)| (format!("memory {when}"), memory.rss_kib)))
            .chain(self.resident.iter().map(|(name, kib)| ((*name).to_owned(), *kib)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<34} {:>7} {:>11} {:>11} {:>11} {:>11}",
            "times in ms", "samples", "median", "p90", "p99", "max"
        )?;
        for (name, summary) in &self.times {
            let times = [summary.median_us, summary.p90_us, summary.p99_us, summary.max_us];
            let [median, p90, p99, max] = times.map(milliseconds);
            let samples = summary.samples;
            writeln!(
                out,
                "{name:<34} {samples:>7} {median:>11} {p90:>11} {p99:>11} {max:>11}"
            )?;
        }
        writeln!(out)?;
        for note in &self.notes {
            writeln!(out, "{note}")?;
        }
        for (when, memory) in &self.memory {
            let [rss, pss] = [memory.rss_kib, memory.pss_kib].map(mebibytes);
            let processes = memory.processes;
            writeln!(
                out,
                "memory {when}: RSS {rss} MiB, PSS {pss} MiB, processes {processes}"
            )?;
        }
        for (name, kib) in &self.resident {
            writeln!(out, "{name}: {} MiB", mebibytes(*kib))?;
        }
        for fault in &self.faults {
            writeln!(out, "FAULT {fault}")?;
        }
        match self.faults.len() {
            0 => Ok(()),
            faults => writeln!(
                out,
                "FAILED: the controller did not do as it should, {faults} times"
            ),
        }
    }
}

/// Two controllers that are measured by turns in one run: the machine is the same for both, so their ratio says more than either
/// figure. By figure, the ratios of the turns in order of size.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Comparison(BTreeMap<String, Vec<f64>>);

impl Comparison {
    /// Takes in what both measured in the same turn.
    #[expect(
        clippy::cast_precision_loss,
        reason = "times in microseconds and memory in KiB are small"
    )]
    pub(crate) fn turn(&mut self, ours: &Report, others: &Report) {
        for ((name, our), (_, other)) in ours.figures().zip(others.figures()) {
            let ratios = self.0.entry(name).or_default();
            ratios.push(our.max(1) as f64 / other.max(1) as f64);
            ratios.sort_by(f64::total_cmp);
        }
    }

    /// Whether no figure is higher by more than [`RATIO_MAX`].
    pub(crate) fn is_no_worse(&self) -> bool {
        self.0.values().all(|ratios| median(ratios) <= RATIO_MAX)
    }
}

/// Of the turns: one that something disturbed does not count.
fn median(ratios: &[f64]) -> f64 {
    ratios[ratios.len() / 2]
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<34} {:>7} {:>7} {:>7}",
            "ratio", "median", "least", "most"
        )?;
        for (name, ratios) in &self.0 {
            let (least, median, most) = (ratios[0], median(ratios), ratios[ratios.len() - 1]);
            let mark = if median > RATIO_MAX { "  WORSE" } else { "" };
            writeln!(out, "{name:<34} {median:>7.2} {least:>7.2} {most:>7.2}{mark}")?;
        }
        let worse = self
            .0
            .values()
            .filter(|ratios| median(ratios) > RATIO_MAX)
            .count();
        match worse {
            0 => writeln!(out, "no worse than the other in {} figures", self.0.len()),
            worse => writeln!(out, "WORSE than the other in {worse} of {} figures", self.0.len()),
        }
    }
}

#[expect(clippy::print_stdout, reason = "the result is this program's output")]
pub(crate) fn print(report: &(impl fmt::Display + Serialize), as_json: bool) {
    if as_json {
        let json = serde_json::to_string_pretty(report);
        println!("{}", json.expect("numbers and texts are JSON"));
    } else {
        print!("{report}");
    }
}

pub(crate) fn milliseconds(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

pub(crate) fn mebibytes(kib: u64) -> String {
    format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let samples: Vec<Duration> = (1..=200).rev().map(Duration::from_micros).collect();
        for (samples, [min_us, median_us, p90_us, p99_us, max_us]) in [
            (&samples[..], [1, 100, 180, 198, 200]),
            (&[Duration::from_micros(7)], [7; 5]),
        ] {
            let expected = Summary {
                samples: samples.len(),
                min_us,
                median_us,
                p90_us,
                p99_us,
                max_us,
            };
            assert_eq!(Summary::of(samples), expected);
        }
    }

    fn report(micros: u64) -> Report {
        let mut report = Report::default();
        report.times("start to listening", &[Duration::from_micros(micros)]);
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
