//! Many bad connections at once, beside good ones. `benches/under_attack.rs` does the same in other numbers and measures.

use std::net::Ipv4Addr;

use broker_codec::Data;
use tokio::{net::TcpSocket, task::JoinSet};

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
    from.handle()
        .publish(topic("x"), &Data::Count(number))
        .await
        .expect("published");
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
        ..EndpointConfig::default()
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
    good.handle().peer(address.into(), None).await;
    peer_added(&mut endpoint).await;
    peer_added(&mut good).await;

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

    // All bad connections that are left occupy every place for handshakes, and still somebody new gets in.
    let mut late = start(config);
    late.handle()
        .peer(address.into(), Some(Duration::from_millis(1)))
        .await;
    assert_eq!(peer_added(&mut endpoint).await.id, late.id());
    peer_added(&mut late).await;
    drop(late);
    peer_lost(&mut endpoint).await;
    drop(held);
    round_trip(&mut endpoint, &mut good, number).await;
    let counters = endpoint.handle().counters();
    assert_eq!(counters.peers_added, 2);
    assert_eq!(counters.panics, 0);
    assert!(counters.accept_failures > 0, "{counters:?}");
}

#[tokio::test]
async fn good_peers_are_served_while_a_plaintext_port_is_attacked() {
    check_attack(TlsConfig::Off).await;
}

#[tokio::test]
async fn good_peers_are_served_while_a_tls_port_is_attacked() {
    check_attack(TlsConfig::Anonymous).await;
}

#[tokio::test]
async fn connections_beyond_the_limits_are_closed() {
    let endpoint = start(EndpointConfig {
        connections_max: 3,
        connections_per_address_max: 2,
        ..plaintext()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let mut kept = Vec::new();
    for last_byte in [1, 1, 2] {
        let mut script = connect_from(last_byte, address).await.expect("connected");
        script.expect(PROBE).await;
        kept.push(script);
    }
    for last_byte in [1, 2, 3] {
        connect_from(last_byte, address)
            .await
            .expect("connected")
            .expect_end()
            .await;
    }
    assert_eq!(endpoint.handle().counters().refused, 3);
    // The last one came from another address.
    drop(kept.pop());
    loop {
        let mut script = connect_from(3, address).await.expect("connected");
        if script.0.read(&mut [0]).await.expect("an orderly end") == 1 {
            break;
        }
    }
}
