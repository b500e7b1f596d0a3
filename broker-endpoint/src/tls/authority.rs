//! What a small CA is made of: keys, requests and certificates, without files and without a clock. All keys are of ECDSA on the curve P-256.

use std::{net::IpAddr, ops::Range};

use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public},
    sha::sha256,
    sign::{Signer, Verifier},
    x509::{
        X509, X509Builder, X509Name, X509NameBuilder, X509Ref, X509Req, X509ReqBuilder,
        extension::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
            SubjectKeyIdentifier,
        },
    },
};

use super::{
    certificate::{PeerCertificate, describe},
    reasons::reasons,
};

/// A SHA-256: of a certificate, or of a public key, both in DER.
pub type Fingerprint = [u8; 32];

/// How long before they are issued certificates begin to be valid, in seconds: clocks of other hosts may be behind.
const BACKDATED: i64 = 60 * 60;

/// How many bits of a serial number are random.
const SERIAL_BITS: i32 = 128;

const CURVE: Nid = Nid::X9_62_PRIME256V1;

/// In seconds.
const DAY: i64 = 24 * 60 * 60;

/// A key, a request or a certificate cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    #[error("it is no {what} in PEM format: {reason}")]
    NotPem { what: &'static str, reason: String },
    #[error("its key is not one of ECDSA on the curve P-256")]
    OtherKey,
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

/// A private key.
#[derive(Debug)]
pub struct PrivateKey(PKey<Private>);

/// The public key of a request, whose sender has the private one.
#[derive(Debug)]
pub struct PublicKey(PKey<Public>);

/// A certificate, which need not be good for anything.
#[derive(Debug)]
pub struct Certificate(X509);

/// A CA.
#[derive(Debug)]
pub struct CertificateAuthority {
    certificate: X509,
    key: PrivateKey,
}

fn not_pem(what: &'static str) -> impl Fn(ErrorStack) -> AuthorityError {
    move |error| AuthorityError::NotPem {
        what,
        reason: reasons(&error),
    }
}

/// Others take longer, or are weaker.
fn is_ours<T: HasPublic>(key: &PKeyRef<T>) -> Result<(), AuthorityError> {
    let is_ours = key.id() == Id::EC && key.ec_key()?.group().curve_name() == Some(CURVE);
    is_ours.then_some(()).ok_or(AuthorityError::OtherKey)
}

impl PrivateKey {
    /// A new one.
    ///
    /// # Errors
    ///
    /// If there is no chance to be had.
    pub fn generate() -> Result<Self, AuthorityError> {
        let group = EcGroup::from_curve_name(CURVE)?;
        Ok(Self(PKey::from_ec_key(EcKey::generate(&group)?)?))
    }

    /// Reads one that is not encrypted.
    ///
    /// # Errors
    ///
    /// If it is none, or not of the curve P-256.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthorityError> {
        // Without a passphrase nothing is asked for on a terminal.
        let key = PKey::private_key_from_pem_callback(pem, |_| Ok(0)).map_err(not_pem("private key"))?;
        is_ours(&key)?;
        Ok(Self(key))
    }

    /// As a text in PEM format, not encrypted.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn to_pem(&self) -> Result<Vec<u8>, AuthorityError> {
        Ok(self.0.private_key_to_pem_pkcs8()?)
    }

    /// A request for a certificate of this common name, in PEM format (PKCS #10).
    ///
    /// # Errors
    ///
    /// If the name has no or more than 64 characters.
    pub fn request(&self, name: &str) -> Result<String, AuthorityError> {
        let mut request = X509ReqBuilder::new()?;
        request.set_version(0)?;
        let subject = common_name(name)?;
        request.set_subject_name(&subject)?;
        request.set_pubkey(&self.0)?;
        request.sign(&self.0, MessageDigest::sha256())?;
        text(request.build().to_pem()?)
    }

    /// Signs bytes, by ECDSA with SHA-256.
    ///
    /// # Errors
    ///
    /// If there is no chance to be had.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.0)?;
        Ok(signer.sign_oneshot_to_vec(bytes)?)
    }

    /// The public one.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn public(&self) -> Result<PublicKey, AuthorityError> {
        Ok(PublicKey(PKey::public_key_from_der(
            &self.0.public_key_to_der()?,
        )?))
    }
}

impl PublicKey {
    /// That of a request for a certificate, in PEM format. Who has sent it has shown to have the private one.
    ///
    /// # Errors
    ///
    /// If it is none, is signed by another key, or is not of the curve P-256.
    pub fn of_request(pem: &[u8]) -> Result<Self, AuthorityError> {
        let request = X509Req::from_pem(pem).map_err(not_pem("request for a certificate"))?;
        let key = request.public_key()?;
        is_ours(&key)?;
        if !request.verify(&key)? {
            return Err(AuthorityError::NotSigned);
        }
        Ok(Self(key))
    }

    /// By which it is told from others.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn fingerprint(&self) -> Result<Fingerprint, AuthorityError> {
        Ok(sha256(&self.0.public_key_to_der()?))
    }
}

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
    pub fn names(&self) -> PeerCertificate {
        describe(&self.0)
    }

    /// By which it is told from others.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn fingerprint(&self) -> Result<Fingerprint, AuthorityError> {
        fingerprint(&self.0)
    }

    /// From when to when it is valid, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// If its dates cannot be read.
    pub fn valid(&self) -> Result<Range<i64>, AuthorityError> {
        Ok(unix(self.0.not_before())?..unix(self.0.not_after())?)
    }

    /// When one that a [`CertificateAuthority`] has issued should be renewed, in seconds since 1970: when two thirds of its time are over.
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

