//! Broker's sockets on tokio.
//!
//! This crate alone knows sockets and WebSocket frames; what the bytes mean is decided in [`broker_codec`], without
//! I/O. It holds:
//!
//! * [`websocket`]: the server that Zeek clients such as zeek-client speak JSON with.

#![expect(clippy::todo, reason = "outline")]

mod error;
pub mod websocket;

pub use error::EndpointError;
