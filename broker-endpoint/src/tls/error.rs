use std::{fmt, io, path::PathBuf, time::Duration};

use broker_codec::{Elapsed, data::ZeekString};

use openssl::error::ErrorStack;

use super::{config::Passphrase, reasons::reasons};

/// A part of what TLS is set up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPart {
    Certificate,
    Key,
    Passphrase,
    CaFile,
    CaFolder,
}

impl fmt::Display for TlsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::Passphrase => "passphrase",
            Self::CaFile => "CA certificate",
            Self::CaFolder => "folder of CA certificates",
        })
    }
}

/// TLS cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    #[error("TLS with certificates needs a {what}; name one, or unset every other certificate option")]
    Missing { what: &'static str },
    #[error("cannot read the {what} {path:?}")]
    Unreadable {
        what: TlsPart,
        path: PathBuf,
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path:?} does not hold a {what} in PEM format: {reason}")]
    NotPem {
        what: TlsPart,
        path: PathBuf,
        reason: String,
    },
    /// The certificate is too weak for the TLS library.
    #[error("the TLS library refuses the certificate {path:?}: {reason}")]
    Certificate {
        path: PathBuf,
        /// What the TLS library says, for example that the key is too short.
        reason: String,
    },
    #[error("the {what} in {path:?} of {subject} is valid from {from} to {to} only")]
    NotValidToday {
        what: TlsPart,
        path: PathBuf,
        subject: String,
        from: String,
        to: String,
    },
    /// In the folder is no certificate by a name that the TLS library looks for.
    #[error(
        "there is no CA certificate in {path:?} by a name as `openssl rehash` gives it; run it for this folder"
    )]
    EmptyFolder { path: PathBuf },
    #[error(
        "private key {path:?} is encrypted: Broker::ssl_passphrase opens that of Broker::ssl_keyfile; those of the WebSocket and the HTTP port must not be \
         encrypted, as there is no setting for their passphrases"
    )]
    PassphraseMissing { path: PathBuf },
    #[error("passphrase does not open private key {path:?}")]
    PassphraseWrong { path: PathBuf },
    /// See [`Passphrase::LEN_MAX`].
    #[error("passphrase of {len} bytes is longer than {}", Passphrase::LEN_MAX)]
    PassphraseTooLong { len: usize },
    #[error("private key {key:?} does not belong to certificate {certificate:?}")]
    KeyMismatch { certificate: PathBuf, key: PathBuf },
    #[error(
        "TLS library {library} lacks {suite}, without which Zeek's default mode is impossible: use certificates"
    )]
    SuiteMissing {
        library: &'static str,
        suite: &'static str,
    },
    /// Anything else that the TLS library refuses.
    #[error("cannot {what}; the TLS library says: {reason}")]
    Library { what: &'static str, reason: String },
}

impl TlsConfigError {
    /// What has to be mended, if it is one of these.
    pub const fn part(&self) -> Option<TlsPart> {
        match self {
            Self::Unreadable { what, .. } | Self::NotPem { what, .. } | Self::NotValidToday { what, .. } => {
                Some(*what)
            }
            Self::Certificate { .. } => Some(TlsPart::Certificate),
            Self::EmptyFolder { .. } => Some(TlsPart::CaFolder),
            Self::PassphraseMissing { .. }
            | Self::PassphraseWrong { .. }
            | Self::PassphraseTooLong { .. } => Some(TlsPart::Passphrase),
            Self::KeyMismatch { .. } => Some(TlsPart::Key),
            Self::Missing { .. } | Self::SuiteMissing { .. } | Self::Library { .. } => None,
        }
    }
}

/// A key, a request or a certificate cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    #[error("it is no {what} in PEM format: {reason}")]
    NotPem { what: &'static str, reason: String },
    #[error("its key is not one of ECDSA on the curve P-256")]
    OtherKey,
    #[error(
        "the CA has expired: move its directory away, restart the controller, and enrol all agents again"
    )]
    Expired,
    #[error("it is not signed by its own key")]
    NotSigned,
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    #[error("the TLS library says: {0}")]
    Library(String),
}

