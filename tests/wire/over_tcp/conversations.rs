//! `tests/transcripts/handshake/` with the real endpoint: roles, and each row of what is refused, when, and how.

use broker_codec::Data;
use broker_endpoint::{Endpoint, EndpointEvent};

use super::{
    script::{Script, config},
    world::{bytes, check},
};
use crate::{support::limit::Limit, wire::conversations::id};

#[tokio::test]
async fn roles() {
    check("handshake", "roles").await;
}

#[tokio::test]
async fn messages_that_are_refused() {
    check("handshake", "refused-messages").await;
}

#[tokio::test]
async fn messages_at_the_wrong_time() {
    check("handshake", "wrong-time").await;
}

#[tokio::test]
async fn redundant_connections() {
    check("handshake", "redundant").await;
}

#[tokio::test]
async fn drop_conn_from_the_peer() {
    check("handshake", "dropped").await;
}

#[tokio::test]
async fn ids_that_cannot_be_peers() {
    check("handshake", "unusable-ids").await;
}

#[tokio::test]
async fn filters_that_change_during_a_handshake() {
    check("handshake", "filters").await;
}

/// The first two end the process of Zeek 9.0's controller. Here they are counted, and the peer stays; a length that is none ends its
/// connection.
#[tokio::test]
async fn what_ends_others_is_counted() {
    let mut endpoint = Endpoint::start(config(id("B"))).expect("the configuration is valid");
    let address = endpoint.handle().listen("127.0.0.1", 0).await.expect("listening")[0];
    let mut script = Script::connect(address).await;
    script
        .say(&bytes(&["00000017", "06", "\"ZEEK\"", "C", "01", "01"]))
        .await;
    script.say(&bytes(&["00000002", "0b", "00"])).await;
    for tag in [7, 8, 10, 12] {
        assert_eq!(script.frame().await.expect("a handshake")[4], tag);
    }
    let mut envelope = async |kind: &str, payload: &[u8]| {
        let head = bytes(&["C", "B", kind, "0010", "0001", "\"x\""]);
        let len = u32::try_from(head.len() + payload.len()).unwrap();
        script
            .say(&[&len.to_be_bytes()[..], &head, payload].concat())
            .await;
    };
    envelope("01", &[0x0e, 1].repeat(100_000)).await;
    envelope("03", b"\x02\x06zeek/a\x06zeek").await;
    envelope("01", b"\x0c\x02\0\0").await;
    envelope("01", b"\x0e\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\0").await;
    envelope("01", b"\x05\xfe\xff\xff\xff\x0f").await;
    envelope("01", b"\x01\x01").await;
    assert!(matches!(
        Limit::new("the endpoint's event").of(endpoint.recv()).await,
        Some(EndpointEvent::PeerAdded(_))
    ));
    let Some(EndpointEvent::Message(message)) = Limit::new("the endpoint's event").of(endpoint.recv()).await
    else {
        panic!("the good message is the first one");
    };
    assert_eq!(message.data, Data::Boolean(true));
    assert_eq!(endpoint.handle().counters().rejected, 5);

    script.say(b"\xff\xff\xff\xfe").await;
    let Some(EndpointEvent::PeerRemoved { reason, .. }) =
        Limit::new("the endpoint's event").of(endpoint.recv()).await
    else {
        panic!("the peer is removed");
    };
    assert_eq!(
        reason.to_string(),
        "frame of 4294967294 bytes exceeds the limit of 16777216"
    );
}

/// The last row of what is refused: 28, to a peer that waits for our decision. Others see the end. What the machine does is in
/// `shutting-down.txt`.
#[tokio::test]
async fn connections_while_we_shut_down() {
    let endpoint = Endpoint::start(config(id("B"))).expect("the configuration is valid");
    let address = endpoint.handle().listen("127.0.0.1", 0).await.expect("listening")[0];
    let hello = |peer: &str| bytes(&["00000017", "06", "\"ZEEK\"", peer, "01", "01"]);
    let mut scripts = Vec::new();
    for peer in ["C", "C", "A"] {
        let mut script = Script::connect(address).await;
        assert_eq!(script.frame().await.expect("a probe").len(), 9);
        script.say(&hello(peer)).await;
        script.settle().await;
        scripts.push(script);
    }
    // The first is the originator's, the second waits for it, the third is the responder's.
    assert_eq!(scripts[0].frame().await.expect("version_select")[4], 8);
    assert_eq!(scripts[0].frame().await.expect("originator_syn")[4], 10);
    assert_eq!(scripts[2].frame().await.expect("hello")[4], 6);
    let [first, waiting, third] = &mut scripts[..] else {
        panic!("there are three")
    };
    let ((), first, waiting, third) =
        tokio::join!(endpoint.shutdown(), first.rest(), waiting.rest(), third.rest());
    assert_eq!(
        waiting,
        bytes(&[
            "00000024",
            "09",
            "\"ZEEK\"",
            "B",
            "1c",
            "0d",
            "\"shutting\"",
            "20",
            "\"down\""
        ])
    );
    assert_eq!((first, third), (Vec::new(), Vec::new()));
}
