//! The only file that mentions OpenSSL.

use std::{
    fmt, fs, io,
    net::IpAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use openssl::{
    asn1::Asn1Time,
    error::ErrorStack,
    nid::Nid,
    pkey::{PKey, Private},
    ssl::{
        self, ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef,
        SslSessionCacheMode, SslVerifyMode, SslVersion,
    },
    x509::{X509, X509Ref, X509StoreContextRef, X509VerifyResult, store::X509Lookup},
};
use tokio::io::{AsyncRead, AsyncWrite};
pub(super) use tokio_openssl::SslStream as Stream;

use super::{
    Identity, Inner, PeerCertificate, TlsConfig, TlsConfigError, TlsError, TlsPart, Transport, Trust,
};
use crate::read_file;

/// The suite of Broker's anonymous mode: `TLS_ECDH_anon_WITH_AES_256_CBC_SHA`.
const ANONYMOUS_SUITE: &str = "AECDH-AES256-SHA";

/// Every library's default security level forbids anonymous suites.
const ANONYMOUS_CIPHERS: &str = "AECDH-AES256-SHA@SECLEVEL=0";

/// The curve of the anonymous mode.
const ANONYMOUS_GROUP: &str = "P-384";

/// The suites of TLS 1.2 with certificates; those of TLS 1.3 are the library's own.
const CERTIFICATE_CIPHERS: &str = "HIGH:!aNULL:!MD5";

/// The TLS library's name and version.
pub fn library_version() -> &'static str {
    openssl::version::version()
}

/// A [`TlsConfig`] with its files loaded, for any number of connections in either direction. Cheap to clone.
#[derive(Clone)]
pub struct TlsContext {
    context: SslContext,
    /// `None` if the other side is not asked for a certificate.
    names: Option<Arc<[String]>>,
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
        let names = match config {
            TlsConfig::Off => return Ok(None),
            TlsConfig::Anonymous => {
                set_anonymous(&mut builder)?;
                None
            }
            TlsConfig::Mutual { identity, trust } => {
                set_identity(&mut builder, identity)?;
                set_trust(&mut builder, trust)?;
                Some(Arc::from(&*trust.names))
            }
            TlsConfig::ServerCertificate(identity) => {
                set_identity(&mut builder, identity)?;
                builder.set_verify(SslVerifyMode::NONE);
                None
            }
        };
        Ok(Some(Self {
            context: builder.build(),
            names,
        }))
    }

    /// The names in our certificate, if there is one.
    pub(super) fn own_names(&self) -> Vec<String> {
        let own = self.context.certificate().map(describe);
        let names = own.iter().flat_map(|own| &own.names);
        names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }

    pub(super) async fn accept<S>(&self, stream: super::Sniffed<S>) -> Result<Transport<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (ssl, seen) = self.new_session()?;
        let mut stream = Box::pin(Stream::new(ssl, stream).map_err(session)?);
        let result = stream.as_mut().accept().await;
        self.finish(stream, result, &seen)
    }

    pub(super) async fn connect<S>(&self, stream: super::Sniffed<S>) -> Result<Transport<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (ssl, seen) = self.new_session()?;
        let mut stream = Box::pin(Stream::new(ssl, stream).map_err(session)?);
        let result = stream.as_mut().connect().await;
        self.finish(stream, result, &seen)
    }

    fn new_session(&self) -> Result<(Ssl, Arc<Refused>), TlsError> {
        let mut ssl = Ssl::new(&self.context).map_err(session)?;
        let refused = Arc::new(Refused::default());
        if let Some(names) = &self.names {
            let (names, refused) = (Arc::clone(names), Arc::clone(&refused));
            ssl.set_verify_callback(
                SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
                move |trusted, chain| verify(trusted, chain, &names, &refused),
            );
        }
        Ok((ssl, refused))
    }

    fn finish<S>(
        &self,
        stream: Pin<Box<Stream<super::Sniffed<S>>>>,
        result: Result<(), ssl::Error>,
        refused: &Refused,
    ) -> Result<Transport<S>, TlsError> {
        match result {
            Ok(()) => {
                let certificate = stream.ssl().peer_certificate();
                let certificate = self
                    .names
                    .as_ref()
                    .and(certificate)
                    .map(|certificate| describe(&certificate));
                Ok(Transport(Inner::Tls { stream, certificate }))
            }
            Err(error) => Err(self.explain(error, stream.ssl(), refused)),
        }
    }

    /// Turns a failed handshake into words.
    fn explain(&self, error: ssl::Error, ssl: &SslRef, refused: &Refused) -> TlsError {
        let explained = TlsError::explain(error);
        let TlsError::Untrusted { reason, .. } = explained else {
            return explained;
        };
        let certificate = refused
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_else(|| PeerCertificate {
                subject: "unknown subject".into(),
                names: Vec::new(),
            });
        let subject = certificate.subject;
        match ssl.verify_result() {
            X509VerifyResult::APPLICATION_VERIFICATION => TlsError::WrongName {
                subject,
                names: certificate.names,
                accepted: self.names.as_deref().unwrap_or_default().to_vec(),
            },
            result => match result.as_raw() {
                verify_code::CERT_HAS_EXPIRED => TlsError::Expired { subject },
                verify_code::CERT_NOT_YET_VALID => TlsError::NotYetValid { subject },
                verify_code::OK => TlsError::Untrusted { subject, reason },
                _ => TlsError::Untrusted {
                    subject,
                    reason: result.error_string().to_owned(),
                },
            },
        }
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
        library: library_version(),
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
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
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
        match self {
            Self::Mutual { trust, .. } => trust.ca_path.as_deref().map_or(Ok(()), check_folder),
            _ => Ok(()),
        }
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
        match self {
            Self::Mutual { trust, .. } => trust
                .ca_file
                .as_ref()
                .map_or(Ok(()), |path| check_validity(path, TlsPart::CaFile)),
            _ => Ok(()),
        }
    }
}

