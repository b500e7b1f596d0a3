//! What travels between the core and those that it talks to, without I/O: a message becomes an input or is refused, an action becomes
//! messages. The runtime drives it with sockets, a replay with a recording.
//!
//! ```text
//!   message --> PeerSession, ClientSession --> Input --> core --> Action --> Publication --> Wire::deliver --> messages
//!                          \-- what the peer or the client speaks, with each of its messages --^
//! ```
//!
//! A session belongs to one connection and learns what is spoken there, because each peer may speak another dialect of the API. It may be on
//! another thread than what is sent, so what it has learnt goes to [`Wire`] with what it has read.

mod clients;
mod deliver;
mod known;
mod messages;
mod peers;
mod shared;
#[cfg(test)]
mod tests;

pub use clients::{ClientSession, FromClient};
pub use deliver::Deliveries;
pub use known::{Assumed, Wire};
pub use messages::{NativePeers, NotSaid, Publication, ToNative, readable};
pub use peers::{FromPeer, Inbound, PeerSession, Refusal};
