//! The files of the CA, and of the controller's own certificate.

use std::{io, path::Path};

use broker_endpoint::{
    read_file,
    tls::{AuthorityError, Certificate, CertificateAuthority, PrivateKey},
};
use mgmt_daemon::{files, renewing::pair};

use super::{CA_FILE, CA_KEY_FILE, CERTIFICATE_FILE, ENROLMENTS_FILE, KEY_FILE, OwnCa, Seconds};

/// How long the CA is valid, in seconds: ten years.
const CA_LIFETIME: Seconds = 10 * 365 * 24 * 60 * 60;

/// When each CA begins to be valid, in seconds since 1970: with the year 2026. This program is younger, so no right clock shows less; the one by which the CA
/// is made may be ahead.
const CA_BEGIN: Seconds = 1_767_225_600;

/// A file of the CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
    #[error("{path} cannot be used")]
    Unusable { path: String, source: AuthorityError },
    #[error(
        "{missing} is missing, and {there} is there: restore a backup, or move the directory away; then the controller makes a new CA, and all agents have to \
         be enrolled again"
    )]
    Half { there: String, missing: String },
    #[error("cannot issue a certificate for this controller")]
    Own(#[source] AuthorityError),
}

/// The CA in a directory, if one is there.
///
/// # Errors
///
/// If it cannot be used.
pub fn look(dir: &Path) -> Result<Option<CertificateAuthority>, CaError> {
    let [certificate, key] = [CA_FILE, CA_KEY_FILE].map(|name| dir.join(name));
    let issued = [CERTIFICATE_FILE, KEY_FILE, ENROLMENTS_FILE].map(|name| dir.join(name));
    let issued = issued.iter().find(|issued| issued.exists());
    let name = |path: &Path| path.display().to_string();
    match (found(&certificate)?, found(&key)?) {
        // Agents may know the CA that is missing. Where it has issued nothing, its first start was interrupted, and its key may be there alone.
        (None, _) => match issued {
            Some(issued) => Err(CaError::Half {
                there: name(issued),
                missing: name(&certificate),
            }),
            None => Ok(None),
        },
        (Some(pem), Some(key)) => CertificateAuthority::from_pem(&pem, &key)
            .map(Some)
            .map_err(|source| CaError::Unusable {
                path: format!("{} with its key", name(&certificate)),
                source,
            }),
        (Some(_), None) => Err(CaError::Half {
            there: name(&certificate),
            missing: name(&key),
        }),
    }
}

/// The CA, which is made if it is not there.
pub(super) fn open(config: &OwnCa, now: Seconds) -> Result<CertificateAuthority, CaError> {
    if let Some(ca) = look(&config.dir)? {
        if let Some(problem) = files::secret_too_open(&config.dir.join(CA_KEY_FILE)) {
            tracing::warn!("{problem}");
        }
        return Ok(ca);
    }
    let unusable = |source| CaError::Unusable {
        path: config.dir.display().to_string(),
        source,
    };
    let key_path = config.dir.join(CA_KEY_FILE);
    let key = match found(&key_path)? {
        Some(pem) => PrivateKey::from_pem(&pem),
        None => PrivateKey::generate(),
    };
    let name = format!("CA of {}", config.controller());
    let valid = CA_BEGIN..now.max(CA_BEGIN) + CA_LIFETIME;
    let ca = key.and_then(|key| CertificateAuthority::create(&name, key, valid));
    let ca = ca.map_err(unusable)?;
    let made = files::create_dir_all(&config.dir);
    made.map_err(|source| cannot_write(&config.dir, source))?;
    let key = ca.key().to_pem().map_err(unusable)?;
    let certificate = ca.certificate_pem().map_err(unusable)?;
    put(&key_path, &key, files::SECRET_MODE)?;
    put(
        &config.dir.join(CA_FILE),
        certificate.as_bytes(),
        files::FILE_MODE,
    )?;
    tracing::info!(
        "made a CA in {}, valid for 10 years: back it up (mgmt-controller store backup)",
        config.dir.display()
    );
    Ok(ca)
}

/// Issues the controller a certificate, unless it has a good one.
pub(super) fn keep_own(config: &OwnCa, ca: &CertificateAuthority, now: Seconds) -> Result<(), CaError> {
    let [path, key_path] = [CERTIFICATE_FILE, KEY_FILE].map(|name| config.dir.join(name));
    if let (Some(pem), Some(key)) = (found(&path)?, found(&key_path)?)
        && is_good(config, ca, (&pem, &key), now)
    {
        return Ok(());
    }
    let key = PrivateKey::generate().map_err(CaError::Own)?;
    let lifetime = Seconds::try_from(config.lifetime.as_secs()).unwrap_or(Seconds::MAX);
    let issued = ca.valid_for(now, lifetime).and_then(|valid| {
        let subject = (&*config.common_name, &*config.names);
        // Agents find the CA beside it, of which they know the fingerprint.
        Ok(ca.issue(subject, &key.public()?, valid)? + &ca.certificate_pem()?)
    });
    let chain = issued.map_err(CaError::Own)?;
    let key = key.to_pem().map_err(CaError::Own)?;
    let _pair = pair();
    put(&key_path, &key, files::SECRET_MODE)?;
    put(&path, chain.as_bytes(), files::FILE_MODE)
}

