//! The command line of what is about revisions.

use clap::Subcommand;
use mgmt_api::operator::check_note;

#[derive(Debug, Subcommand)]
pub(crate) enum RevisionsCommand {
    /// Show what has been deployed, the last first, each with its number, by way of the controller
    History,
    /// Print the configuration of a revision as a cluster file of zeek-client's, by way of the controller
    Show {
        /// Its number, as `mgmtctl history` has it
        #[arg(value_name = "REVISION")]
        revision: String,
    },
    /// Show in what a revision differs from another one, by way of the controller
    Diff {
        /// The number of the older one
        #[arg(value_name = "REVISION")]
        old: String,
        /// That of the newer one; without, what is deployed
        #[arg(value_name = "REVISION")]
        new: Option<String>,
    },
    /// Deploy an earlier revision again, by way of the controller, and follow it as `deploy` does: it becomes a new revision
    Rollback {
        /// Its number; without, the last one before what is deployed that differs from it
        #[arg(value_name = "REVISION")]
        revision: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Why, for `mgmtctl history`; without, which revision it is
        #[arg(long, value_name = "TEXT", value_parser = note)]
        note: Option<String>,
    },
}

pub(super) fn note(text: &str) -> Result<String, String> {
    match check_note(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(refusal) => Err(refusal.reason.to_string()),
    }
}
