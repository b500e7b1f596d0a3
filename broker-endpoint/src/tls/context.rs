//! TLS as OpenSSL has it: in this folder, and nowhere else.

use std::{
    fmt, fs, io,
    sync::{Arc, Mutex},
};

use openssl::{
    error::ErrorStack,
    ssl::{
        self, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode,
        SslVerifyMode, SslVersion,
    },
    x509::store::X509Lookup,
};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio_openssl::SslStream;
use tokio_util::either::Either;

use super::{
    config::{Expiry, Identity, TlsConfig, Trust},
    error::{TlsConfigError, TlsError, TlsPart},
    files::{check_folder, check_validity, expiry, read_certificates, read_key},
    peer::{PeerCertificate, describe},
    reasons::{library, reasons, session},
    revoked::Revoked,
    transport::Transport,
    verify::{Refused, explain, verify},
};
use crate::sync::lock;

/// The suite of Broker's anonymous mode: `TLS_ECDH_anon_WITH_AES_256_CBC_SHA`.
const ANONYMOUS_SUITE: &str = "AECDH-AES256-SHA";

/// Every library's default security level forbids anonymous suites.
const ANONYMOUS_CIPHERS: &str = "AECDH-AES256-SHA@SECLEVEL=0";

/// The curve of the anonymous mode.
const ANONYMOUS_GROUP: &str = "P-384";

/// The suites of TLS 1.2 with certificates; those of TLS 1.3 are the library's own.
const CERTIFICATE_CIPHERS: &str = "HIGH:!aNULL:!MD5";

/// Which side of a connection we are.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Acceptor,
    Connector,
}

/// A [`TlsConfig`] with its files loaded, for any number of connections in either direction. Cheap to clone; what is
/// [renewed](RenewTls) is so in each clone.
#[derive(Clone)]
pub struct TlsContext {
    /// Connections keep what they began with.
    context: Arc<Mutex<SslContext>>,
    /// How certificates of peers are asked for, if they are, and which are revoked.
    verifies: Option<(SslVerifyMode, Revoked)>,
}

/// Loads the files of a port's [`TlsConfig`] again.
#[derive(Clone, Debug)]
pub struct RenewTls {
    config: TlsConfig,
    context: TlsContext,
}

impl RenewTls {
    /// For what this context was made of.
    pub const fn new(config: TlsConfig, context: TlsContext) -> Self {
        Self { config, context }
    }

    /// Which files these are.
    pub const fn config(&self) -> &TlsConfig {
        &self.config
    }

    /// Whether the files can be used today ([`TlsConfig::check`]).
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), TlsConfigError> {
        self.config.check()
    }

    /// Uses what the files contain now for connections that begin from now on.
    ///
    /// # Errors
    ///
    /// If the files cannot be used. What was loaded before stays in use then.
    pub fn renew(&self) -> Result<(), TlsConfigError> {
        if let Some(new) = TlsContext::new(&self.config)? {
            let new = new.current();
            *lock(&self.context.context) = new;
        }
        Ok(())
    }
}

impl TlsContext {
    /// Loads the files; `None` if TLS is off.
    ///
    /// # Errors
    ///
    /// If a file is missing, unreadable, or does not fit the others. DIFFERENCE(tls-files): Broker would notice on its first
    /// connection, and then neither listen nor connect any more (W-18).
    pub fn new(config: &TlsConfig) -> Result<Option<Self>, TlsConfigError> {
        let mut builder = new_builder().map_err(library("set up TLS"))?;
        match config {
            TlsConfig::Off => return Ok(None),
            TlsConfig::Anonymous => set_anonymous(&mut builder)?,
            TlsConfig::Mutual { identity, trust } | TlsConfig::ClientsMayShow { identity, trust } => {
                set_identity(&mut builder, identity)?;
                set_trust(&mut builder, trust)?;
            }
            TlsConfig::ServerCertificate(identity) => {
                set_identity(&mut builder, identity)?;
                builder.set_verify(SslVerifyMode::NONE);
            }
        }
        let demand = if config.asks_for_certificates() {
            SslVerifyMode::FAIL_IF_NO_PEER_CERT
        } else {
            SslVerifyMode::empty()
        };
        Ok(Some(Self {
            context: Arc::new(Mutex::new(builder.build())),
            verifies: config
                .trust()
                .map(|trust| (SslVerifyMode::PEER | demand, trust.revoked.clone())),
        }))
    }

