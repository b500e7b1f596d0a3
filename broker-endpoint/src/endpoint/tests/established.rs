//! What a peer may send once the handshake is over, and how its end is noticed.

use broker_codec::{
    Data, binary,
    peering::{BYE_TIMEOUT, Liveness, PeeringEnd},
};
use bytes::BytesMut;

use super::*;
use crate::tls::TlsConfig;

const DATA: u8 = 1;
const ROUTING_UPDATE: u8 = 3;
const PING: u8 = 4;
const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// An endpoint with the smaller id, and a peer with the larger one that subscribes to nothing.
async fn peer(config: EndpointConfig) -> (Endpoint, Script) {
    let mut endpoint = start(EndpointConfig {
        id: Some(id(SMALL)),
        ..config
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let script = Script::peer_with(address).await;
    assert_eq!(peer_added(&mut endpoint).await.id, id(LARGE));
    (endpoint, script)
}

fn encoded(data: &Data) -> Vec<u8> {
    let mut payload = BytesMut::new();
    binary::encode(data, &mut payload).expect("encodable");
    payload.to_vec()
}

/// A good message on topic `x` with this number.
fn count(number: u64) -> String {
    envelope_of_large(NIL, DATA, "x", &encoded(&Data::Count(number)))
}

#[tokio::test]
async fn a_peering_that_ends_soon_is_made_again_after_the_retry_interval() {
    let retry = Duration::from_millis(300);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let mut endpoint = start(small());
    let began = std::time::Instant::now();
    endpoint.handle().peer(address.into(), Some(retry));
    for _ in 0..3 {
        let script = Script::accept_peer(&listener, SYN_ACK_EMPTY).await;
        peer_added(&mut endpoint).await;
        drop(script);
        peer_lost(&mut endpoint).await;
    }
    // Three attempts have two intervals between them.
    assert!(began.elapsed() >= 2 * retry, "{:?}", began.elapsed());
}

#[tokio::test]
async fn every_ping_is_answered_with_its_payload() {
    let (_endpoint, mut script) = peer(plaintext()).await;
    for (receiver, payload) in [(NIL, &b"anything"[..]), (LARGE, b"x"), (SMALL, b"")] {
        script
            .say(&envelope_of_large(receiver, PING, "<$>", payload))
            .await;
        let pong = script.frame().await;
        assert_eq!(pong[32], 5, "a pong");
        assert_eq!(&pong[40..], payload);
    }
}

#[tokio::test]
async fn a_routing_update_replaces_the_filter() {
    let (endpoint, mut script) = peer(plaintext()).await;
    let handle = endpoint.handle();
    let update = |topics: &[u8]| envelope_of_large(SMALL, ROUTING_UPDATE, "<$>", topics);
    // The pong says that what came before has been dealt with.
    let ping = envelope_of_large(SMALL, PING, "<$>", b"?");
    script.say(&format!("{} {ping}", update(b"\x02\x01a\x01b"))).await;
    script.frame().await;
    for name in ["a1", "b1", "c1"] {
        handle.publish(topic(name), &Data::None).await.expect("published");
    }
    for name in [b"a1", b"b1"] {
        assert_eq!(&script.frame().await[37..39], name);
    }
    script.say(&format!("{} {ping}", update(b"\x01\x01c"))).await;
    script.frame().await;
    for name in ["a2", "b2", "c2"] {
        handle.publish(topic(name), &Data::None).await.expect("published");
    }
    assert_eq!(&script.frame().await[37..39], b"c2");
}

#[tokio::test]
async fn bad_messages_are_dropped_and_counted_and_good_ones_still_come() {
    let (mut endpoint, mut script) = peer(plaintext()).await;
    let good = encoded(&Data::None);
    let bad = [
        // No envelope at all, an unknown kind, a topic beyond the end.
        "00000001 01".to_owned(),
        envelope_of_large(NIL, 9, "x", &good),
        "00000025 eeeeeeeeeeee4eee8eeeeeeeeeeeeeee 00000000000000000000000000000000 01 0010 0001".to_owned(),
        // Another endpoint's name.
        envelope_of_large(NIL, DATA, "x", &good).replace("eeee", "dddd"),
        envelope_of_large(SMALL, ROUTING_UPDATE, "<$>", b"\0").replace("eeee", "dddd"),
        // For another endpoint, and for Zeek's own ears.
        envelope_of_large("dddddddd-dddd-4ddd-8ddd-dddddddddddd", DATA, "x", &good),
        envelope_of_large(NIL, DATA, "<$>/local/data/statuses", &good),
        // Payloads.
        envelope_of_large(NIL, DATA, "x", b""),
        envelope_of_large(NIL, DATA, "x", b"\0\0"),
        envelope_of_large(NIL, DATA, "x", b"\x0e\xff\xff\xff\xff\x0f"),
        envelope_of_large(SMALL, ROUTING_UPDATE, "<$>", b"\x01\x05ab"),
        envelope_of_large(SMALL, ROUTING_UPDATE, "<$>", b"\xff\xff\xff\xff\x0f"),
    ];
    let all = u64::try_from(bad.len()).expect("few");
    for (number, bytes) in (0..).zip(&bad) {
        script.say(bytes).await;
        script.say(&count(number)).await;
        assert_eq!(message(&mut endpoint).await.data, Data::Count(number), "{bytes}");
        let rejected = endpoint.handle().counters().get(Counted::Rejected);
        assert_eq!(rejected, number + 1, "{bytes}");
    }
    assert_eq!(endpoint.handle().counters().get(Counted::MessagesIn), 2 * all);
}

#[tokio::test]
async fn commands_empty_frames_and_pongs_are_nothing() {
    let (mut endpoint, mut script) = peer(plaintext()).await;
    script.say("00000000 00000000").await;
    script
        .say(&envelope_of_large(NIL, 2, "store/<$>/data/master", b"?"))
        .await;
    script
        .say(&envelope_of_large(SMALL, 5, "<$>", b"BYE\x01\0\0\0\0\0\0\0"))
        .await;
    script.say(&count(1)).await;
    assert_eq!(message(&mut endpoint).await.data, Data::Count(1));
    assert_eq!(endpoint.handle().counters().get(Counted::Rejected), 0);
}

#[tokio::test]
async fn a_peer_that_sends_too_many_bad_messages_is_removed() {
    let (mut endpoint, mut script) = peer(EndpointConfig {
        rejections_max: 3,
        ..plaintext()
    })
    .await;
    script.say(&"00000001 01".repeat(4)).await;
    let reason = peer_removed(&mut endpoint).await;
    assert_eq!(
        reason.to_string(),
        "peer sent more than 3 bad messages within 1 min"
    );
    script.expect_end().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_peering_before_it_is_there() {
    let (mut endpoint, mut script) = peer(EndpointConfig {
        message_max: 1000,
        ..plaintext()
    })
    .await;
    let data = Data::String("x".repeat(1000).as_str().into());
    let error = endpoint.handle().publish(topic("x"), &data).await;
    assert!(
        matches!(error, Err(PublishError::TooLong { .. })),
        "ours, too: {error:?}"
    );
    script.say("000003e9").await;
    let reason = peer_removed(&mut endpoint).await;
    assert_eq!(
        reason.to_string(),
        "frame of 1001 bytes exceeds the limit of 1000"
    );
}

#[tokio::test]
async fn nothing_leaves_on_topics_of_the_endpoint_itself() {
    let endpoint = start(plaintext());
    let error = endpoint
        .handle()
        .publish(topic("<$>/local/data/statuses"), &Data::None)
        .await;
    assert!(matches!(error, Err(PublishError::LocalTopic(_))), "{error:?}");
}

/// An endpoint with the smaller id and a peer in memory, for tests that stop the clock.
async fn peer_in_memory(config: EndpointConfig) -> (Endpoint, Script<DuplexStream>) {
    let mut endpoint = start(EndpointConfig {
        id: Some(id(SMALL)),
        ..config
    });
    let (mut script, _) = Script::connect_in_memory(&endpoint);
    script.become_peer(SYN_ACK_EMPTY).await;
    assert_eq!(peer_added(&mut endpoint).await.id, id(LARGE));
    (endpoint, script)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_the_bye_is_left_all_the_same() {
    let (mut endpoint, _script) = peer_in_memory(plaintext()).await;
    let began = Instant::now();
    endpoint.handle().disconnect(id(LARGE));
    let reason = peer_removed(&mut endpoint).await;
    assert!(
        matches!(reason, EndReason::Ended(PeeringEnd::LeftUnconfirmed)),
        "{reason:?}"
    );
    assert_took(began, BYE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_lost() {
    let liveness = EndpointConfig::default().liveness;
    let Liveness { interval, timeout } = liveness.expect("by default");
    let (mut endpoint, mut script) = peer_in_memory(EndpointConfig {
        liveness,
        ..plaintext()
    })
    .await;
    let began = Instant::now();
    let ping = script.frame().await;
    assert_eq!(ping[32], PING);
    assert_took(began, interval);
    // An answer buys time.
    script.say(&envelope_of_large(SMALL, 5, "<$>", &ping[40..])).await;
    script.frame().await;
    let reason = peer_lost(&mut endpoint).await;
    assert!(
        matches!(reason, EndReason::Ended(PeeringEnd::Silent { .. })),
        "{reason:?}"
    );
    assert_took(began, interval + timeout);
}

#[tokio::test]
async fn a_reset_and_an_end_are_noticed_at_once() {
    let (mut endpoint, script) = peer(plaintext()).await;
    script.reset();
    let reason = peer_lost(&mut endpoint).await;
    assert!(matches!(reason, EndReason::Failed(_)), "{reason:?}");
    peers_left(&endpoint, 0).await;

    // As Zeek up to 5.1 leaves, and in the middle of a frame.
    for bytes in ["", "00000010 00"] {
        let (mut endpoint, mut script) = peer(plaintext()).await;
        script.say(bytes).await;
        drop(script);
        let reason = peer_lost(&mut endpoint).await;
        assert!(matches!(reason, EndReason::Closed), "{reason:?}");
    }
}

#[tokio::test]
async fn a_peer_that_comes_back_with_its_old_id_is_added_after_it_was_lost() {
    let mut endpoint = start(small());
    let address = listen(&endpoint, "127.0.0.1").await;
    for _ in 0..3 {
        let script = Script::peer_with(address).await;
        peer_added(&mut endpoint).await;
        drop(script);
        peer_lost(&mut endpoint).await;
        peers_left(&endpoint, 0).await;
    }
}

/// The lengths of the TLS records with application data in a stream of bytes.
fn application_records(mut bytes: &[u8]) -> Vec<usize> {
    let mut records = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == 23 {
            records.push(len);
        }
        bytes = rest.get(len..).unwrap_or_default();
    }
    records
}

#[tokio::test]
async fn the_last_message_of_the_handshake_has_a_tls_record_of_its_own() {
    let mut acceptor = start(EndpointConfig {
        id: Some(id(SMALL)),
        tls: TlsConfig::Anonymous,
        ..patient()
    });
    let address = listen(&acceptor, "127.0.0.1").await;
    let relay = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let mut connector = start(EndpointConfig {
        id: Some(id(LARGE)),
        tls: TlsConfig::Anonymous,
        subscriptions: vec![topic("")],
        ..patient()
    });
    let relay_address = relay.local_addr().expect("bound");
    connector.handle().peer(relay_address.into(), None);
    let relayed = tokio::spawn(async move {
        let (downstream, _) = relay.accept().await.expect("accepted");
        let upstream = TcpStream::connect(address).await.expect("connected");
        let (mut from_connector, mut to_connector) = downstream.into_split();
        let (mut from_acceptor, mut to_acceptor) = upstream.into_split();
        let forth = tokio::spawn(async move { tokio::io::copy(&mut from_connector, &mut to_acceptor).await });
        let mut seen = Vec::new();
        let mut buffer = vec![0; 65536];
        while let Ok(len @ 1..) = from_acceptor.read(&mut buffer).await {
            seen.extend_from_slice(&buffer[..len]);
            to_connector.write_all(&buffer[..len]).await.expect("written");
        }
        drop(to_connector);
        forth.abort();
        seen
    });
    peer_added(&mut acceptor).await;
    publish(&acceptor, "x", &Data::None).await;
    peer_added(&mut connector).await;
    assert_eq!(message(&mut connector).await.topic, "x");
    tokio::join!(acceptor.shutdown(), async {
        peer_lost(&mut connector).await;
    });
    let records = application_records(&relayed.await.expect("no panic"));
    // probe, version_select, originator_syn, originator_ack, the message, BYE
    assert_eq!(records.len(), 6, "{records:?}");
    assert_eq!(
        records[3], records[0],
        "5 bytes are encrypted to as many as 9: {records:?}"
    );
}
