//! The WebSocket server over loopback, spoken to in raw bytes and with an independent client library.

mod abuse;
mod client;
mod credit;
mod frames;
mod http;
mod publishing;
mod server;
mod session;
