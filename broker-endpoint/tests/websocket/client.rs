//! A client that sends any bytes, and reads frames without judging them.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// The key and its answer are those of the first client in fixtures/zeek-9.0.0-rc1/no-agents/capture.pcap.
pub(crate) const KEY: &str = "FK4EjvZgx9dEK41Mrt7mCA==";
pub(crate) const ACCEPT: &str = "0r1q97cfqF3CZHh0YcojxMfLLwI=";

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

/// A frame as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// FIN, reserved bits, opcode.
    pub(crate) head: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(head: u8, payload: &[u8]) -> Frame {
    let payload = payload.to_vec();
    Frame { head, payload }
}

/// An upgrade request for a path, with further header lines.
pub(crate) fn request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nUpgrade: websocket\r\nHost: 127.0.0.1:2149\r\nOrigin: http://127.0.0.1:2149\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\n{headers}\r\n"
    )
}

/// A frame as a client sends it.
pub(crate) fn masked(head: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![head];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=0xffff => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            frame.push(0x80 | 0x7f);
            frame.extend(u64::try_from(len).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// The beginning of a binary frame with a payload of 64 MiB, and a mask of zeros, which changes nothing.
pub(crate) const BINARY_64_MIB: &[u8] = &[BINARY, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];

/// The payload of a CLOSE frame.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// A client of an independent library that has subscribed to this topic prefix.
pub(crate) async fn independent_client(
    addr: SocketAddr,
    topic: &str,
) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let url = format!("ws://{addr}/v1/messages/json");
    let (mut client, _) = connect_async(url).await.unwrap();
    client
        .send(Message::text(format!("[\"{topic}\"]")))
        .await
        .unwrap();
    let ack = next_text(&mut client).await;
    assert!(ack.starts_with(r#"{"type":"ack","#), "{ack}");
    client
}

/// Skips pings.
pub(crate) async fn next_text(client: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> String {
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Text(text) => return text.as_str().to_owned(),
            Message::Ping(_) => {}
            other => panic!("{other:?} instead of a text message"),
        }
    }
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(addr).await.unwrap(),
        }
    }

    /// Connected, and the head of the answer to this request.
    pub(crate) async fn requested(addr: SocketAddr, request: impl AsRef<[u8]>) -> (Self, String) {
        let mut client = Self::connect(addr).await;
        client.send(request).await;
        let head = client.http_head().await;
        (client, head)
    }

    /// The same, and the answer says that this is a WebSocket now.
    pub(crate) async fn accepted(addr: SocketAddr, request: impl AsRef<[u8]>) -> Self {
        let (client, head) = Self::requested(addr, request).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// Connected and upgraded, the first ping read.
    pub(crate) async fn upgraded(addr: SocketAddr) -> Self {
        let mut client = Self::accepted(addr, request("/v1/messages/json", "")).await;
        let ping = frame(PING, b"ixwebsocket::heartbeat::3600s::0");
        assert_eq!(client.frame().await, ping);
        client
    }

    /// Upgraded and acked.
    pub(crate) async fn subscribed(addr: SocketAddr, topics: &str) -> Self {
        let mut client = Self::upgraded(addr).await;
        client.send(masked(TEXT, topics.as_bytes())).await;
        let ack = client.text().await;
        assert!(ack.starts_with(r#"{"type":"ack","#), "{ack}");
        client
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a message of 64 MiB of one byte.
    pub(crate) async fn send_64_mib(&mut self, byte: u8) {
        self.send(BINARY_64_MIB).await;
        let chunk = vec![byte; 1 << 20];
        for _ in 0..64 {
            self.send(&chunk).await;
        }
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send(masked(TEXT, text.as_bytes())).await;
    }

    /// Reads up to the empty line, and not further.
    pub(crate) async fn http_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        let head = self.stream.read_u8().await.unwrap();
        let len = match self.stream.read_u8().await.unwrap() {
            126 => u64::from(self.stream.read_u16().await.unwrap()),
            127 => self.stream.read_u64().await.unwrap(),
            len => {
                assert!(len < 126, "a server masks nothing");
                u64::from(len)
            }
        };
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).await.unwrap();
        Frame { head, payload }
    }

    /// The next text message, which is not fragmented. Skips pings.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.frame().await {
                Frame { head: TEXT, payload } => return String::from_utf8(payload).unwrap(),
                Frame { head: PING, .. } => {}
                other => panic!("{other:?} instead of a text message"),
            }
        }
    }

    /// The CLOSE frame, before which nothing but pings may come, and the end of the connection.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let payload = loop {
            match self.frame().await {
                Frame { head: CLOSE, payload } => break payload,
                Frame {
                    head: PING | PONG, ..
                } => {}
                other => panic!("{other:?} instead of a CLOSE frame"),
            }
        };
        assert_eq!(self.rest().await, b"");
        let (code, reason) = payload.split_first_chunk().unwrap();
        (
            u16::from_be_bytes(*code),
            String::from_utf8(reason.to_vec()).unwrap(),
        )
    }

    /// Everything up to the end of the connection, which is orderly.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        rest
    }
}
