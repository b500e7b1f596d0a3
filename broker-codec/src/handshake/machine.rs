use std::{collections::VecDeque, fmt, mem, time::Duration};

use super::message::{Announcement, DropConn, Hello, Message, MessageError, VersionSelect};
use crate::{data::ZeekString, endpoint_id::EndpointId, error_code::ErrorCode, filter::Filter};

/// How long a handshake may take if nothing else is configured. Broker waits for ever.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

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
        filter: Filter,
    },
    /// Another handshake with this peer is running; a second verdict will follow.
    Wait,
    Refuse(Refusal),
}

/// Why a connection is refused: the content of a `drop_conn` without its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
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
    /// Send this message. The last one of the originator should be flushed by itself: a Broker that responds over TLS
    /// leaves unread what shares a record with it.
    Send(Message),
    /// The peer is known: ask the router, then call [`Handshake::admit`]. Nothing is sent until then.
    Identified { peer: EndpointId, side: Side },
    /// The handshake is complete. Frames that follow are envelopes. Nothing follows from here.
    Established {
        peer: EndpointId,
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
    #[error("unexpected {message} while waiting for {awaited}")]
    Unexpected { message: &'static str, awaited: Awaited },
    /// The peer has our own id, most likely because we are connected to ourselves, or the nil id. Connecting again is
    /// of no use.
    #[error("{}", if .0.is_nil() { "peer has the nil endpoint id" } else { "peer has our own endpoint id" })]
    UnusableId(EndpointId),
    #[error("dropped by the peer: {} ({})", .0.code, .0.description)]
    Dropped(DropConn),
    #[error("refused: {}", .0.description)]
    Refused(Refusal),
    #[error("handshake timed out while waiting for {awaited}")]
    TimedOut { awaited: Awaited },
}

/// What a handshake waits for: its state without the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Awaited {
    /// As the connector: the peer's id, in one of the two messages that carry it.
    HelloOrVersionSelect,
    /// As the acceptor: the peer's id.
    Hello,
    /// As the responder who has said hello: the originator's choice.
    VersionSelect,
    /// The router's verdict on a handshake as this side.
    Admission(Side),
    /// As the responder: the originator's filter.
    OriginatorSyn,
    /// As the originator: the responder's filter.
    ResponderSynAck,
    /// As the responder: the end.
    OriginatorAck,
    /// Nothing: the handshake is complete.
    NothingEstablished,
    /// Nothing: the connection is to be closed.
    NothingClosed,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HelloOrVersionSelect => "hello or version_select",
            Self::Hello => "hello",
            Self::VersionSelect => "version_select",
            Self::Admission(_) => "another handshake with the same peer",
            Self::OriginatorSyn => "originator_syn",
            Self::ResponderSynAck => "responder_syn_ack",
            Self::OriginatorAck => "originator_ack",
            Self::NothingEstablished => "nothing, as the handshake is complete",
            Self::NothingClosed => "nothing, as the connection is closed",
        })
    }
}

/// One handshake on one connection (`internal/connector.cc`, `connect_state`).
///
/// ```text
///   connector                                acceptor
///   HelloOrVersionSelect                     Hello
///        |  hello, our id smaller: Originator  |
///        +------------> Admission <------------+
///        |                  | version_select, originator_syn
///        |                  v
///        |           ResponderSynAck --- responder_syn_ack / originator_ack ---> established
///        |
///        |  hello, our id larger / hello       |
///        +-----------> VersionSelect <---------+
///        |                  | version_select: Responder
///        +------------> Admission
///       version_select      | (nothing is sent)
///                           v
///                     OriginatorSyn --- originator_syn / responder_syn_ack ---> OriginatorAck --> established
/// ```
///
/// Drive it like this: after [`Self::new`] and after each `handle*` or [`Self::admit`], call [`Self::poll`] until it returns
/// `None`. Call [`Self::handle_timeout`] at [`Self::deadline`]. `tests/golden/handshake-table.txt` shows what each message does in
/// each state.
#[derive(Clone, Debug)]
pub struct Handshake {
    own: EndpointId,
    state: State,
    peer: Option<EndpointId>,
    deadline: Duration,
    outputs: VecDeque<Output>,
}

/// What is known in each state, see [`Awaited`] for their meaning.
#[derive(Clone, Debug)]
enum State {
    HelloOrVersionSelect,
    Hello,
    VersionSelect,
    Admission { peer: EndpointId, side: Side },
    OriginatorSyn { peer: EndpointId, filter: Filter },
    ResponderSynAck { peer: EndpointId },
    OriginatorAck { peer: EndpointId, filter: Filter },
    Established,
    Closed,
}

impl Handshake {
    /// Begins a handshake, which must be complete at `deadline`, a time since an epoch of the caller's choice.
    pub fn new(role: Role, own: EndpointId, deadline: Duration) -> Self {
        let (state, first) = match role {
            Role::Connector => (State::HelloOrVersionSelect, Message::Hello(Hello::new(own))),
            Role::Acceptor => (State::Hello, Message::Probe),
        };
        Self {
            own,
            state,
            peer: None,
            deadline,
            outputs: VecDeque::from([Output::Send(first)]),
        }
    }

    /// Takes the content of a frame.
    pub fn handle_frame(&mut self, frame: &[u8]) {
        match Message::decode(frame) {
            Ok(message) => self.handle(message),
            Err(error) => self.refuse_with(error.refusal(), error.into()),
        }
    }

