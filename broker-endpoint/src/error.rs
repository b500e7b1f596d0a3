use std::{io, net::SocketAddr};

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
    /// A limit in the configuration makes no sense.
    #[error("{name} must be {rule}")]
    Config {
        /// The field of the configuration.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}
