//! The HTTP upgrade. Read and answered here rather than by tungstenite, whose handshake neither limits time and size
//! by configuration, nor answers bad requests, nor tolerates frames that follow the request at once.

use std::{fmt::Write as _, io, time::Duration};

use broker_codec::Elapsed;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    self,
    error::ProtocolError,
    handshake::{
        machine::TryParse,
        server::{Request, create_response},
    },
};

use super::{config::WebSocketConfig, origin};
use crate::{Hosts, socket};

/// The product in `Server` headers.
const SERVER: &str = concat!(
    "Server: ",
    env!("CARGO_PKG_NAME"),
    "/",
    env!("CARGO_PKG_VERSION"),
    "\r\n"
);

/// The type of a TLS record that holds a handshake message. No HTTP method begins with this byte.
const TLS_HANDSHAKE: u8 = 0x16;
/// The first byte of the version in every TLS record.
const TLS_VERSION_MAJOR: u8 = 0x03;
/// A TLS record of version 1.0, as every client understands: fatal alert `handshake_failure`.
const TLS_ALERT: [u8; 7] = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28];

/// How much of a client that is still sending is read before its connection is closed.
const LINGER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A request for a WebSocket, answered with 101.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// The request target as sent.
    pub(super) target: String,
    /// The value of the header `X-Application-Name`.
    pub(super) application_name: Option<Vec<u8>>,
    /// What followed the request: the beginning of the first frame.
    pub(super) rest: Vec<u8>,
}

/// A connection did not become a WebSocket.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error(
        "the client speaks TLS, but this port is plaintext: switch TLS off in the client \
         (zeek-client 1.5: ssl.enable=False, 1.2 to 1.4: ssl.disable=True)"
    )]
    Tls,
    #[error(
        "the client speaks plaintext, but this port demands TLS: switch TLS on in the client (zeek-client 1.5: \
         ssl.enable=True)"
    )]
    Plaintext,
    #[error("the connection was closed after {received} bytes of the HTTP request")]
    Closed { received: usize },
    #[error("the HTTP request was not complete after {}", Elapsed(*.0))]
    Timeout(Duration),
    #[error("the HTTP request has more than {max} bytes")]
    TooLong { max: usize },
    #[error("a plain HTTP request without \"Upgrade: websocket\"")]
    NotAnUpgrade,
    #[error(
        "a web page of another host tries to connect: its Origin is {origin:?}, and the Host is {host:?}"
    )]
    Origin { origin: String, host: String },
    #[error(
        "a web page tries to connect by the host name {name:?}, which is not known to be ours; if it is, name it with --websocket-host"
    )]
    Host { name: String },
    #[error("not HTTP")]
    NotHttp,
    #[error("not a WebSocket request: {0}")]
    Request(&'static str),
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("all {max} connections are in use")]
    Full { max: usize },
}

/// Reads a request and answers it with 101.
///
/// # Errors
///
/// If there is no proper request. Nothing is answered then, see [`refuse`].
pub(super) async fn upgrade<S>(
    stream: &mut S,
    limit: Duration,
    hosts: &Hosts,
) -> Result<Upgrade, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        let (request, rest) = read_request(stream).await?;
        origin::check(hosts, &request)?;
        let response = switching_protocols(&request)?;
        stream.write_all(response.as_bytes()).await?;
        stream.flush().await?;
        let application_name = request.headers().get("X-Application-Name");
        Ok(Upgrade {
            target: request.uri().to_string(),
            application_name: application_name.map(|value| value.as_bytes().to_vec()),
            rest,
        })
    };
    timeout(limit, exchange)
        .await
        .unwrap_or(Err(HandshakeError::Timeout(limit)))
}

async fn read_request<S>(stream: &mut S) -> Result<(Request, Vec<u8>), HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let max = WebSocketConfig::HTTP_HEADER_MAX;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let parsed = buffer.len();
        let room = u64::try_from(max.saturating_sub(parsed)).unwrap_or(u64::MAX);
        if room == 0 {
            return Err(HandshakeError::TooLong { max });
        }
        if (&mut *stream).take(room).read_buf(&mut buffer).await? == 0 {
            return Err(HandshakeError::Closed { received: parsed });
        }
        match buffer.as_slice() {
            [TLS_HANDSHAKE] => continue,
            [TLS_HANDSHAKE, TLS_VERSION_MAJOR, ..] => return Err(HandshakeError::Tls),
            _ => {}
        }
        // Only the end of a line can complete a request, and only the beginning betrays that it is none.
        let news = buffer.get(parsed..).unwrap_or_default();
        if (parsed <= 1 || news.contains(&b'\n'))
            && let Some((len, request)) = Request::try_parse(&buffer).map_err(|error| refused(&error))?
        {
            let rest = buffer.split_off(len.min(buffer.len()));
            return Ok((request, rest));
        }
    }
}

