//! Stand-ins for Zeek's processes: a Supervisor and cluster nodes that talk to an agent as Zeek's do, and analyse nothing.
//!
//! ```text
//!   agent  <-- SupervisorControl, notify_node_exit -->  zeek -j            Supervisor: answers at once
//!     ^                                                    | orders          stem: one order after the other
//!     |                                                    v
//!     +------ notify_node_hello, node_dispatch ------->  zeek.worker-01 ...  nodes, real processes
//! ```
//!
//! [`run`] is the `main` of a program that can take Zeek's place: the package's binary `zeek`, for tests, and
//! `mgmt-agent --simulate`, to see a cluster without Zeek. It understands as much of Zeek's command line
//! as an agent uses:
//!
//! | arguments | what it does |
//! |---|---|
//! | `--version` | prints `zeek version 9.0.0` |
//! | `-j`, scripts, `Module::name=value` ... | is a Supervisor |
//! | `-U FILE`, `-i INTERFACE` or `-r FILE`, scripts, `Module::name=value` ... | is the cluster node that `CLUSTER_NODE` in its environment names |
//! | `-a` besides these | only looks whether scripts are there and can be read |
//! | `--simulation` besides these | has Supervisor and nodes say that they are a simulation |
//!
//! What Zeek's Supervisor does is told in its own words in `supervisor`, and which of it is recorded in `fixtures/`;
//! the test `wire::supervisor` plays recorded agents to it and compares what it says.
//!
//! Faults are chosen by two environment variables that hold JSON: [`SUPERVISOR_VARIABLE`] and [`NODE_VARIABLE`], see
//! [`SupervisorBehaviour`] and [`NodeBehaviour`]. The latter can be part of a node's own environment, and so of the
//! configuration that is deployed.

mod behaviour;
mod command_line;
mod failure;
mod node;
mod release;
mod supervisor;
mod unsupervised;

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    process::ExitCode,
};

use broker_codec::data::ZeekString;

use behaviour::of_environment;
pub use behaviour::{Exit, NODE_VARIABLE, NodeBehaviour, SUPERVISOR_VARIABLE, SupervisorBehaviour};
use command_line::Invocation;
use failure::Failure;
use release::Release;

/// Does what a command line says, see [the crate](crate). A stand-in starts further ones as itself, with the arguments `program` before
/// all others; `arguments` are those that follow them.
pub fn run(program: Vec<OsString>, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = Invocation::parse(arguments).and_then(|invocation| match invocation {
        Invocation::Version => {
            let behaviour: SupervisorBehaviour =
                of_environment(SUPERVISOR_VARIABLE).map_err(Failure::fatal)?;
            print(&format!("zeek version {}", behaviour.zeek_version));
            Ok(ExitCode::SUCCESS)
        }
        Invocation::Supervise(command_line) => supervisor::run(program, &command_line),
        Invocation::Node(command_line) => node::run(&program, &command_line),
        Invocation::Unsupervised(command_line) => unsupervised::run(&program, &command_line),
        Invocation::Linger(duration) => {
            std::thread::sleep(duration);
            Ok(ExitCode::SUCCESS)
        }
    });
    outcome.unwrap_or_else(|error| {
        complain(&error.to_string());
        ExitCode::FAILURE
    })
}

/// Writes to standard output; there is no other place to tell if that fails.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes to standard error; there is no other place to tell if that fails.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn path(bytes: &ZeekString) -> PathBuf {
    OsStr::from_bytes(bytes.as_bytes()).into()
}
