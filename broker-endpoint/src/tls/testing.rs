//! Certificates for tests, made anew for each.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
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
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = new_key();
        let certificate = build(name, &[], &Validity::Now, &key, None);
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
        let certificate = build(name, alternatives, validity, &key, Some(self));
        self.write(name, &certificate.to_pem().expect("PEM"), &plain_pem(&key), None)
    }

    /// A certificate whose key is encrypted.
    pub(crate) fn sign_encrypted(&self, name: &str, passphrase: &str) -> Identity {
        let key = new_key();
        let certificate = build(name, &[], &Validity::Now, &key, Some(self));
        let pem = key
            .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), passphrase.as_bytes())
            .expect("encrypted");
        self.write(name, &certificate.to_pem().expect("PEM"), &pem, Some(passphrase))
    }

    /// The configuration of a peer that this CA signed and that trusts it.
    pub(crate) fn mutual(&self, name: &str) -> TlsConfig {
        TlsConfig::Mutual {
            identity: self.sign(name, &[], &Validity::Now),
            trust: self.trust(),
        }
    }

    fn write(&self, name: &str, certificate: &[u8], key: &[u8], passphrase: Option<&str>) -> Identity {
        let identity = Identity {
            certificate: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
            passphrase: passphrase.map(|text| Passphrase::new(text).expect("short")),
        };
        fs::write(&identity.certificate, certificate).expect("written");
        fs::write(&identity.key, key).expect("written");
        fs::set_permissions(&identity.key, Permissions::from_mode(0o600)).expect("it is ours");
        identity
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    PKey::from_ec_key(EcKey::generate(&group).expect("generated")).expect("a key")
}

fn plain_pem(key: &PKey<Private>) -> Vec<u8> {
    key.private_key_to_pem_pkcs8().expect("PEM")
}

fn build(
    name: &str,
    alternatives: &[&str],
    validity: &Validity,
    key: &PKey<Private>,
    issuer: Option<&Authority>,
) -> X509 {
    const YEAR: i64 = 365 * 24 * 3600;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let now = i64::try_from(now.as_secs()).expect("before the end of time");
    let (from, to) = match validity {
        Validity::Now => (now - YEAR, now + YEAR),
        Validity::Expired => (now - 2 * YEAR, now - YEAR),
        Validity::Future => (now + YEAR, now + 2 * YEAR),
    };
    let mut subject = X509NameBuilder::new().expect("a name");
    subject
        .append_entry_by_nid(Nid::COMMONNAME, name)
        .expect("a name");
    let subject = subject.build();
    let mut serial = BigNum::new().expect("a number");
    serial.rand(64, MsbOption::MAYBE_ZERO, false).expect("random");

    let mut builder = X509::builder().expect("a builder");
    builder.set_version(2).expect("version 3");
    builder
        .set_serial_number(&serial.to_asn1_integer().expect("a number"))
        .expect("set");
    builder.set_subject_name(&subject).expect("set");
    builder.set_pubkey(key).expect("set");
    builder
        .set_not_before(&Asn1Time::from_unix(from).expect("a time"))
        .expect("set");
    builder
        .set_not_after(&Asn1Time::from_unix(to).expect("a time"))
        .expect("set");
    if let Some(issuer) = issuer {
        builder
            .set_issuer_name(issuer.certificate.subject_name())
            .expect("set");
        if !alternatives.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for name in alternatives {
                if name.parse::<std::net::IpAddr>().is_ok() {
                    names.ip(name);
                } else {
                    names.dns(name);
                }
            }
            let names = names
                .build(&builder.x509v3_context(Some(&issuer.certificate), None))
                .expect("an extension");
            builder.append_extension(names).expect("appended");
        }
        builder
            .sign(&issuer.key, MessageDigest::sha256())
            .expect("signed");
    } else {
        builder.set_issuer_name(&subject).expect("set");
        let basic = BasicConstraints::new()
            .critical()
            .ca()
            .build()
            .expect("an extension");
        builder.append_extension(basic).expect("appended");
        let usage = KeyUsage::new()
            .critical()
            .key_cert_sign()
            .build()
            .expect("an extension");
        builder.append_extension(usage).expect("appended");
        builder.sign(key, MessageDigest::sha256()).expect("signed");
    }
    builder.build()
}
