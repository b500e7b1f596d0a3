//! Zeek Broker's data model, wire formats and protocol machines, without I/O.
//!
//! Nothing in this crate opens a socket, reads a clock or draws a random number: bytes and events come in, values
//! and bytes go out. Sources cited as `file, symbol` are Broker 2.8.0-dev.329 (zeek/broker at `7cc7a56b`, the one in
//! Zeek 9.0.0-rc1), below `libbroker/broker/`.
//!
//! | module | what |
//! |---|---|
//! | [`data`] | the fifteen kinds of Broker values, owned and borrowed, and the serde bridge to Rust types |
//! | [`binary`] | values to and from Broker's binary format |
//! | [`json`] | values and messages to and from Broker's JSON format |
//! | [`websocket`] | the JSON sessions of WebSocket clients |
//! | [`zeek`] | Zeek's messages inside values: events, batches, logs |

pub mod binary;
pub mod data;
pub mod json;
pub mod websocket;
pub mod zeek;

pub use data::Data;
