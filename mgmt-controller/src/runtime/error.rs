use broker_endpoint::EndpointError;
use mgmt_daemon::runtime::HostError;

use crate::store::StoreError;

/// The controller cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host stands in the way.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Agents and native clients cannot be served where the configuration says.
    #[error(
        "cannot serve agents over Broker; --listen needs an address, an interface or a host name of this machine"
    )]
    BrokerListener(#[source] EndpointError),
    /// Agents and native clients cannot be served.
    #[error(
        "cannot serve agents over Broker; end the process that has the port, or choose another by --listen"
    )]
    Broker(#[source] EndpointError),
    /// TLS of agents and native clients is not configured as it should be.
    #[error("cannot serve agents over Broker with the Broker::ssl_ settings")]
    BrokerTls(#[source] EndpointError),
    #[error(
        "cannot serve WebSocket clients; end the process that has the port, or choose another by --websocket-listen"
    )]
    WebSocket(#[source] EndpointError),
    /// TLS of clients is not configured as it should be.
    #[error("cannot serve WebSocket clients with Management::Controller::tls_options_websocket")]
    WebSocketTls(#[source] EndpointError),
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
