//! Many bad connections at once, beside good ones. `benches/under_attack.rs` does the same in other numbers and measures.

use std::net::Ipv4Addr;

use broker_codec::Data;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::*;

/// Connects from another address of this machine than good peers do.
async fn connect_from(last_byte: u8, address: SocketAddr) -> std::io::Result<Script> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 1, last_byte), 0).into())?;
    Ok(Script(socket.connect(address).await?))
}

/// What bad connections say: nothing, half a handshake, garbage, lengths beyond all bounds.
fn openings() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        from_hex(HELLO_SMALL),
        from_hex(&HELLO_SMALL[..20]),
        from_hex("ffffffff"),
        from_hex("fffffffc 06"),
        from_hex("00100000 0a"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        from_hex("16030100c8 0100"),
        (0..=255).collect(),
    ]
}

async fn send(from: &Endpoint, to: &mut Endpoint, number: u64) {
    publish(from, "x", &Data::Count(number)).await;
    assert_eq!(message(to).await.data, Data::Count(number));
}

async fn round_trip(one: &mut Endpoint, other: &mut Endpoint, number: u64) {
    send(one, other, number).await;
    send(other, one, number).await;
}

async fn check_attack(tls: TlsConfig) {
    let config = EndpointConfig {
        tls,
        subscriptions: vec![topic("x")],
        ..patient()
    };
    let mut endpoint = start(EndpointConfig {
        connections_max: 200,
        connections_per_address_max: 100,
        handshakes_max: 20,
        handshakes_per_address_max: 10,
        ..config.clone()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let mut good = start(config.clone());
    meet(&mut endpoint, address, &mut good).await;

    let mut attackers = JoinSet::new();
    for attacker in 1..=4 {
        attackers.spawn(async move {
            let mut held = Vec::new();
            for (index, opening) in openings().iter().cycle().take(250).enumerate() {
                // Refused connections may be gone at any point of this.
                let Ok(mut script) = connect_from(attacker, address).await else {
                    continue;
                };
                let _ = script.0.write_all(opening).await;
                if index % 2 == 0 {
                    held.push(script);
                }
            }
            held
        });
    }
    let mut number = 0;
    let mut held = Vec::new();
    while !attackers.is_empty() {
        round_trip(&mut endpoint, &mut good, number).await;
        number += 1;
        if let Some(connections) = attackers.try_join_next() {
            held.push(connections.expect("no panic"));
        }
    }

    // All bad connections that are left occupy every place for handshakes, and still another peer gets in.
    let mut late = start(config);
    late.handle().peer(address.into(), Some(Duration::from_millis(1)));
    assert_eq!(peer_added(&mut endpoint).await.id, late.id());
    // Others may take its place a few times.
    peer_added_at_last(&mut late).await;
    drop(late);
    peer_lost(&mut endpoint).await;
    drop(held);
    round_trip(&mut endpoint, &mut good, number).await;
    let counters = endpoint.handle().counters();
    assert_eq!(counters.get(Counted::PeersAdded), 2);
    assert_eq!(counters.get(Counted::Panics), 0);
    assert!(counters.get(Counted::AcceptFailures) > 0, "{counters:?}");
}

#[tokio::test]
async fn good_peers_are_served_while_a_plaintext_port_is_attacked() {
    check_attack(TlsConfig::Off).await;
}

#[tokio::test]
async fn good_peers_are_served_while_a_tls_port_is_attacked() {
    check_attack(TlsConfig::Anonymous).await;
}

/// Becomes a peer, from this address and with an id that has this number; wants everything and reads nothing.
async fn subscriber_from(last_byte: u8, number: u8, address: SocketAddr) -> Script {
    let mut script = connect_from(last_byte, address).await.expect("connected");
    let id = format!("eeeeeeeeeeee4eee8eee0000000000{number:02x}");
    script.become_peer_with_id(&id, SYN_ACK_EVERYTHING).await;
    script
}

#[tokio::test]
async fn peers_beyond_the_limits_are_refused() {
    let mut endpoint = start(EndpointConfig {
        connections_max: 3,
        connections_per_address_max: 2,
        ..small()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let mut kept = Vec::new();
    for (last_byte, number) in [(1, 1), (1, 2), (2, 3)] {
        kept.push(subscriber_from(last_byte, number, address).await);
        peer_added(&mut endpoint).await;
    }
    // One address has its share, the other may not take what the first has.
    for last_byte in [1, 2] {
        let mut script = connect_from(last_byte, address).await.expect("connected");
        script.expect_end().await;
    }
    assert_eq!(endpoint.handle().counters().get(Counted::Refused), 2);
    drop(kept.pop());
    peer_lost(&mut endpoint).await;
    kept.push(subscriber_from(2, 4, address).await);
    peer_added(&mut endpoint).await;
    assert_eq!(endpoint.handle().counters().get(Counted::PeersAdded), 4);
}

#[tokio::test]
async fn handshakes_of_one_address_wait_for_each_other() {
    let mut endpoint = start(EndpointConfig {
        handshakes_per_address_max: 1,
        ..small()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let mut first = connect_from(1, address).await.expect("connected");
    first.say(HELLO_LARGE).await;
    first.expect(PROBE).await;
    first.expect(VERSION_SELECT_SMALL).await;
    let mut waiting = JoinSet::new();
    for number in 1..=20 {
        waiting.spawn(subscriber_from(1, number, address));
    }
    // Another address does not wait for them, and silence takes no place.
    let _silent = connect_from(2, address).await.expect("connected");
    let _other = subscriber_from(2, 21, address).await;
    peer_added(&mut endpoint).await;
    let accepted = endpoint.handle().counters().get(Counted::Accepted);
    assert_eq!(accepted, 2, "one of each address");
    assert_eq!(first.frame().await[0], 0x0a, "originator_syn");
    first.say(SYN_ACK_EMPTY).await;
    first.expect(ACK).await;
    for _ in 0..=20 {
        peer_added(&mut endpoint).await;
    }
    let _peers = waiting.join_all().await;
    let counters = endpoint.handle().counters();
    assert_eq!(counters.get(Counted::Accepted), 22, "{counters:?}");
    assert_eq!(counters.get(Counted::AcceptFailures), 0, "{counters:?}");
}

/// So many peers come at once.
const CROWD: u8 = 100;

#[tokio::test]
async fn peers_that_come_at_once_wait_for_each_other_and_none_is_evicted() {
    let mut endpoint = start(EndpointConfig {
        handshakes_max: 4,
        ..small()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let mut coming = JoinSet::new();
    for number in 1..=CROWD {
        coming.spawn(subscriber_from(number, number, address));
    }
    for _ in 1..=CROWD {
        peer_added(&mut endpoint).await;
    }
    let _peers = coming.join_all().await;
    check_crowd(&endpoint);
}

#[tokio::test]
async fn peers_behind_one_address_are_served_at_once_and_again_when_the_endpoint_returns() {
    raise_file_limit();
    let port = ReservedPort::new("127.0.0.1");
    let retry = Some(Duration::from_millis(100));
    let mut endpoint = start(patient());
    let handle = endpoint.handle();
    handle.listen("127.0.0.1", port.port()).await.expect("listening");
    let mut crowd = Vec::new();
    for _ in 1..=CROWD {
        let peer = start(patient());
        peer.handle().peer(port.address().into(), retry);
        crowd.push(peer);
    }
    for restart in [false, true] {
        if restart {
            drop(endpoint);
            for peer in &mut crowd {
                peer_lost(peer).await;
            }
            endpoint = start(patient());
            let handle = endpoint.handle();
            handle.listen("127.0.0.1", port.port()).await.expect("listening");
        }
        for _ in 1..=CROWD {
            peer_added(&mut endpoint).await;
        }
        for peer in &mut crowd {
            peer_added_at_last(peer).await;
        }
        check_crowd(&endpoint);
    }
}

/// All have been served at the first attempt that reached the endpoint.
fn check_crowd(endpoint: &Endpoint) {
    let counters = endpoint.handle().counters();
    assert_eq!(
        counters.get(Counted::PeersAdded),
        u64::from(CROWD),
        "{counters:?}"
    );
    assert_eq!(counters.get(Counted::Accepted), u64::from(CROWD), "{counters:?}");
    for kind in [Counted::Refused, Counted::AcceptFailures] {
        assert_eq!(counters.get(kind), 0, "{counters:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_waited_in_vain_says_why() {
    let endpoint = start(EndpointConfig {
        handshake_timeout: Duration::from_secs(1),
        handshakes_per_address_max: 1,
        ..plaintext()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let mut failing = connect_from(1, address).await.expect("connected");
    failing.say("ffffffff").await;
    failing.expect(PROBE).await;
    failing.expect_end().await;
    // What failed keeps its place for longer than this connection has.
    let mut waiting = connect_from(1, address).await.expect("connected");
    waiting.say(HELLO_LARGE).await;
    let mut rest = Vec::new();
    // A reset, because the hello was not read.
    let _ = timeout(TIMEOUT, waiting.0.read_to_end(&mut rest))
        .await
        .expect("in time");
    assert_eq!(to_hex(&rest), PROBE.replace(' ', ""));
    let counters = endpoint.handle().counters();
    assert_eq!(counters.get(Counted::Accepted), 1, "{counters:?}");
    assert_eq!(counters.get(Counted::Refused), 1, "{counters:?}");
}

/// Both ends of many connections are in this process.
fn raise_file_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("up to the maximum");
}

/// Connects from one address, and says this and then nothing, until there are enough of it.
async fn flood(address: SocketAddr, opening: &[u8], enough: impl Fn(u64) -> bool) -> Vec<Script> {
    let flood = async {
        let mut flood = Vec::new();
        while !enough(flood.len() as u64) {
            let mut script = connect_from(1, address).await.expect("connected");
            // It may be evicted already.
            let _ = script.0.write_all(opening).await;
            flood.push(script);
        }
        flood
    };
    timeout(TIMEOUT, flood).await.expect("in time")
}

#[tokio::test]
async fn a_flood_from_one_address_does_not_delay_another() {
    raise_file_limit();
    let mut endpoint = start(patient());
    let address = listen(&endpoint, "127.0.0.1").await;
    let _flood = flood(address, &[0x16], |count| count >= 1000).await;
    let good = start(patient());
    good.handle().peer(address.into(), None);
    assert_eq!(peer_added(&mut endpoint).await.id, good.id());
    let of_flood = endpoint.handle().counters().get(Counted::Accepted) - 1;
    assert!(
        of_flood <= EndpointConfig::default().handshakes_per_address_max as u64,
        "{of_flood}"
    );
}

#[tokio::test]
async fn a_peer_is_served_although_no_more_connections_may_wait() {
    raise_file_limit();
    for opening in [[0x16].as_slice(), &[]] {
        let mut endpoint = start(EndpointConfig {
            waiting_max: 10,
            ..patient()
        });
        let address = listen(&endpoint, "127.0.0.1").await;
        let handle = endpoint.handle();
        let _flood = flood(address, opening, |_| handle.counters().get(Counted::Refused) > 10).await;
        let good = start(patient());
        good.handle().peer(address.into(), None);
        assert_eq!(peer_added(&mut endpoint).await.id, good.id());
    }
}
