use std::{collections::BTreeMap, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use super::body;
use crate::{
    control::RoutingUpdate,
    endpoint::{Endpoint, Output},
    endpoint_id::EndpointId,
    envelope::{Envelope, EnvelopeKind},
    filter::Filter,
    frame::{FrameDecoder, FrameError, OPERATION_FRAME_MAX, put_header},
    handshake::{HANDSHAKE_TIMEOUT, Message, Role},
    peering::{Liveness, Peering, PeeringOutput},
    router::ConnId,
    topic::Topic,
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

/// An operation of [`handshakes`] that delivers a message. It takes an even number of bytes; a surplus one is ignored, or makes the message
/// malformed.
pub fn delivery(conn: u8, message: &[u8]) -> Vec<u8> {
    let pairs = message.len().div_ceil(2).min(31);
    let mut operation = vec![u8::try_from(pairs << 3 | 6).expect("at most 31 pairs"), conn];
    operation.extend_from_slice(message);
    operation.resize(2 + 2 * pairs, 0);
    operation
}

/// Any bytes as handshakes of several connections with one endpoint: each operation is a byte that says what, a byte that says
/// on which connection, and what it needs. Returns how many peerings were made.
pub fn handshakes(input: &[u8]) -> usize {
    let own = EndpointId::from_bytes([0x77; 16]);
    let mut world = World {
        endpoint: Endpoint::new(own, None),
        connections: BTreeMap::new(),
        now: Duration::ZERO,
        opened: 0,
        established: 0,
    };
    let mut rest = input;
    while let Some(([what, which], behind)) = rest.split_first_chunk() {
        rest = behind;
        let slot = which % 4;
        match what % 8 {
            0 => world.open(slot, Role::Connector),
            1 => world.open(slot, Role::Acceptor),
            2 => world.close(slot),
            3 => world.pass_time(Duration::from_secs(u64::from(*which))),
            4 => {
                let topic = Topic::new([b'a' + which % 8]).expect("it is short");
                world.endpoint.subscribe(topic).expect("the filter stays small");
            }
            5 if *which == 0xff => world.endpoint.shut_down(),
            _ => {
                let len = rest.len().min(usize::from(*what >> 3) * 2);
                let (frame, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
                rest = behind;
                world.receive(slot, frame);
            }
        }
        world.drain();
        world.check();
    }
    world.established
}

struct World {
    endpoint: Endpoint,
    /// Those that are open, and with whom they are peerings.
    connections: BTreeMap<ConnId, Option<EndpointId>>,
    now: Duration,
    opened: u64,
    established: usize,
}

impl World {
    /// Numbers are never used again: the slot of an earlier connection gets a new one.
    fn open(&mut self, slot: u8, role: Role) {
        self.close(slot);
        self.opened += 1;
        let conn = ConnId(u64::from(slot) + 4 * self.opened);
        self.connections.insert(conn, None);
        self.endpoint.open(conn, role, self.now + HANDSHAKE_TIMEOUT);
    }

    fn current(&self, slot: u8) -> Option<ConnId> {
        let of_slot = |conn: &ConnId| conn.0 % 4 == u64::from(slot);
        self.connections.keys().copied().find(of_slot)
    }

    fn receive(&mut self, slot: u8, frame: &[u8]) {
        if let Some(conn) = self.current(slot)
            && self.connections.get(&conn) == Some(&None)
        {
            let taken = self
                .endpoint
                .handle_frame(conn, Bytes::copy_from_slice(frame), self.now);
            assert_eq!(taken, Ok(None), "a handshake delivers nothing");
        }
    }

    fn close(&mut self, slot: u8) {
        if let Some(conn) = self.current(slot) {
            let peer = self.connections.remove(&conn).flatten();
            assert_eq!(self.endpoint.closed(conn), peer);
            self.drain();
        }
    }

    fn pass_time(&mut self, time: Duration) {
        self.now += time;
        for conn in self.connections.keys() {
            self.endpoint.handle_timeout(*conn, self.now);
            let deadline = self.endpoint.deadline(*conn);
            assert!(deadline.is_none_or(|at| at > self.now), "a deadline is missed");
        }
    }

    fn drain(&mut self) {
        while let Some((conn, output)) = self.endpoint.poll() {
            let peer = self
                .connections
                .get_mut(&conn)
                .expect("something follows the end");
            match output {
                Output::Handshake(message) => {
                    assert_eq!(*peer, None, "a handshake goes on behind its end");
                    let bytes = message.encode().expect("it can be sent");
                    assert_eq!(
                        Message::decode(&bytes),
                        Ok(message),
                        "the message changes on its way"
                    );
                }
                Output::Established { peer: id, .. } => {
                    assert!(id != self.endpoint.own_id() && !id.is_nil());
                    assert_eq!(peer.replace(id), None, "a peering is established twice");
                    self.established += 1;
                }
                Output::Send(envelope) => assert_eq!(*peer, Some(envelope.receiver)),
                Output::Close(reason) => {
                    let _ = reason.to_string();
                    assert_eq!(*peer, None, "a peering is closed");
                    self.connections.remove(&conn);
                    self.endpoint.closed(conn);
                }
            }
        }
    }

    /// The endpoint knows exactly the established connections, one for each peer.
    fn check(&self) {
        let established: BTreeMap<EndpointId, ConnId> = self
            .connections
            .iter()
            .filter_map(|(conn, peer)| peer.map(|peer| (peer, *conn)))
            .collect();
        assert!(self.endpoint.peers().eq(established), "the endpoint sees others");
        let established = self.connections.values().flatten().count();
        assert_eq!(
            self.endpoint.peers().count(),
            established,
            "a peer has two connections"
        );
    }
}
