//! Broker's sockets on tokio.
//!
//! This crate alone knows sockets, TLS and WebSocket frames; what the bytes mean is decided in [`broker_codec`], without
//! I/O. It holds:
//!
//! * [`Endpoint`]: a Broker endpoint with its native peerings,
//! * [`tls`]: TLS in Broker's modes, and telling it from plaintext,
//! * [`websocket`]: the server that Zeek clients such as zeek-client speak JSON with.
//!
//! # A subscriber
//!
//! Connects to a Zeek that listens on Broker's port, with Zeek's default TLS, and shows the events that it publishes.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use broker_codec::zeek::Event;
//! use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, PeerAddress};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = EndpointConfig::default();
//! config.subscriptions = vec!["zeek/events".try_into()?];
//! let mut endpoint = Endpoint::start(config)?;
//! let zeek = PeerAddress::new("zeek.example", 9999);
//! endpoint.handle().peer(zeek, Some(Duration::from_secs(1)));
//! while let Some(event) = endpoint.recv().await {
//!     match event {
//!         EndpointEvent::PeerAdded(peer) => tracing::info!(id = %peer.id, "connected"),
//!         EndpointEvent::PeerUnavailable { address, error, .. } => tracing::warn!(%address, %error, "not connected"),
//!         EndpointEvent::Message(message) => match Event::from_data(message.data) {
//!             Ok(event) => tracing::info!(topic = %message.topic, name = %event.name, arguments = event.args.len()),
//!             Err(error) => tracing::warn!(topic = %message.topic, %error, "not an event"),
//!         },
//!         other => tracing::debug!(?other),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod connect;
mod connection;
mod credit;
mod endpoint;
mod error;
mod file;
mod hosts;
mod listen;
mod queue;
mod socket;
mod sync;
mod time;
pub mod tls;
pub mod websocket;

pub use credit::Credit;
pub use endpoint::{
    Counted, EndReason, Endpoint, EndpointConfig, EndpointEvent, EndpointHandle, Message,
    ParsePeerAddressError, PeerAddress, PeerInfo, PeeringError, PublishError,
};
pub use error::{EndpointError, with_causes};
pub use file::read_file;
pub use hosts::{Hosts, is_page_of};
pub use listen::pending;
pub use time::at;
