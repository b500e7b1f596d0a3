//! The handshake of two endpoints (`internal/connector.cc`, `internal/wire_format.cc`): its messages and its machine.

mod machine;
mod message;

pub use machine::{Admission, Awaited, Close, HANDSHAKE_TIMEOUT, Handshake, Output, Refusal, Role, Side};
pub use message::{
    Announcement, DropConn, Hello, MAGIC, Message, MessageError, PROTOCOL_VERSION, VersionSelect,
};
