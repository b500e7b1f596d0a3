//! `--simulate`: a cluster without Zeek. Supervisor and nodes are stand-ins, for which this program starts itself.
//!
//! To the rest of the agent it is the same as `--start-supervisor`: only the program that is started is another one.
//! What the stand-ins do is told in [`zeek_simulator`]; that it is a simulation they say themselves, and so do we.

use std::{ffi::OsString, process::ExitCode};

use zeek_simulator::SupervisorBehaviour;

/// The subcommand by which this program is a stand-in for `zeek`.
pub const SUBCOMMAND: &str = "simulated-zeek";

/// What an operator who finds this running must know.
pub(crate) const WARNING: &str =
    "SIMULATION: --simulate runs stand-ins for Zeek; they analyse no traffic and write no logs";

/// The Zeek that the stand-ins say to be.
pub(crate) fn version() -> String {
    format!("zeek version {}", SupervisorBehaviour::default().zeek_version)
}

/// Is what the arguments say: a stand-in for `zeek`.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    zeek_simulator::run(vec![SUBCOMMAND.into()], arguments)
}
