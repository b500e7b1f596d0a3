use std::{collections::BTreeMap, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use super::body;
use crate::{
    ConnId, EndpointId, Envelope, EnvelopeKind, Filter, Router, Topic,
    control::RoutingUpdate,
    frame::{FrameDecoder, FrameError, OPERATION_FRAME_MAX, put_header},
    handshake::{Admission, HANDSHAKE_TIMEOUT, Handshake, Message, Output, Role},
    peering::{Liveness, Peering, PeeringOutput},
    router::RouterEvent,
};

/// Any bytes as a stream of frames, in any pieces.
pub fn frame(input: &[u8]) {
    /// So small that inputs exceed it.
    const MAX: u32 = 300;

    for decoder in [FrameDecoder::handshake(), FrameDecoder::operation()] {
        let decoder = decoder.with_max(MAX);
        let (whole, rest) = split(decoder, input.chunks(input.len().max(1)));
        let piece = usize::from(input.first().copied().unwrap_or_default()) % 7 + 1;
        assert_eq!(
            (&whole, &rest),
            (&split(decoder, input.chunks(piece)).0, &rest),
            "pieces matter"
        );
        let mut again = BytesMut::new();
        for frame in whole.iter().flatten() {
            put_header(frame.len(), OPERATION_FRAME_MAX, &mut again).expect("it came as a frame");
            again.put_slice(frame);
        }
        if whole.iter().all(Result::is_ok) {
            again.put_slice(&rest);
            // Empty frames leave no trace.
            assert!(again.len() <= input.len(), "frames are longer than the input");
            if !input.windows(4).any(|window| window == [0; 4]) {
                assert_eq!(again, input, "bytes are lost");
            }
        }
    }
}

/// Every frame, an error last if there is one, and the bytes left.
fn split<'a>(
    decoder: FrameDecoder,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Result<Bytes, FrameError>>, BytesMut) {
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for piece in pieces {
        buffer.put_slice(piece);
        while let Some(frame) = decoder.decode(&mut buffer).transpose() {
            let failed = frame.is_err();
            frames.push(frame);
            if failed {
                return (frames, BytesMut::new());
            }
        }
    }
    (frames, buffer)
}

/// Any bytes as an envelope, its payload as what its kind says, and as what a peer sends.
pub fn envelope(input: &[u8]) {
    let frame = Bytes::copy_from_slice(input);
    let Ok(envelope) = Envelope::decode(frame.clone()) else {
        return;
    };
    let mut encoded = BytesMut::new();
    envelope.encode(&mut encoded);
    assert_eq!(encoded, input, "the bytes change on their way");
    match envelope.kind {
        EnvelopeKind::Data => body::value(&envelope.payload),
        EnvelopeKind::RoutingUpdate => routing_update(&envelope.payload),
        EnvelopeKind::Command | EnvelopeKind::Ping | EnvelopeKind::Pong => {}
    }
    peering(&envelope, &frame);
}

fn routing_update(payload: &[u8]) {
    if let Ok(update) = RoutingUpdate::decode(payload) {
        let encoded = update.encode().expect("what was decoded can be encoded");
        assert!(
            encoded == payload || payload.is_empty(),
            "the bytes change on their way"
        );
        let filter: Filter = update.topics.iter().cloned().collect();
        for topic in update.topics.iter().filter(|topic| !topic.is_local_only()) {
            assert!(filter.matches(topic), "the filter misses one of its own topics");
        }
    }
}

fn peering(envelope: &Envelope, frame: &Bytes) {
    let own = EndpointId::from_random([7; 16]);
    let liveness = Liveness {
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(15),
    };
    let now = Duration::from_secs(1);
    let mut impostor = Peering::new(own, EndpointId::from_random([9; 16]), Some(liveness), now);
    if envelope.sender != impostor.peer() {
        assert!(
            impostor.handle_frame(frame.clone(), now).is_err(),
            "another's name is believed"
        );
    }
    let mut peering = Peering::new(own, envelope.sender, Some(liveness), now);
    peering.leave(now);
    if let Ok(Some(output)) = peering.handle_frame(frame.clone(), now) {
        match output {
            PeeringOutput::Send(pong) => {
                assert_eq!(pong.kind, EnvelopeKind::Pong);
                assert_eq!((pong.sender, pong.receiver), (own, envelope.sender));
                assert_eq!(pong.payload, envelope.payload);
            }
            PeeringOutput::Deliver(data) => {
                assert_eq!(&data, envelope);
                assert!(!data.topic.is_local_only(), "a local topic is delivered");
            }
            PeeringOutput::FilterChanged(_) => assert_eq!(envelope.kind, EnvelopeKind::RoutingUpdate),
            PeeringOutput::Close(_) => assert_eq!(envelope.kind, EnvelopeKind::Pong),
        }
    }
    let deadline = peering.deadline().expect("it has liveness");
    assert!(deadline > now, "the deadline does not move");
}

