//! Certificates for tests, made anew for each.

use std::{
    fs::{self, Permissions},
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use openssl::{pkey::PKey, symm::Cipher};
use tempfile::TempDir;

use super::{CertificateAuthority, Identity, Passphrase, PrivateKey, TlsConfig, Trust};

/// A CA with a folder for the files of what it signs.
pub(crate) struct Authority {
    ca: CertificateAuthority,
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
        let key = PrivateKey::generate().expect("a key");
        let ca = CertificateAuthority::create(name, key, Validity::Now.range()).expect("a CA");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pem = ca.certificate_pem().expect("PEM");
        fs::write(folder.path().join("ca.pem"), pem).expect("written");
        Self { ca, folder }
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
        let key = PrivateKey::generate().expect("a key");
        let pem = key.to_pem().expect("PEM");
        self.write(name, alternatives, validity, &key, &pem)
    }

    /// A certificate whose key is encrypted.
    pub(crate) fn sign_encrypted(&self, name: &str, passphrase: &str) -> Identity {
        let key = PrivateKey::generate().expect("a key");
        let pem = PKey::private_key_from_pem(&key.to_pem().expect("PEM")).expect("a key");
        let pem = pem
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
        key: &PrivateKey,
        key_pem: &[u8],
    ) -> Identity {
        let alternatives: Vec<String> = alternatives.iter().map(|&name| name.to_owned()).collect();
        let key = key.public().expect("its public key");
        let certificate = self.ca.issue((name, &alternatives), &key, validity.range());
        let identity = Identity {
            certificate: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
            passphrase: None,
        };
        fs::write(&identity.certificate, certificate.expect("a certificate")).expect("written");
        fs::write(&identity.key, key_pem).expect("written");
        fs::set_permissions(&identity.key, Permissions::from_mode(0o600)).expect("it is ours");
        identity
    }
}

impl Validity {
    /// From when to when, in seconds since 1970.
    fn range(&self) -> Range<i64> {
        const DAY: i64 = 24 * 60 * 60;
        const YEAR: i64 = 365 * DAY;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now = i64::try_from(now.as_secs()).expect("before the end of time");
        match self {
            Self::Now => now - YEAR..now + YEAR,
            Self::Expired => now - 2 * YEAR..now - YEAR,
            Self::Future => now + YEAR..now + 2 * YEAR,
            Self::Ending => now - YEAR..now + 10 * DAY,
        }
    }
}
