use std::{marker::PhantomData, net::SocketAddr};

use broker_codec::json::DataMessage;

use super::{ClientInfo, CountersSnapshot, Rejection, WebSocketConfig, WebSocketEvent};
use crate::EndpointError;

/// A running server; dropping it ends every connection without a goodbye, see [`WebSocketServer::shutdown`].
#[derive(Debug)]
pub struct WebSocketServer<T> {
    message: PhantomData<T>,
}

impl<T: Send + 'static> WebSocketServer<T> {
    /// Starts to listen.
    ///
    /// `admit` parses and authorises what clients publish. It runs in the task of the client (for large messages on a
    /// thread for blocking work), so it may take its time without delaying others; what it refuses is answered
    /// with an error message, and the connection stays. What it admits goes to the owner, and to the other clients
    /// that subscribed to its topic.
    ///
    /// # Errors
    ///
    /// If an address cannot be listened on, or a limit in the configuration is zero.
    #[expect(clippy::unused_async, reason = "outline")]
    pub async fn bind<F>(_config: WebSocketConfig, _admit: F) -> Result<Self, EndpointError>
    where
        F: Fn(&ClientInfo, DataMessage) -> Result<T, Rejection> + Send + Sync + 'static,
    {
        todo!("WebSocket server")
    }

    /// Where the server listens: the first of [`Self::local_addrs`].
    pub fn local_addr(&self) -> SocketAddr {
        todo!("WebSocket server")
    }

    /// Where the server listens, in the order of the configuration and with the ports that the system chose.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        todo!("WebSocket server")
    }

    /// The next event; `None` after [`Self::shutdown`]. May be cancelled without losing an event.
    #[expect(clippy::unused_async, reason = "outline")]
    pub async fn recv(&mut self) -> Option<WebSocketEvent<T>> {
        todo!("WebSocket server")
    }

    /// A handle for publishing to clients.
    pub fn publisher(&self) -> Publisher {
        todo!("WebSocket server")
    }

    /// What the server has seen so far.
    pub fn counters(&self) -> CountersSnapshot {
        todo!("WebSocket server")
    }

    /// Stops listening, delivers what was published, and ends every connection with code 1001 "Terminating", as
    /// Zeek's server does. Takes at most twice [`WebSocketConfig::close_timeout`].
    #[expect(clippy::unused_async, reason = "outline")]
    pub async fn shutdown(self) {
        todo!("WebSocket server")
    }
}

/// Publishes to the clients of a [`WebSocketServer`]; cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {}

impl Publisher {
    /// Delivers a message to every client that subscribed to a prefix of its topic.
    ///
    /// The message is written as JSON once, in a task of the server, and never waits for a client: one that reads too
    /// slowly is disconnected. What one task publishes arrives in its order. Waits only while
    /// [`PUBLICATIONS_MAX`](Self::PUBLICATIONS_MAX) earlier messages are not written as JSON yet. Without effect
    /// after the server's end.
    #[expect(clippy::unused_async, reason = "outline")]
    pub async fn publish(&self, _message: DataMessage) {
        todo!("WebSocket server")
    }

    /// How many published messages may wait to be written as JSON.
    pub const PUBLICATIONS_MAX: usize = 256;
}