    /// For a connection to a server whose certificate is looked at [afterwards](super::connect_pinned).
    pub(super) fn trusting_all() -> Result<Self, ErrorStack> {
        let mut builder = new_builder()?;
        builder.set_cipher_list(CERTIFICATE_CIPHERS)?;
        builder.set_verify(SslVerifyMode::NONE);
        Ok(Self {
            context: Arc::new(Mutex::new(builder.build())),
            verifies: None,
        })
    }

    fn current(&self) -> SslContext {
        lock(&self.context).clone()
    }

    /// The names in our certificate, if there is one.
    pub fn own_names(&self) -> Vec<String> {
        let context = self.current();
        let own = context.certificate().and_then(|own| describe(own).ok());
        let names = own.iter().flat_map(|own| &own.names);
        names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }

    pub(super) async fn handshake<S>(
        &self,
        side: Side,
        stream: BufReader<S>,
    ) -> Result<Transport<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (ssl, refused) = self.new_session()?;
        let mut stream = Box::pin(SslStream::new(ssl, stream).map_err(session)?);
        let result = match side {
            Side::Acceptor => stream.as_mut().accept().await,
            Side::Connector => stream.as_mut().connect().await,
        };
        match result {
            Ok(()) => Ok(Either::Right(stream)),
            Err(error) => Err(explain(error, stream.ssl(), &refused)),
        }
    }

    fn new_session(&self) -> Result<(Ssl, Arc<Refused>), TlsError> {
        let mut ssl = Ssl::new(&self.current()).map_err(session)?;
        let refused = Arc::new(Refused::default());
        if let Some((mode, revoked)) = self.verifies.clone() {
            let refused = Arc::clone(&refused);
            ssl.set_verify_callback(mode, move |trusted, chain| {
                verify(trusted, chain, &revoked, &refused)
            });
        }
        Ok((ssl, refused))
    }
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContext").finish_non_exhaustive()
    }
}

fn new_builder() -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls())?;
    // The first two because the buffer of an interrupted write may move and grow; the last for thousands of idle peers.
    builder.set_mode(
        SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::AUTO_RETRY
            | SslMode::RELEASE_BUFFERS,
    );
    // Broker closes without a close_notify. Renegotiation would let a client make us compute at will.
    builder.set_options(
        SslOptions::IGNORE_UNEXPECTED_EOF | SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION,
    );
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    // Peerings last for days; resumption would only keep keys around.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::NO_TICKET);
    builder.set_num_tickets(0)?;
    Ok(builder)
}

fn set_anonymous(builder: &mut SslContextBuilder) -> Result<(), TlsConfigError> {
    let missing = |_| TlsConfigError::SuiteMissing {
        library: openssl::version::version(),
        suite: ANONYMOUS_SUITE,
    };
    builder.set_cipher_list(ANONYMOUS_CIPHERS).map_err(missing)?;
    builder.set_groups_list(ANONYMOUS_GROUP).map_err(missing)?;
    builder.set_verify(SslVerifyMode::NONE);
    Ok(())
}

fn set_identity(builder: &mut SslContextBuilder, identity: &Identity) -> Result<(), TlsConfigError> {
    builder
        .set_cipher_list(CERTIFICATE_CIPHERS)
        .map_err(library("choose the cipher suites"))?;
    let path = &identity.certificate;
    let mut chain = read_certificates(path, TlsPart::Certificate)?.into_iter();
    let certificate = chain.next().ok_or_else(|| TlsConfigError::NotPem {
        what: TlsPart::Certificate,
        path: path.clone(),
        reason: "there is none in it".to_owned(),
    })?;
    let refused = |error: ErrorStack| TlsConfigError::Certificate {
        path: path.clone(),
        reason: reasons(&error),
    };
    builder.set_certificate(&certificate).map_err(refused)?;
    for issuer in chain {
        builder.add_extra_chain_cert(issuer).map_err(refused)?;
    }
    let key = read_key(identity)?;
    let mismatch = |_| TlsConfigError::KeyMismatch {
        certificate: path.clone(),
        key: identity.key.clone(),
    };
    builder.set_private_key(&key).map_err(mismatch)?;
    builder.check_private_key().map_err(mismatch)
}

