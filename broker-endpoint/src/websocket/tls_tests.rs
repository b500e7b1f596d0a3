//! The server's port with TLS, by clients that do nothing but the upgrade and a subscription.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{Counted, Rejection, WebSocketConfig, WebSocketEvent, WebSocketServer, WebSocketTls};
use crate::{
    EndpointError,
    tls::{
        Connection, TlsConfig, TlsContext, Transport,
        testing::{Authority, Validity},
    },
};

const TIMEOUT: Duration = Duration::from_secs(60);

async fn bind(tls: WebSocketTls, clients_max: usize) -> Result<WebSocketServer<()>, EndpointError> {
    let mut config = WebSocketConfig::new(([127, 0, 0, 1], 0).into(), "node", "1.0");
    config.tls = tls;
    config.handshake_timeout = TIMEOUT;
    config.clients_max = clients_max;
    WebSocketServer::bind(config, |_| |_| -> Result<(), Rejection> { Ok(()) }).await
}

async fn server(tls: WebSocketTls) -> WebSocketServer<()> {
    bind(tls, 100).await.expect("the server starts")
}

async fn connect(address: SocketAddr, tls: &TlsConfig) -> Transport<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("connected");
    let connection = TlsContext::new(tls)
        .expect("valid")
        .map_or(Connection::Plaintext, Connection::Tls);
    connection.connect(stream, TIMEOUT).await.expect("a session")
}

async fn upgraded(address: SocketAddr, tls: &TlsConfig) -> WebSocketStream<Transport<TcpStream>> {
    let stream = connect(address, tls).await;
    let url = format!("ws://{address}/v1/messages/json");
    client_async(url, stream).await.expect("upgraded").0
}

/// Upgrades, subscribes, and gets the ack.
async fn check_client(address: SocketAddr, tls: &TlsConfig) {
    let mut socket = upgraded(address, tls).await;
    socket.send(Message::text("[]")).await.expect("sent");
    loop {
        let message = tokio::time::timeout(TIMEOUT, socket.next())
            .await
            .expect("in time")
            .expect("no end")
            .expect("a message");
        if let Message::Text(text) = message {
            assert!(text.starts_with(r#"{"type":"ack","#), "{text}");
            return;
        }
    }
}

#[tokio::test]
async fn one_port_serves_plaintext_and_anonymous_tls() {
    let server = server(WebSocketTls::Offered(TlsConfig::Anonymous)).await;
    check_client(server.local_addr(), &TlsConfig::Off).await;
    check_client(server.local_addr(), &TlsConfig::Anonymous).await;
    let counters = server.counters();
    assert_eq!(counters.get(Counted::HandshakeFailures), 0);
    assert_eq!(counters.get(Counted::TlsFailures), 0);
}

#[tokio::test]
async fn a_client_for_which_there_is_no_room_is_told_so_over_tls() {
    let server = bind(WebSocketTls::Required(TlsConfig::Anonymous), 1).await;
    let server = server.expect("the server starts");
    let address = server.local_addr();
    let _socket = upgraded(address, &TlsConfig::Anonymous).await;
    let mut refused = connect(address, &TlsConfig::Anonymous).await;
    let mut answer = String::new();
    refused.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn a_server_with_a_certificate_asks_clients_for_none() {
    let ca = Authority::new("Test CA");
    let identity = ca.sign("controller", &["127.0.0.1"], &Validity::Now);
    let server = server(WebSocketTls::Required(TlsConfig::ServerCertificate(identity))).await;
    // One that shows a certificate and checks the server's; plaintext is refused in words.
    check_client(server.local_addr(), &ca.mutual("operator")).await;

    let mut plaintext = connect(server.local_addr(), &TlsConfig::Off).await;
    plaintext
        .write_all(b"GET /v1/messages/json HTTP/1.1\r\n\r\n")
        .await
        .expect("written");
    let mut answer = String::new();
    plaintext.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("this port demands TLS"), "{answer}");
}

#[tokio::test]
async fn clients_with_certificates_can_be_demanded() {
    let ca = Authority::new("Test CA");
    let mut server = server(WebSocketTls::Required(ca.mutual("controller"))).await;
    check_client(server.local_addr(), &ca.mutual("operator")).await;
    let Some(WebSocketEvent::Connected(client)) = server.recv().await else {
        panic!("a client has connected");
    };
    let certificate = client.certificate.expect("a certificate");
    assert!(certificate.names.contains(&"operator".into()), "{certificate:?}");
}

#[tokio::test]
async fn a_failed_tls_handshake_is_counted() {
    let server = server(WebSocketTls::Offered(TlsConfig::Anonymous)).await;
    let mut stream = TcpStream::connect(server.local_addr()).await.expect("connected");
    stream
        .write_all(&[0x16, 3, 1, 0xff, 0xff])
        .await
        .expect("written");
    // An alert, and the end.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let counters = server.counters();
    assert_eq!(counters.get(Counted::HandshakeFailures), 1);
    assert_eq!(counters.get(Counted::TlsFailures), 1);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_keeps_the_server_from_starting() {
    let ca = Authority::new("Test CA");
    let mut identity = ca.sign("controller", &[], &Validity::Now);
    identity.key = ca.path("nowhere.key");
    let tls = WebSocketTls::Required(TlsConfig::ServerCertificate(identity));
    let result = bind(tls, 100).await;
    let error = result.expect_err("refused").to_string();
    assert!(error.contains("nowhere.key"), "{error}");
}
