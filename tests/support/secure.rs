//! Clients that show a certificate, over HTTP and WebSocket.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
};

use broker_endpoint::tls::{Fingerprint, Identity};
use mgmt_api::topics::CONTROLLER;
use openssl::{
    hash::MessageDigest,
    ssl::{Ssl, SslContext, SslFiletype, SslMethod, SslStream, SslVerifyMode},
    x509::X509,
};
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocket};

use super::{http::connection_from, limit::Limit};

/// How a client is protected: the CA of the server's certificate, and its own certificate, if it has one.
#[derive(Debug)]
pub(crate) struct Protected<'a> {
    pub(crate) ca: &'a Path,
    pub(crate) identity: Option<&'a Identity>,
}

impl Protected<'_> {
    /// Connects. With TLS 1.3 the server's refusal comes with what is read first.
    pub(crate) fn connect(&self, to: SocketAddr) -> Result<SslStream<TcpStream>, String> {
        self.connect_from(Ipv4Addr::LOCALHOST, to)
    }

    /// The same from an address of this host.
    pub(crate) fn connect_from(
        &self,
        from: Ipv4Addr,
        to: SocketAddr,
    ) -> Result<SslStream<TcpStream>, String> {
        let stream = connection_from(from, to);
        stream.set_nodelay(true).expect("an option can be set");
        let ssl = Ssl::new(&self.context()).expect("a session");
        ssl.connect(stream).map_err(|error| error.to_string())
    }

    fn context(&self) -> SslContext {
        let mut builder = SslContext::builder(SslMethod::tls_client()).expect("a context");
        builder.set_ca_file(self.ca).expect("a CA");
        builder.set_verify(SslVerifyMode::PEER);
        if let Some(identity) = self.identity {
            builder
                .set_certificate_chain_file(&identity.certificate)
                .expect("a certificate");
            builder
                .set_private_key_file(&identity.key, SslFiletype::PEM)
                .expect("a key");
        }
        builder.build()
    }

    /// What is answered to a request with these fields, each with its line's end, or why there is no answer.
    pub(crate) fn ask(&self, to: SocketAddr, line: &str, fields: &str, body: &str) -> Result<String, String> {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {to}\r\n{fields}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = self.connect(to)?;
        let sent = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        if answer.is_empty() {
            return Err(format!("{sent:?}, {read:?}"));
        }
        String::from_utf8(answer).map_err(|error| error.to_string())
    }

    /// A stream of events of a controller's, asked for with these fields, each with its line's end.
    pub(crate) fn events(&self, to: SocketAddr, fields: &str) -> Events {
        let mut stream = self.connect(to).expect("it is good");
        let request = format!("GET /v1/events HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).expect("it is read");
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).expect("a head") > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        Events(stream)
    }

    /// A client of the WebSocket port that has subscribed to the controller's topic, or why there is none.
    pub(crate) fn websocket(&self, to: SocketAddr) -> Result<Client, String> {
        let stream = self.connect(to)?;
        let url = format!("wss://{to}/v1/messages/json");
        let (websocket, _) = tungstenite::client(url, stream).map_err(|error| error.to_string())?;
        let mut client = Client(websocket);
        client.send(&format!("[\"{CONTROLLER}\"]"));
        client.text_about(r#"{"type":"ack","#);
        Ok(client)
    }
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Events(BufReader<SslStream<TcpStream>>);

impl Events {
    /// Waits for an event.
    pub(crate) fn next(&mut self) -> String {
        let mut line = String::new();
        while !line.starts_with("data: ") {
            line.clear();
            assert!(self.0.read_line(&mut line).expect("it goes on") > 0);
        }
        line
    }

    /// Waits until it ends, or breaks.
    pub(crate) fn ends(mut self) {
        let _ = self.0.read_to_end(&mut Vec::new());
    }
}

/// A WebSocket client with TLS.
#[derive(Debug)]
pub(crate) struct Client(WebSocket<SslStream<TcpStream>>);

impl Client {
    pub(crate) fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("the connection is open");
    }

    /// The next text message that contains this.
    pub(crate) fn text_about(&mut self, what: &str) -> String {
        let limit = Limit::new(format_args!("a message about {what}"));
        loop {
            match self.message(&limit) {
                Message::Text(text) if text.contains(what) => return text.as_str().to_owned(),
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected a text message: {other:?}"),
            }
        }
    }

    /// Why the server closes, after what comes before.
    pub(crate) fn closed(&mut self) -> String {
        let limit = Limit::new("the end of a connection");
        loop {
            if let Message::Close(frame) = self.message(&limit) {
                let frame = frame.expect("it says why");
                return format!("{} {}", frame.code, frame.reason);
            }
        }
    }

    fn message(&mut self, limit: &Limit) -> Message {
        let socket = self.0.get_ref().get_ref();
        socket.set_read_timeout(Some(limit.left())).expect("a time");
        self.0.read().expect("a message")
    }
}

/// The fingerprint of a certificate.
pub(crate) fn fingerprint(identity: &Identity) -> Fingerprint {
    let pem = fs::read(&identity.certificate).expect("it is there");
    let certificate = X509::from_pem(&pem).expect("a certificate");
    let digest = certificate.digest(MessageDigest::sha256()).expect("a digest");
    Fingerprint(digest[..].try_into().expect("32 bytes"))
}

/// A certificate as the log names it.
pub(crate) fn named(name: &str, identity: &Identity) -> String {
    format!("CN={name}, SHA-256 {}", fingerprint(identity))
}
