//! Certificates, made anew for each test, and settings of the controller that name them.

use broker_endpoint::tls::{CertificateAuthority, Identity, Passphrase, PrivateKey, TlsConfig, Trust};

pub(crate) use self::testing::{Authority, Validity};

#[expect(
    dead_code,
    reason = "shared with the tests of broker-endpoint, which use more of it"
)]
#[path = "../../broker-endpoint/src/tls/testing.rs"]
mod testing;

/// Zeek's settings for native connections with this certificate, where others have one of the CA.
pub(crate) fn native_settings(ca: &Authority, identity: &Identity) -> Vec<String> {
    let mut settings = vec![
        format!("Broker::ssl_certificate={}", identity.certificate.display()),
        format!("Broker::ssl_keyfile={}", identity.key.display()),
        format!("Broker::ssl_cafile={}", ca.path("ca.pem").display()),
    ];
    if identity.passphrase.is_some() {
        settings.push(format!("Broker::ssl_passphrase={PASSPHRASE}"));
    }
    settings
}

/// The passphrase of encrypted keys.
pub(crate) const PASSPHRASE: &str = "open sesame";
