//! The agent's program. For its exit codes see [`mgmt_daemon::program`].

use std::{env, process::ExitCode};

use mgmt_agent::{check, config::Config, machine::BrokerAgent, runtime, simulate};
use mgmt_daemon::program;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == simulate::SUBCOMMAND)
    {
        return simulate::run(arguments.collect());
    }
    program::main::<Config, BrokerAgent, _>(check::check, runtime::run)
}
