//! The command line of `broker-dump`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    mem,
    path::PathBuf,
};

use clap::{Parser, ValueEnum};
use mgmt_daemon::log::{LogFormat, for_terminals};

use super::{Dump, Options, Record, Summary, ValueStyle, frame};
use crate::{
    pcap::{CaptureError, Segments, Skipped},
    tcp::Reassembler,
};

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
    /// Show only connections from or to this port; can be given more than once
    #[arg(short, long = "port", value_name = "PORT", conflicts_with = "hex")]
    ports: Vec<u16>,
    /// Show only events whose name contains this text; can be given more than once
    #[arg(short, long = "event", value_name = "TEXT")]
    events: Vec<String>,
    /// Show only messages whose topic begins with this text; can be given more than once
    #[arg(short, long = "topic", value_name = "PREFIX")]
    topics: Vec<String>,
    /// How values are shown
    #[arg(long, value_enum, default_value_t = Values::Plain)]
    values: Values,
    /// Show lines for people instead of JSON: an event looks like a call
    #[arg(short, long)]
    compact: bool,
    /// Show times since 1970-01-01 UTC instead of since the first packet, in seconds
    #[arg(long, conflicts_with = "hex")]
    epoch: bool,
}

/// See [`Arguments`].
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Values {
    /// Numbers, strings, lists
    Plain,
    /// Each value with its kind, as Broker's JSON has them
    Typed,
}

impl Values {
    const fn style(self) -> ValueStyle {
        match self {
            Self::Plain => ValueStyle::Plain,
            Self::Typed => ValueStyle::Typed,
        }
    }
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
    output: impl Write,
    notes: &mut Vec<String>,
) -> Result<(), DumpError> {
    let mut output = Output {
        sink: output,
        arguments,
        result: Ok(()),
    };
    if arguments.reads_standard_input() {
        show(BufReader::new(standard_input), &mut output, notes)?;
    } else {
        let file = File::open(&arguments.input).map_err(DumpError::Open)?;
        show(BufReader::new(file), &mut output, notes)?;
    }
    Ok(())
}

fn show(
    input: impl BufRead,
    output: &mut Output<'_, impl Write>,
    notes: &mut Vec<String>,
) -> Result<(), DumpError> {
    let result = if output.arguments.hex {
        frames(input, output)
    } else {
        capture(input, output, notes)
    };
    // What was readable is written even if something was not.
    output.flush()?;
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
        output.show(&frame(&bytes, output.arguments.values.style()));
        output.check()?;
    }
    Ok(())
}

fn capture(
    input: impl BufRead,
    output: &mut Output<'_, impl Write>,
    notes: &mut Vec<String>,
) -> Result<(), DumpError> {
    let arguments = output.arguments;
    let mut dump = Dump::new(Options {
        ports: arguments.ports.iter().copied().collect(),
        epoch: arguments.epoch,
        values: arguments.values.style(),
    });
    let mut segments = Segments::new(input)?;
    let mut reassembler = Reassembler::new();
    let mut result = Ok(());
    for segment in segments.by_ref() {
        match segment {
            Ok(segment) => reassembler.push(segment, &mut |event| {
                dump.push(&event, &mut |record| output.show(&record));
            }),
            Err(error) => result = Err(error.into()),
        }
        output.check()?;
    }
    reassembler.finish(&mut |event| dump.push(&event, &mut |record| output.show(&record)));
    note(dump.summary(), segments.skipped(), notes);
    result
}

/// What is not shown, if there is anything.
fn note(summary: Summary, skipped: Skipped, notes: &mut Vec<String>) {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    for (count, what) in [
        (count(summary.tls), "connections use TLS and cannot be read"),
        (
            count(summary.other),
            "connections of other protocols are not shown",
        ),
        (count(summary.silent), "connections say nothing"),
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
    /// The first failure; nothing is written after it.
    result: io::Result<()>,
}

impl<W: Write> Output<'_, W> {
    fn show(&mut self, record: &Record) {
        if self.result.is_ok() && self.wants(record) {
            self.result = self.write(record);
        }
    }

    fn wants(&self, record: &Record) -> bool {
        let Arguments { events, topics, .. } = self.arguments;
        let content = record.message.content();
        let topic = record.message.topic();
        (events.is_empty()
            || content.is_some_and(|content| events.iter().any(|text| content.has_event(text))))
            && (topics.is_empty()
                || topic.is_some_and(|topic| topics.iter().any(|prefix| topic.starts_with(prefix))))
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let line = if self.arguments.compact {
            for_terminals(&record.to_string(), LogFormat::Text).replace('\n', "\\n")
        } else {
            for_terminals(&serde_json::to_string(record)?, LogFormat::Json)
        };
        writeln!(self.sink, "{line}")?;
        if self.arguments.reads_standard_input() {
            // A person may be looking on while it happens.
            self.sink.flush()?;
        }
        Ok(())
    }

    fn check(&mut self) -> io::Result<()> {
        mem::replace(&mut self.result, Ok(()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check()?;
        self.sink.flush()
    }
}
