//! `broker-dump`: what Broker endpoints say to each other, from a packet capture or from frames in hexadecimal.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use broker_endpoint::with_causes;
use clap::Parser;
use mgmt_daemon::program::complain;
use tools::dump::cli::{Arguments, DumpError, run};

const PROGRAM: &str = "broker-dump";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut output = BufWriter::new(io::stdout().lock());
    let mut notes = Vec::new();
    let result = run(&arguments, io::stdin().lock(), &mut output, &mut notes);
    for note in notes {
        complain(PROGRAM, &note);
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, such as `head`, has seen enough.
        Err(DumpError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(
                PROGRAM,
                &format!("{}: {}", arguments.input_name(), with_causes(&error)),
            );
            ExitCode::FAILURE
        }
    }
}
