//! Zeek Broker's data model, wire formats and protocol machines, without I/O.
//!
//! Nothing in this crate opens a socket, reads a clock or draws a random number: bytes and events come in, values
//! and bytes go out. Sources cited as `file, symbol` are Broker 2.8.0-dev.329 (zeek/broker at `7cc7a56b`, the one in
//! Zeek 9.0.0-rc1), below `libbroker/broker/`.
//!
//! | module | what |
//! |---|---|
//! | [`data`] | the fifteen kinds of Broker values, and the serde bridge to Rust types |
//! | [`binary`] | values to and from Broker's binary format |
//! | [`json`] | values and messages to and from Broker's JSON format |
//! | [`websocket`] | the JSON sessions of WebSocket clients |
//! | [`zeek`] | Zeek's messages inside values: events, batches, logs |
//! | [`frame`] | the length before each message |
//! | [`handshake`] | the messages and the machine that make a connection a peering |
//! | [`envelope`] | what travels between peers: sender, receiver, kind, topic, payload |
//! | [`control`] | payloads other than values: filters, pings |
//! | [`peering`] | one established peering |
//! | [`endpoint`] | all connections: from handshake to peering, which may be, and who receives what |

// What peers send must never make us panic.
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod binary;
pub mod control;
pub mod data;
mod elapsed;
pub mod endpoint;
mod endpoint_id;
pub mod envelope;
mod error_code;
mod filter;
pub mod frame;
pub mod handshake;
pub mod json;
pub mod peering;
mod recipients;
mod router;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
mod topic;
pub mod websocket;
pub mod zeek;

pub use data::Data;
pub use elapsed::Elapsed;
pub use endpoint::Endpoint;
pub use endpoint_id::{EndpointId, ParseEndpointIdError};
pub use envelope::{Envelope, EnvelopeKind, Payload};
pub use error_code::ErrorCode;
pub use filter::{FILTER_TOPICS_MAX, Filter};
pub use recipients::Recipients;
pub use router::ConnId;
pub use topic::{TOPIC_LEN_MAX, Topic, TopicTooLong};
