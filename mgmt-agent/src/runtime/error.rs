use std::path::PathBuf;

use broker_endpoint::EndpointError;
use mgmt_daemon::{lock::LockError, process::with_causes, runtime::HostError};

/// The agent cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The host stands in the way.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Nodes and controllers cannot be served where the configuration says.
    #[error(
        "cannot serve nodes and controllers over Broker; --listen needs an address, an interface or a host name of this machine"
    )]
    BrokerListener(#[source] EndpointError),
    #[error(
        "cannot serve nodes and controllers over Broker: {}; end the other agent, or choose another --listen",
        with_causes(.0)
    )]
    Broker(EndpointError),
    /// TLS is not configured as it should be.
    #[error("cannot serve nodes and controllers over Broker with the Broker::ssl_ settings")]
    BrokerTls(#[source] EndpointError),
    /// Another agent works in our directory, or that cannot be told.
    #[error(
        "the directory {path} cannot be used; stop the other agent, or choose another --name or --state-dir"
    )]
    Lock { path: PathBuf, source: LockError },
    /// A script of ours cannot be written.
    #[error("cannot write the script {path}")]
    Script { path: PathBuf, source: std::io::Error },
}

impl RunError {
    /// The Broker endpoint cannot start.
    pub(super) fn of_endpoint(error: EndpointError) -> Self {
        if error.is_about_tls() {
            Self::BrokerTls(error)
        } else if error.is_about_the_host() {
            Self::BrokerListener(error)
        } else {
            Self::Broker(error)
        }
    }
}
