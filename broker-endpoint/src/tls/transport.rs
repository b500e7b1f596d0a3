use std::{pin::Pin, time::Duration};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio_openssl::SslStream;
use tokio_util::either::Either;

use super::{
    config::TlsConfig,
    context::{RenewTls, Side, TlsContext},
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
    /// What loads its files again, if it has any to load.
    pub(crate) fn renewal(&self, config: &TlsConfig) -> Option<RenewTls> {
        match self {
            Self::Plaintext => None,
            Self::Tls(context) | Self::Either(context) => {
                config.identity()?;
                Some(RenewTls::new(config.clone(), context.clone()))
            }
        }
    }

    /// The names in our certificate, if there is one.
    pub(crate) fn names(&self) -> Vec<String> {
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
            Self::Plaintext => return Ok(plain(stream)),
            Self::Tls(context) | Self::Either(context) => context,
        };
        let detect = matches!(self, Self::Either(_));
        let accept = async {
            let mut stream = sniffing(stream);
            match stream.fill_buf().await?.first().copied() {
                Some(HANDSHAKE_RECORD) => context
                    .handshake(Side::Acceptor, stream)
                    .await
                    .map_err(TlsError::after_tls),
                _ if detect => Ok(Either::Left(stream)),
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
    Plaintext,
    Tls(TlsContext),
}

impl Connection {
    /// Prepares a connection that we opened. Takes at most `timeout`.
    pub async fn connect<S>(&self, stream: S, timeout: Duration) -> Result<Transport<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self {
            Self::Plaintext => Ok(plain(stream)),
            Self::Tls(context) => {
                tokio::time::timeout(timeout, context.handshake(Side::Connector, sniffing(stream)))
                    .await
                    .unwrap_or(Err(TlsError::TimedOut { timeout }))
            }
        }
    }
}

/// A connection without TLS or with it.
pub type Transport<S> = Either<BufReader<S>, Pin<Box<SslStream<BufReader<S>>>>>;

/// A connection without TLS.
pub(crate) fn plain<S: AsyncRead>(stream: S) -> Transport<S> {
    Either::Left(sniffing(stream))
}

/// Whether the connection is protected by TLS.
pub const fn is_tls<S>(transport: &Transport<S>) -> bool {
    matches!(transport, Either::Right(_))
}

/// A stream of which the first byte can be looked at; after that byte, reading bypasses the buffer.
fn sniffing<S: AsyncRead>(stream: S) -> BufReader<S> {
    BufReader::with_capacity(1, stream)
}
