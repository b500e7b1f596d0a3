//! What a small CA issues, without files and without a clock. All keys are of ECDSA on the curve P-256.

use std::{net::IpAddr, ops::Range};

use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    hash::MessageDigest,
    pkey::{HasPublic, PKeyRef},
    x509::{
        X509, X509Builder, X509Name,
        extension::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
            SubjectKeyIdentifier,
        },
    },
};

use super::{
    certificate::{BACKDATED, Certificate, unix},
    error::AuthorityError,
    key::{PrivateKey, PublicKey, common_name, text},
    peer::{Fingerprint, fingerprint},
};

/// How many bits of a serial number are random.
const SERIAL_BITS: i32 = 128;

/// A CA.
#[derive(Debug)]
pub struct CertificateAuthority {
    certificate: X509,
    key: PrivateKey,
}

impl CertificateAuthority {
    /// A new one of this name with this key, valid in this time, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// If the name has no or more than 64 characters.
    pub fn create(name: &str, key: PrivateKey, valid: Range<i64>) -> Result<Self, AuthorityError> {
        let name = common_name(name)?;
        let mut builder = begin(&name, &key.0, valid)?;
        builder.set_issuer_name(&name)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        builder.sign(&key.0, MessageDigest::sha256())?;
        Ok(Self {
            certificate: builder.build(),
            key,
        })
    }

    /// Reads certificate and key, in PEM format.
    ///
    /// # Errors
    ///
    /// If they are none, or do not belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, AuthorityError> {
        let certificate = Certificate::from_pem(certificate)?;
        let key = PrivateKey::from_pem(key)?;
        if !certificate.belongs_to(&key) {
            return Err(AuthorityError::KeyMismatch);
        }
        Ok(Self {
            certificate: certificate.0,
            key,
        })
    }

    /// Its certificate, in PEM format.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn certificate_pem(&self) -> Result<String, AuthorityError> {
        text(self.certificate.to_pem()?)
    }

    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// From when to when it is valid, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// If its dates cannot be read.
    pub fn valid(&self) -> Result<Range<i64>, AuthorityError> {
        Ok(unix(self.certificate.not_before())?..unix(self.certificate.not_after())?)
    }

    /// That of its certificate.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn fingerprint(&self) -> Result<Fingerprint, AuthorityError> {
        Ok(fingerprint(&self.certificate)?)
    }

    /// The time in which a certificate is valid that is issued now, both in seconds since 1970, for so many seconds. It ends when this CA ends, at the
    /// latest, and has begun somewhat before.
    ///
    /// # Errors
    ///
    /// If this CA has ended.
    pub fn valid_for(&self, now: i64, lifetime: i64) -> Result<Range<i64>, AuthorityError> {
        let end = unix(self.certificate.not_after())?;
        if end <= now {
            return Err(AuthorityError::Expired);
        }
        Ok(now - BACKDATED..end.min(now.saturating_add(lifetime)))
    }

    /// Issues a certificate for this key and common name, with these DNS names and addresses besides, valid in this time, in seconds since 1970. It is
    /// in PEM format.
    ///
    /// # Errors
    ///
    /// If the name has no or more than 64 characters, or another one cannot stand in a certificate.
    pub fn issue(
        &self,
        (name, alternatives): (&str, &[String]),
        key: &PublicKey,
        valid: Range<i64>,
    ) -> Result<String, AuthorityError> {
        let mut builder = begin(&common_name(name)?, &key.0, valid)?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        // Peers of Broker are both.
        let usage = ExtendedKeyUsage::new().server_auth().client_auth().build()?;
        builder.append_extension(usage)?;
        let issuer = builder.x509v3_context(Some(&self.certificate), None);
        let id = AuthorityKeyIdentifier::new().keyid(true).build(&issuer)?;
        let mut names = SubjectAlternativeName::new();
        for name in alternatives {
            match name.parse::<IpAddr>() {
                Ok(_) => names.ip(name),
                Err(_) => names.dns(name),
            };
        }
        let names = (!alternatives.is_empty())
            .then(|| names.build(&issuer))
            .transpose()?;
        builder.append_extension(id)?;
        if let Some(names) = names {
            builder.append_extension(names)?;
        }
        builder.sign(&self.key.0, MessageDigest::sha256())?;
        text(builder.build().to_pem()?)
    }

    /// Whether it has issued a certificate, whenever that was.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn has_issued(&self, certificate: &Certificate) -> Result<bool, AuthorityError> {
        let own = self.certificate.public_key()?;
        // A certificate with another kind of signature is an error of the library's.
        Ok(certificate.0.verify(&own).unwrap_or_default())
    }
}

/// A certificate without what its issuer adds.
fn begin<T: HasPublic>(
    subject: &X509Name,
    key: &PKeyRef<T>,
    valid: Range<i64>,
) -> Result<X509Builder, AuthorityError> {
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(subject)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::from_unix(valid.start)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(valid.end)?)?;
    let id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(id)?;
    Ok(builder)
}

#[cfg(test)]
mod tests;
