use std::ops::Range;

use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    error::ErrorStack,
    hash::MessageDigest,
    sign::Verifier,
    x509::X509,
};

use super::{
    error::AuthorityError,
    key::{PrivateKey, is_ours, not_pem},
    peer::{Fingerprint, PeerCertificate, describe, fingerprint},
};

/// How long before they are issued certificates begin to be valid, in seconds: clocks of other hosts may be behind.
pub(super) const BACKDATED: i64 = 60 * 60;

/// In seconds.
const DAY: i64 = 24 * 60 * 60;

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

/// In seconds since 1970.
pub(super) fn unix(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * DAY + i64::from(since.secs))
}
