//! Handshakes and first messages, byte for byte. The endpoint has the smaller id unless a test says otherwise.

use broker_codec::{
    Data,
    frame::HANDSHAKE_FRAME_MAX,
    handshake::{Awaited, Close},
};

use super::*;
use crate::{
    connection::{IDENTIFICATION_FRAME_MAX, REFUSAL_TIMEOUT, REFUSED_BYTES_MAX},
    tls::{self, Acceptance, TlsContext, TlsError, testing::Authority},
};

/// An endpoint with the smaller id that listens, and a connection to it.
async fn listener(config: EndpointConfig) -> (Endpoint, Script) {
    let endpoint = start(EndpointConfig {
        id: Some(id(SMALL)),
        ..config
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    (endpoint, Script::connect(address).await)
}

/// An endpoint that connects to the script, once.
async fn connector(config: EndpointConfig) -> (Endpoint, Script) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let endpoint = start(config);
    endpoint.handle().peer(address.into(), None);
    (endpoint, Script::accept(&listener).await)
}

#[tokio::test]
async fn an_acceptor_with_the_smaller_id_is_the_originator() {
    let (mut endpoint, mut script) = listener(EndpointConfig {
        subscriptions: [
            "___sync_store_Management::Controller::Runtime::g_configs/<$>/data/master",
            "zeek/management/agent",
            "zeek/management/controller",
        ]
        .map(topic)
        .to_vec(),
        ..plaintext()
    })
    .await;
    script.expect(PROBE).await;
    script.say(HELLO_LARGE).await;
    script.expect(VERSION_SELECT_SMALL).await;
    script
        .expect(
            "0000007c 0a 03
             48 5f5f5f73796e635f73746f72655f4d616e6167656d656e743a3a436f6e74726f6c6c65723a3a52756e
             74696d653a3a675f636f6e666967732f3c243e2f646174612f6d6173746572
             15 7a65656b2f6d616e6167656d656e742f6167656e74
             1a 7a65656b2f6d616e6167656d656e742f636f6e74726f6c6c6572",
        )
        .await;
    script
        .say("00000023 0b 01 20 7a65656b2f6d616e6167656d656e742f6167656e742f696e7374616e63652d31")
        .await;
    script.expect(ACK).await;
    assert_eq!(peer_added(&mut endpoint).await.id, id(LARGE));

    endpoint
        .handle()
        .publish(topic("zeek/management/agent/instance-1"), &Data::Boolean(true))
        .await
        .expect("published");
    script
        .expect(
            "00000047 11111111111141118111111111111111 00000000000000000000000000000000 01 0010
             0020 7a65656b2f6d616e6167656d656e742f6167656e742f696e7374616e63652d31 0101",
        )
        .await;
}

#[tokio::test]
async fn an_acceptor_with_the_larger_id_is_the_responder() {
    let mut endpoint = start(EndpointConfig {
        id: Some(id(LARGE)),
        subscriptions: vec![topic("a")],
        ..plaintext()
    });
    let mut script = Script::connect(listen(&endpoint, "127.0.0.1").await).await;
    script.say(HELLO_SMALL).await;
    script.expect(PROBE).await;
    script.expect(HELLO_LARGE).await;
    script.say(&format!("{VERSION_SELECT_SMALL} {SYN_EMPTY}")).await;
    script.expect("00000004 0b 01 01 61").await;
    // Envelopes may follow the last message at once, here `true` on topic "a".
    let message =
        "00000028 11111111111141118111111111111111 00000000000000000000000000000000 01 0010 0001 61 0101";
    script.say(&format!("{ACK} {message}")).await;
    assert_eq!(peer_added(&mut endpoint).await.id, id(SMALL));
    let heard = super::message(&mut endpoint).await;
    assert_eq!((heard.peer, heard.data), (id(SMALL), Data::Boolean(true)));
    assert_eq!(heard.topic, "a");
}

#[tokio::test]
async fn a_connector_with_the_smaller_id_is_the_originator() {
    let (mut endpoint, mut script) = connector(EndpointConfig {
        id: Some(id(SMALL)),
        ..plaintext()
    })
    .await;
    script.expect(HELLO_SMALL).await;
    script.say(PROBE).await;
    script.say(HELLO_LARGE).await;
    script.expect(VERSION_SELECT_SMALL).await;
    script.expect(SYN_EMPTY).await;
    script.say(SYN_ACK_EMPTY).await;
    script.expect(ACK).await;
    assert_eq!(peer_added(&mut endpoint).await.id, id(LARGE));
}

#[tokio::test]
async fn a_connector_with_the_larger_id_is_the_responder() {
    let (mut endpoint, mut script) = connector(EndpointConfig {
        id: Some(id(LARGE)),
        ..plaintext()
    })
    .await;
    script.expect(HELLO_LARGE).await;
    script
        .say(&format!("{PROBE} {VERSION_SELECT_SMALL} {SYN_EMPTY}"))
        .await;
    script.expect(SYN_ACK_EMPTY).await;
    script.say(ACK).await;
    assert_eq!(peer_added(&mut endpoint).await.id, id(SMALL));
}

#[tokio::test]
async fn a_probe_is_not_needed_and_may_be_repeated() {
    let (mut endpoint, mut script) = connector(EndpointConfig {
        id: Some(id(LARGE)),
        ..plaintext()
    })
    .await;
    script.expect(HELLO_LARGE).await;
    script.say(&format!("{VERSION_SELECT_SMALL} {SYN_EMPTY}")).await;
    script.expect(SYN_ACK_EMPTY).await;
    script.say(ACK).await;
    peer_added(&mut endpoint).await;

    let (mut endpoint, mut script) = listener(plaintext()).await;
    script.say(&format!("{PROBE} {PROBE} {HELLO_LARGE}")).await;
    script.expect(PROBE).await;
    script.expect(VERSION_SELECT_SMALL).await;
    script.expect(SYN_EMPTY).await;
    script.say(SYN_ACK_EMPTY).await;
    script.expect(ACK).await;
    peer_added(&mut endpoint).await;
}

#[tokio::test]
async fn bad_first_messages_are_refused_in_brokers_words() {
    let large = "eeeeeeeeeeee4eee8eeeeeeeeeeeeeee";
    for (bytes, code, text) in [
        ("00000001 0d".to_owned(), 20, "invalid message type tag"),
        ("00000001 01".to_owned(), 20, "invalid message type tag"),
        ("00000002 06 5a".to_owned(), 20, "failed to parse hello_msg"),
        ("00000003 07 5a45".to_owned(), 20, "failed to parse probe_msg"),
        (
            "00000002 08 5a".to_owned(),
            20,
            "failed to parse version_select_msg",
        ),
        ("00000002 09 5a".to_owned(), 20, "failed to parse drop_conn_msg"),
        (
            "00000001 0a".to_owned(),
            20,
            "failed to parse v1::originator_syn_msg",
        ),
        (
            "00000002 0b 05".to_owned(),
            20,
            "failed to parse v1::responder_syn_ack_msg",
        ),
        (
            format!("00000017 06 5a45454c {large} 0101"),
            38,
            "wrong magic number",
        ),
        ("00000005 07 4745454b".to_owned(), 38, "wrong magic number"),
        (
            format!("00000017 06 5a45454b {large} 0203"),
            2,
            "unsupported versions offered",
        ),
        (
            format!("00000016 08 5a45454b {large} 02"),
            2,
            "unsupported version selected",
        ),
        (format!("0000001a 09 5a45454b {large} 29 03 627965"), 1, "bye"),
    ] {
        let (_endpoint, mut script) = listener(plaintext()).await;
        script.expect(PROBE).await;
        script.say(&bytes).await;
        script.expect(&drop_small(code, text)).await;
        script.expect_end().await;
    }
}

/// A connection in memory that was refused, and its end on the endpoint's side.
async fn refused() -> (Endpoint, Script<DuplexStream>, JoinHandle<Outcome>) {
    let endpoint = start(EndpointConfig {
        id: Some(id(SMALL)),
        ..plaintext()
    });
    let (mut script, end) = Script::connect_in_memory(&endpoint);
    script.say("00000001 0d").await;
    script.expect(PROBE).await;
    script.expect(&drop_small(20, "invalid message type tag")).await;
    (endpoint, script, end)
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_has_limited_time_to_read_why() {
    let (_endpoint, script, end) = refused().await;
    let began = Instant::now();
    let outcome = end.await.expect("no panic");
    assert_took(began, REFUSAL_TIMEOUT);
    let is_refusal = matches!(
        outcome,
        Outcome::Failed {
            error: PeeringError::Handshake(Close::Malformed(_)),
            ..
        }
    );
    assert!(is_refusal, "{outcome:?}");
    drop(script);

    // Who closes needs none of it.
    let (_endpoint, script, end) = refused().await;
    let began = Instant::now();
    drop(script);
    end.await.expect("no panic");
    assert_took(began, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_may_send_little_more() {
    for (len, lasts) in [
        (REFUSED_BYTES_MAX - 1, REFUSAL_TIMEOUT),
        (REFUSED_BYTES_MAX, Duration::ZERO),
    ] {
        let (_endpoint, mut script, end) = refused().await;
        let began = Instant::now();
        script.0.write_all(&vec![0; len]).await.expect("written");
        end.await.expect("no panic");
        assert_took(began, lasts);
    }
}

#[tokio::test]
async fn an_offer_of_later_versions_is_answered_by_version_1() {
    let (_endpoint, mut script) = listener(plaintext()).await;
    script.expect(PROBE).await;
    script.say(&HELLO_LARGE.replace("0101", "0163")).await;
    script.expect(VERSION_SELECT_SMALL).await;
}

#[tokio::test]
async fn messages_at_the_wrong_time_end_the_connection_without_a_word() {
    for bytes in [VERSION_SELECT_LARGE, SYN_EMPTY, SYN_ACK_EMPTY, ACK, "00000000"] {
        let (_endpoint, mut script) = listener(plaintext()).await;
        script.expect(PROBE).await;
        script.say(bytes).await;
        script.expect_end().await;
    }
    for bytes in [HELLO_LARGE, ACK, PROBE, SYN_EMPTY] {
        let (_endpoint, mut script) = listener(plaintext()).await;
        script.say(HELLO_LARGE).await;
        script.expect(PROBE).await;
        script.expect(VERSION_SELECT_SMALL).await;
        script.expect(SYN_EMPTY).await;
        script.say(bytes).await;
        script.expect_end().await;
    }
}

#[tokio::test]
async fn a_redundant_connection_is_refused_by_either_side() {
    let endpoint = start(EndpointConfig {
        id: Some(id(SMALL)),
        ..plaintext()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let _first = Script::peer_with(address).await;
    let mut second = Script::connect(address).await;
    second.say(HELLO_LARGE).await;
    second.expect(PROBE).await;
    second.expect(&drop_small(39, "redundant connection")).await;
    second.expect_end().await;

    let endpoint = start(EndpointConfig {
        id: Some(id(LARGE)),
        ..plaintext()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let mut first = Script::connect(address).await;
    first.say(HELLO_SMALL).await;
    first.expect(PROBE).await;
    first.expect(HELLO_LARGE).await;
    first.say(&format!("{VERSION_SELECT_SMALL} {SYN_EMPTY}")).await;
    first.expect(SYN_ACK_EMPTY).await;
    let mut second = Script::connect(address).await;
    second.say(HELLO_SMALL).await;
    second.expect(PROBE).await;
    second.expect(HELLO_LARGE).await;
    second.say(&format!("{VERSION_SELECT_SMALL} {SYN_EMPTY}")).await;
    let text = "detected redundant connection at the responder";
    let refusal = drop_small(40, text).replace(&SMALL.replace('-', ""), &LARGE.replace('-', ""));
    second.expect(&refusal).await;
    second.expect_end().await;
}

/// A connection whose handshake has begun, and a second one with the same peer, which waits for the first.
async fn held_back() -> (Endpoint, Script, Script) {
    let (endpoint, mut first) = listener(plaintext()).await;
    first.say(HELLO_LARGE).await;
    first.expect(PROBE).await;
    first.expect(VERSION_SELECT_SMALL).await;
    first.expect(SYN_EMPTY).await;
    let mut second = Script::connect(first.0.peer_addr().expect("connected")).await;
    second.say(HELLO_LARGE).await;
    second.expect(PROBE).await;
    (endpoint, first, second)
}

#[tokio::test]
async fn a_connection_held_back_goes_on_when_the_first_one_fails() {
    let (mut endpoint, first, mut second) = held_back().await;
    drop(first);
    second.expect(VERSION_SELECT_SMALL).await;
    second.expect(SYN_EMPTY).await;
    second.say(SYN_ACK_EMPTY).await;
    second.expect(ACK).await;
    peer_added(&mut endpoint).await;
}

#[tokio::test]
async fn a_connection_held_back_is_refused_when_the_first_one_succeeds() {
    let (mut endpoint, mut first, mut second) = held_back().await;
    first.say(SYN_ACK_EMPTY).await;
    first.expect(ACK).await;
    second.expect(&drop_small(39, "redundant connection")).await;
    second.expect_end().await;
    peer_added(&mut endpoint).await;
}

#[tokio::test]
async fn our_own_id_and_the_nil_id_are_refused() {
    for peer in [SMALL, "00000000-0000-0000-0000-000000000000"] {
        let (_endpoint, mut script) = listener(plaintext()).await;
        script.expect(PROBE).await;
        script
            .say(&format!("00000017 06 5a45454b {} 0101", peer.replace('-', "")))
            .await;
        script.expect(&drop_small(40, "unusable endpoint id")).await;
        script.expect_end().await;
    }
}

#[tokio::test]
async fn a_refusal_is_reported_and_retried() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let mut endpoint = start(EndpointConfig {
        id: Some(id(SMALL)),
        ..plaintext()
    });
    let retry = Duration::from_millis(1);
    endpoint.handle().peer(address.into(), Some(retry));
    // Code 39 is no success without another connection.
    for (refusal, text) in [
        (
            "0000001e 09 5a45454b eeeeeeeeeeee4eee8eeeeeeeeeeeeeee 02 07 746f6f206f6c64",
            "dropped by the peer: peer_incompatible (too old)",
        ),
        (
            "00000017 09 5a45454b eeeeeeeeeeee4eee8eeeeeeeeeeeeeee 27 00",
            "dropped by the peer: redundant_connection ()",
        ),
    ] {
        let mut script = Script::accept(&listener).await;
        script.expect(HELLO_SMALL).await;
        script.say(refusal).await;
        let (error, again) = peer_unavailable(&mut endpoint).await;
        assert_eq!(error.to_string(), text);
        assert_eq!(again, Some(retry));
    }
    Script::accept(&listener).await.expect(HELLO_SMALL).await;
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_ended() {
    for bytes in ["", "000000", HELLO_LARGE, "00000017 06 5a45454b"] {
        let (mut endpoint, mut script) = connector(EndpointConfig {
            id: Some(id(SMALL)),
            handshake_timeout: Duration::from_millis(50),
            ..plaintext()
        })
        .await;
        // It may be over already.
        let _ = script.0.write_all(&from_hex(bytes)).await;
        let (error, _) = peer_unavailable(&mut endpoint).await;
        assert!(
            matches!(error, PeeringError::Handshake(Close::TimedOut { .. })),
            "{bytes:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_speaks_tls_to_a_plaintext_endpoint_is_recognised() {
    // A ClientHello and an alert.
    for bytes in ["16030100c8 0100", "1503010002 0246"] {
        let (mut endpoint, mut script) = connector(plaintext()).await;
        script.say(bytes).await;
        let (error, _) = peer_unavailable(&mut endpoint).await;
        assert!(error.to_string().contains("peer speaks TLS"), "{error}");
    }
}

#[tokio::test]
async fn too_much_before_the_end_of_the_handshake_is_refused() {
    // A length beyond any message that may come first, without allocating it.
    let (mut endpoint, mut script) = connector(plaintext()).await;
    script.say("00100000 06").await;
    let (error, _) = peer_unavailable(&mut endpoint).await;
    assert!(matches!(error, PeeringError::Frame(_)), "{error:?}");

    // As many probes as fit.
    let (mut endpoint, mut script) = connector(EndpointConfig {
        handshake_bytes_max: 900,
        ..plaintext()
    })
    .await;
    script.say(&PROBE.repeat(101)).await;
    let (error, _) = peer_unavailable(&mut endpoint).await;
    assert_eq!(
        error.to_string(),
        "peer sent more than 900 bytes before the end of the handshake"
    );
}

#[tokio::test]
async fn nothing_but_a_filter_may_be_large_before_the_end_of_the_handshake() {
    // A hello with surplus bytes, which are ignored: as many as there may be, and one more.
    let surplus = IDENTIFICATION_FRAME_MAX - 23;
    for (surplus, fits) in [(surplus, true), (surplus + 1, false)] {
        let (endpoint, mut script) = listener(plaintext()).await;
        script.expect(PROBE).await;
        let hello = HELLO_LARGE.replacen("00000017", &format!("{:08x}", 23 + surplus), 1);
        script.say(&hello).await;
        if fits {
            script
                .0
                .write_all(&vec![0; surplus as usize])
                .await
                .expect("written");
            script.expect(VERSION_SELECT_SMALL).await;
            script.expect(SYN_EMPTY).await;
        } else {
            // Without a word; and perhaps a reset, because it has not read everything.
            let mut rest = Vec::new();
            let end = timeout(PATIENCE, script.0.read_to_end(&mut rest))
                .await
                .expect("in time");
            assert!(rest.is_empty(), "{end:?}");
            assert_eq!(endpoint.handle().counters().peers_added, 0);
        }
    }

    // Filters of 1,000 topics of 100 bytes, within all limits, and beyond the largest frame.
    let (mut endpoint, mut script) = listener(plaintext()).await;
    script.say(HELLO_LARGE).await;
    script.expect(PROBE).await;
    script.expect(VERSION_SELECT_SMALL).await;
    script.expect(SYN_EMPTY).await;
    let topics = format!("64 {}", "61".repeat(100)).repeat(1000);
    script
        .say(&format!("{:08x} 0b e807 {topics}", 3 + 1000 * 101))
        .await;
    script.expect(ACK).await;
    peer_added(&mut endpoint).await;

    let (mut endpoint, mut script) = connector(EndpointConfig {
        id: Some(id(SMALL)),
        ..plaintext()
    })
    .await;
    script.expect(HELLO_SMALL).await;
    script
        .say(&format!("{HELLO_LARGE} {:08x}", HANDSHAKE_FRAME_MAX + 1))
        .await;
    let (error, _) = peer_unavailable(&mut endpoint).await;
    assert_eq!(
        error.to_string(),
        "peer does not speak Broker's protocol: frame of 1048577 bytes exceeds the limit of 1048576"
    );
}

#[tokio::test]
async fn ids_are_new_with_every_start_and_such_that_zeek_counts_them() {
    let ids = [(); 20].map(|()| start(plaintext()).id());
    let different: std::collections::BTreeSet<EndpointId> = ids.into_iter().collect();
    assert_eq!(different.len(), ids.len());
    for id in ids {
        assert_eq!(id.uuid_version(), 4, "{id}");
        assert!(id.is_accepted_by_zeek(), "{id}");
    }
}

/// The reason is there, but the connection is closed already when we are to say something.
#[tokio::test]
async fn why_a_peer_closes_is_heard_although_nothing_can_be_said_to_it() {
    let ca = Authority::new("Test CA");
    let context = |tls: &TlsConfig| TlsContext::new(tls).expect("valid").expect("TLS is on");
    let endpoint = start(patient());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let stream = TcpStream::connect(address).await.expect("connected");
    let (accepted, _) = listener.accept().await.expect("accepted");
    let acceptance = Acceptance::Tls(context(&ca.mutual("controller")));
    let anonymous = tls::Connection::Tls(context(&TlsConfig::Anonymous));
    let (refused, connected) = tokio::join!(
        acceptance.accept(accepted, PATIENCE),
        anonymous.connect(stream, PATIENCE)
    );
    // It closes without having read all that our side of TLS said, which is a reset.
    refused.expect_err("we have no certificate");
    let transport = connected.expect("with TLS 1.3 the other side decides last");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }

    let mut connection = connection_of(&endpoint, Role::Connector);
    connection.address = address;
    let outcome = connection.run(transport).await;
    assert!(
        matches!(
            outcome,
            Outcome::Failed {
                error: PeeringError::Tls(TlsError::OursMissing),
                ..
            }
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_peer_that_hangs_up_is_said_to() {
    let (mut endpoint, script) = connector(plaintext()).await;
    drop(script);
    let (error, _) = peer_unavailable(&mut endpoint).await;
    assert!(
        matches!(
            error,
            PeeringError::Closed {
                awaited: Awaited::HelloOrVersionSelect,
                mute: true
            }
        ),
        "{error:?}"
    );
}
