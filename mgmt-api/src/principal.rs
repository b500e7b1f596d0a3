//! The peers that ask a daemon for something.

use std::{fmt, net::SocketAddr};

use broker_codec::{EndpointId, data::ZeekString};
use serde::{Deserialize, Serialize};

/// A peer that asks for something: by which transport, from where, and by which certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    #[serde(rename = "door")]
    pub transport: Transport,
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The subject of its certificate, if it has shown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ZeekString>,
}

/// By what a request came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// A client's WebSocket connection.
    WebSocket {
        /// The number of the connection.
        client: u64,
        /// What the client calls itself, if it does.
        application: Option<ZeekString>,
    },
    /// A Broker peering.
    Broker { peer: EndpointId },
}

/// For the log: `WebSocket client 3 at 10.0.0.9:50000, zeek-client/1.4.0`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            transport, address, ..
        } = self;
        match transport {
            Transport::WebSocket { client, application } => {
                write!(f, "WebSocket client {client} at {address}")?;
                application.iter().try_for_each(|name| write!(f, ", {name}"))
            }
            Transport::Broker { peer } => write!(f, "Broker peer {peer} at {address}"),
        }
    }
}
