//! Why nothing can be replayed.

use std::io;

use broker_endpoint::tls::TlsConfigError;

use super::recording::Role;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    #[error("the capture has no {role}; it has: {present}")]
    NoSuchRole { role: String, present: String },
    #[error("the recorded {role} was started {times} times; a running peer is not restarted")]
    Restarted { role: String, times: usize },
    /// None of its recorded peers can reach the running process.
    #[error("cannot replay with the running {role}: {reason}")]
    Unreachable { role: String, reason: String },
    #[error("cannot set up TLS")]
    Tls(#[from] TlsConfigError),
    #[error("cannot start the asynchronous runtime")]
    Runtime(#[from] io::Error),
}

impl ReplayError {
    pub(super) fn no_such_role(role: &impl ToString, present: &[Role]) -> Self {
        let present: Vec<String> = present.iter().map(Role::to_string).collect();
        Self::NoSuchRole {
            role: role.to_string(),
            present: present.join(", "),
        }
    }
}
