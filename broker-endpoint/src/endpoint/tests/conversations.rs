//! What transcripts of handshakes (`tests/wire/over_tcp`) do not have: limits, times, and what the program is told. The endpoint has the
//! smaller id unless a test says otherwise.

use broker_codec::{Data, frame::HANDSHAKE_FRAME_MAX, handshake::Close};

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
async fn messages_may_follow_the_handshake_at_once() {
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
    // `true` on topic "a".
    let message =
        "00000028 11111111111141118111111111111111 00000000000000000000000000000000 01 0010 0001 61 0101";
    script.say(&format!("{ACK} {message}")).await;
    assert_eq!(peer_added(&mut endpoint).await.id, id(SMALL));
    let heard = super::message(&mut endpoint).await;
    assert_eq!((heard.peer, heard.data), (id(SMALL), Data::Boolean(true)));
    assert_eq!(heard.topic, "a");
}

/// A connection in memory that was refused, and its end on the endpoint's side.
async fn refused() -> (Endpoint, Script<DuplexStream>, JoinHandle<Outcome>) {
    let endpoint = start(small());
    let (mut script, end) = Script::connect_in_memory(&endpoint);
    script.say("00000001 0d").await;
    script.expect(PROBE).await;
    script.expect(&drop_small(20, "invalid message type tag")).await;
    (endpoint, script, end)
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_has_limited_time_to_read_why() {
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

    // A peer that closes needs none of it.
    let (_endpoint, script, end) = refused().await;
    let began = Instant::now();
    drop(script);
    end.await.expect("no panic");
    assert_took(began, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_may_send_little_more() {
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
async fn a_handshake_that_takes_too_long_is_ended() {
    for bytes in ["", "000000", HELLO_LARGE, "00000017 06 5a45454b"] {
        let (mut endpoint, mut script) = connector(EndpointConfig {
            handshake_timeout: Duration::from_millis(50),
            ..small()
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
async fn a_peer_that_speaks_tls_or_http_to_a_plaintext_endpoint_is_recognised() {
    // A ClientHello, an alert, and `GET /`.
    for (bytes, protocol) in [
        ("16030100c8 0100", "TLS"),
        ("1503010002 0246", "TLS"),
        ("474554202f", "HTTP"),
    ] {
        let (mut endpoint, mut script) = connector(plaintext()).await;
        script.say(bytes).await;
        let (error, _) = peer_unavailable(&mut endpoint).await;
        assert!(
            error.to_string().starts_with(&format!("peer speaks {protocol}")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn too_much_before_the_end_of_the_handshake_is_refused() {
    // A length beyond any message that may come first, without allocating it.
    let (mut endpoint, mut script) = connector(plaintext()).await;
    script.say("00100000 06").await;
    let (error, _) = peer_unavailable(&mut endpoint).await;
    assert!(matches!(error, PeeringError::Frame(_)), "{error:?}");

    // An empty frame, which is no message: without a word.
    let (_endpoint, mut script) = listener(plaintext()).await;
    script.expect(PROBE).await;
    script.say("00000000").await;
    script.expect_end().await;

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
            let end = timeout(TIMEOUT, script.0.read_to_end(&mut rest))
                .await
                .expect("in time");
            assert!(rest.is_empty(), "{end:?}");
            assert_eq!(endpoint.handle().counters().get(Counted::PeersAdded), 0);
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

    let (mut endpoint, mut script) = connector(small()).await;
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
        assert_eq!(id.as_bytes()[6] >> 4, 4, "{id}");
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
        acceptance.accept(accepted, TIMEOUT),
        anonymous.connect(stream, TIMEOUT)
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
