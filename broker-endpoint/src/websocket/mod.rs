//! A WebSocket server that speaks Zeek's JSON protocol.
//!
//! It answers as Zeek's own server does (`src/cluster/websocket/WebSocket.cc`, zeek/zeek at v9.0.0-rc1, on top of
//! `IXWebSocket` 11.4.6), with limits where that one has none: every queue is bounded, a misbehaving client gets an
//! error or a close code with a reason, and no client delays another.
//!
//! ```no_run
//! use broker_codec::{Recipients, json::DataMessage, zeek::Event};
//! use broker_endpoint::websocket::{Rejection, WebSocketConfig, WebSocketEvent, WebSocketServer};
//!
//! # async fn run() -> Result<(), broker_endpoint::EndpointError> {
//! let config = WebSocketConfig::new(
//!     ([127, 0, 0, 1], 2149).into(),
//!     "3cfb104e-6fbd-5065-a31c-be18be4b79e0",
//!     "9.0.0-rc1",
//! );
//! let mut server = WebSocketServer::bind(config, |_client| {
//!     |message: DataMessage| Event::from_data(message.data).map_err(|error| Rejection::no_event(&error))
//! })
//! .await?;
//! let publisher = server.publisher();
//! while let Some(event) = server.recv().await {
//!     if let WebSocketEvent::Message { client, message, .. } = event {
//!         tracing::info!(%client, event = %message.name, "request");
//!         let echo = DataMessage { topic: "example".into(), data: message.to_data() };
//!         publisher.publish(Recipients::all(), echo).await;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod config;
mod connection;
mod counted;
mod ending;
mod event;
mod http;
mod hub;
mod liveness;
mod origin;
mod outbound;
mod publisher;
mod serve;
mod server;
mod shared;
#[cfg(test)]
mod tls_tests;

pub use broker_codec::websocket::{CloseCode, Rejection};
pub use config::{MayHear, WebSocketConfig, WebSocketTls};
pub use counted::{CloseCause, Counted};
pub use event::{ClientId, ClientInfo, WebSocketEvent};
pub use hub::is_long;
pub use publisher::Publisher;
pub use server::WebSocketServer;
