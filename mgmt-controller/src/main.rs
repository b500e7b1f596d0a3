//! The controller's program: command line, configuration, and the outermost errors.
//!
//! Exit codes: 0 after a graceful end, 1 if the controller cannot start or go on, 2 for a wrong command line.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use broker_endpoint::tls::TlsContext;
use clap::{CommandFactory, Parser};
use mgmt_controller::{
    cli::{Cli, Command, SettingArgs},
    config::{Config, ConfigErrors},
    journal, runtime,
};
use mgmt_host::{journal::JournalError, process};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => return run(&cli.settings),
        Some(Command::Run(settings)) => return run(&settings),
        Some(Command::CheckConfig(settings)) => return check(&settings),
        Some(Command::DumpConfig { settings, json }) => match read(&settings) {
            Ok(config) if json => print(config.dump_json()),
            Ok(config) => print(config.dump_text()),
            Err(code) => return code,
        },
        Some(Command::Replay { file }) => return replay(&file),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "mgmt-controller", &mut script);
            print(script)
        }
        Some(Command::Man) => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .and_then(|()| print(page))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &SettingArgs) -> ExitCode {
    let config = match read(settings) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Some(name) = &config.process_name
        && let Err(error) = process::take_name(name)
    {
        complain(&format!("cannot take the process name {name}: {error}"));
    }
    let _flushed_at_exit = process::log_to_stderr(&config.log_filter, config.log_format);
    match runtime::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", process::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn check(settings: &SettingArgs) -> ExitCode {
    let Ok(config) = read(settings) else {
        return ExitCode::FAILURE;
    };
    for warning in &config.warnings {
        complain(&format!("warning: {warning}"));
    }
    if let Err(error) = TlsContext::new(&config.broker_tls) {
        complain(&format!("error: {}", process::with_causes(&error)));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn replay(path: &Path) -> ExitCode {
    let outcome = match File::open(path) {
        Ok(file) => journal::replay(BufReader::new(file), BufWriter::new(io::stdout().lock())),
        Err(error) => Err(JournalError::Read(error)),
    };
    match outcome {
        Ok(replayed) => {
            if replayed.truncated {
                complain("the journal ends within a line, which is left out");
            }
            ExitCode::SUCCESS
        }
        // Whoever reads the output has seen enough.
        Err(JournalError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!(
                "error: {}: {}",
                path.display(),
                process::with_causes(&error)
            ));
            ExitCode::FAILURE
        }
    }
}

fn read(settings: &SettingArgs) -> Result<Config, ExitCode> {
    let refuse = |errors: ConfigErrors| {
        for error in &errors {
            complain(&format!("error: {}", process::with_causes(error)));
        }
        ExitCode::from(if errors.is_usage() { 2 } else { 1 })
    };
    let environment = Config::environment().map_err(refuse)?;
    Config::read(settings, &environment).map_err(refuse)
}

fn print(text: impl AsRef<[u8]>) -> io::Result<()> {
    io::stdout().write_all(text.as_ref())
}

/// Writes to standard error; there is nobody to tell if that fails.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "mgmt-controller: {text}");
}
