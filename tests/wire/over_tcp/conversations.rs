//! `tests/transcripts` with the real endpoint: what is refused in handshakes, when, and how; and what the releases of Zeek say.

use broker_codec::Data;
use broker_endpoint::{Counted, Endpoint, EndpointEvent};
use testkit::transcript::{check_all, peer_id};

use super::{
    script::{Script, config},
    world::Run,
};
use crate::{
    support::{limit::Limit, workspace_root},
    wire::conversations::spelled,
};

#[test]
fn handshakes_are_as_written() {
    check_all::<Run>(workspace_root().join("tests/transcripts/handshake"), 7);
}

/// What releases of Broker, and with them of Zeek, do differently on the wire. The script says what that release says, and expects what it
/// can live with. The bytes of handshakes, envelopes and values are the same in all.
#[test]
fn each_release_is_spoken_with() {
    check_all::<Run>(workspace_root().join("tests/transcripts/releases"), 11);
}

/// The first two end the process of Zeek 9.0's controller. Here they are counted, and the peer stays; a length that is none ends its
/// connection.
#[tokio::test]
async fn what_ends_others_is_counted() {
    let mut endpoint = Endpoint::start(config(peer_id("B"))).expect("the configuration is valid");
    let handle = endpoint.handle();
    let address = handle.listen("127.0.0.1", 0).await.expect("listening")[0];
    let mut script = Script::connect(address).await;
    script.say_frame(&hello("C")).await;
    script.say_frame(&[0x0b, 0]).await;
    for tag in [7, 8, 10, 12] {
        assert_eq!(script.frame().await.expect("a handshake")[0], tag);
    }
    let mut envelope = async |kind: &str, payload: &[u8]| {
        let head = spelled(&["C", "B", kind, "0010", "0001", "\"x\""]);
        script.say_frame(&[&head, payload].concat()).await;
    };
    envelope("01", &[0x0e, 1].repeat(100_000)).await;
    envelope("03", b"\x02\x06zeek/a\x06zeek").await;
    envelope("01", b"\x0c\x02\0\0").await;
    envelope("01", b"\x0e\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\0").await;
    envelope("01", b"\x05\xfe\xff\xff\xff\x0f").await;
    envelope("01", b"\x01\x01").await;
    let mut event = async || {
        let event = Limit::new("the endpoint's event").of(endpoint.recv()).await;
        event.expect("the endpoint runs")
    };
    assert!(matches!(event().await, EndpointEvent::PeerAdded(_)));
    let EndpointEvent::Message(message) = event().await else {
        panic!("the good message is the first one");
    };
    assert_eq!(message.data, Data::Boolean(true));
    assert_eq!(handle.counters().get(Counted::Rejected), 5);

    script.say(b"\xff\xff\xff\xfe").await;
    let EndpointEvent::PeerRemoved { reason, .. } = event().await else {
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
    let endpoint = Endpoint::start(config(peer_id("B"))).expect("the configuration is valid");
    let address = endpoint.handle().listen("127.0.0.1", 0).await.expect("listening")[0];
    let mut scripts = Vec::new();
    for peer in ["C", "C", "A"] {
        let mut script = Script::connect(address).await;
        assert_eq!(script.frame().await.expect("a probe").len(), 5);
        script.say_frame(&hello(peer)).await;
        script.settle().await;
        scripts.push(script);
    }
    // The first is the originator's, the second waits for it, the third is the responder's.
    assert_eq!(scripts[0].frame().await.expect("version_select")[0], 8);
    assert_eq!(scripts[0].frame().await.expect("originator_syn")[0], 10);
    assert_eq!(scripts[2].frame().await.expect("hello")[0], 6);
    let [first, waiting, third] = &mut scripts[..] else {
        panic!("there are three")
    };
    let ((), first, waiting, third) =
        tokio::join!(endpoint.shutdown(), first.rest(), waiting.rest(), third.rest());
    let refused = [
        "00000024",
        "09",
        "\"ZEEK\"",
        "B",
        "1c",
        "0d",
        "\"shutting\"",
        "20",
        "\"down\"",
    ];
    assert_eq!(waiting, spelled(&refused));
    assert_eq!((first, third), (Vec::new(), Vec::new()));
}

fn hello(peer: &str) -> Vec<u8> {
    spelled(&["06", "\"ZEEK\"", peer, "01", "01"])
}
