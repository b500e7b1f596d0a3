//! Fed with one side of each captured handshake, ours sends the other side's bytes.

use std::collections::BTreeMap;

use broker_codec::{
    ConnId, EndpointId, Topic,
    endpoint::Output,
    handshake::{Message, Role},
};
use bytes::{BufMut, Bytes, BytesMut};

use super::node::{Action, Node, bytes};
use crate::support::frames::{Frame, Phase, RECORDINGS, Side, frames};

#[test]
fn each_side_of_each_captured_handshake_is_reproduced() {
    let mut complete = 0;
    let mut only_begun = 0;
    for (recording, conn, frames) in each_handshake() {
        let answered = frames.iter().any(|frame| frame.from == Side::Server);
        // A server that is about to end says nothing, and there is nothing to compare ours with.
        let sides: &[Side] = if answered {
            complete += 1;
            &[Side::Client, Side::Server]
        } else {
            only_begun += 1;
            &[Side::Client]
        };
        for ours in sides {
            let context = format!("{recording}, connection {conn}, as the {ours:?}");
            let (sent, established) = replay(&frames, *ours);
            assert_eq!(sent, sent_by(&frames, *ours), "{context}");
            assert_eq!(established, answered, "{context}");
        }
    }
    assert_eq!((complete, only_begun), (269, 119));
}

/// The recording, the number of the connection, and its frames until the end of the handshake.
pub(super) fn each_handshake() -> impl Iterator<Item = (&'static str, u32, Vec<&'static Frame>)> {
    RECORDINGS.into_iter().flat_map(|recording| {
        let mut connections: BTreeMap<u32, Vec<&Frame>> = BTreeMap::new();
        for frame in frames(recording) {
            if frame.phase == Phase::Handshake {
                connections.entry(frame.conn).or_default().push(frame);
            }
        }
        connections
            .into_iter()
            .map(move |(conn, frames)| (recording, conn, frames))
    })
}

fn sent_by(frames: &[&Frame], side: Side) -> Vec<Bytes> {
    let sent = frames.iter().filter(|frame| frame.from == side);
    sent.map(|frame| framed(&frame.bytes)).collect()
}

/// What our endpoint sends as one of the sides, with that side's id and filter, and whether it is then established.
fn replay(frames: &[&Frame], ours: Side) -> (Vec<Bytes>, bool) {
    let (own, filter) = identity(frames, ours);
    let mut node = Node::new(own, &filter);
    let role = match ours {
        Side::Client => Role::Connector,
        Side::Server => Role::Acceptor,
    };
    let conn = ConnId(1);
    let mut actions = node.open(conn, role);
    for frame in frames.iter().filter(|frame| frame.from != ours) {
        actions.extend(node.receive(conn, &framed(&frame.bytes)));
    }
    let mut sent = Vec::new();
    let mut established = false;
    for action in actions {
        match action {
            Action::Do(_, Output::Handshake(message)) => sent.push(bytes(&message)),
            Action::Do(_, Output::Established { .. }) => established = true,
            other => panic!("{other:?}"),
        }
    }
    (sent, established)
}

/// The id and the filter of a side.
pub(super) fn identity(frames: &[&Frame], side: Side) -> (EndpointId, Vec<Topic>) {
    let mut id = None;
    let mut filter = Vec::new();
    for frame in frames.iter().filter(|frame| frame.from == side) {
        match Message::decode(&frame.bytes).unwrap() {
            Message::Hello(hello) => id = Some(hello.sender),
            Message::VersionSelect(select) => id = Some(select.sender),
            Message::OriginatorSyn(syn) => filter = syn.filter,
            Message::ResponderSynAck(ack) => filter = ack.filter,
            Message::Probe | Message::OriginatorAck => {}
            Message::DropConn(drop) => panic!("{drop:?}"),
        }
    }
    (id.expect("an id"), filter)
}

pub(super) fn framed(content: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(content.len()).unwrap());
    out.put_slice(content);
    out.freeze()
}
