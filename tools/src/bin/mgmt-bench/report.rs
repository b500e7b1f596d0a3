//! The results, as a table and as JSON.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use serde::Serialize;

use crate::{
    BenchError,
    attack::Attacked,
    measure::{Concurrent, ConfigurationTimes},
    process::Memory,
    stats::Summary,
};

/// Everything that was measured; what does not apply is absent.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) start_to_listening: Option<Summary>,
    pub(crate) start_to_first_answer: Option<Summary>,
    pub(crate) memory_idle: Option<Memory>,
    pub(crate) memory_after: Option<Memory>,
    pub(crate) sequential: Option<Summary>,
    pub(crate) concurrent: Option<Concurrent>,
    pub(crate) configurations: Vec<ConfigurationTimes>,
    pub(crate) attacks: Vec<Attacked>,
}

impl Report {
    /// Every figure that a lower number is better for, by name.
    pub(crate) fn figures(&self) -> Vec<(String, u64)> {
        let mut figures = Vec::new();
        let mut figure = |name: &str, value: Option<u64>| {
            figures.extend(value.map(|value| (name.to_owned(), value)));
        };
        let median = |summary: &Summary| summary.median_us;
        figure("start to listening", self.start_to_listening.as_ref().map(median));
        figure(
            "start to first answer",
            self.start_to_first_answer.as_ref().map(median),
        );
        figure("get_instances, one client", self.sequential.as_ref().map(median));
        let concurrent = self.concurrent.as_ref();
        figure(
            "get_instances, several clients",
            concurrent.map(|concurrent| concurrent.latency.median_us),
        );
        for times in &self.configurations {
            figure(
                &format!("stage {} nodes", times.nodes),
                Some(times.stage.median_us),
            );
            figure(
                &format!("fetch {} nodes", times.nodes),
                Some(times.fetch.median_us),
            );
        }
        let rss = |memory: &Memory| memory.rss_kib;
        figure("memory after the start", self.memory_idle.as_ref().map(rss));
        figure("memory at the end", self.memory_after.as_ref().map(rss));
        figures
    }

    /// Notes how long each start took.
    pub(crate) fn start(&mut self, listening: &[Duration], answering: &[Duration]) {
        self.start_to_listening = Some(Summary::of(listening));
        self.start_to_first_answer = Some(Summary::of(answering));
    }
}

#[expect(clippy::print_stdout, reason = "the result is this program's output")]
pub(crate) fn print(report: &(impl fmt::Display + Serialize), as_json: bool) {
    if as_json {
        println!(
            "{}",
            serde_json::to_string_pretty(report).expect("numbers and texts are JSON")
        );
    } else {
        print!("{report}");
    }
}

#[expect(clippy::print_stderr, reason = "this is a command-line program")]
pub(crate) fn print_error(error: &BenchError) {
    eprintln!("mgmt-bench: {error}");
}

impl Report {
    fn show_attacks(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<44} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "attack; ms and MiB", "median", "p99", "before", "at end", "30 s on", ""
        )?;
        for attacked in &self.attacks {
            let [before, at_end, later] = [
                attacked.rss_before_kib,
                attacked.rss_at_end_kib,
                attacked.rss_later_kib,
            ]
            .map(mebibytes);
            writeln!(
                out,
                "{:<44} {:>9} {:>9} {before:>9} {at_end:>9} {later:>9} {:>9}",
                attacked.name,
                milliseconds(attacked.bystander.median_us),
                milliseconds(attacked.bystander.p99_us),
                if attacked.is_borne() { "borne" } else { "NOT BORNE" },
            )?;
            if let Some(reason) = &attacked.closed {
                writeln!(out, "    the bystander was closed: {reason}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.attacks.is_empty() {
            return self.show_attacks(out);
        }
        writeln!(
            out,
            "{:<34} {:>7} {:>11} {:>11} {:>11} {:>11}",
            "times in ms", "samples", "median", "p90", "p99", "max"
        )?;
        if let Some(summary) = &self.start_to_listening {
            row(out, "start to listening", summary)?;
        }
        if let Some(summary) = &self.start_to_first_answer {
            row(out, "start to first answer", summary)?;
        }
        if let Some(summary) = &self.sequential {
            row(out, "get_instances, one client", summary)?;
        }
        if let Some(concurrent) = &self.concurrent {
            row(
                out,
                &format!("get_instances, {} clients", concurrent.clients),
                &concurrent.latency,
            )?;
        }
        for times in &self.configurations {
            row(out, &format!("stage {} nodes", times.nodes), &times.stage)?;
            row(out, &format!("fetch {} nodes", times.nodes), &times.fetch)?;
        }
        writeln!(out)?;
        if let Some(concurrent) = &self.concurrent {
            writeln!(
                out,
                "{} clients together: {} get_instances a second",
                concurrent.clients, concurrent.requests_per_second
            )?;
        }
        for times in &self.configurations {
            writeln!(
                out,
                "{} nodes: request {} bytes, response {} bytes",
                times.nodes, times.request_bytes, times.response_bytes
            )?;
        }
        for (when, memory) in [
            ("after the start", self.memory_idle),
            ("at the end", self.memory_after),
        ] {
            if let Some(Memory {
                processes,
                rss_kib,
                pss_kib,
            }) = memory
            {
                let (rss, pss) = (mebibytes(rss_kib), mebibytes(pss_kib));
                writeln!(
                    out,
                    "memory {when}: RSS {rss} MiB, PSS {pss} MiB, processes {processes}"
                )?;
            }
        }
        Ok(())
    }
}

fn row(out: &mut impl Write, name: &str, summary: &Summary) -> fmt::Result {
    writeln!(
        out,
        "{name:<34} {:>7} {:>11} {:>11} {:>11} {:>11}",
        summary.samples,
        milliseconds(summary.median_us),
        milliseconds(summary.p90_us),
        milliseconds(summary.p99_us),
        milliseconds(summary.max_us),
    )
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

fn mebibytes(kib: u64) -> String {
    format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024)
}