impl From<ErrorStack> for AuthorityError {
    fn from(error: ErrorStack) -> Self {
        Self::Library(reasons(&error))
    }
}

/// A connection could not be protected by TLS, with the remedy as far as it can be told from here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The other side does not speak TLS.
    #[error("{}", plaintext(*.first))]
    PlaintextPeer {
        /// The first byte of the other side, if it was looked at.
        first: Option<u8>,
    },
    /// The other side speaks TLS, and we do not.
    #[error(
        "peer speaks TLS on this plaintext connection; switch TLS on here or off there (Zeek: Broker::disable_ssl)"
    )]
    TlsPeer,
    #[error(
        "no cipher suite in common: one side probably uses certificates and the other does not; configure both alike (Zeek: \
         Broker::ssl_certificate)"
    )]
    NoCommonCipher,
    #[error("no TLS version in common; TLS 1.2 or newer is needed, and TLS 1.2 itself without certificates")]
    NoCommonVersion,
    #[error("peer shows no certificate; give it one, signed by our CA (Zeek: Broker::ssl_certificate)")]
    NoPeerCertificate,
    #[error("certificate of the peer ({subject}) has expired; renew it, and check the clocks")]
    Expired { subject: ZeekString },
    #[error("certificate of the peer ({subject}) is not valid yet; check the clocks")]
    NotYetValid { subject: ZeekString },
    #[error(
        "certificate of the peer ({subject}) is revoked (deny list); give the peer another one, if it is to connect"
    )]
    Revoked { subject: ZeekString },
    /// The other side's certificate is not signed by our CA, or its chain is incomplete.
    #[error(
        "certificate of the peer ({subject}) is not trusted; our CA file or folder must hold the CA that signed it; the TLS library says: \
         {reason}"
    )]
    Untrusted { subject: ZeekString, reason: String },
    #[error(
        "peer refuses our certificate; the CA it is configured with must have signed ours, and ours must be valid and not revoked there; its TLS library says: \
         {reason}"
    )]
    OursRefused {
        /// What its TLS library says: the name of a TLS alert.
        reason: String,
    },
    #[error("peer demands a certificate and we have none; configure certificates on both sides or on none")]
    OursMissing,
    /// The other side ended the connection within the TLS handshake without a word.
    #[error("peer ended the connection during the TLS handshake")]
    Closed,
    #[error("TLS handshake was not complete after {}", Elapsed(*.timeout))]
    TimedOut { timeout: Duration },
    /// After a beginning in TLS the other side sent something else.
    #[error("peer sent something that is not TLS on a connection that began with TLS")]
    Garbled,
    /// Anything else that the TLS library of the other side objects to.
    #[error("peer gives TLS up; its TLS library says: {0}")]
    Alert(String),
    /// Anything else that our TLS library objects to.
    #[error("TLS fails on this side; the TLS library says: {0}")]
    Library(String),
    #[error("connection failed during the TLS handshake")]
    Io(#[from] io::Error),
}

/// What the first byte of a plaintext connection says about its protocol, and so about the remedy.
const fn plaintext(first: Option<u8>) -> &'static str {
    match first {
        // The first byte of a small length.
        Some(0) => {
            "peer speaks plaintext Broker instead of TLS; switch TLS off here or on there (Zeek: Broker::disable_ssl)"
        }
        Some(b'A'..=b'Z') => {
            "peer speaks HTTP or another text protocol instead of TLS; is this the port that it means to reach?"
        }
        Some(_) => "peer speaks neither TLS nor Broker; is this the port that it means to reach?",
        None => {
            "peer speaks plaintext instead of TLS; switch TLS off here or on there (Zeek: Broker::disable_ssl)"
        }
    }
}
