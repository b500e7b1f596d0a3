use std::{error::Error, io, net::SocketAddr};

use broker_codec::control::RoutingUpdateError;

use crate::tls::TlsConfigError;

/// An operation on a socket failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The server was given no address to listen on.
    #[error("no address to listen on")]
    NoAddress,
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A name to listen on is unknown.
    #[error("cannot resolve {host:?}")]
    Resolve {
        /// The name as configured.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// The subscriptions do not fit a message.
    #[error("too many subscriptions: {0}")]
    Subscriptions(#[from] RoutingUpdateError),
    /// The system has no random numbers for an endpoint id.
    #[error("cannot draw a random endpoint id")]
    Random(#[source] io::Error),
    /// There is no tokio runtime to run it on.
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
