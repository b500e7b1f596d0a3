use std::{fmt, net::IpAddr, ops::Range};

use broker_codec::data::ZeekString;
use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    sha::sha256,
    sign::Verifier,
    x509::{X509, X509Ref},
};

use super::{
    error::AuthorityError,
    key::{PrivateKey, is_ours, not_pem},
};

/// How long before they are issued certificates begin to be valid, in seconds: clocks of other hosts may be behind.
pub(super) const BACKDATED: i64 = 60 * 60;

/// In seconds.
const DAY: i64 = 24 * 60 * 60;

/// What the other side's certificate says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject, as in `CN=agent-1, O=Example`.
    pub subject: ZeekString,
    /// The common names and the subject alternative names (DNS names and IP addresses).
    pub names: Vec<ZeekString>,
    pub fingerprint: Fingerprint,
}

/// A SHA-256: of a certificate, or of a public key, both in DER. It is shown as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl PeerCertificate {
    /// By what an operator tells it from others: subject and fingerprint.
    pub fn name(&self) -> ZeekString {
        format!("{}, SHA-256 {}", self.subject, self.fingerprint).into()
    }
}

/// A certificate, which need not be good for anything.
#[derive(Debug)]
pub struct Certificate(pub(super) X509);

impl Certificate {
    /// The first one of a text in PEM format.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthorityError> {
        Ok(Self(X509::from_pem(pem).map_err(not_pem("certificate"))?))
    }

    /// Whose it is.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn describe(&self) -> Result<PeerCertificate, AuthorityError> {
        Ok(describe(&self.0)?)
    }

    /// By which it is told from others.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn fingerprint(&self) -> Result<Fingerprint, AuthorityError> {
        Ok(fingerprint(&self.0)?)
    }

    /// From when to when it is valid, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// If its dates cannot be read.
    pub fn valid(&self) -> Result<Range<i64>, AuthorityError> {
        Ok(unix(self.0.not_before())?..unix(self.0.not_after())?)
    }

    /// When one that a [`CertificateAuthority`](super::CertificateAuthority) has issued should be renewed, in seconds since 1970: when two thirds of its time are over.
    ///
    /// # Errors
    ///
    /// If its dates cannot be read.
    pub fn renewal(&self) -> Result<i64, AuthorityError> {
        let valid = self.valid()?;
        let issued = valid.start.saturating_add(BACKDATED);
        Ok(valid.end - (valid.end - issued).max(0) / 3)
    }

    pub fn belongs_to(&self, key: &PrivateKey) -> bool {
        self.0.public_key().is_ok_and(|own| own.public_eq(&key.0))
    }

    /// Whether its key has made this signature of these bytes.
    ///
    /// # Errors
    ///
    /// If its key cannot be used.
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> Result<bool, AuthorityError> {
        let key = self.0.public_key()?;
        is_ours(&key)?;
        let mut verifier = Verifier::new(MessageDigest::sha256(), &key)?;
        // What is no signature at all is an error of the library's.
        Ok(verifier.verify_oneshot(signature, bytes).unwrap_or_default())
    }
}

/// The fingerprint of a certificate.
pub(super) fn fingerprint(certificate: &X509Ref) -> Result<Fingerprint, ErrorStack> {
    Ok(Fingerprint(sha256(&certificate.to_der()?)))
}

/// In seconds since 1970.
pub(super) fn unix(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * DAY + i64::from(since.secs))
}

/// Fails only for want of memory.
pub(super) fn describe(certificate: &X509Ref) -> Result<PeerCertificate, ErrorStack> {
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
    Ok(PeerCertificate {
        subject: subject.into(),
        names,
        fingerprint: fingerprint(certificate)?,
    })
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