impl CertificateAuthority {
    /// A new one of this name, valid in this time, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// If the name has no or more than 64 characters.
    pub fn create(name: &str, valid: Range<i64>) -> Result<Self, AuthorityError> {
        let key = PrivateKey::generate()?;
        let name = common_name(name)?;
        let mut builder = begin(&name, &key.0, valid)?;
        builder.set_issuer_name(&name)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        let id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
        builder.append_extension(id)?;
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

    /// That of its certificate.
    ///
    /// # Errors
    ///
    /// If the TLS library has no memory.
    pub fn fingerprint(&self) -> Result<Fingerprint, AuthorityError> {
        fingerprint(&self.certificate)
    }

    /// The time in which a certificate is valid that is issued now, both in seconds since 1970, for so many seconds. It ends when this CA ends, at the
    /// latest, and has begun somewhat before.
    ///
    /// # Errors
    ///
    /// If the date of this CA cannot be read.
    pub fn valid_for(&self, now: i64, lifetime: i64) -> Result<Range<i64>, AuthorityError> {
        let end = unix(self.certificate.not_after())?;
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

/// The fingerprint of a certificate.
pub(super) fn fingerprint(certificate: &X509Ref) -> Result<Fingerprint, AuthorityError> {
    Ok(sha256(&certificate.to_der()?))
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
    Ok(builder)
}

fn common_name(name: &str) -> Result<X509Name, AuthorityError> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(subject.build())
}

fn text(pem: Vec<u8>) -> Result<String, AuthorityError> {
    String::from_utf8(pem).map_err(|error| AuthorityError::Library(error.to_string()))
}

/// In seconds since 1970.
pub(super) fn unix(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * DAY + i64::from(since.secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn authority() -> CertificateAuthority {
        CertificateAuthority::create("CA", NOW - DAY..NOW + 100 * DAY).unwrap()
    }

    fn issued(by: &CertificateAuthority, key: &PrivateKey, lifetime: i64) -> Certificate {
        let names = ["sensor1".to_owned(), "::1".to_owned()];
        let request = key.request("sensor1").unwrap();
        let key = PublicKey::of_request(request.as_bytes()).unwrap();
        let valid = by.valid_for(NOW, lifetime).unwrap();
        let pem = by.issue(("sensor1", &names), &key, valid).unwrap();
        Certificate::from_pem(pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_is_of_its_ca_for_its_key_and_time() {
        let (one, other) = (authority(), authority());
        let key = PrivateKey::generate().unwrap();
        let certificate = issued(&one, &key, 30 * DAY);
        assert!(one.has_issued(&certificate).unwrap() && !other.has_issued(&certificate).unwrap());
        assert!(certificate.belongs_to(&key) && !certificate.belongs_to(one.key()));
        assert_eq!(certificate.names().subject, "CN=sensor1");
        assert_eq!(certificate.names().names, ["sensor1", "::1"]);
        assert_eq!(certificate.valid().unwrap(), NOW - BACKDATED..NOW + 30 * DAY);
        assert_eq!(certificate.renewal().unwrap(), NOW + 20 * DAY);
        let last = issued(&one, &key, 1000 * DAY);
        assert_eq!(
            last.valid().unwrap().end,
            NOW + 100 * DAY,
            "no longer than its CA"
        );

        let signature = key.sign(b"text").unwrap();
        assert!(certificate.has_signed(b"text", &signature).unwrap());
        assert!(!certificate.has_signed(b"next", &signature).unwrap());
        assert!(!certificate.has_signed(b"text", b"").unwrap());
    }

    #[test]
    fn keys_and_certificates_are_written_and_read() {
        let one = authority();
        let certificate = one.certificate_pem().unwrap();
        let key = one.key().to_pem().unwrap();
        let read = CertificateAuthority::from_pem(certificate.as_bytes(), &key).unwrap();
        assert_eq!(read.fingerprint().unwrap(), one.fingerprint().unwrap());
        let other = PrivateKey::generate().unwrap().to_pem().unwrap();
        let mismatch = CertificateAuthority::from_pem(certificate.as_bytes(), &other).unwrap_err();
        assert!(matches!(mismatch, AuthorityError::KeyMismatch));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let key = PrivateKey::generate().unwrap();
        let request = key.request("sensor1").unwrap();
        let read = PublicKey::of_request(request.as_bytes()).unwrap();
        assert_eq!(
            read.fingerprint().unwrap(),
            key.public().unwrap().fingerprint().unwrap()
        );
        let refused = |pem: &[u8]| PublicKey::of_request(pem).unwrap_err();
        assert!(matches!(refused(b"no"), AuthorityError::NotPem { .. }));
        // Signed by another key.
        let other = PrivateKey::generate().unwrap();
        let mut forged = X509ReqBuilder::new().unwrap();
        forged.set_pubkey(&key.0).unwrap();
        forged.sign(&other.0, MessageDigest::sha256()).unwrap();
        let forged = forged.build().to_pem().unwrap();
        assert!(matches!(refused(&forged), AuthorityError::NotSigned));
        // Of another curve.
        let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
        let large = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut request = X509ReqBuilder::new().unwrap();
        request.set_pubkey(&large).unwrap();
        request.sign(&large, MessageDigest::sha256()).unwrap();
        let request = request.build().to_pem().unwrap();
        assert!(matches!(refused(&request), AuthorityError::OtherKey));
        let pem = large.private_key_to_pem_pkcs8().unwrap();
        assert!(matches!(
            PrivateKey::from_pem(&pem),
            Err(AuthorityError::OtherKey)
        ));
        assert!(key.request(&"x".repeat(65)).is_err());
    }
}