/// Any bytes as handshakes of several connections with one endpoint: each operation is a byte that says what, a byte that says
/// on which connection, and what it needs. Returns how many peerings were made.
pub fn handshakes(input: &[u8]) -> usize {
    let own = EndpointId::from_bytes([0x77; 16]);
    let mut world = World {
        router: Router::new(own),
        connections: BTreeMap::new(),
        now: Duration::ZERO,
        opened: 0,
        established: 0,
    };
    let mut rest = input;
    while let Some(([what, which], behind)) = rest.split_first_chunk() {
        rest = behind;
        let conn = ConnId(u64::from(which % 4));
        match what % 8 {
            0 => world.open(conn, Role::Connector),
            1 => world.open(conn, Role::Acceptor),
            2 => world.lose(conn),
            3 => world.pass_time(Duration::from_secs(u64::from(*which))),
            4 => {
                let topic = Topic::new([b'a' + which % 8]).expect("it is short");
                world.router.subscribe(topic).expect("the filter stays small");
            }
            5 if *which == 0xff => {
                let events = world.router.shut_down();
                world.follow(events);
            }
            _ => {
                let len = rest.len().min(usize::from(*what >> 3) * 2);
                let (frame, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
                rest = behind;
                world.receive(conn, frame);
            }
        }
        world.check();
    }
    world.established
}

struct World {
    router: Router,
    connections: BTreeMap<ConnId, (Handshake, Progress)>,
    now: Duration,
    opened: u64,
    established: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Running,
    Established(EndpointId),
}

impl World {
    /// Numbers are never used again: the slot of an earlier connection gets a new one.
    fn open(&mut self, slot: ConnId, role: Role) {
        self.lose(slot);
        self.opened += 1;
        let conn = ConnId(slot.0 + 4 * self.opened);
        let handshake = Handshake::new(role, self.router.own_id(), self.now + HANDSHAKE_TIMEOUT);
        self.connections.insert(conn, (handshake, Progress::Running));
        self.drain(conn);
    }

    fn current(&self, slot: ConnId) -> Option<ConnId> {
        self.connections.keys().copied().find(|conn| conn.0 % 4 == slot.0)
    }

    fn receive(&mut self, slot: ConnId, frame: &[u8]) {
        if let Some(conn) = self.current(slot)
            && let Some((handshake, Progress::Running)) = self.connections.get_mut(&conn)
        {
            handshake.handle_frame(frame);
            self.drain(conn);
        }
    }

    fn lose(&mut self, slot: ConnId) {
        if let Some(conn) = self.current(slot) {
            self.connections.remove(&conn);
            let events = self.router.lost(conn);
            self.follow(events);
        }
    }

    fn pass_time(&mut self, time: Duration) {
        self.now += time;
        let all: Vec<ConnId> = self.connections.keys().copied().collect();
        for conn in all {
            if let Some((handshake, _)) = self.connections.get_mut(&conn) {
                handshake.handle_timeout(self.now);
                assert!(
                    handshake.deadline().is_none_or(|at| at > self.now),
                    "a deadline is missed"
                );
                self.drain(conn);
            }
        }
    }

    fn follow(&mut self, events: Vec<RouterEvent>) {
        for event in events {
            if let RouterEvent::Verdict { conn, admission } = event {
                assert!(
                    !matches!(admission, Admission::Wait),
                    "the second verdict decides nothing"
                );
                let (handshake, _) = self.connections.get_mut(&conn).expect("it waits for the verdict");
                handshake.admit(admission);
                self.drain(conn);
            }
        }
    }

    fn drain(&mut self, conn: ConnId) {
        while let Some((handshake, progress)) = self.connections.get_mut(&conn) {
            let Some(output) = handshake.poll() else { return };
            assert!(*progress == Progress::Running, "something follows the end");
            match output {
                Output::Send(message) => {
                    let bytes = message.encode().expect("it can be sent");
                    assert_eq!(
                        Message::decode(&bytes),
                        Ok(message),
                        "the message changes on its way"
                    );
                }
                Output::Identified { peer, side } => {
                    assert!(peer != self.router.own_id() && !peer.is_nil());
                    let admission = self.router.admit(conn, peer, side);
                    handshake.admit(admission);
                }
                Output::Established { peer, filter, .. } => {
                    *progress = Progress::Established(peer);
                    self.established += 1;
                    let events = self.router.established(conn, filter);
                    self.follow(events);
                }
                Output::Close(reason) => {
                    let _ = reason.to_string();
                    assert_eq!(handshake.poll(), None, "something follows the end");
                    self.connections.remove(&conn);
                    let events = self.router.lost(conn);
                    self.follow(events);
                }
            }
        }
    }

    /// The router knows exactly the established connections, one for each peer.
    fn check(&self) {
        let mut established: Vec<(EndpointId, ConnId)> = self
            .connections
            .iter()
            .filter_map(|(conn, (_, progress))| match progress {
                Progress::Established(peer) => Some((*peer, *conn)),
                Progress::Running => None,
            })
            .collect();
        established.sort_unstable();
        assert!(
            self.router.peers().eq(established.iter().copied()),
            "the router sees others"
        );
        let distinct = established.windows(2).all(|pair| match pair {
            [(left, _), (right, _)] => left != right,
            _ => true,
        });
        assert!(distinct, "a peer has two connections");
    }
}
