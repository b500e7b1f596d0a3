//! A good client's requests are answered, every one, whatever others do.

use std::{future::Future, net::SocketAddr, pin::Pin, time::Duration};

use broker_endpoint::websocket::{Counted, WebSocketConfig};
use futures_util::SinkExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::{
        BINARY, CLOSE, Client, PING, PONG, TEXT, close, independent_client, masked, next_text, request,
    },
    server::{Answering, TOPIC, config, delivered, event},
};

/// How many requests the good client makes at least during each attack.
const REQUESTS_MIN: usize = 50;

/// Asks and checks each answer until told to stop; returns how many.
async fn good_client(addr: SocketAddr, stop: watch::Receiver<bool>) -> usize {
    let mut client = independent_client(addr, TOPIC).await;
    let mut asked = 0;
    while asked < REQUESTS_MIN || !*stop.borrow() {
        let argument = format!("good {asked}");
        client.send(Message::text(event("ask", &argument))).await.unwrap();
        asked += 1;
        let answer = delivered("answer", &argument);
        loop {
            let text = next_text(&mut client).await;
            // Clients hear each other.
            if !text.contains("bad") {
                assert_eq!(text, answer);
                break;
            }
        }
    }
    asked
}

async fn undisturbed<A: Future<Output = ()>>(attack: impl FnOnce(SocketAddr) -> A) {
    undisturbed_with(config(), attack).await;
}

async fn undisturbed_with<A: Future<Output = ()>>(
    config: WebSocketConfig,
    attack: impl FnOnce(SocketAddr) -> A,
) {
    let server = Answering::start(config).await;
    let (stop, stopped) = watch::channel(false);
    let good = tokio::spawn(good_client(server.addr, stopped));
    attack(server.addr).await;
    stop.send(true).unwrap();
    let asked = good.await.unwrap();
    assert!(asked >= REQUESTS_MIN);
    assert_eq!(server.counters.get(Counted::Panics), 0);
}

#[tokio::test]
async fn ten_thousand_pings_are_answered() {
    undisturbed(|addr| async move {
        let client = Client::subscribed(addr, "[]").await;
        let (read, mut write) = client.stream.into_split();
        let pings = tokio::spawn(async move {
            for number in 0..10_000_u32 {
                write
                    .write_all(&masked(PING, &number.to_be_bytes()))
                    .await
                    .unwrap();
            }
            write
        });
        let mut read = tokio::io::BufReader::new(read);
        let mut number = 0_u32;
        while number < 10_000 {
            let head = read.read_u8().await.unwrap();
            let mut payload = vec![0; read.read_u8().await.unwrap().into()];
            read.read_exact(&mut payload).await.unwrap();
            if head == PONG {
                assert_eq!(payload, number.to_be_bytes());
                number += 1;
            }
        }
        drop(pings.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn pings_of_a_client_that_does_not_read_do_not_pile_up() {
    undisturbed(|addr| async move {
        let mut client = Client::subscribed(addr, "[]").await;
        let pings = masked(PING, &[b'x'; 125]).repeat(100);
        for _ in 0..600 {
            client.send(&pings).await;
        }
        // It is still heard.
        client.send(masked(CLOSE, &close(1000, ""))).await;
        loop {
            let frame = client.frame().await;
            if frame.head == CLOSE {
                break;
            }
            assert!(matches!(frame.head, PING | PONG));
        }
    })
    .await;
}

#[tokio::test]
async fn floods_of_good_and_bad_messages_do_not_starve_others() {
    undisturbed(|addr| async move {
        for message in [
            event("ask", "bad"),
            "{".to_owned(),
            "[1]".to_owned(),
            String::new(),
        ] {
            let client = Client::subscribed(addr, "[]").await;
            let (mut read, mut write) = client.stream.into_split();
            let drain = tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
            let batch = masked(TEXT, message.as_bytes()).repeat(100);
            for _ in 0..50 {
                write.write_all(&batch).await.unwrap();
            }
            write.write_all(&masked(CLOSE, &close(1000, ""))).await.unwrap();
            drain.await.unwrap().unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn errors_that_are_not_read_close_their_connection() {
    let mut config = config();
    config.close_timeout = Duration::from_millis(100);
    undisturbed_with(config, |addr| async move {
        let client = Client::subscribed(addr, "[]").await;
        let (mut read, mut write) = client.stream.into_split();
        let batch = masked(TEXT, b"{").repeat(1000);
        // Bad messages until the server gives up on us.
        while write.write_all(&batch).await.is_ok() {}
        let mut rest = Vec::new();
        // The system may have taken back what we did not read.
        let _ = read.read_to_end(&mut rest).await;
        assert!(rest.windows(20).any(|window| window == b"deserialization_fail"));
    })
    .await;
}

#[tokio::test]
async fn half_open_connections_and_garbage_do_not_disturb() {
    let mut config = config();
    // The good client's, too.
    config.handshake_timeout = Duration::from_secs(5);
    undisturbed_with(config, |addr| async move {
        let mut silent = Vec::new();
        for number in 0..60_usize {
            let mut client = Client::connect(addr).await;
            let start = request("/v1/messages/json", "");
            client.send(&start[..number]).await;
            silent.push(client);
        }
        for mut client in silent {
            let answer = String::from_utf8(client.rest().await).unwrap();
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
    })
    .await;
    undisturbed(|addr| async move {
        // Any bytes: a fixed sequence that looks random.
        let mut state = 0x2545_f491_u32;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        for round in 0..200 {
            let garbage: Vec<u8> = (0..500).map(|_| random()).collect();
            let mut stream = if round % 2 == 0 {
                TcpStream::connect(addr).await.unwrap()
            } else {
                Client::subscribed(addr, "[]").await.stream
            };
            // The server may be done with us at any byte.
            let _ = stream.write_all(&garbage).await;
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn huge_messages_do_not_disturb() {
    undisturbed(|addr| async move {
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            tasks.spawn(async move {
                let mut client = Client::subscribed(addr, "[]").await;
                client.send_64_mib(b'[').await;
                assert_eq!(client.closed().await.0, 1009);
            });
            tasks.spawn(async move {
                let mut client = Client::subscribed(addr, "[]").await;
                // Deep, wide, and of values that are far smaller as text than in memory.
                for text in [
                    "[".repeat(200_000),
                    format!("[{}0]", "0,".repeat(100_000)),
                    " ".repeat(200_000),
                ] {
                    let text = format!(r#"{{"topic":"t","@data-type":"vector","data":{text}}}"#);
                    client.send(masked(BINARY, text.as_bytes())).await;
                    assert!(client.text().await.contains("failed to decode JSON object"));
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn clients_that_come_and_go_do_not_disturb() {
    undisturbed(|addr| async move {
        type Attack = fn(Client) -> Pin<Box<dyn Future<Output = ()> + Send>>;
        let attacks: [Attack; 4] = [
            |client| Box::pin(async move { drop(client) }),
            |client| {
                Box::pin(async move {
                    // Resets the connection rather than closing it.
                    socket2::SockRef::from(&client.stream)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap();
                })
            },
            |mut client| Box::pin(async move { client.send(masked(TEXT, b"[\"\"]")).await }),
            |mut client| Box::pin(async move { client.send(b"\x16\x03\x01").await }),
        ];
        for attack in attacks {
            for round in 0..50 {
                let mut client = Client::connect(addr).await;
                if round % 2 == 0 {
                    client.send(request("/v1/messages/json", "")).await;
                }
                attack(client).await;
            }
        }
    })
    .await;
}
