//! `tests/transcripts/handshake/` with the real endpoint: roles, and each row of what is refused, when, and how.

use broker_endpoint::{Endpoint, EndpointConfig, tls::TlsConfig};

use super::{
    script::Script,
    world::{bytes, check},
};
use crate::wire::conversations::id;

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

/// The last row of what is refused: 28, to whoever waits for our decision. Others see the end. What the machine does is in
/// `shutting-down.txt`.
#[tokio::test]
async fn connections_while_we_shut_down() {
    let mut config = EndpointConfig::default();
    config.id = Some(id("B"));
    config.tls = TlsConfig::Off;
    let endpoint = Endpoint::start(config).expect("the configuration is valid");
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
