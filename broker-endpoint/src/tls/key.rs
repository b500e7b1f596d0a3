//! Keys, and requests for certificates.

use openssl::{
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public},
    sha::sha256,
    sign::Signer,
    x509::{X509Name, X509NameBuilder, X509Req, X509ReqBuilder},
};

use super::{error::AuthorityError, peer::Fingerprint, reasons::reasons};

const CURVE: Nid = Nid::X9_62_PRIME256V1;

/// A private key.
#[derive(Debug)]
pub struct PrivateKey(pub(super) PKey<Private>);

/// The public key of a request, whose sender has the private one.
#[derive(Debug)]
pub struct PublicKey(pub(super) PKey<Public>);

pub(super) fn not_pem(what: &'static str) -> impl Fn(ErrorStack) -> AuthorityError {
    move |error| AuthorityError::NotPem {
        what,
        reason: reasons(&error),
    }
}

/// Others take longer, or are weaker.
pub(super) fn is_ours<T: HasPublic>(key: &PKeyRef<T>) -> Result<(), AuthorityError> {
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
        Ok(Fingerprint(sha256(&self.0.public_key_to_der()?)))
    }
}

pub(super) fn common_name(name: &str) -> Result<X509Name, AuthorityError> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(subject.build())
}

pub(super) fn text(pem: Vec<u8>) -> Result<String, AuthorityError> {
    String::from_utf8(pem).map_err(|error| AuthorityError::Library(error.to_string()))
}
