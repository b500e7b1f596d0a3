//! The command line of roll-outs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mgmt_api::operator::{OnFailure, OnLost};

use super::{revisions::note, role, seconds};

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Begin, and follow it; the last line says what has come of it
    Start(RolloutStart),
    /// Show how far it is, or what has come of the last one
    Status {
        /// Wait for its end
        #[arg(short, long)]
        follow: bool,
    },
    /// Finish what is being changed, and begin nothing else
    Pause,
    /// Go on
    Resume,
    /// Have all nodes that were changed go back to what is deployed
    Abort,
}

#[derive(Args, Debug)]
pub(crate) struct RolloutStart {
    /// A TOML file, a cluster file of zeek-client's, or JSON, to be staged first; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Change the nodes of this instance first
    #[arg(long, value_name = "INSTANCE")]
    pub(crate) canary: Vec<String>,
    /// Change nodes on so many instances at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) max_parallel: u32,
    /// Let no more nodes of a role be down at a time, as in worker=4
    #[arg(long, value_name = "ROLE=NUMBER", value_parser = role_and_number)]
    pub(crate) max_unavailable: Vec<(String, u32)>,
    /// Watch nodes for so long after they are up, as in 30s or 5min
    #[arg(long, value_name = "DURATION", value_parser = seconds, default_value = "30s")]
    pub(crate) watch: u64,
    /// What to do when a node fails: rollback, or stop
    #[arg(long, value_name = "WHAT", default_value_t)]
    pub(crate) on_failure: OnFailure,
    /// What to do when the agent of an instance is lost whose nodes are being changed: wait, stop or rollback
    #[arg(long, value_name = "WHAT", default_value_t)]
    pub(crate) on_lost: OnLost,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Why, for `mgmtctl history`
    #[arg(long, value_name = "TEXT", value_parser = note)]
    pub(crate) note: Option<String>,
}

fn role_and_number(text: &str) -> Result<(String, u32), &'static str> {
    let (word, number) = text
        .split_once('=')
        .ok_or("it is a role and a number, as in worker=4")?;
    let role = role(word)?;
    let number = number
        .parse()
        .map_err(|_| "it is a role and a number, as in worker=4")?;
    Ok((role.to_string(), number))
}
