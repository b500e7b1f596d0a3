//! A daemon's program: what it says to its user, and its exit codes.
//!
//! 0 after a graceful end, 1 if it cannot start or go on, 2 for a wrong command line.

use std::{
    error::Error,
    ffi::OsString,
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use clap::Parser;

use crate::{
    config::{Checks, ConfigErrors, LogFormat},
    journal::{self, JournalError},
    log,
    machine::Machine,
    process::{take_name, with_causes},
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
        let _flushed_at_exit = log::to_stderr(filter, format);
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
            // The reader of the output has seen enough.
            Err(JournalError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                self.complain(&format!("error: {}: {}", path.display(), with_causes(&error)));
                ExitCode::FAILURE
            }
        }
    }

    /// Parses the command line. Options and assignments may stand before the subcommand as well as after it.
    ///
    /// Ends the process if it is wrong, or asks for help.
    pub fn parse<C: Parser>(self) -> C {
        C::parse_from(subcommand_first(&C::command(), std::env::args_os().collect()))
    }

    /// Prints a completion script for a shell.
    pub fn completions(self, mut command: clap::Command, shell: clap_complete::Shell) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, self.0, &mut script);
        self.print(script)
    }

    /// Prints the manual page, or that of a subcommand, in roff.
    pub fn manual(self, command: clap::Command, subcommand: Option<&str>) -> ExitCode {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let of = match subcommand {
            None => Some(&command),
            Some(name) => command.find_subcommand(name),
        };
        let Some(of) = of else {
            self.complain("there is no such subcommand; the page without one lists them");
            return ExitCode::from(2);
        };
        let mut page = Vec::new();
        match clap_mangen::Man::new(of.clone()).render(&mut page) {
            Ok(()) => self.print(page),
            Err(error) => {
                self.complain(&format!("cannot write the manual page: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    /// Says what came of `check-config`: warnings, what is wrong, or in one line what was found in order.
    pub fn report(self, warnings: &[String], suspicious: bool, checks: &Checks<'_>) -> ExitCode {
        for warning in warnings.iter().chain(&checks.warnings) {
            self.complain(&format!("warning: {warning}"));
        }
        for finding in &checks.findings {
            self.complain(&format!("error: {}", with_causes(finding)));
        }
        if suspicious {
            self.complain("error: some of what was configured has no effect; see the warnings");
        }
        if suspicious || !checks.findings.is_empty() {
            return ExitCode::FAILURE;
        }
        self.print(format!(
            "the configuration is good: {}\n",
            checks.tried.join(", ")
        ))
    }

    /// Says what is wrong with the configuration.
    pub fn refuse(self, errors: &ConfigErrors) -> ExitCode {
        for error in errors {
            self.complain(&format!("error: {}", with_causes(error)));
        }
        ExitCode::from(if errors.is_usage() { 2 } else { 1 })
    }

    pub fn print(self, text: impl AsRef<[u8]>) -> ExitCode {
        match io::stdout().write_all(text.as_ref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                self.complain(&format!("cannot write to standard output: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    /// Writes to standard error; there is no other place to tell if that fails.
    pub fn complain(self, text: &str) {
        let text = log::for_terminals(text, LogFormat::Text);
        let _ = writeln!(io::stderr(), "{}: {text}", self.0);
    }
}

/// The arguments with the subcommand in the first place, wherever it stands among options and assignments.
fn subcommand_first(command: &clap::Command, mut arguments: Vec<OsString>) -> Vec<OsString> {
    let takes_value = |option: &str| {
        command
            .get_arguments()
            .any(|known| known.get_long() == Some(option) && known.get_action().takes_values())
    };
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        let argument = argument.to_string_lossy();
        match argument.strip_prefix("--") {
            Some("") => break,
            // `--name=value` is no option's name.
            Some(option) if takes_value(option) => at += 1,
            None if command.find_subcommand(&*argument).is_some() => {
                if let Some(before) = arguments.get_mut(1..=at) {
                    before.rotate_right(1);
                }
                break;
            }
            Some(_) | None => {}
        }
        at += 1;
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    #[test]
    fn the_subcommand_is_found_among_options_and_assignments() {
        let command = Command::new("daemon")
            .arg(Arg::new("name").long("name"))
            .arg(Arg::new("simulate").long("simulate").action(ArgAction::SetTrue))
            .subcommand(Command::new("run"))
            .subcommand(Command::new("check-config"));
        for (given, expected) in [
            ("--name x check-config", "check-config --name x"),
            (
                "A::b=run --simulate check-config --name y",
                "check-config A::b=run --simulate --name y",
            ),
            ("--name=x run", "run --name=x"),
            ("--name run", "--name run"),
            ("--name run run", "run --name run"),
            ("check-config run", "check-config run"),
            ("--json check-config", "check-config --json"),
            ("-- run", "-- run"),
            ("--name", "--name"),
            ("", ""),
        ] {
            let words = |text: &str| -> Vec<OsString> {
                let all = std::iter::once("daemon").chain(text.split_whitespace());
                all.map(OsString::from).collect()
            };
            assert_eq!(
                subcommand_first(&command, words(given)),
                words(expected),
                "{given}"
            );
        }
    }
}
