//! A WebSocket server that speaks Zeek's JSON protocol.
//!
//! It answers as Zeek's own server does (`src/cluster/websocket/WebSocket.cc`, zeek/zeek at v9.0.0-rc1, on top of
//! `IXWebSocket` 11.4.6), with limits where that one has none: every queue is bounded, a misbehaving client gets an
//! error or a close code with a reason, and no client delays another.
//!
//! ```no_run
//! use broker_codec::{json::DataMessage, zeek::Event};
//! use broker_endpoint::websocket::{Rejection, WebSocketConfig, WebSocketEvent, WebSocketServer};
//!
//! # async fn run() -> Result<(), broker_endpoint::EndpointError> {
//! let config = WebSocketConfig::new(
//!     vec![([127, 0, 0, 1], 2149).into()],
//!     "3cfb104e-6fbd-5065-a31c-be18be4b79e0",
//!     "9.0.0-rc1",
//! );
//! let mut server = WebSocketServer::bind(config, |_client, message: DataMessage| {
//!     Event::from_data(message.data).map_err(|error| Rejection::no_event(&error))
//! })
//! .await?;
//! let publisher = server.publisher();
//! while let Some(event) = server.recv().await {
//!     if let WebSocketEvent::Message { client, message, .. } = event {
//!         tracing::info!(%client, event = %message.name, "request");
//!         let echo = DataMessage { topic: "example".into(), data: message.to_data() };
//!         publisher.publish(echo).await;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod config;
mod connection;
mod counters;
mod ending;
mod http;
mod hub;
mod liveness;
mod origin;
mod outbound;
mod server;
#[cfg(test)]
mod tls_tests;

use std::{fmt, net::SocketAddr};

use broker_codec::data::ZeekString;
pub use broker_codec::websocket::{CloseCode, Rejection};

use crate::Credit;
pub use config::{WebSocketConfig, WebSocketTls};
pub use counters::{CloseCause, CountersSnapshot};
pub use hub::is_long;
pub use server::{Publisher, WebSocketServer};

/// A client connection: the number in the endpoint name of its ack. Never reused within a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

impl ClientId {
    /// The number.
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
    /// The connection.
    pub client: ClientId,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Its `X-Application-Name` header, if it sent one; ASCII letters, digits and `/_-.=:*@` only.
    pub application_name: Option<ZeekString>,
}

/// What the owner of a [`WebSocketServer`] hears.
///
/// For one client the order is: connected, subscribed, messages, disconnected. What the first one announces, the
/// last one ends, also when a connection ends by a fault of ours.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WebSocketEvent<T> {
    /// A client completed the upgrade. It may not send messages before it has subscribed.
    Connected(ClientInfo),
    /// A client named the topics it wants to hear about. The ack is on its way.
    Subscribed {
        /// The connection.
        client: ClientId,
        /// The prefixes, as sent.
        topics: Vec<ZeekString>,
    },
    /// A client published something that was admitted.
    Message {
        /// The connection.
        client: ClientId,
        /// What the `admit` function of [`WebSocketServer::bind`] made of it.
        message: T,
        /// What it has of its client's credit. The client is not read from when all of that is given to messages that are under
        /// way.
        credit: Credit,
    },
    /// A connection is over.
    Disconnected {
        /// The connection.
        client: ClientId,
        /// The code of the CLOSE frame that was sent or received;
        /// [`CloseCode::ABNORMAL`] if there was none.
        code: CloseCode,
        /// The reason, from us or from the client.
        reason: ZeekString,
    },
}
