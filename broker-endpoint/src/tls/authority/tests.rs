use openssl::{
    ec::{EcGroup, EcKey},
    nid::Nid,
    pkey::PKey,
    x509::X509ReqBuilder,
};

use super::*;

/// In seconds.
const DAY: i64 = 24 * 60 * 60;

const NOW: i64 = 1_800_000_000;

fn authority() -> CertificateAuthority {
    let key = PrivateKey::generate().unwrap();
    CertificateAuthority::create("CA", key, NOW - DAY..NOW + 100 * DAY).unwrap()
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
    assert_eq!(certificate.describe().unwrap().subject, "CN=sensor1");
    assert_eq!(certificate.describe().unwrap().names, ["sensor1", "::1"]);
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
