//! Broker's sockets on tokio.
//!
//! This crate alone knows sockets and WebSocket frames; what the bytes mean is decided in [`broker_codec`], without
//! I/O. It holds:
//!
//! * [`tls`]: TLS in Broker's modes, and telling it from plaintext,
//! * [`websocket`]: the server that Zeek clients such as zeek-client speak JSON with.

mod error;
pub mod tls;
pub mod websocket;

pub use error::EndpointError;