/// The library finds certificates in a folder by the names of their files, eight digits of a hash and a number, and says nothing about a
/// folder in which it can find none.
fn check_folder(path: &Path) -> Result<(), TlsConfigError> {
    let unreadable = |source| TlsConfigError::Unreadable {
        what: TlsPart::CaFolder,
        path: path.to_owned(),
        source,
    };
    let is_hash = |hash: &str| hash.len() == 8 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('.'));
        if parts.is_some_and(|(hash, number)| is_hash(hash) && number.parse::<u32>().is_ok()) {
            return Ok(());
        }
    }
    Err(TlsConfigError::EmptyFolder {
        path: path.to_owned(),
    })
}

fn check_validity(path: &Path, what: TlsPart) -> Result<(), TlsConfigError> {
    let now = Asn1Time::days_from_now(0).map_err(library("read the clock for certificates"))?;
    for certificate in read_certificates(path, what)? {
        let (from, to) = (certificate.not_before(), certificate.not_after());
        if *from > *now || *to < *now {
            return Err(TlsConfigError::NotValidToday {
                what,
                path: path.to_owned(),
                subject: describe(&certificate).subject.to_string(),
                from: from.to_string(),
                to: to.to_string(),
            });
        }
    }
    Ok(())
}

fn read_certificates(path: &Path, what: TlsPart) -> Result<Vec<X509>, TlsConfigError> {
    let pem = read_part(path, what)?;
    let not_pem = |reason: String| TlsConfigError::NotPem {
        what,
        path: path.to_owned(),
        reason,
    };
    let certificates = X509::stack_from_pem(&pem).map_err(|error| not_pem(reasons(&error)))?;
    if certificates.is_empty() {
        return Err(not_pem("there is none in it".to_owned()));
    }
    Ok(certificates)
}

fn read_key(identity: &Identity) -> Result<PKey<Private>, TlsConfigError> {
    let path = &identity.key;
    let pem = read_part(path, TlsPart::Key)?;
    let mut encrypted = false;
    let key = PKey::private_key_from_pem_callback(&pem, |buffer| {
        encrypted = true;
        let Some(passphrase) = &identity.passphrase else {
            return Ok(0);
        };
        let bytes = passphrase.0.as_bytes();
        // The library's buffer has room for a longer one than is accepted.
        if let Some(room) = buffer.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            return Ok(bytes.len());
        }
        Ok(0)
    });
    key.map_err(|error| match (encrypted, &identity.passphrase) {
        (true, None) => TlsConfigError::PassphraseMissing { path: path.clone() },
        (true, Some(_)) => TlsConfigError::PassphraseWrong { path: path.clone() },
        (false, _) => TlsConfigError::NotPem {
            what: TlsPart::Key,
            path: path.clone(),
            reason: reasons(&error),
        },
    })
}

fn read_part(path: &Path, what: TlsPart) -> Result<Vec<u8>, TlsConfigError> {
    read_file(path).map_err(|source| TlsConfigError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    })
}

