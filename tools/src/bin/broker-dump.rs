//! `broker-dump`: what Broker endpoints say to each other, from a packet capture or from frames in hexadecimal.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use clap::Parser;
use tools::dump::cli::{Arguments, DumpError, run};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut output = BufWriter::new(io::stdout().lock());
    let mut notes = Vec::new();
    let result = run(&arguments, io::stdin().lock(), &mut output, &mut notes);
    for note in notes {
        report(&note);
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, such as `head`, has seen enough.
        Err(DumpError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{}: {}", arguments.input_name(), chain(&error)));
            ExitCode::FAILURE
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[expect(clippy::print_stderr, reason = "standard error is where a command reports")]
fn report(text: &str) {
    eprintln!("broker-dump: {text}");
}
