use std::path::PathBuf;

use mgmt_daemon::{error::HostError, lock::LockError};

/// The agent cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The host stands in the way.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Another agent works in our directory, or that cannot be told.
    #[error(
        "the directory {path} cannot be used; stop the other agent, or choose another --name or --state-dir"
    )]
    Lock { path: PathBuf, source: LockError },
    /// What an earlier agent has written down cannot be read.
    #[error(
        "cannot read {path}, which says what should run on this host; if it is damaged, remove it and deploy again"
    )]
    Desired { path: PathBuf, source: std::io::Error },
    /// Nodes run that another Supervisor than the one that is to keep them would start once more.
    #[error(
        "nodes of this agent run that it keeps itself, and a Supervisor of Zeek's would start a second process of each: {nodes}; start the \
         agent as before (--supervise native or systemd) and deploy a configuration without nodes, or end them by hand"
    )]
    Kept { nodes: String },
    /// A Supervisor of Zeek's runs, with its nodes, which the agent would start once more.
    #[error(
        "a Supervisor of Zeek's that an earlier agent has started runs with its nodes, and this one would start a second process of each: \
         processes {pids:?}; start the agent as before (--start-supervisor) and stop it in good order, or end them by hand"
    )]
    SupervisorLeft { pids: Vec<i32> },
    /// A script of ours cannot be written.
    #[error("cannot write the script {path}")]
    Script { path: PathBuf, source: std::io::Error },
}
