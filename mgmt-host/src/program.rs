//! A daemon's program: what it says to whoever started it, and its exit codes.
//!
//! 0 after a graceful end, 1 if it cannot start or go on, 2 for a wrong command line.

use std::{
    error::Error,
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use crate::{
    config::{ConfigErrors, LogFormat},
    journal::{self, JournalError, Machine},
    process::{log_to_stderr, take_name, with_causes},
};

/// A program, by the name that begins what it says on standard error.
#[derive(Clone, Copy, Debug)]
pub struct Program(pub &'static str);

impl Program {
    /// Runs the daemon, under this name for process listings and with its log on standard error.
    pub fn run<E: Error>(
        self,
        process_name: Option<&str>,
        (filter, format): (&str, LogFormat),
        daemon: impl FnOnce() -> Result<(), E>,
    ) -> ExitCode {
        if let Some(name) = process_name
            && let Err(error) = take_name(name)
        {
            self.complain(&format!("cannot take the process name {name}: {error}"));
        }
        let _flushed_at_exit = log_to_stderr(filter, format);
        match daemon() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{}", with_causes(&error));
                ExitCode::FAILURE
            }
        }
    }

    /// Makes a journal happen again, and prints what comes of it.
    pub fn replay<M: Machine>(self, path: &Path) -> ExitCode {
        let outcome = match File::open(path) {
            Ok(file) => journal::replay::<M>(BufReader::new(file), BufWriter::new(io::stdout().lock())),
            Err(error) => Err(JournalError::Read(error)),
        };
        match outcome {
            Ok(replayed) => {
                if replayed.truncated {
                    self.complain("the journal ends within a line, which is left out");
                }
                ExitCode::SUCCESS
            }
            // Whoever reads the output has seen enough.
            Err(JournalError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                self.complain(&format!("error: {}: {}", path.display(), with_causes(&error)));
                ExitCode::FAILURE
            }
        }
    }

    /// Says what is wrong with the configuration.
    pub fn refuse(self, errors: &ConfigErrors) -> ExitCode {
        for error in errors {
            self.complain(&format!("error: {}", with_causes(error)));
        }
        ExitCode::from(if errors.is_usage() { 2 } else { 1 })
    }

    /// Writes to standard output.
    pub fn print(self, text: impl AsRef<[u8]>) -> ExitCode {
        match io::stdout().write_all(text.as_ref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                self.complain(&format!("cannot write to standard output: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    /// Writes to standard error; there is nobody to tell if that fails.
    pub fn complain(self, text: &str) {
        let _ = writeln!(io::stderr(), "{}: {text}", self.0);
    }
}
