//! Backups: one file with all that a controller remembers, enough to go on with on another host.
//!
//! It is a tar archive. `manifest.json` comes first: the format's version, what was backed up and when, and size and SHA-256 of the files
//! that follow. These are known by fixed names ([`Part`]), and nothing else can be in it, so no path is ever taken from a backup.

mod archive;
pub mod command;
pub mod options;
mod restore;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use broker_endpoint::{read_file, tls::CertificateAuthority};
use mgmt_daemon::{files, lock::Lock, tokens};
use strum::{EnumIter, IntoEnumIterator as _};

use crate::{
    authority,
    store::{EMPTY, Store, StoreError, check_restored},
};

/// What is backed up; the store comes last, as that is what a restored controller has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
enum Part {
    /// The tokens' hashes. There may be none.
    Tokens,
    /// The controller's own CA, if it has one,
    Ca,
    /// with its key,
    CaKey,
    /// and the hashes of tokens by which agents enrol there.
    Enrolments,
    /// The store.
    Store,
}

/// Where these are on a host.
#[derive(Clone, Debug)]
pub struct Places {
    /// The controller's name.
    name: String,
    /// The controller's directory: all in it is the controller's.
    directory: PathBuf,
    store: PathBuf,
    tokens: PathBuf,
    /// The directory of the CA.
    ca: PathBuf,
}

/// Something cannot be backed up or restored, or what is wrong with a backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is there already: choose another name, or add --replace")]
    Exists { path: PathBuf },
    #[error("{path} is a file of the controller's own, or would stand among them: choose another place")]
    Own { path: PathBuf },
    #[error("{path} is no backup of a controller: {reason}")]
    NoBackup { path: PathBuf, reason: String },
    #[error("the backup {path} is damaged: {reason}; take another one")]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{path} was made by {program}, whose backups are newer than this program knows: use that release"
    )]
    Newer { path: PathBuf, program: String },
    #[error("{path} is damaged or holds something else ({reason}); it was left as it is")]
    Unusable { path: PathBuf, reason: String },
    #[error("{path} is in use by {holder}: stop that controller first")]
    InUse { path: PathBuf, holder: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Part {
    /// What it is called in a backup.
    const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens.json",
            Self::Ca => authority::CA_FILE,
            Self::CaKey => authority::CA_KEY_FILE,
            Self::Enrolments => authority::ENROLMENTS_FILE,
            Self::Store => "store.sqlite",
        }
    }

    /// The one of this name.
    fn named(name: &str) -> Option<Self> {
        Self::iter().find(|part| part.name() == name)
    }

    /// How long it may be, in bytes.
    const fn bytes_max(self) -> u64 {
        match self {
            Self::Tokens | Self::Enrolments => 16 << 20,
            Self::Ca | Self::CaKey => 1 << 20,
            Self::Store => 1 << 30,
        }
    }

    /// The mode of the file.
    const fn mode(self) -> u32 {
        match self {
            Self::Tokens | Self::CaKey | Self::Enrolments => files::SECRET_MODE,
            Self::Ca | Self::Store => files::FILE_MODE,
        }
    }

    /// Checks it, which has this path in errors, and tells what of it cannot be read: a controller keeps that and goes on without.
    ///
    /// # Errors
    ///
    /// If no controller can use it.
    fn check(self, bytes: &[u8], path: &Path) -> Result<Vec<String>, BackupError> {
        let (faults, unreadable) = match self {
            Self::Tokens => (tokens::check(bytes).err().into_iter().collect(), Vec::new()),
            Self::Enrolments => {
                let wrong = authority::check_enrolments(bytes).err();
                (wrong.into_iter().collect(), Vec::new())
            }
            // They belong together: `check_ca`.
            Self::Ca | Self::CaKey => Default::default(),
            Self::Store if bytes.is_empty() => (vec![EMPTY.to_owned()], Vec::new()),
            Self::Store => {
                let found = Store::of_image(bytes, path)?.inspect()?;
                (found.faults, found.unreadable)
            }
        };
        if faults.is_empty() {
            return Ok(unreadable);
        }
        let (path, reason) = (path.to_owned(), faults.join("; "));
        Err(BackupError::Unusable { path, reason })
    }
}

impl Places {
    fn path(&self, part: Part) -> PathBuf {
        match part {
            Part::Tokens => self.tokens.clone(),
            Part::Ca | Part::CaKey | Part::Enrolments => self.ca.join(part.name()),
            Part::Store => self.store.clone(),
        }
    }