    /// Takes a message. When the handshake is over, it is ignored.
    pub fn handle(&mut self, message: Message) {
        use Message as M;
        use State as S;

        if self.state.is_over() {
            return;
        }
        self.state = match (mem::replace(&mut self.state, S::Closed), message) {
            (S::HelloOrVersionSelect | S::Hello, M::Hello(hello)) => self.identify(hello.sender),
            (S::HelloOrVersionSelect | S::VersionSelect, M::VersionSelect(VersionSelect { sender, .. })) => {
                self.ask_router(sender, Side::Responder)
            }
            (S::OriginatorSyn { peer, filter }, M::OriginatorSyn(Announcement { filter: theirs })) => {
                self.send(M::ResponderSynAck(Announcement {
                    filter: filter.into_topics(),
                }));
                let filter = theirs.into_iter().collect();
                S::OriginatorAck { peer, filter }
            }
            (S::ResponderSynAck { peer }, M::ResponderSynAck(Announcement { filter })) => {
                self.send(M::OriginatorAck);
                self.establish(peer, Side::Originator, filter.into_iter().collect())
            }
            (S::OriginatorAck { peer, filter }, M::OriginatorAck) => {
                self.establish(peer, Side::Responder, filter)
            }
            (state, M::DropConn(drop)) if state.precedes_filters() => self.close(Close::Dropped(drop)),
            (state, M::Probe) if state.precedes_filters() => state,
            (state, message) => self.close(Close::Unexpected {
                message: message.name(),
                awaited: state.awaited(),
            }),
        };
    }

    /// Takes the router's verdict, which [`Output::Identified`] asked for. Without such a question it is ignored: the
    /// connection may have ended in the meantime.
    pub fn admit(&mut self, verdict: Admission) {
        let State::Admission { peer, side } = self.state else {
            return;
        };
        match verdict {
            Admission::Wait => {}
            Admission::Refuse(refusal) => self.refuse_with(refusal.clone(), Close::Refused(refusal)),
            Admission::Proceed { filter } => {
                self.state = match side {
                    Side::Responder => State::OriginatorSyn { peer, filter },
                    Side::Originator => {
                        self.send(Message::VersionSelect(VersionSelect::new(self.own)));
                        self.send(Message::OriginatorSyn(Announcement {
                            filter: filter.into_topics(),
                        }));
                        State::ResponderSynAck { peer }
                    }
                };
            }
        }
    }

    /// Takes the passing of time.
    pub fn handle_timeout(&mut self, now: Duration) {
        if !self.state.is_over() && now >= self.deadline {
            // DIFFERENCE(handshake-timeout): Broker lets a silent peer occupy a connection for ever.
            let awaited = self.state.awaited();
            self.state = self.close(Close::TimedOut { awaited });
        }
    }

    /// When [`Self::handle_timeout`] should be called next.
    pub fn deadline(&self) -> Option<Duration> {
        (!self.state.is_over()).then_some(self.deadline)
    }

    /// What to do next; `None` until there is new input.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What the handshake waits for.
    pub fn awaited(&self) -> Awaited {
        self.state.awaited()
    }

    /// The id of the peer, once it is known.
    pub const fn peer(&self) -> Option<EndpointId> {
        self.peer
    }

    fn identify(&mut self, peer: EndpointId) -> State {
        if self.own <= peer || peer.is_nil() {
            self.ask_router(peer, Side::Originator)
        } else {
            // A connector has said hello already and says it again, as Broker's does.
            self.send(Message::Hello(Hello::new(self.own)));
            State::VersionSelect
        }
    }

    fn ask_router(&mut self, peer: EndpointId, side: Side) -> State {
        if peer == self.own || peer.is_nil() {
            // DIFFERENCE(id-refused): Broker connects to itself again and again, takes the messages of a peer with its own id
            // for its own, and those of a peer with the nil id for local ones.
            self.send_drop(Refusal::new(ErrorCode::LOGIC_ERROR, "unusable endpoint id"));
            return self.close(Close::UnusableId(peer));
        }
        self.peer = Some(peer);
        self.outputs.push_back(Output::Identified { peer, side });
        State::Admission { peer, side }
    }

    fn establish(&mut self, peer: EndpointId, side: Side, filter: Filter) -> State {
        self.outputs.push_back(Output::Established { peer, side, filter });
        State::Established
    }

    fn send(&mut self, message: Message) {
        self.outputs.push_back(Output::Send(message));
    }

    fn refuse_with(&mut self, refusal: Refusal, reason: Close) {
        if !self.state.is_over() {
            self.send_drop(refusal);
            self.state = self.close(reason);
        }
    }

    fn send_drop(&mut self, refusal: Refusal) {
        self.send(Message::DropConn(DropConn {
            sender: self.own,
            code: refusal.code,
            description: refusal.description,
        }));
    }

    fn close(&mut self, reason: Close) -> State {
        self.outputs.push_back(Output::Close(reason));
        State::Closed
    }
}

impl State {
    const fn awaited(&self) -> Awaited {
        match self {
            Self::HelloOrVersionSelect => Awaited::HelloOrVersionSelect,
            Self::Hello => Awaited::Hello,
            Self::VersionSelect => Awaited::VersionSelect,
            Self::Admission { side, .. } => Awaited::Admission(*side),
            Self::OriginatorSyn { .. } => Awaited::OriginatorSyn,
            Self::ResponderSynAck { .. } => Awaited::ResponderSynAck,
            Self::OriginatorAck { .. } => Awaited::OriginatorAck,
            Self::Established => Awaited::NothingEstablished,
            Self::Closed => Awaited::NothingClosed,
        }
    }

    const fn is_over(&self) -> bool {
        matches!(self, Self::Established | Self::Closed)
    }

    /// Whether a probe is ignored and a `drop_conn` understood, as Broker does before filters are exchanged.
    const fn precedes_filters(&self) -> bool {
        matches!(
            self,
            Self::HelloOrVersionSelect | Self::Hello | Self::VersionSelect | Self::Admission { .. }
        )
    }
}
