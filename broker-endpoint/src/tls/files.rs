//! The files that a configuration names.

use std::{fs, path::Path};

use openssl::{
    asn1::Asn1Time,
    pkey::{PKey, Private},
    x509::X509,
};

use super::{
    certificate::unix,
    config::{Expiry, Identity},
    error::{TlsConfigError, TlsPart},
    peer::describe,
    reasons::{library, reasons},
};
use crate::file::read_file;

/// The library finds certificates in a folder by the names of their files, eight digits of a hash and a number, and says nothing about a
/// folder in which it can find none.
pub(super) fn check_folder(path: &Path) -> Result<(), TlsConfigError> {
    let unreadable = |source| TlsConfigError::Unreadable {
        what: TlsPart::CaFolder,
        path: path.to_owned(),
        source,
    };
    let is_hash = |hash: &str| hash.len() == 8 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('.'));
        if parts.is_some_and(|(hash, number)| is_hash(hash) && number.parse::<u32>().is_ok()) {
            return Ok(());
        }
    }
    Err(TlsConfigError::EmptyFolder {
        path: path.to_owned(),
    })
}

pub(super) fn check_validity(path: &Path, what: TlsPart) -> Result<(), TlsConfigError> {
    let now = Asn1Time::days_from_now(0).map_err(library("read the clock for certificates"))?;
    for certificate in read_certificates(path, what)? {
        let (from, to) = (certificate.not_before(), certificate.not_after());
        if *from > *now || *to < *now {
            let described = describe(&certificate).map_err(library("read a certificate"))?;
            return Err(TlsConfigError::NotValidToday {
                what,
                path: path.to_owned(),
                subject: described.subject.to_string(),
                from: from.to_string(),
                to: to.to_string(),
            });
        }
    }
    Ok(())
}

/// When the first of the certificates in a file ends.
pub(super) fn expiry(path: &Path, what: TlsPart) -> Result<Expiry, TlsConfigError> {
    let mut first = i64::MAX;
    for certificate in read_certificates(path, what)? {
        let end = unix(certificate.not_after()).map_err(library("read the date of a certificate"))?;
        first = first.min(end);
    }
    Ok(Expiry {
        what,
        path: path.to_owned(),
        at: first,
    })
}

pub(super) fn read_certificates(path: &Path, what: TlsPart) -> Result<Vec<X509>, TlsConfigError> {
    let pem = read_part(path, what)?;
    let not_pem = |reason: String| TlsConfigError::NotPem {
        what,
        path: path.to_owned(),
        reason,
    };
    let certificates = X509::stack_from_pem(&pem).map_err(|error| not_pem(reasons(&error)))?;
    if certificates.is_empty() {
        return Err(not_pem("there is none in it".to_owned()));
    }
    Ok(certificates)
}

pub(super) fn read_key(identity: &Identity) -> Result<PKey<Private>, TlsConfigError> {
    let path = &identity.key;
    let pem = read_part(path, TlsPart::Key)?;
    let mut encrypted = false;
    let key = PKey::private_key_from_pem_callback(&pem, |buffer| {
        encrypted = true;
        let Some(passphrase) = &identity.passphrase else {
            return Ok(0);
        };
        let bytes = passphrase.reveal().as_bytes();
        // The library's buffer has room for a longer one than is accepted.
        if let Some(room) = buffer.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            return Ok(bytes.len());
        }
        Ok(0)
    });
    key.map_err(|error| match (encrypted, &identity.passphrase) {
        (true, None) => TlsConfigError::PassphraseMissing { path: path.clone() },
        (true, Some(_)) => TlsConfigError::PassphraseWrong { path: path.clone() },
        (false, _) => TlsConfigError::NotPem {
            what: TlsPart::Key,
            path: path.clone(),
            reason: reasons(&error),
        },
    })
}

fn read_part(path: &Path, what: TlsPart) -> Result<Vec<u8>, TlsConfigError> {
    read_file(path).map_err(|source| TlsConfigError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    })
}
