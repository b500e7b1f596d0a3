use std::{fmt, net::SocketAddr};

use broker_codec::{data::ZeekString, websocket::CloseCode};

use crate::{credit::Credit, tls::PeerCertificate};

/// A client connection: the number in the endpoint name of its ack. Never reused within a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(super) u64);

impl ClientId {
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who sent a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    pub client: ClientId,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Its `X-Application-Name` header, if it sent one; ASCII letters, digits and `/_-.=:*@` only.
    pub application_name: Option<ZeekString>,
    /// Its certificate, if it has shown one.
    pub certificate: Option<PeerCertificate>,
}

/// What the owner of a [`WebSocketServer`](super::WebSocketServer) hears.
///
/// For one client the order is: connected, messages, disconnected. What the first one announces, the
/// last one ends, also when a connection ends by a fault of ours.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WebSocketEvent<T> {
    /// A client completed the upgrade. It may not send messages before it has subscribed.
    Connected(ClientInfo),
    /// A client published something that was admitted.
    Message {
        client: ClientId,
        /// What the function that [`WebSocketServer::bind`](super::WebSocketServer::bind) is given for this client made of it.
        message: T,
        /// What it has of its client's credit. The client is not read from when all of that is given to messages that are under
        /// way.
        credit: Credit,
    },
    Disconnected {
        client: ClientId,
        /// The code of the CLOSE frame that was sent or received;
        /// [`CloseCode::ABNORMAL`] if there was none.
        code: CloseCode,
        /// The reason, from us or from the client.
        reason: ZeekString,
    },
}
