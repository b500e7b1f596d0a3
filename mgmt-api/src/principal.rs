//! Who asks a daemon for something.

use std::{fmt, net::SocketAddr};

use broker_codec::{EndpointId, data::ZeekString};
use serde::{Deserialize, Serialize};

/// Who asks: by which door, from where, and by which certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The door.
    pub door: Door,
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The subject of its certificate, if it has shown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ZeekString>,
}

/// By what a request came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// A client's WebSocket connection.
    WebSocket {
        /// The number of the connection.
        client: u64,
        /// What the client calls itself, if it does.
        application: Option<ZeekString>,
    },
    /// A Broker peering.
    Broker {
        /// The peer.
        peer: EndpointId,
    },
}

/// For the log: `WebSocket client 3 at 10.0.0.9:50000, zeek-client/1.4.0`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { door, address, .. } = self;
        match door {
            Door::WebSocket { client, application } => {
                write!(f, "WebSocket client {client} at {address}")?;
                application.iter().try_for_each(|name| write!(f, ", {name}"))
            }
            Door::Broker { peer } => write!(f, "Broker peer {peer} at {address}"),
        }
    }
}
