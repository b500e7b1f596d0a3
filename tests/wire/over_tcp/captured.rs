//! Fed with one side of each captured handshake, our endpoint sends the other side's bytes.

use std::collections::BTreeMap;

use broker_codec::{EndpointId, Topic, handshake::Message};
use broker_endpoint::{Endpoint, EndpointEvent};
use tokio::net::TcpListener;

use super::script::{Script, config};
use crate::support::{
    frames::{Frame, Phase, RECORDINGS, Side, frames},
    limit::Limit,
};

#[tokio::test]
async fn each_side_of_each_captured_handshake_is_reproduced_over_tcp() {
    let mut replayed = [0; 2];
    for (recording, conn, frames) in each_handshake() {
        let answered = frames.iter().any(|frame| frame.from == Side::Server);
        // A server that is about to end says nothing, and there is nothing to compare ours with.
        let sides = [Side::Client, Side::Server].into_iter();
        for ours in sides.take(1 + usize::from(answered)) {
            let context = format!("{recording}, connection {conn}, as the {ours:?}");
            replay(&frames, ours, &context).await;
        }
        replayed[usize::from(answered)] += 1;
    }
    assert_eq!(replayed, [119, 269]);
}

async fn replay(frames: &[&Frame], ours: Side, context: &str) {
    let (id, filter) = identity(frames, ours);
    let mut config = config(id);
    config.subscriptions = filter;
    let mut endpoint = Endpoint::start(config).expect("the configuration is valid");
    let mut script = match ours {
        Side::Client => {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
            let address = listener.local_addr().expect("bound");
            endpoint.handle().peer(address.into(), None);
            Script::accept(&listener).await
        }
        Side::Server => {
            let addresses = endpoint.handle().listen("127.0.0.1", 0).await.expect("listening");
            Script::connect(addresses[0]).await
        }
    };
    for frame in frames {
        if frame.from == ours {
            let sent = script.frame().await.expect("a frame");
            assert_eq!(hex::encode(sent), hex::encode(&frame.bytes), "{context}");
        } else {
            script.say_frame(&frame.bytes).await;
        }
    }
    if let Some(other) = frames.iter().find(|frame| frame.from != ours) {
        let (peer, filter) = identity(frames, other.from);
        let event = Limit::new("the peer").of(endpoint.recv()).await;
        let Some(EndpointEvent::PeerAdded(added)) = event else {
            panic!("{context}: {event:?}");
        };
        assert_eq!(added.id, peer, "{context}");
        // What it subscribed to reaches it, the first thing after the handshake.
        if let Some(topic) = filter.into_iter().find(|topic| !topic.is_empty()) {
            let data = broker_codec::Data::Boolean(true);
            endpoint.handle().publish(topic, &data).await.expect("published");
            assert!(
                script.frame().await.expect("a frame").ends_with(&[1, 1]),
                "{context}"
            );
        }
    }
    assert!(script.unread().is_empty(), "{context}");
}

/// The recording, the number of the connection, and its frames until the end of the handshake.
fn each_handshake() -> impl Iterator<Item = (&'static str, u32, Vec<&'static Frame>)> {
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

/// The id and the filter of a side.
pub(in crate::wire) fn identity(frames: &[&Frame], side: Side) -> (EndpointId, Vec<Topic>) {
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
