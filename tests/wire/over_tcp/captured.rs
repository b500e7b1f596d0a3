//! Fed with one side of each captured handshake, our endpoint sends the other side's bytes.

use broker_endpoint::{Endpoint, EndpointEvent};
use tokio::{net::TcpListener, time::timeout};

use super::script::{PATIENCE, Script, config};
use crate::{
    support::frames::{Frame, Side},
    wire::captured_handshakes::{each_handshake, framed, identity},
};

#[tokio::test]
async fn each_side_of_each_captured_handshake_is_reproduced_over_tcp() {
    let mut replayed = [0; 2];
    for (recording, conn, frames) in each_handshake() {
        let answered = frames.iter().any(|frame| frame.from == Side::Server);
        // A server that is about to end says nothing, and there is nothing to compare ours with.
        let sides: &[Side] = if answered {
            &[Side::Client, Side::Server]
        } else {
            &[Side::Client]
        };
        for ours in sides {
            let context = format!("{recording}, connection {conn}, as the {ours:?}");
            replay(&frames, *ours, &context).await;
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
        let bytes = framed(&frame.bytes);
        if frame.from == ours {
            let frame = script.frame().await.expect("a frame");
            assert_eq!(hex::encode(frame), hex::encode(bytes), "{context}");
        } else {
            script.say(&bytes).await;
        }
    }
    if frames.iter().any(|frame| frame.from != ours) {
        let (peer, filter) = identity(
            frames,
            match ours {
                Side::Client => Side::Server,
                Side::Server => Side::Client,
            },
        );
        let event = timeout(PATIENCE, endpoint.recv()).await.expect("in time");
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
