//! Why a daemon cannot start or go on.

use std::{io, net::SocketAddr, path::PathBuf};

use broker_endpoint::{EndpointError, tls::TlsConfigError, with_causes};

use crate::deny_list::DenyListError;

/// A daemon cannot start, or cannot go on, because of its host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    #[error("cannot change to the working directory {path}")]
    WorkingDir { path: PathBuf, source: io::Error },
    #[error("cannot write the ready file {path}")]
    ReadyFile { path: PathBuf, source: io::Error },
    #[error("cannot write the journal {path}")]
    Journal { path: PathBuf, source: io::Error },
    #[error("cannot {operation}")]
    System {
        operation: &'static str,
        source: io::Error,
    },
    #[error(
        "cannot serve {peers} over Broker: {}; --listen needs an address, an interface or a host name of this machine",
        with_causes(.why)
    )]
    Listener {
        peers: &'static str,
        why: Box<EndpointError>,
    },
    #[error(
        "cannot serve {peers} over Broker: {}; end the process that has the port, or choose another by --listen",
        with_causes(.why)
    )]
    Broker {
        peers: &'static str,
        why: Box<EndpointError>,
    },
    #[error("cannot serve {peers} over Broker with the Broker::ssl_ settings: {}", with_causes(.why))]
    BrokerTls {
        peers: &'static str,
        why: Box<EndpointError>,
    },
    #[error(
        "cannot serve HTTP on {address}; give an address of this machine by --http-listen, or end the process that has the port"
    )]
    Http { address: SocketAddr, source: io::Error },
    #[error("cannot serve HTTP with http_certificate, http_key and http_client_ca: {}", with_causes(.0))]
    HttpTls(TlsConfigError),
    #[error(transparent)]
    DenyList(#[from] DenyListError),
    #[error("{0} has stopped, which is a fault in this program")]
    Stopped(&'static str),
    #[error("ended by a second signal before everything was written")]
    Interrupted,
}

/// [`HostError::System`]
pub const fn system(operation: &'static str, source: io::Error) -> HostError {
    HostError::System { operation, source }
}
