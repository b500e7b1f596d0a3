//! The command line of `broker-dump`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
};

use clap::Parser;
use mgmt_daemon::log::{LogFormat, for_terminals};

use super::{Dump, Options, Record, Summary, frame};
use crate::pcap::{CaptureError, Segments, Skipped};

/// Show what Broker endpoints say to each other: one line of JSON for each frame.
///
/// Reads a packet capture (pcap or pcapng format, TCP over IPv4 or IPv6; for example `tcpdump -i any -w FILE port 2150 or port
/// 2151`), or frames as lines of hexadecimal digits with or without their length prefix. Broker's native protocol and WebSocket conversations
/// are shown; connections that use TLS are named but cannot be read.
///
/// A line has the `time` in seconds, the number of the `connection`, `from` and `to`, the `phase` (connection, handshake, operation,
/// websocket or tls), and the `message`: its `type`, and what it says. An event is a message of type data or `data_message` with the
/// event's name as `event` and its arguments as `args`; batches of messages, logs and other content have fields of their own.
///
/// Values are shown as plain JSON: a table is a list of pairs, addresses, ports, times and enum names are strings. `--values
/// typed` names the kind of each value, in Broker's own JSON format. Characters that could drive a terminal are escaped: JSON stays the
/// same value.
///
/// Exit status: 0 if everything was read, 1 if the input is no capture or damaged (what could be read is shown), 2 on wrong usage.
#[derive(Debug, Parser)]
#[command(name = "broker-dump", version)]
pub struct Arguments {
    /// The capture or list of frames; standard input if it is `-` or left out
    #[arg(default_value = "-")]
    input: PathBuf,
    /// Read lines of hexadecimal digits, one frame each; empty lines and what follows `#` are ignored
    #[arg(long)]
    hex: bool,
    /// Show only events whose name contains this text; can be given more than once
    #[arg(short, long = "event", value_name = "TEXT")]
    events: Vec<String>,
    /// Show only messages whose topic begins with this text; can be given more than once
    #[arg(short, long = "topic", value_name = "PREFIX")]
    topics: Vec<String>,
    /// Show lines for people instead of JSON: an event looks like a call
    #[arg(short, long)]
    compact: bool,
    #[command(flatten)]
    options: Options,
}

impl Arguments {
    /// The input as errors name it.
    pub fn input_name(&self) -> String {
        if self.reads_standard_input() {
            "standard input".to_owned()
        } else {
            self.input.display().to_string()
        }
    }

    fn reads_standard_input(&self) -> bool {
        self.input.as_os_str() == "-"
    }

    fn wants(&self, record: &Record) -> bool {
        let content = record.message.content();
        let topic = record.message.topic();
        (self.events.is_empty()
            || content.is_some_and(|content| self.events.iter().any(|text| content.has_event(text))))
            && (self.topics.is_empty()
                || topic.is_some_and(|topic| self.topics.iter().any(|prefix| topic.starts_with(prefix))))
    }
}

/// The input cannot be shown, or not completely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The input cannot be opened.
    #[error("cannot open the input")]
    Open(#[source] io::Error),
    /// The input cannot be read.
    #[error("cannot read the input")]
    Read(#[source] io::Error),
    /// The input is no capture, or a damaged one.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A line of frames is not hexadecimal.
    #[error("line {number} is not hexadecimal")]
    Hex {
        /// The number of the line, from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: hex::FromHexError,
    },
    /// The output cannot be written.
    #[error("cannot write")]
    Write(#[from] io::Error),
}

/// Runs `broker-dump`. What should be told on standard error is appended to `notes`.
pub fn run(
    arguments: &Arguments,
    standard_input: impl Read,
    sink: impl Write,
    notes: &mut Vec<String>,
) -> Result<(), DumpError> {
    let mut output = Output { sink, arguments };
    let input: Box<dyn Read + '_> = if arguments.reads_standard_input() {
        Box::new(standard_input)
    } else {
        Box::new(File::open(&arguments.input).map_err(DumpError::Open)?)
    };
    let input = BufReader::new(input);
    let result = if arguments.hex {
        frames(input, &mut output)
    } else {
        capture(input, &mut output, notes)
    };
    // What was readable is written even if something was not.
    output.sink.flush()?;
    result
}

fn frames(input: impl BufRead, output: &mut Output<'_, impl Write>) -> Result<(), DumpError> {
    for (index, line) in input.lines().enumerate() {
        let line = line.map_err(DumpError::Read)?;
        let digits: String = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        if digits.is_empty() {
            continue;
        }
        let bytes = hex::decode(&digits).map_err(|source| DumpError::Hex {
            number: index + 1,
            source,
        })?;
        output.show([frame(&bytes, output.arguments.options.values)])?;
    }
    Ok(())
}

fn capture(
    input: impl BufRead,
    output: &mut Output<'_, impl Write>,
    notes: &mut Vec<String>,
) -> Result<(), DumpError> {
    let mut dump = Dump::new(output.arguments.options.clone());
    let mut segments = Segments::new(input)?;
    let mut result = Ok(());
    for segment in segments.by_ref() {
        match segment {
            Ok(segment) => output.show(dump.push(segment))?,
            Err(error) => result = Err(error.into()),
        }
    }
    output.show(dump.finish())?;
    note(dump.summary(), segments.skipped(), notes);
    result
}

/// What is not shown, if there is anything.
fn note(summary: Summary, skipped: Skipped, notes: &mut Vec<String>) {
    for (count, what) in [
        (summary.tls, "connections use TLS and cannot be read"),
        (summary.other, "connections of other protocols are not shown"),
        (summary.silent, "connections say nothing"),
        (skipped.fragments, "fragments of IP packets are left out"),
        (
            skipped.malformed,
            "packets are malformed or cut off in their headers",
        ),
    ] {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    }
}

struct Output<'a, W> {
    sink: W,
    arguments: &'a Arguments,
}

impl<W: Write> Output<'_, W> {
    fn show(&mut self, records: impl IntoIterator<Item = Record>) -> io::Result<()> {
        for record in records.into_iter().filter(|record| self.arguments.wants(record)) {
            let line = if self.arguments.compact {
                for_terminals(&record.to_string(), LogFormat::Text).replace('\n', "\\n")
            } else {
                for_terminals(&serde_json::to_string(&record)?, LogFormat::Json)
            };
            writeln!(self.sink, "{line}")?;
            if self.arguments.reads_standard_input() {
                // A person may be looking on while it happens.
                self.sink.flush()?;
            }
        }
        Ok(())
    }
}
