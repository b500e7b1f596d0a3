use std::{fmt, net::IpAddr};

use broker_codec::data::ZeekString;
use openssl::{error::ErrorStack, nid::Nid, sha::sha256, x509::X509Ref};

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

/// The fingerprint of a certificate.
pub(super) fn fingerprint(certificate: &X509Ref) -> Result<Fingerprint, ErrorStack> {
    Ok(Fingerprint(sha256(&certificate.to_der()?)))
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
