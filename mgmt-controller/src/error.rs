use broker_endpoint::EndpointError;
use mgmt_daemon::error::HostError;

use crate::{authority::CaError, store::StoreError};

/// The controller cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The controller's own CA cannot be used.
    #[error("cannot use the CA of this controller")]
    Ca(#[from] CaError),
    /// The host stands in the way.
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(
        "cannot serve WebSocket clients; end the process that has the port, or choose another by --websocket-listen"
    )]
    WebSocket(#[source] EndpointError),
    /// TLS of clients is not configured as it should be.
    #[error("cannot serve WebSocket clients with Management::Controller::tls_options_websocket")]
    WebSocketTls(#[source] EndpointError),
}
