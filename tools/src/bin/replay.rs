//! `replay`: puts a controller or an agent in the place of a recorded one and compares what it sends.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use clap::Parser;
use tools::replay::cli::{Arguments, CliError, run};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut output = BufWriter::new(io::stdout().lock());
    match run(&arguments, &mut output) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // The reader, such as `head`, has seen enough.
        Err(CliError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(1),
        Err(error) => {
            report(&error);
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stderr, reason = "standard error is where a command reports")]
fn report(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    eprintln!("replay: {text}");
}
