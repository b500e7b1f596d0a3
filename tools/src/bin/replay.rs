//! `replay`: puts a controller or an agent in the place of a recorded one and compares what it sends.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use broker_endpoint::with_causes;
use clap::Parser;
use mgmt_daemon::program::complain;
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
            complain("replay", &with_causes(&error));
            ExitCode::from(2)
        }
    }
}
