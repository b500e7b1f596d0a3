//! From the first byte to the end of the upgrade.

use std::time::Duration;

use broker_codec::websocket::RejectionCode;
use broker_endpoint::{
    websocket::{CloseCause, Counted, WebSocketConfig, WebSocketEvent, WebSocketServer},
    with_causes,
};
use counters::Registry;
use testkit::ReservedPort;

use crate::{
    client::{ACCEPT, Client, TEXT, close, masked, request},
    server::{Answering, bind, config},
};

const SERVER: &str = concat!("Server: broker-endpoint/", env!("CARGO_PKG_VERSION"), "\r\n");

/// The head of most answers to what is no proper request.
const BAD: &str = "400 Bad Request\r\nConnection: close";

/// The whole answer to something that is no proper request.
async fn answer(config: WebSocketConfig, bytes: &[u8]) -> (String, u64) {
    let server = bind(config).await;
    let mut client = Client::connect(server.local_addr()).await;
    client.send(bytes).await;
    let answer = String::from_utf8(client.rest().await).unwrap();
    (answer, server.counters().get(Counted::HandshakeFailures))
}

/// The answer with this status and explanation.
fn refusal(status: &str, text: &str) -> String {
    let body = format!(
        "{text}\nThis port speaks Zeek's JSON protocol over WebSocket at /v1/messages/json; \
         zeek-client is made for it.\n"
    );
    format!(
        "HTTP/1.1 {status}\r\nSec-WebSocket-Version: 13\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n{SERVER}\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn the_upgrade_and_the_ack_are_the_captured_bytes() {
    let mut config = config();
    config.ping_interval = Some(Duration::from_secs(5));
    let server = bind(config).await;
    let request = request("/v1/messages/json", "");
    let (mut client, head) = Client::requested(server.local_addr(), request).await;
    assert_eq!(
        head,
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\n{SERVER}\r\n"
        )
    );
    client
        .send(masked(TEXT, br#"["zeek/management/controller"]"#))
        .await;
    client.send(masked(0x88, &close(1000, "bye"))).await;
    let ack = r#"{"type":"ack","endpoint":"3cfb104e-6fbd-5065-a31c-be18be4b79e0-websocket-0","version":"9.0.0-rc1"}"#;
    assert_eq!(
        client.rest().await.escape_ascii().to_string(),
        [
            &b"\x89\x1dixwebsocket::heartbeat::5s::0\x81\x62"[..],
            ack.as_bytes(),
            b"\x88\x05\x03\xe8bye"
        ]
        .concat()
        .escape_ascii()
        .to_string()
    );
}

#[tokio::test]
async fn what_is_no_websocket_request_gets_an_answer_for_people() {
    let upgrade = request("/v1/messages/json", "");
    for (bytes, status, text) in [
        (
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "426 Upgrade Required\r\nConnection: Upgrade, close\r\nUpgrade: websocket",
            "a plain HTTP request without \"Upgrade: websocket\"",
        ),
        (
            "POST /v1/messages/json HTTP/1.1\r\n\r\n",
            BAD,
            "not a WebSocket request: its method is not GET",
        ),
        (
            "GET /v1/messages/json HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
            BAD,
            "not a WebSocket request: its version is not HTTP/1.1",
        ),
        (
            &upgrade.replace("Version: 13", "Version: 8"),
            BAD,
            "not a WebSocket request: it lacks the header \"Sec-WebSocket-Version: 13\"",
        ),
        (
            &upgrade.replace("Sec-WebSocket-Key", "X-Key"),
            BAD,
            "not a WebSocket request: it lacks the header \"Sec-WebSocket-Key\"",
        ),
        (
            &upgrade.replace("websocket\r\n", "h2c\r\n"),
            BAD,
            "not a WebSocket request: it lacks the header \"Upgrade: websocket\"",
        ),
        ("\u{1}\u{2}\u{3}garbage", BAD, "not HTTP"),
    ] {
        let answer = answer(config(), bytes.as_bytes()).await;
        assert_eq!(answer, (refusal(status, text), 1), "{bytes}");
    }
}

#[tokio::test]
async fn a_request_may_have_any_length_up_to_the_limit() {
    let fixed = request("/v1/messages/json", "X-Filler: \r\n").len();
    let filler = |len: usize| {
        request(
            "/v1/messages/json",
            &format!("X-Filler: {}\r\n", "x".repeat(len - fixed)),
        )
    };

    let server = bind(config()).await;
    Client::accepted(server.local_addr(), filler(WebSocketConfig::HTTP_HEADER_MAX)).await;

    let (answer, _) = answer(config(), filler(WebSocketConfig::HTTP_HEADER_MAX + 1).as_bytes()).await;
    let status = "431 Request Header Fields Too Large\r\nConnection: close";
    let expected = refusal(status, "the HTTP request has more than 8192 bytes");
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_request_may_arrive_byte_by_byte() {
    let server = bind(config()).await;
    let mut client = Client::connect(server.local_addr()).await;
    client.stream.set_nodelay(true).unwrap();
    for byte in request("/v1/messages/json", "").bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(client.http_head().await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test]
async fn half_a_request_is_given_up_after_the_limit() {
    let mut config = config();
    config.handshake_timeout = Duration::from_millis(50);
    for start in ["", "GET /v1/messages/json HTTP/1.1\r\nUpg"] {
        let answer = answer(config.clone(), start.as_bytes()).await;
        let status = "408 Request Timeout\r\nConnection: close";
        let expected = refusal(status, "the HTTP request was not complete after 0.05 s");
        assert_eq!(answer, (expected, 1));
    }
}

#[tokio::test]
async fn tls_on_the_plaintext_port_is_told_so() {
    // The beginning of what `openssl s_client` sends.
    let hello = b"\x16\x03\x01\x01\x2e\x01\x00\x01\x2a\x03\x03";
    for chunks in [vec![&hello[..]], vec![&hello[..1], &hello[1..]]] {
        let server = bind(config()).await;
        let mut client = Client::connect(server.local_addr()).await;
        client.stream.set_nodelay(true).unwrap();
        for chunk in chunks {
            client.send(chunk).await;
            tokio::task::yield_now().await;
        }
        // A fatal alert, and an orderly end.
        assert_eq!(client.rest().await, b"\x15\x03\x01\x00\x02\x02\x28");
        let counters = server.counters();
        assert_eq!(counters.get(Counted::TlsOnPlaintext), 1);
        assert_eq!(counters.get(Counted::HandshakeFailures), 1);
    }
}

#[tokio::test]
async fn a_wrong_path_is_explained_after_the_upgrade() {
    let mut server = bind(config()).await;
    for path in [
        "/",
        "/v1/messages/json/",
        "/v1/messages/json?x=1",
        "http://host/v1/messages/json",
    ] {
        let mut client = Client::accepted(server.local_addr(), request(path, "")).await;
        assert_eq!(
            client.text().await,
            r#"{"type":"error","code":"invalid_uri","context":"Invalid URI - use /v1/messages/json"}"#
        );
        assert_eq!(
            client.closed().await,
            (1008, "Invalid URI - use /v1/messages/json".to_owned())
        );
    }
    assert_eq!(server.errors().get(RejectionCode::InvalidUri), 4);
    assert_eq!(server.closes().get(CloseCause::Refused), 4);
    // The owner never hears of them.
    let _client = Client::upgraded(server.local_addr()).await;
    let Some(WebSocketEvent::Connected(info)) = server.recv().await else {
        panic!("not connected")
    };
    assert_eq!(info.client.to_string(), "4");
}

#[tokio::test]
async fn the_application_name_is_checked_and_reported() {
    let mut server = bind(config()).await;
    let bad = request("/v1/messages/json", "X-Application-Name: a b\r\n");
    let mut client = Client::accepted(server.local_addr(), bad).await;
    let text = "Invalid X-Application-Name: only ASCII letters, digits and / _ - . = : * @ are allowed";
    assert_eq!(
        client.text().await,
        format!(r#"{{"type":"error","code":"invalid_application_name","context":"{text}"}}"#)
    );
    assert_eq!(client.closed().await, (1008, text.to_owned()));

    let good = request("/v1/messages/json", "x-application-name: zeek-client/1.5.0\r\n");
    let client = Client::accepted(server.local_addr(), good).await;
    let Some(WebSocketEvent::Connected(info)) = server.recv().await else {
        panic!("not connected")
    };
    assert_eq!(info.application_name, Some("zeek-client/1.5.0".into()));
    assert_eq!(info.peer, client.stream.local_addr().unwrap());
}

#[tokio::test]
async fn subprotocols_extensions_and_foreign_origins_are_ignored() {
    let server = bind(config()).await;
    let headers = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let (_, head) = Client::requested(server.local_addr(), request("/v1/messages/json", headers)).await;
    assert!(
        head.starts_with("HTTP/1.1 101 ") && !head.contains("chat") && !head.contains("deflate"),
        "{head}"
    );
}

#[tokio::test]
async fn the_hundred_and_first_client_is_refused_with_a_reason() {
    let server = Answering::start(config()).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Client::subscribed(server.addr, "[]").await);
    }
    // It need not even send its request to learn.
    let mut client = Client::connect(server.addr).await;
    let status = "503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5";
    let answer = String::from_utf8(client.rest().await).unwrap();
    assert_eq!(answer, refusal(status, "all 100 connections are in use"));
    let counters = &server.counters;
    assert_eq!(counters.get(Counted::Connections), 101);
    assert_eq!(counters.get(Counted::Refused), 1);
    let mut ended = Registry::default();
    ended.add("", &server.closes);
    assert!(
        ended.iter().all(|(.., number)| number == 0),
        "100 are open: {ended:?}"
    );

    // One leaves, another finds room.
    let mut leaving = clients.pop().unwrap();
    leaving.send(masked(0x88, &close(1000, ""))).await;
    assert_eq!(leaving.closed().await, (1000, String::new()));
    drop(leaving);
    let upgrade = request("/v1/messages/json", "");
    while !Client::requested(server.addr, &upgrade)
        .await
        .1
        .starts_with("HTTP/1.1 101 ")
    {}
}

#[tokio::test]
async fn each_of_many_clients_for_whom_there_is_no_room_is_told() {
    let mut config = config();
    config.clients_max = 1;
    let server = bind(config).await;
    let addr = server.local_addr();
    let _client = Client::upgraded(addr).await;
    let mut burst = tokio::task::JoinSet::new();
    for number in 0..200 {
        burst.spawn(async move {
            let mut client = Client::connect(addr).await;
            // Whether it has sent its request or not.
            if number % 2 == 0 {
                client.send(request("/v1/messages/json", "")).await;
            }
            client.rest().await
        });
    }
    while let Some(answer) = burst.join_next().await {
        let answer = answer.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", answer.escape_ascii());
    }
    assert_eq!(server.connections_open(), 1);
}

#[tokio::test]
async fn clients_that_say_nothing_make_room_for_others() {
    let mut config = config();
    config.clients_max = 3;
    let server = bind(config).await;
    let addr = server.local_addr();
    let _good = Client::upgraded(addr).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(Client::connect(addr).await);
    }
    // Not at once: those might be about to say something.
    loop {
        let (_, head) = Client::requested(addr, request("/v1/messages/json", "")).await;
        if head.starts_with("HTTP/1.1 101 ") {
            break;
        }
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    }
    let counters = server.counters();
    assert!(counters.get(Counted::Evicted) >= 1, "{counters:?}");
    assert_eq!(counters.get(Counted::HandshakeFailures), 0);
}

#[tokio::test]
async fn a_web_page_of_another_host_is_refused() {
    let upgrade = request("/v1/messages/json", "");
    for (request, text) in [
        (
            upgrade.replace("Origin: http://127.0.0.1:2149", "Origin: https://evil.example"),
            "a web page of another host tries to connect: its Origin is \"https://evil.example\", and the Host is \"127.0.0.1:2149\"",
        ),
        (
            upgrade.replace("Origin: http://127.0.0.1:2149", "Origin: \u{9b}\"\\"),
            "a web page of another host tries to connect: its Origin is \"\\u{9b}\\\"\\\\\", and the Host is \"127.0.0.1:2149\"",
        ),
        (
            upgrade.replace("127.0.0.1:2149", "evil.example:2149"),
            "a web page tries to connect by the host name \"evil.example\", which is not known to be ours; if it is, name it with --websocket-host",
        ),
    ] {
        let answer = answer(config(), request.as_bytes()).await;
        assert_eq!(answer, (refusal("403 Forbidden\r\nConnection: close", text), 1));
    }
    let mut config = config();
    config.hosts = vec!["evil.example".into()];
    let server = bind(config).await;
    Client::accepted(
        server.local_addr(),
        upgrade.replace("127.0.0.1:2149", "evil.example:2149"),
    )
    .await;
}

#[tokio::test]
async fn listening_fails_with_the_address_and_the_cause() {
    let server = bind(config()).await;
    let mut config = config();
    config.listen = server.local_addr();
    let bound = WebSocketServer::<()>::bind(config, |_| |_| Ok(())).await;
    let error = bound.expect_err("two servers on one port");
    let text = format!("cannot listen on {}: Address already in use", server.local_addr());
    assert!(with_causes(&error).starts_with(&text), "{error:?}");
}

#[tokio::test]
async fn every_ipv4_address_is_no_ipv6_address_but_every_address_is_both() {
    // A port at which no other process listens on IPv6.
    let (server, v6_of_v4) = loop {
        let reserved = ReservedPort::new("::1");
        let mut v4 = config();
        v4.listen = ([0, 0, 0, 0], reserved.port()).into();
        // Another process may have it on IPv4.
        if let Ok(server) = WebSocketServer::<()>::bind(v4, |_| |_| Ok(())).await {
            break (server, reserved);
        }
    };
    Client::upgraded(([127, 0, 0, 1], server.local_addr().port()).into()).await;
    assert!(tokio::net::TcpStream::connect(v6_of_v4.address()).await.is_err());

    let mut any = config();
    any.listen = "[::]:0".parse().unwrap();
    let server = bind(any).await;
    let port = server.local_addr().port();
    Client::upgraded(([127, 0, 0, 1], port).into()).await;
    Client::upgraded(std::net::SocketAddr::new("::1".parse().unwrap(), port)).await;
}