    /// Whether this is a file of theirs, or one in the controller's directory.
    fn have(&self, file: &Path) -> bool {
        let above = file.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new(".")).canonicalize();
        let directories = [&self.directory, &self.ca].map(|own| own.canonicalize());
        let mut directories = directories.iter().flatten();
        if above.is_ok_and(|above| directories.any(|own| above.starts_with(own))) {
            return true;
        }
        let Ok(found) = fs::metadata(file) else {
            return false;
        };
        let lock = Lock::path(&self.store);
        let own = Part::iter().map(|part| self.path(part)).chain([lock]);
        own.filter_map(|path| fs::metadata(path).ok())
            .any(|own| files::is_same(&own, &found))
    }

    /// All that is there but the store.
    fn files(&self) -> Result<Parts, BackupError> {
        let mut parts = Vec::new();
        for part in Part::iter().filter(|part| *part != Part::Store) {
            let path = self.path(part);
            match read_file(&path) {
                Ok(bytes) => parts.push((part, bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(BackupError::Read { path, source }),
            }
        }
        Ok(parts)
    }
}

/// What is backed up, with its bytes.
type Parts = Vec<(Part, Vec<u8>)>;

/// Checks whether the certificate of a CA is there with its key, or neither is.
fn check_ca(parts: &[(Part, Vec<u8>)], path: &Path) -> Result<(), BackupError> {
    let of = |meant: Part| parts.iter().find(|(part, _)| *part == meant);
    let reason = match (of(Part::Ca), of(Part::CaKey)) {
        (None, None) => return Ok(()),
        (Some((_, certificate)), Some((_, key))) => match CertificateAuthority::from_pem(certificate, key) {
            Ok(_) => return Ok(()),
            Err(error) => format!("its CA: {error}"),
        },
        _ => "of its CA, certificate or key is missing".to_owned(),
    };
    let path = path.to_owned();
    Err(BackupError::Unusable { path, reason })
}

/// Backs up what is at these places, while a controller runs on them or not, into a new file, or in place of one. Returns what of it no
/// controller can read.
///
/// # Errors
///
/// If something of it cannot be read or is not sound, if the file cannot be written, and if it is there already and not to be replaced.
pub fn make(places: &Places, file: &Path, replaces: bool) -> Result<Vec<String>, BackupError> {
    let path = file.to_owned();
    if !replaces && file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path });
    }
    let failed = |source| BackupError::Write {
        path: path.clone(),
        source,
    };
    files::regular_or_missing(file).map_err(failed)?;
    if places.have(file) {
        return Err(BackupError::Own { path });
    }
    check_restored(&places.store)?;
    let mut parts = places.files()?;
    check_ca(&parts, &places.ca)?;
    parts.push((Part::Store, Store::for_backup(&places.store)?.image()?));
    let mut unreadable = Vec::new();
    for (part, bytes) in &parts {
        unreadable.extend(part.check(bytes, &places.path(*part))?);
    }
    let content = archive::write(places, &parts).map_err(failed)?;
    let written = if replaces {
        files::replace(file, &content, files::SECRET_MODE)
    } else {
        files::write_new(file, &content, files::SECRET_MODE)
    };
    written.and_then(|()| files::sync_names(file)).map_err(failed)?;
    Ok(unreadable)
}

/// What is wrong with what is at these places: nothing, if that is empty.
///
/// # Errors
///
/// If that cannot be told.
pub fn verify(places: &Places) -> Result<Vec<String>, BackupError> {
    let found = Store::look_at(&places.store)?.inspect()?;
    let faults = found.faults.into_iter().chain(found.unreadable);
    let store = places.store.display();
    let mut faults: Vec<String> = faults.map(|fault| format!("{store}: {fault}")).collect();
    let parts = places.files()?;
    let checked = parts
        .iter()
        .map(|(part, bytes)| part.check(bytes, &places.path(*part)).map(drop));
    let wrong = checked
        .chain([check_ca(&parts, &places.ca)])
        .filter_map(Result::err);
    faults.extend(wrong.map(|error| error.to_string()));
    faults.extend(check_restored(&places.store).err().map(|error| error.to_string()));
    Ok(faults)
}

/// The same of a backup.
///
/// # Errors
///
/// If that cannot be told.
pub fn verify_backup(file: &Path) -> Result<Vec<String>, BackupError> {
    let backup = match archive::read(file) {
        Ok(backup) => backup,
        Err(error @ BackupError::Read { .. }) => return Err(error),
        Err(error) => return Ok(vec![error.to_string()]),
    };
    let wrong = check_ca(&backup.parts, file).err();
    let mut faults: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    for (part, bytes) in &backup.parts {
        match part.check(bytes, file) {
            Ok(unreadable) => faults.extend(unreadable),
            Err(error @ BackupError::Store(_)) => return Err(error),
            Err(error) => faults.push(error.to_string()),
        }
    }
    Ok(faults)
}
