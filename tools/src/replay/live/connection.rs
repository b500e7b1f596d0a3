//! Connections with the running process: frames of Broker's protocol, or texts of a WebSocket client.

use std::{io, time::Duration};

use broker_codec::{frame::FrameDecoder, websocket::PATH};
use broker_endpoint::{
    PeerAddress,
    tls::{Acceptance, Connection, TlsError, Transport, is_tls},
};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedReceiver,
};
use tokio_tungstenite::{client_async, tungstenite::Message};

/// Why a handshake fails without TLS, if the peer has not said so: Broker speaks first to a peer that connects.
const SAYS_NOTHING: &str =
    "closed by the peer without a word; it may speak TLS, which is off here (Broker::disable_ssl)";

/// How a connection is made.
#[derive(Debug)]
pub(super) enum Way {
    /// To the running process, as a Broker peer.
    Connect(PeerAddress, Connection),
    /// By the running process.
    Accept(PeerAddress, Acceptance),
    /// To the running process, as a WebSocket client.
    Upgrade(PeerAddress, Connection),
}

/// What comes of a connection.
#[derive(Debug)]
pub(super) enum News {
    Opened,
    /// A frame without the length before it, or a text.
    Received(Bytes),
    /// It has ended or could not be made. Why, if that is known.
    Closed(Option<String>),
}

/// Makes a connection, and sends what comes out of the queue on it: frames with their lengths, or texts. At the end of the queue it
/// begins to close the connection, which ends when the running process has closed it, too.
pub(super) async fn run(
    way: Way,
    at_most: Duration,
    queue: UnboundedReceiver<Bytes>,
    notify: impl Fn(News),
) -> io::Result<()> {
    let transport = match way {
        Way::Connect(target, protection) => dialled(&target, &protection, at_most).await?,
        Way::Accept(own, protection) => {
            let stream = accepted(&own).await?;
            let transport = protection.accept(stream, at_most).await;
            transport.map_err(io::Error::other)?
        }
        Way::Upgrade(target, protection) => {
            let transport = dialled(&target, &protection, at_most).await?;
            return texts(&target, transport, queue, notify).await;
        }
    };
    frames(transport, queue, notify).await
}

async fn dialled(
    target: &PeerAddress,
    protection: &Connection,
    at_most: Duration,
) -> io::Result<Transport<TcpStream>> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    let transport = protection.connect(stream, at_most).await;
    transport.map_err(io::Error::other)
}

async fn accepted(own: &PeerAddress) -> io::Result<TcpStream> {
    let listener = TcpListener::bind((own.host.as_str(), own.port)).await;
    let listener =
        listener.map_err(|error| io::Error::new(error.kind(), format!("cannot listen at {own}: {error}")))?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn frames(
    mut transport: Transport<TcpStream>,
    mut queue: UnboundedReceiver<Bytes>,
    notify: impl Fn(News),
) -> io::Result<()> {
    notify(News::Opened);
    let mut buffer = BytesMut::new();
    let (mut is_leaving, mut is_silent) = (false, !is_tls(&transport));
    loop {
        tokio::select! {
            frame = queue.recv(), if !is_leaving => if let Some(frame) = frame {
                transport.write_all(&frame).await?;
            } else {
                is_leaving = true;
                transport.shutdown().await?;
            },
            read = transport.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) if is_silent => return Err(io::Error::other(SAYS_NOTHING)),
                Ok(0) => return Ok(()),
                Ok(_) => is_silent = false,
                // That its certificate is refused, a client of TLS 1.3 hears only here.
                Err(error) => {
                    return Err(TlsError::from_transport(error).map_or_else(|error| error, io::Error::other));
                }
            },
        }
        loop {
            match FrameDecoder::operation().decode(&mut buffer) {
                Ok(Some(frame)) => notify(News::Received(frame)),
                Ok(None) => break,
                // Its hello or its alert: a record of TLS, which as the length of a frame is too much.
                Err(_) if matches!(buffer[..], [20..=23, 3, ..]) => {
                    return Err(io::Error::other(TlsError::TlsPeer));
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

async fn texts(
    target: &PeerAddress,
    transport: Transport<TcpStream>,
    mut queue: UnboundedReceiver<Bytes>,
    notify: impl Fn(News),
) -> io::Result<()> {
    let upgraded = client_async(format!("ws://{target}{PATH}"), transport).await;
    let (mut socket, _) = upgraded.map_err(io::Error::other)?;
    notify(News::Opened);
    let mut is_leaving = false;
    loop {
        tokio::select! {
            text = queue.recv(), if !is_leaving => if let Some(text) = text {
                let text = String::from_utf8(text.to_vec()).map_err(io::Error::other)?;
                socket.send(Message::text(text)).await.map_err(io::Error::other)?;
            } else {
                is_leaving = true;
                // It may be closed already.
                let _ = socket.close(None).await;
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => notify(News::Received(text.as_str().to_owned().into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(()),
            },
        }
    }
}
