//! A daemon's program: what it says to its user, and its exit codes.
//!
//! 0 after a graceful end, 1 if it cannot start or go on, 2 for a wrong command line. A subcommand that only one daemon has ends as `mgmtctl` does.

use std::{
    error::Error,
    ffi::OsString,
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use broker_endpoint::with_causes;
use clap::ArgMatches;

use crate::{
    config::{
        Checks, ConfigErrors, DaemonConfig, Environment, Resolved, Resolver, Schema, dump_json, dump_text,
    },
    journal::{self, JournalError},
    log::{self, LogFormat},
    machine::Machine,
    process::take_name,
    reload::Reread,
};

/// What the program of a daemon needs to know of its configuration.
pub trait Configuration: Sized {
    const SCHEMA: &'static Schema;

    /// Makes it of what was given, or reports everything that is wrong.
    fn resolve(resolver: Resolver<'_>) -> Result<Self, ConfigErrors>;

    /// The part that every daemon has.
    fn daemon(&self) -> &DaemonConfig;

    /// Carries out one of [`Schema::own_commands`], of which these are the matches.
    fn own_command(&self, given: &ArgMatches) -> ExitCode {
        let _ = given;
        ExitCode::from(USAGE)
    }
}

/// How a subcommand that only one daemon has ends if the command line is wrong.
const USAGE: u8 = 64;

/// The program of a daemon: does what the command line says. Besides what every daemon has, it checks and runs what it is given here.
pub fn main<C: Configuration, M: Machine, E: Error>(
    check: fn(&C, &Environment, &mut Checks<'_>),
    run: impl FnOnce(C, Reread) -> Result<(), E>,
) -> ExitCode {
    let command = C::SCHEMA.command();
    let arguments = subcommand_first(&command, std::env::args_os().collect());
    let program = Program(C::SCHEMA);
    let matches = match command.try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            let is_own = arguments
                .get(1)
                .is_some_and(|name| program.has_own(&name.to_string_lossy()));
            let usage = if is_own { USAGE } else { 2 };
            return ExitCode::from(if error.use_stderr() { usage } else { 0 });
        }
    };
    let (subcommand, given) = matches.subcommand().unwrap_or(("run", &matches));
    let outcome = match subcommand {
        "replay" => {
            let file = given.get_one::<PathBuf>("file");
            Ok(program.replay::<M>(file.map_or(Path::new(""), PathBuf::as_path)))
        }
        "completion" => Ok(program.completions(given)),
        "man" => Ok(program.manual(given)),
        "example-config" => Ok(program.print(C::SCHEMA.example())),
        "check-config" => program.read(given).map(|(config, environment): (C, _)| {
            let daemon = config.daemon();
            let mut checks = Checks::new(&daemon.resolved);
            checks.daemon(daemon);
            check(&config, &environment, &mut checks);
            program.report(&daemon.resolved, &checks)
        }),
        "dump-config" => program.read::<C>(given).map(|(config, _)| {
            let effective = &config.daemon().resolved.effective;
            program.print(if given.get_flag("json") {
                dump_json(effective)
            } else {
                dump_text(effective)
            })
        }),
        own if program.has_own(own) => {
            let (_, nested) = given.subcommand().unwrap_or((own, given));
            let read = program.read::<C>(nested);
            read.map(|(config, _)| config.own_command(given))
        }
        _ => program.read(given).map(|(config, environment)| {
            let reread = reread::<C>(environment, given.clone());
            program.run(config, |config| run(config, reread))
        }),
    };
    outcome.unwrap_or_else(|errors| program.refuse(&errors, subcommand))
}

/// Reads the configuration as it was read at the start.
fn reread<C: Configuration>(environment: Environment, given: ArgMatches) -> Reread {
    Reread::new(move || {
        let config = C::resolve(Resolver::gather(C::SCHEMA, &environment, &given))?;
        Ok(config.daemon().clone())
    })
}

/// A program. Its name begins what it says on standard error.
#[derive(Clone, Copy)]
struct Program(&'static Schema);

impl Program {
    /// Whether only this daemon has a subcommand.
    fn has_own(self, subcommand: &str) -> bool {
        self.0.own_commands.iter().any(|(name, _)| *name == subcommand)
    }

    fn read<C: Configuration>(self, given: &ArgMatches) -> Result<(C, Environment), ConfigErrors> {
        let environment = Environment::of_process(self.0)?;
        let config = C::resolve(Resolver::gather(self.0, &environment, given))?;
        Ok((config, environment))
    }

    /// Runs the daemon, under its name for process listings and with its log on standard error.
    fn run<C: Configuration, E: Error>(self, config: C, run: impl FnOnce(C) -> Result<(), E>) -> ExitCode {
        let daemon = config.daemon();
        if let Some(name) = &daemon.process_name
            && let Err(error) = take_name(name)
        {
            self.complain(&format!("cannot take the process name {name}: {error}"));
        }
        let _flushed_at_exit = log::to_stderr(daemon.log_filter.clone(), daemon.log_format);
        match run(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{}", with_causes(&error));
                ExitCode::FAILURE
            }
        }
    }

    /// Makes a journal happen again, and prints what comes of it.
    fn replay<M: Machine>(self, path: &Path) -> ExitCode {
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

    fn completions(self, given: &ArgMatches) -> ExitCode {
        let mut script = Vec::new();
        if let Some(shell) = given.get_one::<clap_complete::Shell>("shell") {
            clap_complete::generate(*shell, &mut self.0.command(), self.0.program(), &mut script);
        }
        self.print(script)
    }

    /// Prints the manual page, or that of a subcommand, in roff.
    fn manual(self, given: &ArgMatches) -> ExitCode {
        let mut command = self.0.command().disable_help_subcommand(true);
        command.build();
        let mut words = given.get_many::<String>("subcommand").into_iter().flatten();
        let of = words.try_fold(&command, |of, word| of.find_subcommand(word));
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

    /// Says what comes of trying what the settings name: warnings, what is wrong, or in one line what was found in order.
    fn report(self, resolved: &Resolved, checks: &Checks<'_>) -> ExitCode {
        for warning in resolved.warnings.iter().chain(&checks.warnings) {
            self.complain(&format!("warning: {warning}"));
        }
        for finding in &checks.findings {
            self.complain(&format!("error: {}", with_causes(finding)));
        }
        if resolved.suspicious {
            self.complain("error: some of what was configured has no effect; see the warnings");
        }
        if resolved.suspicious || !checks.findings.is_empty() {
            return ExitCode::FAILURE;
        }
        self.print(format!(
            "the configuration is good: {}\n",
            checks.tried.join(", ")
        ))
    }

    /// Says what is wrong with the configuration. To find that is what `check-config` is for.
    fn refuse(self, errors: &ConfigErrors, subcommand: &str) -> ExitCode {
        for error in errors.iter() {
            self.complain(&format!("error: {error}"));
        }
        let usage = if self.has_own(subcommand) { USAGE } else { 2 };
        let is_usage = errors.is_usage() && subcommand != "check-config";
        ExitCode::from(if is_usage { usage } else { 1 })
    }

    fn print(self, text: impl AsRef<[u8]>) -> ExitCode {
        match io::stdout().write_all(text.as_ref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                self.complain(&format!("cannot write to standard output: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    fn complain(self, text: &str) {
        complain(&self.0.program(), text);
    }
}

/// Writes to standard error what a program has to say. If that fails, no other way is left to say so.
pub fn complain(program: &str, text: &str) {
    let text = log::for_terminals(text, LogFormat::Text);
    let _ = writeln!(io::stderr(), "{program}: {text}");
}

/// The arguments with the subcommand in the first place, wherever it stands among options and assignments, and one of its own in the second.
fn subcommand_first(command: &clap::Command, mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut of = command;
    let mut place = 1;
    while let Some(found) = move_subcommand(command, of, &mut arguments, place) {
        of = found;
        place += 1;
    }
    arguments
}

/// Moves a subcommand to this place, from there or behind it. Options are those of the whole command.
fn move_subcommand<'a>(
    command: &clap::Command,
    of: &'a clap::Command,
    arguments: &mut [OsString],
    place: usize,
) -> Option<&'a clap::Command> {
    let takes_value = |option: &str| {
        command.get_arguments().any(|known| {
            let takes_next = known.get_action().takes_values() && !known.is_require_equals_set();
            known.get_long() == Some(option) && takes_next
        })
    };
    let mut at = place;
    while let Some(argument) = arguments.get(at) {
        let argument = argument.to_string_lossy();
        match argument.strip_prefix("--") {
            Some("") => return None,
            // `--name=value` is no option's name.
            Some(option) if takes_value(option) => at += 1,
            Some(_) => {}
            None => {
                if let Some(found) = of.find_subcommand(&*argument) {
                    arguments.get_mut(place..=at)?.rotate_right(1);
                    return Some(found);
                }
            }
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    #[test]
    fn the_subcommand_is_found_among_options_and_assignments() {
        let command = Command::new("daemon")
            .arg(Arg::new("name").long("name"))
            .arg(Arg::new("with").long("with").num_args(0..=1).require_equals(true))
            .arg(Arg::new("simulate").long("simulate").action(ArgAction::SetTrue))
            .subcommand(Command::new("run"))
            .subcommand(Command::new("check-config"))
            .subcommand(Command::new("store").subcommand(Command::new("backup")));
        for (given, expected) in [
            ("--name x check-config", "check-config --name x"),
            (
                "A::b=run --simulate check-config --name y",
                "check-config A::b=run --simulate --name y",
            ),
            ("--name=x run", "run --name=x"),
            ("--with run", "run --with"),
            ("--name run", "--name run"),
            ("--name run run", "run --name run"),
            ("check-config run", "check-config run"),
            (
                "--name backup store A::b=c --with backup FILE",
                "store backup --name backup A::b=c --with FILE",
            ),
            ("backup store", "store backup"),
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