fn set_trust(builder: &mut SslContextBuilder, trust: &Trust) -> Result<(), TlsConfigError> {
    if trust.ca_file.is_none() && trust.ca_path.is_none() {
        return Err(TlsConfigError::Missing {
            what: "CA file or CA folder",
        });
    }
    let store = builder.cert_store_mut();
    if let Some(path) = &trust.ca_file {
        for certificate in read_certificates(path, TlsPart::CaFile)? {
            store
                .add_cert(certificate)
                .map_err(library("use a certificate of the CA file"))?;
        }
    }
    if let Some(path) = &trust.ca_path {
        let unreadable = |source| TlsConfigError::Unreadable {
            what: TlsPart::CaFolder,
            path: path.clone(),
            source,
        };
        fs::read_dir(path).map_err(unreadable)?;
        let text = path
            .to_str()
            .ok_or_else(|| unreadable(io::Error::new(io::ErrorKind::InvalidInput, "path is not UTF-8")))?;
        let unusable = "use the folder of CA certificates";
        let lookup = store
            .add_lookup(X509Lookup::hash_dir())
            .map_err(library(unusable))?;
        lookup
            .add_dir(text, ssl::SslFiletype::PEM)
            .map_err(library(unusable))?;
    }
    Ok(())
}

impl TlsConfig {
    /// Whether everything that it names can be used today: as [`TlsContext::new`], and the certificates are valid.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), TlsConfigError> {
        TlsContext::new(self)?;
        self.check_dates()?;
        let folder = self.trust().and_then(|trust| trust.ca_path.as_deref());
        folder.map_or(Ok(()), check_folder)
    }

    /// Whether the certificates in the files that it names are valid today. Those of others are looked at when they are shown.
    ///
    /// # Errors
    ///
    /// The first that is not, and the first file that cannot be read.
    pub fn check_dates(&self) -> Result<(), TlsConfigError> {
        if let Some(identity) = self.identity() {
            check_validity(&identity.certificate, TlsPart::Certificate)?;
        }
        let issuers = self.trust().and_then(|trust| trust.ca_file.as_ref());
        issuers.map_or(Ok(()), |path| check_validity(path, TlsPart::CaFile))
    }

    /// When the certificates in the files that it names end: ours, and those of the CA file.
    ///
    /// # Errors
    ///
    /// The first file that cannot be read.
    pub fn expiries(&self) -> Result<Vec<Expiry>, TlsConfigError> {
        let own = self.identity().map(|identity| &identity.certificate);
        let issuers = self.trust().and_then(|trust| trust.ca_file.as_ref());
        let own = own.map(|path| expiry(path, TlsPart::Certificate));
        let issuers = issuers.map(|path| expiry(path, TlsPart::CaFile));
        own.into_iter().chain(issuers).collect()
    }
}

/// The other side's certificate, if it was asked for one.
pub fn peer_certificate<S>(transport: &Transport<S>) -> Option<PeerCertificate> {
    let Either::Right(stream) = transport else {
        return None;
    };
    describe(&*stream.ssl().peer_certificate()?).ok()
}

/// The version of TLS and the cipher suite, as in `TLSv1.2 AECDH-AES256-SHA`.
#[cfg(test)]
pub(super) fn describe_session<S>(transport: &Transport<S>) -> Option<String> {
    let Either::Right(stream) = transport else {
        return None;
    };
    let ssl = stream.ssl();
    Some(format!("{} {}", ssl.version_str(), ssl.current_cipher()?.name()))
}