fn is_good(config: &OwnCa, ca: &CertificateAuthority, (pem, key): (&[u8], &[u8]), now: Seconds) -> bool {
    let (Ok(certificate), Ok(key)) = (Certificate::from_pem(pem), PrivateKey::from_pem(key)) else {
        return false;
    };
    let Ok(described) = certificate.describe() else {
        return false;
    };
    let names: Vec<String> = described.names.iter().map(ToString::to_string).collect();
    let expected = std::iter::once(&config.common_name).chain(&config.names);
    ca.has_issued(&certificate).unwrap_or_default()
        && certificate.belongs_to(&key)
        && names.iter().eq(expected)
        // Also one that was issued while the clock was ahead.
        && certificate.valid().is_ok_and(|valid| valid.contains(&now))
        && certificate.renewal().is_ok_and(|due| now < due)
}

fn found(path: &Path) -> Result<Option<Vec<u8>>, CaError> {
    match read_file(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CaError::Read {
            path: path.display().to_string(),
            source,
        }),
    }
}

fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), CaError> {
    files::replace(path, content, mode)
        .and_then(|()| files::sync_names(path))
        .map_err(|source| cannot_write(path, source))
}

fn cannot_write(path: &Path, source: io::Error) -> CaError {
    CaError::Write {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    const NOW: Seconds = 1_800_000_000;
    const DAY: Seconds = 24 * 60 * 60;

    fn config(dir: &Path) -> OwnCa {
        OwnCa {
            dir: dir.join("ca"),
            common_name: "controller:hub".to_owned(),
            names: vec!["hub.example".to_owned(), "::1".to_owned()],
            host: "hub.example".to_owned(),
            lifetime: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }

    #[test]
    fn the_ca_is_made_once_and_the_controllers_certificate_when_it_has_to_be() {
        let home = tempfile::tempdir().unwrap();
        let mut config = config(home.path());
        let own = |config: &OwnCa| fs::read(config.dir.join(CERTIFICATE_FILE)).unwrap();
        let ca = open(&config, NOW).unwrap();
        let again = open(&config, NOW + DAY).unwrap();
        assert_eq!(ca.fingerprint().unwrap(), again.fingerprint().unwrap());
        keep_own(&config, &ca, NOW).unwrap();
        let first = own(&config);
        keep_own(&config, &ca, NOW + 20 * DAY - 1).unwrap();
        assert_eq!(own(&config), first);
        for name in [CA_KEY_FILE, KEY_FILE] {
            assert_eq!(files::too_open(&config.dir.join(name)), None);
        }
        // It becomes old, is for another name, or its key is another one.
        keep_own(&config, &ca, NOW + 20 * DAY).unwrap();
        let second = own(&config);
        assert_ne!(second, first);
        config.names.push("other.example".to_owned());
        keep_own(&config, &ca, NOW + 20 * DAY).unwrap();
        let third = own(&config);
        assert_ne!(third, second);
        fs::copy(config.dir.join(CA_KEY_FILE), config.dir.join(KEY_FILE)).unwrap();
        keep_own(&config, &ca, NOW + 20 * DAY).unwrap();
        assert_ne!(own(&config), third);
    }

    #[test]
    fn a_ca_that_is_made_by_a_wrong_clock_is_of_use_by_the_right_one() {
        const YEAR: Seconds = 365 * DAY;
        for clock in [NOW, NOW + 5 * YEAR, 0] {
            let home = tempfile::tempdir().unwrap();
            let config = config(home.path());
            let valid = open(&config, clock).unwrap().valid().unwrap();
            assert!(
                valid.start <= NOW - YEAR && valid.end >= NOW + 8 * YEAR,
                "{valid:?}"
            );
            assert!(valid.end >= clock + 10 * YEAR, "{valid:?}");
        }
    }

    #[test]
    fn the_first_start_goes_on_with_the_key_that_it_had_made() {
        let home = tempfile::tempdir().unwrap();
        let config = config(home.path());
        let key = PrivateKey::generate().unwrap().to_pem().unwrap();
        fs::create_dir(&config.dir).unwrap();
        fs::write(config.dir.join(CA_KEY_FILE), &key).unwrap();
        assert!(look(&config.dir).unwrap().is_none());
        let ca = open(&config, NOW).unwrap();
        assert_eq!(ca.key().to_pem().unwrap(), key);
        keep_own(&config, &ca, NOW).unwrap();
        look(&config.dir).unwrap().unwrap();
        // Something was issued.
        fs::remove_file(config.dir.join(CA_FILE)).unwrap();
        for name in [CERTIFICATE_FILE, KEY_FILE, ENROLMENTS_FILE] {
            fs::write(config.dir.join(name), "of the CA that is gone").unwrap();
            let error = open(&config, NOW).unwrap_err().to_string();
            assert!(error.contains("ca.pem is missing"), "{error}");
            fs::remove_file(config.dir.join(name)).unwrap();
            for other in [CERTIFICATE_FILE, KEY_FILE] {
                let _ = fs::remove_file(config.dir.join(other));
            }
        }
    }

    #[test]
    fn half_a_ca_is_not_made_whole() {
        let home = tempfile::tempdir().unwrap();
        let config = config(home.path());
        open(&config, NOW).unwrap();
        fs::remove_file(config.dir.join(CA_KEY_FILE)).unwrap();
        let error = open(&config, NOW).unwrap_err().to_string();
        assert!(error.contains("ca.key is missing"), "{error}");
        fs::write(config.dir.join(CA_KEY_FILE), "no key").unwrap();
        assert!(matches!(open(&config, NOW), Err(CaError::Unusable { .. })));
        // Neither is there, and there was one.
        for name in [CA_FILE, CA_KEY_FILE] {
            fs::remove_file(config.dir.join(name)).unwrap();
        }
        fs::write(config.dir.join(CERTIFICATE_FILE), "of the CA that is gone").unwrap();
        let error = open(&config, NOW).unwrap_err().to_string();
        assert!(error.contains("ca.pem is missing"), "{error}");
    }
}