/// The other side's certificate, if it was refused; when the fault lies with an issuer, the subject names that one too.
#[derive(Default)]
struct Refused(Mutex<Option<PeerCertificate>>);

fn verify(trusted: bool, chain: &mut X509StoreContextRef, accepted: &[String], refused: &Refused) -> bool {
    let certificate = chain.current_cert().map(describe);
    let of_peer = chain.error_depth() == 0;
    let right_name = !of_peer
        || accepted.is_empty()
        || certificate.as_ref().is_some_and(|certificate| {
            certificate.names.iter().any(|name| {
                accepted
                    .iter()
                    .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
            })
        });
    if trusted && right_name {
        return true;
    }
    if trusted {
        chain.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    let own = chain.chain().and_then(|chain| chain.get(0)).map(describe);
    let culprit = match (own, certificate) {
        (Some(own), Some(issuer)) if !of_peer => Some(PeerCertificate {
            subject: format!("{}, issued under {}", own.subject, issuer.subject).into(),
            ..own
        }),
        (_, certificate) => certificate,
    };
    *refused.0.lock().unwrap_or_else(PoisonError::into_inner) = culprit;
    false
}

fn describe(certificate: &X509Ref) -> PeerCertificate {
    let mut subject = String::new();
    let mut names = Vec::new();
    for entry in certificate.subject_name().entries() {
        let Ok(value) = entry.data().to_string() else {
            continue;
        };
        if !subject.is_empty() {
            subject.push_str(", ");
        }
        subject.push_str(entry.object().nid().short_name().unwrap_or("?"));
        subject.push('=');
        subject.push_str(&value);
        if entry.object().nid() == Nid::COMMONNAME {
            names.push((*value).into());
        }
    }
    for name in certificate.subject_alt_names().into_iter().flatten() {
        let text = match (name.dnsname(), name.ipaddress()) {
            (Some(name), _) => name.to_owned(),
            (_, Some(bytes)) => match ip_address(bytes) {
                Some(address) => address.to_string(),
                None => continue,
            },
            _ => continue,
        };
        let text = text.into();
        if !names.contains(&text) {
            names.push(text);
        }
    }
    PeerCertificate {
        subject: subject.into(),
        names,
    }
}

pub(super) fn describe_session<S>(stream: &Stream<S>) -> String {
    let ssl = stream.ssl();
    let suite = ssl.current_cipher().map_or("no suite", |cipher| cipher.name());
    format!("{} {suite}", ssl.version_str())
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

impl TlsError {
    /// Explains an error of a [`Transport`] after its TLS handshake; other errors are given back.
    ///
    /// With TLS 1.3 a client hears that its certificate was refused only when it first reads.
    pub fn from_transport(error: io::Error) -> Result<Self, io::Error> {
        error
            .downcast::<ssl::Error>()
            .map(|error| Self::explain(error).after_tls())
    }

    /// The same where the other side has sent TLS before: then it does speak TLS.
    pub(super) fn after_tls(self) -> Self {
        match self {
            Self::PlaintextPeer { .. } => Self::Garbled,
            other => other,
        }
    }

    fn explain(error: ssl::Error) -> Self {
        let reason = error
            .ssl_error()
            .and_then(|stack| {
                stack
                    .errors()
                    .iter()
                    .find(|error| error.library_code() == LIBRARY_SSL)
            })
            .map(|error| {
                (
                    error.reason_code(),
                    error.reason().unwrap_or("unknown").to_owned(),
                )
            });
        let Some((code, reason)) = reason else {
            return match (error.code(), error.into_io_error()) {
                (_, Ok(error)) if is_end(error.kind()) => Self::Closed,
                (_, Ok(error)) => Self::Io(error),
                (ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN, Err(_)) => Self::Closed,
                (_, Err(error)) => Self::Library(error.ssl_error().map_or_else(String::new, reasons)),
            };
        };
        match code {
            reason_code::UNEXPECTED_EOF => Self::Closed,
            reason_code::WRONG_VERSION_NUMBER
            | reason_code::HTTP_REQUEST
            | reason_code::PACKET_LENGTH_TOO_LONG
            | reason_code::BAD_RECORD_TYPE => Self::PlaintextPeer { first: None },
            reason_code::NO_SHARED_CIPHER
            | reason_code::NO_SHARED_GROUPS
            | reason_code::NO_SUITABLE_KEY_SHARE
            | reason_code::NO_SUITABLE_SIGNATURE_ALGORITHM
            | reason_code::ALERT_HANDSHAKE_FAILURE
            | reason_code::ALERT_INSUFFICIENT_SECURITY => Self::NoCommonCipher,
            reason_code::UNSUPPORTED_PROTOCOL
            | reason_code::VERSION_TOO_LOW
            | reason_code::ALERT_PROTOCOL_VERSION => Self::NoCommonVersion,
            reason_code::PEER_DID_NOT_RETURN_A_CERTIFICATE => Self::NoPeerCertificate,
            // The caller knows whose, and why.
            reason_code::CERTIFICATE_VERIFY_FAILED => Self::Untrusted {
                subject: "unknown subject".into(),
                reason,
            },
            reason_code::ALERT_NO_CERTIFICATE | reason_code::ALERT_CERTIFICATE_REQUIRED => Self::OursMissing,
            reason_code::ALERT_BAD_CERTIFICATE..=reason_code::ALERT_CERTIFICATE_UNKNOWN
            | reason_code::ALERT_UNKNOWN_CA
            | reason_code::ALERT_ACCESS_DENIED
            | reason_code::ALERT_DECRYPT_ERROR => Self::OursRefused { reason },
            ALERTS_RECEIVED.. => Self::Alert(reason),
            _ => Self::Library(reason),
        }
    }
}

fn is_end(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

fn library(what: &'static str) -> impl FnOnce(ErrorStack) -> TlsConfigError {
    move |error| TlsConfigError::Library {
        what,
        reason: reasons(&error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn session(error: ErrorStack) -> TlsError {
    TlsError::Library(reasons(&error))
}

/// The reasons on a stack of errors without codes, files and lines.
fn reasons(stack: &ErrorStack) -> String {
    let reasons: Vec<&str> = stack
        .errors()
        .iter()
        .filter_map(openssl::error::Error::reason)
        .collect();
    if reasons.is_empty() {
        "unknown error".to_owned()
    } else {
        reasons.join(": ")
    }
}

/// Reason codes from here on are alerts that were received, by their numbers.
const ALERTS_RECEIVED: i32 = 1000;

/// `ERR_LIB_SSL`
const LIBRARY_SSL: i32 = 20;

/// `SSL_R_*` of `openssl/sslerr.h`, which are stable where the texts are not; alerts received are 1000 and the number of
/// the alert.
mod reason_code {
    pub(super) const NO_SUITABLE_KEY_SHARE: i32 = 101;
    pub(super) const NO_SUITABLE_SIGNATURE_ALGORITHM: i32 = 118;
    pub(super) const CERTIFICATE_VERIFY_FAILED: i32 = 134;
    pub(super) const HTTP_REQUEST: i32 = 156;
    pub(super) const NO_SHARED_CIPHER: i32 = 193;
    pub(super) const PACKET_LENGTH_TOO_LONG: i32 = 198;
    pub(super) const PEER_DID_NOT_RETURN_A_CERTIFICATE: i32 = 199;
    pub(super) const UNSUPPORTED_PROTOCOL: i32 = 258;
    pub(super) const WRONG_VERSION_NUMBER: i32 = 267;
    pub(super) const UNEXPECTED_EOF: i32 = 294;
    pub(super) const VERSION_TOO_LOW: i32 = 396;
    pub(super) const NO_SHARED_GROUPS: i32 = 410;
    pub(super) const BAD_RECORD_TYPE: i32 = 443;
    pub(super) const ALERT_HANDSHAKE_FAILURE: i32 = 1040;
    pub(super) const ALERT_NO_CERTIFICATE: i32 = 1041;
    pub(super) const ALERT_BAD_CERTIFICATE: i32 = 1042;
    pub(super) const ALERT_CERTIFICATE_UNKNOWN: i32 = 1046;
    pub(super) const ALERT_UNKNOWN_CA: i32 = 1048;
    pub(super) const ALERT_ACCESS_DENIED: i32 = 1049;
    pub(super) const ALERT_DECRYPT_ERROR: i32 = 1051;
    pub(super) const ALERT_PROTOCOL_VERSION: i32 = 1070;
    pub(super) const ALERT_INSUFFICIENT_SECURITY: i32 = 1071;
    pub(super) const ALERT_CERTIFICATE_REQUIRED: i32 = 1116;
}

/// `X509_V_*` of `openssl/x509_vfy.h`
mod verify_code {
    pub(super) const OK: i32 = 0;
    pub(super) const CERT_NOT_YET_VALID: i32 = 9;
    pub(super) const CERT_HAS_EXPIRED: i32 = 10;
}
