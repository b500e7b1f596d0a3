//! The controller's program. For its exit codes see [`mgmt_daemon::program`].

use std::process::ExitCode;

use mgmt_controller::{check, config::Config, core::Controller, runtime};
use mgmt_daemon::program;

fn main() -> ExitCode {
    program::main::<Config, Controller, _>(check::check, runtime::run)
}
