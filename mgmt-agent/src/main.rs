//! The agent's program. For its exit codes see [`mgmt_daemon::program`].

use std::{
    env,
    process::{Command, ExitCode},
};

use mgmt_agent::{check, config::Config, launcher, machine::BrokerAgent, runtime, simulate};
use mgmt_daemon::program;
use supervise::init;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == simulate::SUBCOMMAND => return simulate::run(arguments.collect()),
        Some(first) if first == launcher::SUBCOMMAND => {
            return launcher::run(&arguments.collect::<Vec<_>>());
        }
        _ => {}
    }
    if init::is_needed() {
        let mut agent = Command::new("/proc/self/exe");
        match init::run(agent.args(env::args_os().skip(1))) {
            Ok(code) => return code,
            Err(error) => program::complain(
                "mgmt-agent",
                &format!("runs as process 1, which waits for no others: {error}"),
            ),
        }
    }
    program::main::<Config, BrokerAgent, _>(check::check, runtime::run)
}
