//! A backup as a file.

use std::{
    io::{self, BufReader, Read, Seek},
    path::Path,
};

use mgmt_api::WallClock;
use mgmt_daemon::{files, process::unix_time};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use super::{BackupError, Part, Places};

/// The version of what is written here. A reader knows its own and all before.
const FORMAT: u64 = 1;

const MANIFEST: &str = "manifest.json";

/// How long the manifest may be, in bytes.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;

/// How a file of SQLite begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// What is in a backup, and where it is from.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u64,
    /// What has made it, such as `mgmt-controller 0.1.0`.
    program: String,
    /// The controller's name.
    name: String,
    created: String,
    /// What follows, in this order.
    files: Vec<Entry>,
}

/// What is read of the manifest of any version.
#[derive(Deserialize)]
struct Version {
    format: u64,
    #[serde(default)]
    program: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    bytes: u64,
    sha256: String,
}

/// What was read of a backup. All of it is as it was written.
#[derive(Debug)]
pub(super) struct Backup {
    /// Such as `controller of 2026-11-30T17:45:00Z, by mgmt-controller 0.1.0`.
    pub(super) made: String,
    pub(super) parts: Vec<(Part, Vec<u8>)>,
}

/// Makes a backup of these parts.
pub(super) fn write(places: &Places, parts: &[(Part, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let time = WallClock::from_unix(unix_time());
    let entry = |(part, bytes): &(Part, Vec<u8>)| Entry {
        name: part.name().to_owned(),
        bytes: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
    };
    let manifest = Manifest {
        format: FORMAT,
        program: format!("mgmt-controller {}", env!("CARGO_PKG_VERSION")),
        name: places.name.clone(),
        created: time.to_rfc3339(),
        files: parts.iter().map(entry).collect(),
    };
    let manifest = serde_json::to_vec_pretty(&manifest)?;
    let mut archive = Builder::new(Vec::new());
    let parts = parts.iter().map(|(part, bytes)| (part.name(), bytes));
    for (name, bytes) in std::iter::once((MANIFEST, &manifest)).chain(parts) {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(files::SECRET_MODE);
        header.set_mtime(time.unix_seconds());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        archive.append(&header, &bytes[..])?;
    }
    archive.into_inner()
}

/// Reads a backup.
///
/// # Errors
///
/// If the file cannot be read, is none, is damaged or cut short, or is newer than this program.
pub(super) fn read(path: &Path) -> Result<Backup, BackupError> {
    let unreadable = |source| BackupError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = files::open_named(path).map_err(unreadable)?;
    let mut beginning = Vec::new();
    let sqlite = SQLITE.len() as u64;
    file.by_ref()
        .take(sqlite)
        .read_to_end(&mut beginning)
        .map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    if beginning == SQLITE {
        let reason = "it is an SQLite database; if it is a copy of the store, put it in its place while no controller runs";
        return Err(no_backup(path, reason));
    }
    Reader { path }.read(&mut Archive::new(BufReader::new(file)))
}

/// Reads what has this path in errors.
struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn read(&self, archive: &mut Archive<impl Read>) -> Result<Backup, BackupError> {
        let foreign = || no_backup(self.path, "it is no tar archive that begins with a manifest");
        // Raw: names are the ones that stand in the headers, or none of ours.
        let mut entries = archive.entries().map_err(|_| foreign())?.raw(true);
        let Some(Ok(first)) = entries.next() else {
            return Err(foreign());
        };
        if !is_file(&first, MANIFEST) {
            return Err(foreign());
        }
        let manifest = self.manifest(&self.content(first, MANIFEST_BYTES_MAX)?)?;
        let mut parts = Vec::new();
        for entry in &manifest.files {
            let part = Part::named(&entry.name).filter(|part| parts.iter().all(|(known, _)| known != part));
            let Some(part) = part else {
                let reason = format!("its manifest names {:?}", entry.name);
                return Err(no_backup(self.path, &reason));
            };
            let Some(found) = entries.next() else {
                return Err(self.damaged(format!("{} is missing: the file was cut short", entry.name)));
            };
            let found = found.map_err(|error| self.damaged(error.to_string()))?;
            if !is_file(&found, &entry.name) {
                return Err(self.damaged(format!("something else stands where {} should", entry.name)));
            }
            let content = self.content(found, part.bytes_max())?;
            if content.len() as u64 != entry.bytes || hex::encode(Sha256::digest(&content)) != entry.sha256 {
                return Err(self.damaged(format!("{} is not what was backed up", entry.name)));
            }
            parts.push((part, content));
        }
        if entries.next().is_some() {
            return Err(self.damaged("there is more in it than its manifest names".to_owned()));
        }
        if parts.iter().all(|(part, _)| *part != Part::Store) {
            return Err(no_backup(self.path, "there is no store in it"));
        }
        let Manifest {
            name,
            created,
            program,
            ..
        } = manifest;
        let made = format!("{name} of {created}, by {program}");
        Ok(Backup { made, parts })
    }

    fn manifest(&self, json: &[u8]) -> Result<Manifest, BackupError> {
        let unreadable =
            |error: serde_json::Error| self.damaged(format!("its manifest cannot be read: {error}"));
        let version: Version = serde_json::from_slice(json).map_err(unreadable)?;
        if version.format > FORMAT {
            return Err(BackupError::Newer {
                path: self.path.to_owned(),
                program: version.program,
            });
        }
        serde_json::from_slice(json).map_err(unreadable)
    }

    fn content(&self, entry: tar::Entry<'_, impl Read>, bytes_max: u64) -> Result<Vec<u8>, BackupError> {
        let mut content = Vec::new();
        let read = entry.take(bytes_max + 1).read_to_end(&mut content);
        read.map_err(|error| self.damaged(error.to_string()))?;
        if content.len() as u64 > bytes_max {
            return Err(self.damaged(format!("a file in it has more than {bytes_max} bytes")));
        }
        Ok(content)
    }

    fn damaged(&self, reason: String) -> BackupError {
        let path = self.path.to_owned();
        BackupError::Damaged { path, reason }
    }
}

fn no_backup(path: &Path, reason: &str) -> BackupError {
    BackupError::NoBackup {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Whether it is a file of this name, and no link or directory.
fn is_file(entry: &tar::Entry<'_, impl Read>, name: &str) -> bool {
    entry.header().entry_type() == EntryType::Regular && *entry.path_bytes() == *name.as_bytes()
}
