//! Two endpoints of ours.

use broker_codec::{Data, Payload, peering::PeeringEnd};

use super::*;

/// `dialler` connects to `listener`; both announce the peering.
async fn join(listener: &mut Endpoint, host: &str, dialler: &mut Endpoint) -> (PeerInfo, PeerInfo) {
    let address = listen(listener, host).await;
    let target = PeerAddress::from(address);
    dialler
        .handle()
        .peer(target.clone(), Some(Duration::from_secs(1)));
    let (seen_by_listener, seen_by_dialler) = (peer_added(listener).await, peer_added(dialler).await);
    assert_eq!(seen_by_listener.id, dialler.id());
    assert_eq!(seen_by_listener.dialled, None);
    assert_eq!(seen_by_dialler.id, listener.id());
    assert_eq!(seen_by_dialler.dialled, Some(target));
    assert_eq!(seen_by_dialler.address, address);
    (seen_by_listener, seen_by_dialler)
}

async fn check_messages(left: &mut Endpoint, right: &mut Endpoint) {
    publish(left, "right/x", &Data::String("to the right".into())).await;
    publish(right, "left/x", &Data::String("to the left".into())).await;
    let heard = message(right).await;
    assert_eq!(heard.peer, left.id());
    assert_eq!(heard.topic, "right/x");
    assert_eq!(heard.data, Data::String("to the right".into()));
    let heard = message(left).await;
    assert_eq!(heard.peer, right.id());
    assert_eq!(heard.data, Data::String("to the left".into()));
}

/// A name that no name server needs to be asked about: its label is longer than 63 bytes.
fn no_host() -> String {
    "x".repeat(64)
}

/// Peers two endpoints with either as the originator, and exchanges messages.
async fn check_pair(host: &str, tls: [TlsConfig; 2]) {
    for ids in [[SMALL, LARGE], [LARGE, SMALL]] {
        let [mut listener, mut dialler] = [0, 1].map(|index| {
            start(EndpointConfig {
                id: Some(id(ids[index])),
                tls: tls[index].clone(),
                subscriptions: vec![topic(["left", "right"][index])],
                ..patient()
            })
        });
        join(&mut listener, host, &mut dialler).await;
        check_messages(&mut listener, &mut dialler).await;
    }
}

#[tokio::test]
async fn all_modes_work_over_ipv4_and_ipv6() {
    let ca = Authority::new("Test CA");
    for host in ["127.0.0.1", "::1"] {
        check_pair(host, [TlsConfig::Off, TlsConfig::Off]).await;
        check_pair(host, [TlsConfig::Anonymous, TlsConfig::Anonymous]).await;
        check_pair(host, [ca.mutual("left"), ca.mutual("right")]).await;
    }
}

#[tokio::test]
async fn a_peer_with_a_certificate_is_named_by_it() {
    let ca = Authority::new("Test CA");
    let [mut listener, mut dialler] = ["controller", "agent-1"].map(|name| {
        start(EndpointConfig {
            tls: ca.mutual(name),
            ..patient()
        })
    });
    let (dialler, listener) = join(&mut listener, "127.0.0.1", &mut dialler).await;
    let names = |peer: PeerInfo| peer.certificate.expect("a certificate").names;
    assert_eq!(names(dialler), ["agent-1"]);
    assert_eq!(names(listener), ["controller"]);
}

#[tokio::test]
async fn the_empty_host_is_both_families_and_zeroes_are_ipv4_only() {
    let listener = start(plaintext());
    let port = listen(&listener, "").await.port();
    for address in ["127.0.0.1", "::1"] {
        TcpStream::connect((address, port))
            .await
            .unwrap_or_else(|error| panic!("{address}: {error}"));
    }
    // A port at which no other process listens on IPv6.
    let (port, _reserved) = loop {
        let reserved = ReservedPort::new("::1");
        if listener.handle().listen("0.0.0.0", reserved.port()).await.is_ok() {
            break (reserved.port(), reserved);
        }
    };
    TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    TcpStream::connect(("::1", port))
        .await
        .expect_err("it is IPv4 only");
}

#[tokio::test]
async fn names_can_be_listened_on_and_dialled() {
    let mut listener = start(plaintext());
    let port = listen(&listener, "localhost").await.port();
    let mut dialler = start(plaintext());
    dialler.handle().peer(PeerAddress::new("localhost", port), None);
    assert_eq!(peer_added(&mut dialler).await.id, listener.id());
    assert_eq!(peer_added(&mut listener).await.id, dialler.id());

    dialler.handle().peer(PeerAddress::new(no_host(), port), None);
    let (error, _) = peer_unavailable(&mut dialler).await;
    assert!(matches!(error, PeeringError::Resolve(_)), "{error:?}");
}