/// What is wrong with a request, in words that do not need the source of a library to be understood.
const fn refused(error: &tungstenite::Error) -> HandshakeError {
    let tungstenite::Error::Protocol(error) = error else {
        return HandshakeError::NotHttp;
    };
    HandshakeError::Request(match error {
        ProtocolError::WrongHttpMethod => "its method is not GET",
        ProtocolError::WrongHttpVersion => "its version is not HTTP/1.1",
        ProtocolError::MissingConnectionUpgradeHeader => "it lacks the header \"Connection: Upgrade\"",
        ProtocolError::MissingUpgradeWebSocketHeader => "it lacks the header \"Upgrade: websocket\"",
        ProtocolError::MissingSecWebSocketVersionHeader => {
            "it lacks the header \"Sec-WebSocket-Version: 13\""
        }
        ProtocolError::MissingSecWebSocketKey => "it lacks the header \"Sec-WebSocket-Key\"",
        _ => return HandshakeError::NotHttp,
    })
}

/// The answer with the headers and their order as Zeek's server sends them.
fn switching_protocols(request: &Request) -> Result<String, HandshakeError> {
    if !request.headers().contains_key("Upgrade") {
        return Err(HandshakeError::NotAnUpgrade);
    }
    // DIFFERENCE(strict-upgrade): Zeek demands neither "Connection: Upgrade" nor a key of 16 bytes; RFC 6455, 4.2.1, does.
    let response = create_response(request).map_err(|error| refused(&error))?;
    let accept = response
        .headers()
        .get("Sec-WebSocket-Accept")
        .and_then(|value| value.to_str().ok());
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Sec-WebSocket-Accept: {}\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         {SERVER}\r\n",
        accept.unwrap_or_default(),
    ))
}

/// Tells the client why it gets no WebSocket, as far as there is someone to tell, and ends the connection.
pub(super) async fn refuse<S>(stream: &mut S, error: &HandshakeError, limit: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = answer(error);
    if answer.is_empty() {
        return;
    }
    let goodbye = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    };
    if matches!(timeout(limit, goodbye).await, Ok(Ok(()))) {
        linger(stream, limit).await;
    }
}

/// DIFFERENCE(http-answers): Zeek answers 400 to everything, without an explanation, and closes without a word if it is
/// full (W-27).
fn answer(error: &HandshakeError) -> Vec<u8> {
    let (status, headers) = match error {
        HandshakeError::Tls => return TLS_ALERT.to_vec(),
        HandshakeError::Closed { .. } | HandshakeError::Io(_) => return Vec::new(),
        HandshakeError::Plaintext | HandshakeError::NotHttp | HandshakeError::Request(_) => {
            ("400 Bad Request", "Connection: close\r\n")
        }
        HandshakeError::Origin { .. } | HandshakeError::Host { .. } => {
            ("403 Forbidden", "Connection: close\r\n")
        }
        HandshakeError::Timeout(_) => ("408 Request Timeout", "Connection: close\r\n"),
        HandshakeError::NotAnUpgrade => (
            "426 Upgrade Required",
            "Connection: Upgrade, close\r\nUpgrade: websocket\r\n",
        ),
        HandshakeError::TooLong { .. } => ("431 Request Header Fields Too Large", "Connection: close\r\n"),
        HandshakeError::Full { .. } => (
            "503 Service Unavailable",
            "Connection: close\r\nRetry-After: 5\r\n",
        ),
    };
    let body = format!(
        "{error}\n\
         This port speaks Zeek's JSON protocol over WebSocket at {}; zeek-client is made for it.\n",
        broker_codec::websocket::PATH
    );
    let mut answer = format!("HTTP/1.1 {status}\r\n{headers}");
    // Writing to a String cannot fail.
    let _ = write!(
        answer,
        "Sec-WebSocket-Version: 13\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         {SERVER}\r\n\
         {body}",
        body.len()
    );
    answer.into_bytes()
}

/// Reads until the client closes too, for a limited time.
pub(super) async fn linger<S: AsyncRead + Unpin>(stream: &mut S, limit: Duration) {
    socket::linger(stream, limit, LINGER_BYTES_MAX).await;
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, time::Instant};

    use super::*;

    const CHUNK_LEN: usize = 64 * 1024;

    #[tokio::test(start_paused = true)]
    async fn of_a_client_that_is_done_with_only_so_much_is_read_for_so_long() {
        let limit = Duration::from_secs(2);
        let (mut server, mut client) = tokio::io::duplex(CHUNK_LEN);
        // One that never stops, one that says nothing, one that closes.
        let sending = tokio::spawn(async move {
            let bytes = vec![0; CHUNK_LEN];
            let mut sent = 0;
            while client.write_all(&bytes).await.is_ok() {
                sent += bytes.len();
            }
            sent
        });
        let began = Instant::now();
        linger(&mut server, limit).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(server);
        let sent = sending.await.unwrap();
        assert!(
            (LINGER_BYTES_MAX..=LINGER_BYTES_MAX + CHUNK_LEN).contains(&sent),
            "{sent}"
        );

        let (mut server, client) = tokio::io::duplex(1);
        linger(&mut server, limit).await;
        assert_eq!(began.elapsed(), limit);
        drop(client);
        linger(&mut server, limit).await;
        assert_eq!(began.elapsed(), limit);
    }
}
