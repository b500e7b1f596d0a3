//! Enrolment: the agent gets its certificate of its controller's own CA, and renews it itself.
//!
//! | file, in `enrolment` in the state directory | what |
//! |---|---|
//! | `agent.pem`, `agent.key` | the agent's certificate and key |
//! | `ca.pem` | the CA |
//! | `enrolment.json` | at which controller; what other settings are by default comes from it |
//! | `agent.pem.new`, `agent.key.new` | the next ones, until they are in place |
//! | `lock` | locked by who changes any of these |

mod ask;
pub(crate) mod command;
pub(crate) mod options;
pub(crate) mod renewal;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use broker_endpoint::{
    read_file,
    tls::{AuthorityError, PrivateKey},
};
use mgmt_api::operator::enrolment::{Enrolled, IssuedCertificate, host_and_port};
use mgmt_daemon::{
    config::{Origin, Resolver},
    files,
    lock::{Lock, LockError},
    renewing::pair,
};

/// What an agent that is enrolled obeys: no other agent has a certificate of such a name.
const ROLES: &str = "controller:* deploy";

/// Where the files of an enrolment are.
#[derive(Clone, Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// Of an agent with this state directory.
    pub(crate) fn below(state_dir: &Path) -> Self {
        Self(state_dir.join("enrolment"))
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("agent.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("agent.key")
    }

    fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    fn enrolment(&self) -> PathBuf {
        self.0.join("enrolment.json")
    }

    /// At which controller this host is enrolled, if it is.
    ///
    /// # Errors
    ///
    /// If that cannot be read.
    fn read(&self) -> Result<Option<Enrolled>, String> {
        let path = self.enrolment();
        let failed = |reason: String| format!("cannot use the enrolment in {}: {reason}", path.display());
        match read_file(&path) {
            Ok(json) => serde_json::from_slice(&json)
                .map(Some)
                .map_err(|error| failed(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Makes the directory, with those above it.
    fn make(&self) -> io::Result<()> {
        files::create_secret_dir(&self.0)
    }

    /// Keeps others from changing the files until it is dropped: keys and certificates of two enrolments, or of one and a renewal, would be mixed.
    fn lock(&self) -> Result<Lock, EnrolmentLockError> {
        Lock::take(&self.0.join("lock")).map_err(EnrolmentLockError::from)
    }

    /// Goes back to where [`next_key`](Self::next_key) is the one in place, if an enrolment ended just before the host was enrolled: the token is good for
    /// that key only.
    fn resume(&self) -> io::Result<()> {
        self.settle()?;
        if self.enrolment().symlink_metadata().is_ok() {
            return Ok(());
        }
        match fs::rename(self.key(), next(&self.key())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The key that the next certificate is for. It is kept until that is in place: an enrolment token is good for one key.
    fn next_key(&self) -> io::Result<PrivateKey> {
        let path = next(&self.key());
        if let Some(key) = read_file(&path)
            .ok()
            .and_then(|pem| PrivateKey::from_pem(&pem).ok())
        {
            return Ok(key);
        }
        let unusable = |error: AuthorityError| io::Error::other(error);
        let key = PrivateKey::generate().map_err(unusable)?;
        files::replace(&path, &key.to_pem().map_err(unusable)?, files::SECRET_MODE)?;
        files::sync_names(&path)?;
        Ok(key)
    }

    /// Puts a certificate and the key that it is for in place. At any moment [`settle`](Self::settle) makes of what is there a pair.
    fn install(&self, issued: &IssuedCertificate) -> io::Result<()> {
        let (ca, certificate) = (self.ca(), next(&self.certificate()));
        files::replace(&ca, issued.ca.as_bytes(), files::FILE_MODE)?;
        files::replace(&certificate, issued.certificate.as_bytes(), files::FILE_MODE)?;
        files::sync_names(&certificate)?;
        self.settle()
    }

    fn is_unsettled(&self) -> bool {
        next(&self.certificate()).exists()
    }

    /// Completes what was begun. When the next certificate is there, the next key is, too, or is in its place already.
    fn settle(&self) -> io::Result<()> {
        let (certificate, key) = (self.certificate(), self.key());
        if !self.is_unsettled() {
            return Ok(());
        }
        let _pair = pair();
        match fs::rename(next(&key), &key) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => files::sync_names(&key)?,
        }
        fs::rename(next(&certificate), &certificate)?;
        files::sync_names(&certificate)
    }

    /// Writes down at which controller this host is enrolled: from then on it is.
    fn enrol(&self, enrolled: &Enrolled) -> io::Result<()> {
        let path = self.enrolment();
        let mut json = serde_json::to_vec_pretty(enrolled)?;
        json.push(b'\n');
        files::replace(&path, &json, files::FILE_MODE)?;
        files::sync_names(&path)
    }
}

/// The files cannot be changed now.
#[derive(Debug, thiserror::Error)]
enum EnrolmentLockError {
    #[error("another enrolment is under way, by {holder}")]
    UnderWay { holder: String },
    #[error(transparent)]
    Lock(LockError),
}

impl From<LockError> for EnrolmentLockError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::InUse { holder } => Self::UnderWay { holder },
            error @ LockError::File { .. } => Self::Lock(error),
        }
    }
}

fn next(path: &Path) -> PathBuf {
    files::with_suffix(path, ".new")
}

/// Gives settings the defaults of an agent that is enrolled, if this one is.
pub(crate) fn fill(resolver: &mut Resolver<'_>, state_dir: &Path) {
    let place = Place::below(state_dir);
    let enrolled = match place.read() {
        Ok(Some(enrolled)) => enrolled,
        Ok(None) => return,
        Err(reason) => return resolver.suspect(reason),
    };
    let origin = Origin::Enrolment(place.enrolment());
    let controller = match (host_and_port(&enrolled.url), enrolled.broker) {
        (Some((host, _)), Some(port)) if host.contains(':') => format!("[{host}]:{port}"),
        (Some((host, _)), Some(port)) => format!("{host}:{port}"),
        _ => "off".to_owned(),
    };
    resolver.fill("name", enrolled.name, origin.clone());
    if resolver.given_list("with_controller").is_empty() {
        resolver.fill("controller", controller, origin.clone());
    }
    resolver.fill_broker_tls([place.certificate(), place.key(), place.ca()], &origin);
    resolver.fill("roles", ROLES, origin);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(text: &str) -> IssuedCertificate {
        IssuedCertificate {
            certificate: text.to_owned(),
            ca: "ca".to_owned(),
        }
    }

    #[test]
    fn certificate_and_key_are_a_pair_after_any_crash() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::below(home.path());
        place.make().unwrap();
        let first = place.next_key().unwrap();
        assert_eq!(
            place.next_key().unwrap().to_pem().unwrap(),
            first.to_pem().unwrap(),
            "an answer that was lost is asked for with the same key"
        );
        place.install(&issued("first")).unwrap();
        let found = || {
            place.settle().unwrap();
            let certificate = fs::read_to_string(place.certificate()).unwrap();
            (certificate, fs::read(place.key()).unwrap())
        };
        let pair = |text: &str, key: &PrivateKey| (text.to_owned(), key.to_pem().unwrap());
        assert_eq!(found(), pair("first", &first));
        assert_eq!(files::too_open(&place.key()), None);
        // There is a key, and no certificate yet.
        let second = place.next_key().unwrap();
        assert_eq!(found(), pair("first", &first));
        // Both are there, and neither is in place.
        fs::write(next(&place.certificate()), "second").unwrap();
        assert_eq!(found(), pair("second", &second));
        // The key is in place.
        let third = place.next_key().unwrap();
        fs::write(next(&place.certificate()), "third").unwrap();
        fs::rename(next(&place.key()), place.key()).unwrap();
        assert_eq!(found(), pair("third", &third));
    }

    #[test]
    fn an_enrolment_that_ended_at_any_moment_goes_on_with_its_key() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::below(home.path());
        place.make().unwrap();
        let key = place.next_key().unwrap().to_pem().unwrap();
        let again = || {
            place.resume().unwrap();
            place.next_key().unwrap().to_pem().unwrap()
        };
        assert_eq!(again(), key, "before the answer");
        fs::write(next(&place.certificate()), "first").unwrap();
        assert_eq!(again(), key, "before the certificate is in place");
        place.install(&issued("first")).unwrap();
        assert_eq!(again(), key, "before the host is enrolled");
        place.install(&issued("first")).unwrap();
        fs::write(place.enrolment(), "{}").unwrap();
        assert_ne!(again(), key, "of a host that is enrolled");
        assert_eq!(fs::read(place.key()).unwrap(), key);
    }

    #[test]
    fn what_is_no_enrolment_is_told() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::below(home.path());
        assert_eq!(place.read(), Ok(None));
        place.make().unwrap();
        fs::write(place.enrolment(), "{").unwrap();
        assert!(place.read().unwrap_err().contains("enrolment.json: EOF"));
    }
}