#[tokio::test]
async fn interfaces_can_be_listened_on() {
    let mut listener = start(plaintext());
    // Every Linux has it, with one address or two.
    let addresses = listener.handle().listen("lo", 0).await.expect("listening");
    assert!(
        addresses.iter().all(|address| address.ip().is_loopback()),
        "{addresses:?}"
    );
    assert!(addresses.iter().any(SocketAddr::is_ipv4), "{addresses:?}");
    for address in addresses {
        let mut dialler = start(plaintext());
        meet(&mut listener, address, &mut dialler).await;
        dialler.shutdown().await;
        peer_lost(&mut listener).await;
    }
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_named() {
    let endpoint = start(plaintext());
    let port = listen(&endpoint, "").await.port();
    for (host, port, text) in [
        ("192.0.2.1", 0, "cannot listen on 192.0.2.1:0".to_owned()),
        (&no_host(), 0, format!("cannot resolve {:?}", no_host())),
        ("", port, format!("cannot listen on [::]:{port}")),
    ] {
        let error = endpoint.handle().listen(host, port).await.expect_err("refused");
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn nothing_is_relayed_and_nothing_unsubscribed_is_sent() {
    let mut middle = subscribed(&["news"]);
    let mut left = start(plaintext());
    let mut right = subscribed(&["news", "end"]);
    join(&mut middle, "127.0.0.1", &mut left).await;
    join(&mut middle, "127.0.0.1", &mut right).await;

    publish(&left, "news/of/today", &Data::None).await;
    assert_eq!(message(&mut middle).await.topic, "news/of/today");
    // Were it relayed or sent unasked, it would come before the last one.
    publish(&middle, "gossip", &Data::None).await;
    publish(&middle, "end", &Data::None).await;
    let heard = message(&mut right).await;
    assert_eq!(heard.topic, "end");
    assert_eq!(heard.peer, middle.id());
}

#[tokio::test]
async fn a_direct_message_needs_no_subscription_and_reaches_one() {
    let mut listener = start(plaintext());
    let mut one = subscribed(&["all"]);
    let mut other = subscribed(&["all"]);
    join(&mut listener, "127.0.0.1", &mut one).await;
    join(&mut listener, "127.0.0.1", &mut other).await;
    let handle = listener.handle();
    handle
        .publish_to(one.id(), topic("private"), Payload::of(&Data::Count(1)).unwrap())
        .await
        .expect("sent");
    let text = Payload::of(&Data::String("ab".into())).expect("encoded").own;
    let (own, shared) = (text.slice(..3), text.slice(3..));
    handle
        .publish_to(one.id(), topic("private"), Payload { own, shared })
        .await
        .expect("sent");
    handle.publish(topic("all"), &Data::Count(2)).await.expect("sent");
    assert_eq!(message(&mut one).await.data, Data::Count(1));
    assert_eq!(message(&mut one).await.data, Data::String("ab".into()));
    assert_eq!(message(&mut one).await.data, Data::Count(2));
    assert_eq!(message(&mut other).await.data, Data::Count(2));

    handle
        .publish_to(id(SMALL), topic("private"), Payload::of(&Data::Count(3)).unwrap())
        .await
        .expect("no receiver is no error");
    handle.peers();
    assert_eq!(handle.counters().get(Counted::Undeliverable), 1);
}

#[tokio::test]
async fn a_later_subscription_is_announced_to_peers() {
    let mut listener = start(plaintext());
    let mut dialler = subscribed(&["ready"]);
    join(&mut listener, "127.0.0.1", &mut dialler).await;
    listener.handle().subscribe(topic("late")).expect("subscribed");
    // The routing update travels before this message.
    publish(&listener, "ready", &Data::None).await;
    assert_eq!(message(&mut dialler).await.topic, "ready");
    publish(&dialler, "late/x", &Data::None).await;
    assert_eq!(message(&mut listener).await.topic, "late/x");
}

#[tokio::test]
async fn leaving_is_announced_on_both_sides_and_final_for_the_dialler() {
    let mut listener = start(plaintext());
    let mut dialler = start(plaintext());
    join(&mut listener, "127.0.0.1", &mut dialler).await;
    dialler.handle().disconnect(listener.id());
    let reason = peer_removed(&mut dialler).await;
    assert!(matches!(reason, EndReason::Ended(PeeringEnd::Left)), "{reason:?}");
    assert!(matches!(peer_lost(&mut listener).await, EndReason::Left));
    peers_left(&dialler, 0).await;
    peers_left(&listener, 0).await;
}

#[tokio::test]
async fn a_dialler_that_is_left_comes_back_until_it_is_told_to_stop() {
    let mut listener = start(plaintext());
    let mut dialler = start(plaintext());
    let address = PeerAddress::from(listen(&listener, "127.0.0.1").await);
    dialler
        .handle()
        .peer(address.clone(), Some(Duration::from_millis(1)));
    for _ in 0..3 {
        peer_added(&mut listener).await;
        peer_added_at_last(&mut dialler).await;
        listener.handle().disconnect(dialler.id());
        peer_removed(&mut listener).await;
        assert!(matches!(peer_lost(&mut dialler).await, EndReason::Left));
    }
    peer_added(&mut listener).await;
    peer_added_at_last(&mut dialler).await;
    dialler.handle().unpeer(&address);
    let reason = peer_removed(&mut dialler).await;
    assert!(matches!(reason, EndReason::Ended(PeeringEnd::Left)), "{reason:?}");
    peer_lost(&mut listener).await;
}

#[tokio::test]
async fn what_was_published_before_the_end_arrives() {
    let mut listener = subscribed(&[""]);
    let mut dialler = start(plaintext());
    join(&mut listener, "127.0.0.1", &mut dialler).await;
    let handle = dialler.handle();
    for count in 0..100 {
        handle
            .publish(topic("x"), &Data::Count(count))
            .await
            .expect("published");
    }
    tokio::join!(dialler.shutdown(), async {
        for count in 0..100 {
            assert_eq!(message(&mut listener).await.data, Data::Count(count));
        }
        assert!(matches!(peer_lost(&mut listener).await, EndReason::Left));
    });
    let error = handle.publish(topic("x"), &Data::None).await;
    assert!(matches!(error, Err(PublishError::Ended)), "{error:?}");
}

#[tokio::test]
async fn an_endpoint_does_not_peer_with_itself() {
    let mut endpoint = start(plaintext());
    let address = listen(&endpoint, "127.0.0.1").await;
    endpoint
        .handle()
        .peer(address.into(), Some(Duration::from_millis(1)));
    let (error, retry) = peer_unavailable(&mut endpoint).await;
    assert!(error.to_string().contains("our own endpoint id"), "{error}");
    assert_eq!(retry, None, "it would be the same the next time");
}

#[tokio::test]
async fn sides_with_different_ideas_of_tls_say_so() {
    let ca = Authority::new("Test CA");
    for (listening, dialling, fragments) in [
        (
            TlsConfig::Anonymous,
            TlsConfig::Off,
            &["peer closed", "may expect TLS"][..],
        ),
        (
            TlsConfig::Off,
            TlsConfig::Anonymous,
            &["plaintext", "disable_ssl"],
        ),
        (
            ca.mutual("controller"),
            TlsConfig::Anonymous,
            &["peer demands a certificate"],
        ),
        (
            TlsConfig::Anonymous,
            ca.mutual("agent-1"),
            &["no cipher suite in common"],
        ),
    ] {
        let case = format!("{} to {}", dialling.name(), listening.name());
        let listener = start(EndpointConfig {
            tls: listening,
            ..patient()
        });
        let mut dialler = start(EndpointConfig {
            tls: dialling,
            ..patient()
        });
        let address = listen(&listener, "127.0.0.1").await;
        dialler.handle().peer(address.into(), None);
        let (error, retry) = peer_unavailable(&mut dialler).await;
        assert_eq!(retry, None);
        for fragment in fragments {
            assert!(
                error.to_string().contains(fragment),
                "{case}: {fragment:?} is not in {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_failing_address_is_retried_after_the_interval_and_found_when_it_is_there() {
    let reserved = ReservedPort::new("127.0.0.1");
    let address = reserved.address();
    let mut dialler = start(plaintext());
    dialler
        .handle()
        .peer(address.into(), Some(Duration::from_millis(10)));
    for _ in 0..3 {
        let (error, retry) = peer_unavailable(&mut dialler).await;
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert_eq!(retry, Some(Duration::from_millis(10)));
    }
    let listener = start(plaintext());
    listener
        .handle()
        .listen("127.0.0.1", address.port())
        .await
        .expect("listening");
    assert_eq!(peer_added_at_last(&mut dialler).await.id, listener.id());
}
