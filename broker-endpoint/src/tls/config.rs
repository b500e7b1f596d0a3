use std::{fmt, path::PathBuf};

use super::{
    error::{TlsConfigError, TlsPart},
    revoked::Revoked,
};

/// How connections are protected.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum TlsConfig {
    /// Plain TCP, as with Zeek's `Broker::disable_ssl=T`.
    Off,
    /// Zeek's default: TLS 1.2 with the suite `AECDH-AES256-SHA` on the curve P-384. Keeps passive listeners out; every process that
    /// reaches the port can connect.
    #[default]
    Anonymous,
    /// Both sides show a certificate, as with Zeek's `Broker::ssl_certificate` and its siblings.
    Mutual { identity: Identity, trust: Trust },
    /// We show a certificate and ask clients for none. For the WebSocket port; Broker has no such mode.
    ServerCertificate(Identity),
    /// We show a certificate, and clients may show one, which has to be good then. For HTTP, where there are other ways to say who one is.
    ClientsMayShow { identity: Identity, trust: Trust },
}

impl TlsConfig {
    /// A word for the mode.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Anonymous => "anonymous",
            Self::Mutual { .. } => "mutual",
            Self::ServerCertificate(_) => "server certificate",
            Self::ClientsMayShow { .. } => "server certificate, clients may show one",
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
            Self::Mutual { identity, .. }
            | Self::ServerCertificate(identity)
            | Self::ClientsMayShow { identity, .. } => Some(identity),
        }
    }

    /// Which certificates of peers are revoked; none if none are looked at.
    pub fn revoked(&self) -> Revoked {
        self.trust()
            .map_or_else(Revoked::default, |trust| trust.revoked.clone())
    }

    /// The same where these certificates of peers are revoked.
    #[must_use]
    pub fn with_revoked(mut self, revoked: &Revoked) -> Self {
        if let Self::Mutual { trust, .. } | Self::ClientsMayShow { trust, .. } = &mut self {
            trust.revoked = revoked.clone();
        }
        self
    }

    /// Which certificates of peers are good, if any are looked at.
    pub(super) const fn trust(&self) -> Option<&Trust> {
        match self {
            Self::Off | Self::Anonymous | Self::ServerCertificate(_) => None,
            Self::Mutual { trust, .. } | Self::ClientsMayShow { trust, .. } => Some(trust),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Identity {
    /// PEM file: the certificate, then those between it and the CA, in order.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// What the key is encrypted with, if it is.
    pub passphrase: Option<Passphrase>,
}

/// When a file of certificates ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub what: TlsPart,
    pub path: PathBuf,
    /// The end of the first certificate in it that ends, in seconds since 1970.
    pub at: i64,
}

/// Which certificates are accepted. The system's own list of CAs is not consulted.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// PEM file with one or more CA certificates.
    pub ca_file: Option<PathBuf>,
    /// Folder of CA certificates, prepared by `openssl rehash`. New files in it are noticed without a restart.
    pub ca_path: Option<PathBuf>,
    /// Which of those that a CA has signed do not count.
    pub revoked: Revoked,
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

    /// The text itself, to be passed on.
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
    pub disable_ssl: bool,
    pub ssl_certificate: String,
    pub ssl_keyfile: String,
    pub ssl_passphrase: String,
    pub ssl_cafile: String,
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
                ..Trust::default()
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
