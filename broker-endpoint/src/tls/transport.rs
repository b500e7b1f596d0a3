use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{
    certificate::PeerCertificate,
    context::{self, TlsContext},
    error::TlsError,
};

/// The content type of the TLS record that a client begins with (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// What a listening port makes of the connections it accepts.
#[derive(Clone, Debug)]
pub enum Acceptance {
    /// Nothing is looked at.
    Plaintext,
    /// TLS only; anything else is [`TlsError::PlaintextPeer`].
    Tls(TlsContext),
    /// TLS if the first byte says so. The client must speak first.
    Either(TlsContext),
}

impl Acceptance {
    /// The names in our certificate, if there is one.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Plaintext => Vec::new(),
            Self::Tls(context) | Self::Either(context) => context.own_names(),
        }
    }

    /// Prepares an accepted connection. Takes at most `timeout`.
    ///
    /// A peer that connects and says nothing is held until then, unless nothing is looked at.
    pub async fn accept<S>(&self, stream: S, timeout: Duration) -> Result<Transport<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let context = match self {
            Self::Plaintext => return Ok(Transport::plain(stream)),
            Self::Tls(context) | Self::Either(context) => context,
        };
        let detect = matches!(self, Self::Either(_));
        let accept = async {
            let stream = Sniffed::sniff(stream).await?;
            match stream.first {
                Some(HANDSHAKE_RECORD) => context.accept(stream).await.map_err(TlsError::after_tls),
                _ if detect => Ok(Transport(Inner::Plain(stream))),
                Some(first) => Err(TlsError::PlaintextPeer { first: Some(first) }),
                None => Err(TlsError::Closed),
            }
        };
        tokio::time::timeout(timeout, accept)
            .await
            .unwrap_or(Err(TlsError::TimedOut { timeout }))
    }
}

/// How a connection that we open is protected.
#[derive(Clone, Debug)]
pub enum Connection {
    /// Not at all.
    Plaintext,
    /// By TLS.
    Tls(TlsContext),
}

impl Connection {
    /// Prepares a connection that we opened. Takes at most `timeout`.
    pub async fn connect<S>(&self, stream: S, timeout: Duration) -> Result<Transport<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self {
            Self::Plaintext => Ok(Transport::plain(stream)),
            Self::Tls(context) => tokio::time::timeout(timeout, context.connect(Sniffed::new(stream)))
                .await
                .unwrap_or(Err(TlsError::TimedOut { timeout })),
        }
    }
}

/// A connection with or without TLS.
#[derive(Debug)]
pub struct Transport<S>(pub(super) Inner<S>);

#[derive(Debug)]
pub(super) enum Inner<S> {
    Plain(Sniffed<S>),
    Tls {
        stream: Pin<Box<context::Stream<Sniffed<S>>>>,
        certificate: Option<PeerCertificate>,
    },
}

impl<S> Transport<S> {
    /// A connection without TLS.
    pub fn plain(stream: S) -> Self {
        Self(Inner::Plain(Sniffed::new(stream)))
    }

    /// Whether the connection is protected by TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.0, Inner::Tls { .. })
    }

    /// The version of TLS and the cipher suite, as in `TLSv1.2 AECDH-AES256-SHA`.
    pub fn session(&self) -> Option<String> {
        match &self.0 {
            Inner::Plain(_) => None,
            Inner::Tls { stream, .. } => Some(context::describe_session(stream)),
        }
    }

    /// The other side's certificate, if it was asked for one.
    pub fn peer_certificate(&self) -> Option<&PeerCertificate> {
        match &self.0 {
            Inner::Plain(_) => None,
            Inner::Tls { certificate, .. } => certificate.as_ref(),
        }
    }

    /// What lies beneath.
    pub fn get_ref(&self) -> &S {
        match &self.0 {
            Inner::Plain(stream) => &stream.stream,
            Inner::Tls { stream, .. } => &stream.get_ref().stream,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Transport<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.0 {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Inner::Tls { stream, .. } => stream.as_mut().poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match &mut self.0 {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Inner::Tls { stream, .. } => stream.as_mut().poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.0 {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls { stream, .. } => stream.as_mut().poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.0 {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls { stream, .. } => stream.as_mut().poll_shutdown(cx),
        }
    }
}

/// A stream of which the first byte may have been looked at.
#[derive(Debug)]
pub(super) struct Sniffed<S> {
    first: Option<u8>,
    stream: S,
}

impl<S> Sniffed<S> {
    const fn new(stream: S) -> Self {
        Self { first: None, stream }
    }
}

impl<S: AsyncRead + Unpin> Sniffed<S> {
    /// Waits for the first byte; there is none if the stream ends before it.
    async fn sniff(mut stream: S) -> Result<Self, TlsError> {
        let mut first = [0];
        let len = stream.read(&mut first).await?;
        Ok(Self {
            first: first.get(..len).and_then(|bytes| bytes.first().copied()),
            stream,
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sniffed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
