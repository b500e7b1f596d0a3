//! The peers that ask a daemon for something.

use std::{fmt, net::SocketAddr};

use broker_codec::{EndpointId, data::ZeekString};
use serde::{Deserialize, Serialize};

/// A peer that asks for something: by which transport, from where, and by which certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    #[serde(rename = "door")]
    pub transport: Transport,
    /// The other end of the connection, unless it is on this host's control socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
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
    /// The control socket: the user and the process at its other end.
    ControlSocket { uid: u32, pid: i32 },
}

/// For the log: `WebSocket client 3 at 10.0.0.9:50000, zeek-client/1.4.0`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::WebSocket { client, .. } => write!(f, "WebSocket client {client}")?,
            Transport::Broker { peer } => write!(f, "Broker peer {peer}")?,
            Transport::ControlSocket { uid, pid } => {
                write!(f, "user {uid} on the control socket (PID {pid})")?;
            }
        }
        if let Some(address) = self.address {
            write!(f, " at {address}")?;
        }
        match &self.transport {
            Transport::WebSocket {
                application: Some(name),
                ..
            } => write!(f, ", {name}"),
            _ => Ok(()),
        }
    }
}
