//! The peer under test, as the engine sees it.

use std::time::Duration;

use broker_codec::{Envelope, data::ZeekString, zeek::Event};
use bytes::Bytes;

/// Something that the peer under test sends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// A message of the handshake, without the length before it.
    Handshake(Bytes),
    Envelope(Envelope),
    Text(Bytes),
}

/// What the peer under test has sent and written.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// On which connection what was sent, in order.
    pub(super) outputs: Vec<(usize, Output)>,
    /// What went wrong with it, in words.
    pub(super) complaints: Vec<String>,
    /// The lines of its management log of level INFO and above.
    pub(super) log: Vec<String>,
}

/// A peer under test. Connections are known by their number in the capture. Everything that it is told comes from the
/// recording, with the ids that it has drawn itself in the place of the recorded ones.
pub(super) trait Subject {
    /// It is so late in the recording. What is due by then is brought about by [`wait`](Self::wait) alone.
    fn at(&mut self, _time: Duration) {}
    /// The recorded agent was stopped, with its nodes or without.
    fn stopping(&mut self, _without_nodes: bool) {}
    /// A connection is open.
    fn opened(&mut self, link: usize);
    /// The other end sends a message of the handshake.
    fn handshake(&mut self, _link: usize, _frame: &Bytes) {}
    /// The other end sends a message as a Broker peer.
    fn envelope(&mut self, link: usize, envelope: Envelope);
    /// A peer that is not in the recording connects and sends an event.
    fn unrecorded(&mut self, topic: &ZeekString, event: Event);
    /// The other end, a WebSocket client, sends a message.
    fn text(&mut self, link: usize, text: &Bytes);
    /// The other end has closed the connection.
    fn closed(&mut self, link: usize);
    /// The recorded program has said something: so it has heard of the peerings that its endpoint had made by then.
    fn proceed(&mut self) {}
    /// Something is awaited on this connection, or on any: lets time pass until something happens. `false` if nothing will.
    fn wait(&mut self, link: Option<usize>) -> bool;
    /// A running peer may still say something on this connection: waits for it, at most so long. `false` if it does not.
    fn linger(&mut self, _link: usize, _at_most: Duration) -> bool {
        false
    }
    /// The recording is over: what the peer under test still has to say is to come now.
    fn finish(&mut self) {}
    /// What it has sent since this was emptied.
    fn sent(&mut self) -> &mut Sent;
    /// Whether nothing of it can be compared, so that there is no use in going on.
    fn gives_up(&self) -> bool {
        false
    }
    /// Whether it is a process with an endpoint of its own: then its handshakes, its log and its store are not seen, and what it sends
    /// takes its time.
    fn is_running(&self) -> bool {
        false
    }
}
