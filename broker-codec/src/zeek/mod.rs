//! Zeek's messages, which travel as the payload of Broker's data messages (`zeek.hh`).
//!
//! Each is a list `[1, type, content]`. Checked is what Broker checks (`zeek.cc`, `Message::validate_outer_fields` and its
//! siblings); surplus elements are ignored as there, and gone when the message is written again.

mod content;
mod event;
mod message;
mod shared;
mod view;

#[cfg(test)]
mod tests;

pub use content::message_type;
pub use event::{Event, NETWORK_TIMESTAMP};
pub use message::Message;
pub use shared::{SharedEnd, SharedEvent};
pub use view::MessageView;
