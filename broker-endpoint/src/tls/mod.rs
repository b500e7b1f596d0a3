//! TLS as Broker does it (`internal/connector.cc`, `ssl_context_from_cfg`), and telling it from plaintext.
//!
//! There is no negotiation: both sides of a Broker port must be configured alike, and what they say when they are not
//! is the reason that [`TlsError`] has so many variants. The modes are those of [`TlsConfig`].
//!
//! Neither side announces the end of a connection (`close_notify`); a TCP connection that ends is a normal end.

mod context;
mod error;
#[cfg(test)]
mod interop_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use broker_codec::data::ZeekString;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

pub use context::{TlsContext, library_version};
pub use error::{TlsConfigError, TlsError, TlsPart};

/// The content type of the TLS record that a client begins with (RFC 8446, section 5.1).
pub(crate) const HANDSHAKE_RECORD: u8 = 0x16;

/// How connections are protected.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum TlsConfig {
    /// Plain TCP, as with Zeek's `Broker::disable_ssl=T`.
    Off,
    /// Zeek's default: TLS 1.2 with the suite `AECDH-AES256-SHA` on the curve P-384. Keeps passive listeners out; whoever
    /// reaches the port can connect.
    #[default]
    Anonymous,
    /// Both sides show a certificate, as with Zeek's `Broker::ssl_certificate` and its siblings.
    Mutual {
        /// What we show.
        identity: Identity,
        /// What we ask of the other side.
        trust: Trust,
    },
    /// We show a certificate and ask clients for none. For the WebSocket port; Broker has no such mode.
    ServerCertificate(Identity),
}

impl TlsConfig {
    /// A word for the mode.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Anonymous => "anonymous",
            Self::Mutual { .. } => "mutual",
            Self::ServerCertificate(_) => "server certificate",
        }
    }

    /// Whether a peer has to show a certificate.
    pub const fn asks_for_certificates(&self) -> bool {
        matches!(self, Self::Mutual { .. })
    }

    /// The certificate that we show, and its key, if we do.
    pub const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Off | Self::Anonymous => None,
            Self::Mutual { identity, .. } | Self::ServerCertificate(identity) => Some(identity),
        }
    }
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// PEM file: the certificate, then those between it and the CA, in order.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// What the key is encrypted with, if it is.
    pub passphrase: Option<Passphrase>,
}

/// Which certificates are accepted. The system's own list of CAs is not consulted.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// PEM file with one or more CA certificates.
    pub ca_file: Option<PathBuf>,
    /// Folder of CA certificates, prepared by `openssl rehash`. New files in it are noticed without a restart.
    pub ca_path: Option<PathBuf>,
    /// If not empty, the other side's certificate must have one of these as its common name or as a subject alternative
    /// name (DNS name or IP address); compared without regard to case, without wildcards. Broker does not check names.
    pub names: Vec<String>,
}

/// The passphrase of a private key; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

impl Passphrase {
    /// The longest passphrase in bytes. A longer one makes Zeek abort.
    pub const LEN_MAX: usize = 127;

    /// Takes a passphrase of at most [`Self::LEN_MAX`] bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, TlsConfigError> {
        let text = text.into();
        if text.len() > Self::LEN_MAX {
            return Err(TlsConfigError::PassphraseTooLong { len: text.len() });
        }
        Ok(Self(text))
    }

    /// The text itself, for whoever has to pass it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Zeek's options for the native Broker port by their names in Zeek; empty strings are unset.
#[derive(Clone, Default)]
pub struct ZeekTlsOptions {
    /// `Broker::disable_ssl`
    pub disable_ssl: bool,
    /// `Broker::ssl_certificate`
    pub ssl_certificate: String,
    /// `Broker::ssl_keyfile`
    pub ssl_keyfile: String,
    /// `Broker::ssl_passphrase`
    pub ssl_passphrase: String,
    /// `Broker::ssl_cafile`
    pub ssl_cafile: String,
    /// `Broker::ssl_capath`
    pub ssl_capath: String,
}

impl ZeekTlsOptions {
    /// The mode that Zeek would choose: certificates if any of the options about them is set (`configuration.cc`,
    /// `openssl_options::authentication_enabled`).
    ///
    /// # Errors
    ///
    /// If the certificate, the key or the CA is missing while another option asks for certificates. Zeek starts, and no
    /// connection ever succeeds.
    pub fn config(&self) -> Result<TlsConfig, TlsConfigError> {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        if self.disable_ssl {
            return Ok(TlsConfig::Off);
        }
        let (certificate, key) = (path(&self.ssl_certificate), path(&self.ssl_keyfile));
        let (ca_file, ca_path) = (path(&self.ssl_cafile), path(&self.ssl_capath));
        let none = [&certificate, &key, &ca_file, &ca_path]
            .iter()
            .all(|option| option.is_none());
        if none && self.ssl_passphrase.is_empty() {
            return Ok(TlsConfig::Anonymous);
        }
        let certificate = certificate.ok_or(TlsConfigError::Missing {
            what: "certificate (Broker::ssl_certificate)",
        })?;
        let key = key.ok_or(TlsConfigError::Missing {
            what: "private key (Broker::ssl_keyfile)",
        })?;
        if ca_file.is_none() && ca_path.is_none() {
            return Err(TlsConfigError::Missing {
                what: "CA (Broker::ssl_cafile or Broker::ssl_capath)",
            });
        }
        let passphrase = match &*self.ssl_passphrase {
            "" => None,
            text => Some(Passphrase::new(text)?),
        };
        Ok(TlsConfig::Mutual {
            identity: Identity {
                certificate,
                key,
                passphrase,
            },
            trust: Trust {
                ca_file,
                ca_path,
                names: Vec::new(),
            },
        })
    }
}

impl fmt::Debug for ZeekTlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeekTlsOptions")
            .field("disable_ssl", &self.disable_ssl)
            .field("ssl_certificate", &self.ssl_certificate)
            .field("ssl_keyfile", &self.ssl_keyfile)
            .field("ssl_cafile", &self.ssl_cafile)
            .field("ssl_capath", &self.ssl_capath)
            .finish_non_exhaustive()
    }
}

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
    /// Whoever connects and says nothing is held until then, unless nothing is looked at.
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

/// What the other side's certificate says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject, as in `CN=agent-1, O=Example`.
    pub subject: ZeekString,
    /// The common names and the subject alternative names (DNS names and IP addresses).
    pub names: Vec<ZeekString>,
}

/// A connection with or without TLS.
#[derive(Debug)]
pub struct Transport<S>(Inner<S>);

#[derive(Debug)]
enum Inner<S> {
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
struct Sniffed<S> {
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
