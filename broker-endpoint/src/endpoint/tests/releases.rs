//! What releases of Zeek do differently after the handshake: we live with each.

use broker_codec::{
    Data, binary,
    peering::PeeringEnd,
    zeek::{Event, Message as ZeekMessage},
};
use bytes::BytesMut;

use super::*;

async fn peer() -> (Endpoint, Script) {
    let mut endpoint = start(EndpointConfig {
        id: Some(id(SMALL)),
        ..plaintext()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let script = Script::peer_with(address).await;
    peer_added(&mut endpoint).await;
    (endpoint, script)
}

#[tokio::test]
async fn a_pong_confirms_our_leaving_whatever_its_ttl() {
    // Up to Broker 2.4, and since then.
    for ttl in ["0001", "0010"] {
        let (mut endpoint, mut script) = peer().await;
        endpoint.handle().disconnect(id(LARGE));
        let bye = script.frame().await;
        let pong = envelope_of_large(SMALL, 5, "<$>", &bye[40..]);
        script
            .say(&pong.replacen(" 05 0010 ", &format!(" 05 {ttl} "), 1))
            .await;
        let reason = peer_removed(&mut endpoint).await;
        assert!(matches!(reason, EndReason::Ended(PeeringEnd::Left)), "{reason:?}");
    }
}

#[tokio::test]
async fn nothing_of_ours_has_an_empty_topic_or_payload_which_6_1_and_older_close_for() {
    let (endpoint, mut script) = peer().await;
    let handle = endpoint.handle();
    let error = handle.publish(topic(""), &Data::None).await;
    assert!(matches!(error, Err(PublishError::EmptyTopic)), "{error:?}");
    handle.subscribe(topic("")).expect("subscribed");
    handle
        .publish_to(id(LARGE), topic("x"), &Data::None)
        .await
        .expect("published");
    handle.disconnect(id(LARGE));
    // Routing update, message, BYE.
    for kind in [3, 1, 4] {
        let frame = script.frame().await;
        assert_eq!(frame[32], kind);
        let topic_len = usize::from(u16::from_be_bytes([frame[35], frame[36]]));
        assert!(topic_len > 0);
        assert!(frame.len() > 37 + topic_len);
    }
}

#[tokio::test]
async fn a_peer_of_5_1_or_older_leaves_by_closing() {
    let (mut endpoint, script) = peer().await;
    drop(script);
    assert!(matches!(peer_lost(&mut endpoint).await, EndReason::Closed));
}

#[tokio::test]
async fn events_come_without_metadata_with_a_timestamp_and_with_none_of_it() {
    let (mut endpoint, mut script) = peer().await;
    // The content of the list: 5.0 to 5.2, 6.0 to 7.2, 8.0 and later.
    let start = "0e03 020000000000000001 020000000000000001";
    let event = "0505 68656c6c6f 0e00";
    let timestamp = "0e01 0e02 020000000000000001 0917979cfe3d85cd15";
    for (release, content, entries) in [
        ("5.0", format!("0e02 {event}"), None),
        ("6.0", format!("0e03 {event} {timestamp}"), Some(1)),
        ("9.0", format!("0e03 {event} 0e00"), Some(0)),
    ] {
        let payload = from_hex(&format!("{start} {content}"));
        script.say(&envelope_of_large(SMALL, 1, "x", &payload)).await;
        let event = Event::from_data(message(&mut endpoint).await.data).expect("an event");
        assert_eq!(event.name, "hello", "{release}");
        assert_eq!(event.metadata.map(|entries| entries.len()), entries, "{release}");
    }
}

#[tokio::test]
async fn the_log_streams_that_a_zeek_announces_to_a_new_peer_are_nothing() {
    let (mut endpoint, mut script) = peer().await;
    // LogCreate goes to a peer directly, whatever it subscribed to.
    let data = ZeekMessage::LogCreate(broker_codec::zeek::LogCreate {
        stream: broker_codec::data::EnumValue("Conn::LOG".into()),
        writer: broker_codec::data::EnumValue("Log::WRITER_ASCII".into()),
        writer_info: Vec::new(),
        fields: Vec::new(),
    })
    .into_data();
    let mut payload = BytesMut::new();
    binary::encode(&data, &mut payload).expect("encodable");
    script
        .say(&envelope_of_large(SMALL, 1, "zeek/logs/Conn::LOG", &payload))
        .await;
    script.say(&envelope_of_large(SMALL, 1, "x", b"\0")).await;
    assert_eq!(message(&mut endpoint).await.topic, "x");
    let counters = endpoint.handle().counters();
    assert_eq!((counters.ignored, counters.rejected), (1, 0));
}
