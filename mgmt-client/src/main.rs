//! `mgmtctl`: operates clusters of Zeek through their controller, or one sensor through its agent, on the daemon's control socket or its HTTP port.
//!
//! | module | what |
//! |---|---|
//! | [`access`] | what commands about tokens ask for, and say |
//! | [`client`] | asks a daemon, by HTTP |
//! | [`clusters`] | what commands about several clusters ask for, and say |
//! | [`cluster_file`] | zeek-client's cluster files, read and written |
//! | [`colours`] | states and verdicts in colours |
//! | [`commands`] | what each command asks for, and says |
//! | [`completion`] | what a shell completes |
//! | [`configurations`] | the same of commands about configurations |
//! | [`deploy`] | the same of commands about deployments |
//! | [`enrol`] | the same of the command `enroll` |
//! | [`events`] | the stream of events, read and shown |
//! | [`facts`] | what a file in TOML does not say of itself |
//! | [`manual`] | manual pages |
//! | [`nodes`] | what commands about one node ask for, and say |
//! | [`options`] | the command line |
//! | [`place`] | where a daemon is asked |
//! | [`plan`] | what commands about plans ask for, and say |
//! | [`revisions`] | what commands about revisions ask for, and say |
//! | [`rollout`] | what commands about roll-outs ask for, and say |
//! | [`status`] | how `status` is shown, and what it means |
//! | [`templates`] | configurations in TOML |
//! | [`tls`] | TLS to a daemon |

mod access;
mod client;
mod cluster_file;
mod clusters;
mod colours;
mod commands;
mod completion;
mod configurations;
mod deploy;
mod enrol;
mod events;
mod facts;
mod manual;
mod nodes;
mod options;
mod place;
mod plan;
mod revisions;
mod rollout;
mod status;
mod templates;
mod tls;

use std::process::ExitCode;

use clap::Parser;

use self::{client::ClientError, options::Options};

/// How a run has ended. `status` has the same codes, so that a cron job or a monitoring check can use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// It is done; all is as deployed.
    Done = 0,
    /// It failed, or not all is as deployed.
    Failed = 1,
    /// A plan has something to change.
    Changes = 2,
    /// The daemon cannot be asked, or does not tell how all is.
    CannotTell = 3,
    /// The command line is wrong.
    Usage = 64,
}

impl Exit {
    /// Whether all is well.
    const fn of(is_well: bool) -> Self {
        if is_well { Self::Done } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

fn main() -> ExitCode {
    completion::complete_if_asked();
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            return exit.into();
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(&options)),
        Err(error) => Err(ClientError::Broken(error.to_string())),
    };
    let exit = outcome.unwrap_or_else(|error| {
        commands::note(&error.to_string());
        match error.exit() {
            Exit::Failed if options.command.judges() => Exit::CannotTell,
            exit => exit,
        }
    });
    if let Some(error) = commands::not_printed() {
        commands::note(&format!("cannot write to standard output: {error}"));
        return Exit::Failed.into();
    }
    exit.into()
}
