//! The agent's program: command line and configuration. For its exit codes see [`mgmt_daemon::program`].

use std::process::ExitCode;

use clap::CommandFactory;
use mgmt_agent::{
    cli::{Cli, Command, SettingArgs},
    config::Config,
    core::broker::BrokerAgent,
    runtime, simulate,
};
use mgmt_daemon::program::Program;

const PROGRAM: Program = Program("mgmt-agent");

fn main() -> ExitCode {
    let cli: Cli = PROGRAM.parse();
    match cli.command {
        None => run(&cli.settings),
        Some(Command::Run(settings)) => run(&settings),
        Some(Command::CheckConfig(settings)) => check(&settings),
        Some(Command::DumpConfig { settings, json }) => match read(&settings) {
            Ok(config) if json => PROGRAM.print(config.dump_json()),
            Ok(config) => PROGRAM.print(config.dump_text()),
            Err(code) => code,
        },
        Some(Command::Replay { file }) => PROGRAM.replay::<BrokerAgent>(&file),
        Some(Command::SimulatedZeek { arguments }) => simulate::run(arguments),
        Some(Command::Completions { shell }) => PROGRAM.completions(Cli::command(), shell),
        Some(Command::Man { subcommand }) => PROGRAM.manual(Cli::command(), subcommand.as_deref()),
    }
}

fn run(settings: &SettingArgs) -> ExitCode {
    let config = match read(settings) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let name = config.process_name.clone();
    let (filter, format) = (config.log_filter.clone(), config.log_format);
    PROGRAM.run(name.as_deref(), (&filter, format), || runtime::run(config))
}

fn check(settings: &SettingArgs) -> ExitCode {
    let (Ok(config), Ok(environment)) = (read(settings), Config::environment()) else {
        return ExitCode::FAILURE;
    };
    PROGRAM.report(&config.warnings, config.suspicious, &config.check(&environment))
}

fn read(settings: &SettingArgs) -> Result<Config, ExitCode> {
    let environment = Config::environment().map_err(|errors| PROGRAM.refuse(&errors))?;
    Config::read(settings, &environment).map_err(|errors| PROGRAM.refuse(&errors))
}
