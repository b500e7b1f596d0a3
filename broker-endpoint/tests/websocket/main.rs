//! The WebSocket server over loopback, spoken to in raw bytes and with an independent client library.

mod client;
mod http;
mod server;
mod session;
