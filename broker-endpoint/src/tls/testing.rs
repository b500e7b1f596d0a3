//! Certificates for tests, made anew for each.

use std::{
    fs::{self, Permissions},
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    symm::Cipher,
    x509::{
        X509, X509NameBuilder,
        extension::{BasicConstraints, KeyUsage, SubjectAlternativeName},
    },
};
use tempfile::TempDir;

use super::{Identity, Passphrase, TlsConfig, Trust};

/// A CA with a folder for the files of what it signs.
pub(crate) struct Authority {
    certificate: X509,
    key: PKey<Private>,
    folder: TempDir,
}

/// When a certificate is valid, in seconds since 1970.
pub(crate) enum Validity {
    Now,
    Expired,
    Future,
    /// It ends in ten days.
    Ending,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = new_key();
        let certificate = build(name, &[], &Validity::Now, &key, None).expect("a certificate");
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("ca.pem"), certificate.to_pem().expect("PEM")).expect("written");
        Self {
            certificate,
            key,
            folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust {
            ca_file: Some(self.path("ca.pem")),
            ..Trust::default()
        }
    }

    pub(crate) fn sign(&self, name: &str, alternatives: &[&str], validity: &Validity) -> Identity {
        let key = new_key();
        let pem = key.private_key_to_pem_pkcs8().expect("PEM");
        self.write(name, alternatives, validity, &key, &pem)
    }

    /// A certificate whose key is encrypted.
    pub(crate) fn sign_encrypted(&self, name: &str, passphrase: &str) -> Identity {
        let key = new_key();
        let pem = key
            .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), passphrase.as_bytes())
            .expect("encrypted");
        Identity {
            passphrase: Some(Passphrase::new(passphrase).expect("short")),
            ..self.write(name, &[], &Validity::Now, &key, &pem)
        }
    }

    /// The configuration of a peer that this CA signed and that trusts it.
    pub(crate) fn mutual(&self, name: &str) -> TlsConfig {
        TlsConfig::Mutual {
            identity: self.sign(name, &[], &Validity::Now),
            trust: self.trust(),
        }
    }

    fn write(
        &self,
        name: &str,
        alternatives: &[&str],
        validity: &Validity,
        key: &PKey<Private>,
        key_pem: &[u8],
    ) -> Identity {
        let certificate = build(name, alternatives, validity, key, Some(self)).expect("a certificate");
        let identity = Identity {
            certificate: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
            passphrase: None,
        };
        fs::write(&identity.certificate, certificate.to_pem().expect("PEM")).expect("written");
        fs::write(&identity.key, key_pem).expect("written");
        fs::set_permissions(&identity.key, Permissions::from_mode(0o600)).expect("it is ours");
        identity
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    PKey::from_ec_key(EcKey::generate(&group).expect("generated")).expect("a key")
}

fn build(
    name: &str,
    alternatives: &[&str],
    validity: &Validity,
    key: &PKey<Private>,
    issuer: Option<&Authority>,
) -> Result<X509, ErrorStack> {
    const DAY: i64 = 24 * 60 * 60;
    const YEAR: i64 = 365 * DAY;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now = i64::try_from(now.as_secs()).expect("before the end of time");
    let (from, to) = match validity {
        Validity::Now => (now - YEAR, now + YEAR),
        Validity::Expired => (now - 2 * YEAR, now - YEAR),
        Validity::Future => (now + YEAR, now + 2 * YEAR),
        Validity::Ending => (now - YEAR, now + 10 * DAY),
    };
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(64, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&subject)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::from_unix(from)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(to)?)?;
    let Some(issuer) = issuer else {
        builder.set_issuer_name(&subject)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().build()?)?;
        builder.sign(key, MessageDigest::sha256())?;
        return Ok(builder.build());
    };
    builder.set_issuer_name(issuer.certificate.subject_name())?;
    if !alternatives.is_empty() {
        let mut names = SubjectAlternativeName::new();
        for name in alternatives {
            match name.parse::<IpAddr>() {
                Ok(_) => names.ip(name),
                Err(_) => names.dns(name),
            };
        }
        let context = builder.x509v3_context(Some(&issuer.certificate), None);
        let names = names.build(&context)?;
        builder.append_extension(names)?;
    }
    builder.sign(&issuer.key, MessageDigest::sha256())?;
    Ok(builder.build())
}
