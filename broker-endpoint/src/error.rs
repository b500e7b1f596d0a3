use std::{error::Error, io, net::SocketAddr};

use broker_codec::control::RoutingUpdateError;

use crate::tls::TlsConfigError;

/// An operation on a socket failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot resolve {host:?}")]
    Resolve { host: String, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    #[error("too many subscriptions: {0}")]
    Subscriptions(#[from] RoutingUpdateError),
    /// The system has no random numbers for an endpoint id.
    #[error("cannot draw a random endpoint id")]
    Random(#[source] io::Error),
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
}

impl EndpointError {
    /// Whether TLS cannot be set up as configured.
    pub const fn is_about_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether this machine does not have what was to be listened on, by any name.
    pub fn is_about_the_host(&self) -> bool {
        match self {
            Self::Resolve { .. } => true,
            Self::Listen { source, .. } => source.kind() == io::ErrorKind::AddrNotAvailable,
            _ => false,
        }
    }
}

/// An error with its causes, in one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text
}
