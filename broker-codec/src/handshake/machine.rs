use std::time::Duration;

use super::{DropConn, Message, MessageError, MessageKind};
use crate::{EndpointId, ErrorCode, Filter, data::ZeekString};

/// Which end of the TCP connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// We opened it.
    Connector,
    /// We accepted it.
    Acceptor,
}

/// Which side of the handshake we are: the endpoint with the smaller id is the originator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Our id is smaller.
    Originator,
    /// Our id is larger.
    Responder,
}

/// The router's answer to the question whether a connection may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is the only one with this peer.
    Proceed {
        /// The filter to announce.
        filter: Filter,
    },
    /// Another handshake with this peer is running; a second verdict will follow.
    Wait,
    /// It must end.
    Refuse(Refusal),
}

/// Why a connection is refused: the content of a `drop_conn` without its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// The reason in words, exactly as Broker sends it.
    pub description: ZeekString,
}

impl Refusal {
    /// A refusal in these words.
    pub fn new(code: ErrorCode, description: impl Into<ZeekString>) -> Self {
        Self {
            code,
            description: description.into(),
        }
    }
}

/// What the machine wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this message.
    Send(Message),
    /// The peer is known: ask the router, then call [`Handshake::admit`]. Nothing is sent until then.
    Identified {
        /// The peer's id.
        peer: EndpointId,
        /// Our side.
        side: Side,
    },
    /// The handshake is complete. Frames that follow are envelopes; send none before what was to be sent is flushed.
    Established {
        /// The peer's id.
        peer: EndpointId,
        /// Our side.
        side: Side,
        /// What the peer wants to receive.
        filter: Filter,
    },
    /// Close the connection once what was to be sent is flushed. Nothing follows.
    Close(Close),
}

/// Why a handshake ended without a peering.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Close {
    /// The peer's bytes are not a message that we can take.
    #[error(transparent)]
    Malformed(#[from] MessageError),
    /// A valid message at the wrong time.
    #[error("unexpected {} while waiting for {}", .message.name(), .awaited)]
    Unexpected {
        /// The message.
        message: MessageKind,
        /// What was awaited instead.
        awaited: &'static str,
    },
    /// The peer has our own id: we are connected to ourselves.
    #[error("peer has our own endpoint id")]
    OwnId,
    /// The peer refused.
    #[error("dropped by the peer: {} ({})", .0.code, .0.description)]
    Dropped(DropConn),
    /// The router refused.
    #[error("refused: {}", .0.description)]
    Refused(Refusal),
    /// The peer took too long.
    #[error("handshake timed out while waiting for {awaited}")]
    TimedOut {
        /// What was awaited.
        awaited: &'static str,
    },
}

/// One handshake on one connection.
#[derive(Clone, Debug)]
pub struct Handshake {}

impl Handshake {
    /// Begins a handshake. It must be complete at `deadline`, a time since an epoch of the caller's choice.
    pub fn new(_role: Role, _own: EndpointId, _deadline: Duration) -> Self {
        todo!("handshake")
    }

    /// Takes the content of a frame.
    pub fn handle_frame(&mut self, _frame: &[u8]) {
        todo!("handshake")
    }

    /// Takes a message.
    pub fn handle(&mut self, _message: Message) {
        todo!("handshake")
    }

    /// Takes the router's verdict that [`Output::Identified`] asked for.
    pub fn admit(&mut self, _verdict: Admission) {
        todo!("handshake")
    }

    /// Takes the passing of time.
    pub fn handle_timeout(&mut self, _now: Duration) {
        todo!("handshake")
    }

    /// When [`Self::handle_timeout`] should be called next.
    pub fn deadline(&self) -> Option<Duration> {
        todo!("handshake")
    }

    /// What to do next; `None` until there is new input.
    pub fn poll(&mut self) -> Option<Output> {
        todo!("handshake")
    }
}
