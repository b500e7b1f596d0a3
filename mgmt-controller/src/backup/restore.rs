//! Restoring a backup.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mgmt_api::{ControllerId, WallClock};
use mgmt_daemon::{
    files,
    lock::{Lock, LockError},
    owner::become_owner,
    process::unix_time,
};
use strum::IntoEnumIterator as _;

use super::{
    BackupError, Part, Places,
    archive::{self, Backup},
    check_ca,
};
use crate::store::{Store, unfinished};

/// What SQLite keeps beside a database while it writes, or what a crash has left of that.
const BESIDE: [&str; 3] = ["-journal", "-wal", "-shm"];

/// What was restored.
#[derive(Debug)]
pub(super) struct Done {
    /// Which backup it was.
    pub(super) backup: String,
    /// Who the controller is from now on.
    pub(super) identity: ControllerId,
    /// Whether the CA that is there stays, as the backup has none.
    pub(super) keeps_ca: bool,
    /// Where what was there is now.
    pub(super) kept: Vec<PathBuf>,
    /// What of it no controller can read.
    pub(super) unreadable: Vec<String>,
}

/// Puts a backup in the place of what is at these places, where no controller may run, and raises the generation. What was there is kept under another
/// name.
///
/// # Errors
///
/// If the backup is none that can be used: then nothing is changed. If something cannot be written, all is as it was.
pub(super) fn restore(places: &Places, file: &Path) -> Result<Done, BackupError> {
    let Backup { made, mut parts } = archive::read(file)?;
    // Only root may be able to read the backup; all else is the store's owner's.
    let all: Vec<PathBuf> = Part::iter().map(|part| places.path(part)).collect();
    become_owner(all.iter().filter_map(|path| path.parent()))
        .map_err(|source| cannot_write(&places.store, source))?;
    let mut unreadable = Vec::new();
    check_ca(&parts, file)?;
    for (part, bytes) in &parts {
        unreadable.extend(part.check(bytes, file)?);
        present(&places.path(*part))?;
    }
    for (part, _) in &parts {
        if let Some(directory) = places.path(*part).parent() {
            files::create_dir_all(directory).map_err(|source| cannot_write(directory, source))?;
        }
    }
    let _lock = lock(&places.store)?;
    let now = unix_time();
    let identity = raised(places, &mut parts, now.as_secs())?;
    let time = WallClock::from_unix(now).to_rfc3339().replace([':', '-'], "");
    let unfinished = Unfinished::begin(&places.store)?;
    let mut replaced = Replaced::new();
    let replacing = replace(places, &parts, &time, &mut replaced);
    let keeps_ca = match replacing {
        Ok(keeps_ca) => keeps_ca,
        Err(error) => {
            if put_back(&replaced) {
                unfinished.undo()?;
            }
            return Err(error);
        }
    };
    for (path, _) in &replaced {
        files::sync_names(path).map_err(|source| cannot_write(path, source))?;
    }
    unfinished.end()?;
    Ok(Done {
        backup: made,
        identity,
        keeps_ca,
        kept: replaced.into_iter().filter_map(|(_, kept)| kept).collect(),
        unreadable,
    })
}

/// Tells the next controller, if this restore is interrupted: some files are the backup's then, and others are not.
struct Unfinished {
    path: PathBuf,
    /// An earlier one was.
    was_there: bool,
}

impl Unfinished {
    fn begin(store: &Path) -> Result<Self, BackupError> {
        let path = unfinished(store);
        let was_there = present(&path)?;
        let written = files::replace(&path, b"", files::FILE_MODE).and_then(|()| files::sync_names(&path));
        written.map_err(|source| cannot_write(&path, source))?;
        Ok(Self { path, was_there })
    }

    /// All is the backup's.
    fn end(&self) -> Result<(), BackupError> {
        let removed = fs::remove_file(&self.path).and_then(|()| files::sync_names(&self.path));
        removed.map_err(|source| cannot_write(&self.path, source))
    }

    /// All is as it was.
    fn undo(&self) -> Result<(), BackupError> {
        if self.was_there { Ok(()) } else { self.end() }
    }
}

/// The files that were replaced, or were to be, each with the name under which the one before is kept.
type Replaced = Vec<(PathBuf, Option<PathBuf>)>;

/// Puts what is in a backup in its places. Returns whether the CA that is there stays.
fn replace(
    places: &Places,
    parts: &[(Part, Vec<u8>)],
    time: &str,
    replaced: &mut Replaced,
) -> Result<bool, BackupError> {
    let mut keeps_ca = false;
    for part in Part::iter() {
        let path = places.path(part);
        let restored = parts.iter().find(|(restored, _)| *restored == part);
        let is_there = present(&path)?;
        let is_ca = matches!(part, Part::Ca | Part::CaKey);
        if restored.is_none() && (is_ca || !is_there) {
            keeps_ca |= is_ca && is_there;
            continue;
        }
        replaced.push((path.clone(), keep(&path, time)?));
        let done = match restored {
            Some((_, bytes)) => files::replace(&path, bytes, part.mode()),
            // A token that was made after the backup does not outlast it.
            None => remove_if_there(&path),
        };
        done.map_err(|source| cannot_write(&path, source))?;
    }
    Ok(keeps_ca)
}

/// Gives what was there its places again, as something cannot be restored: a part of a backup beside what is newer would bring back tokens
/// that were revoked. Returns whether all of it was done.
fn put_back(replaced: &Replaced) -> bool {
    replaced.iter().rev().fold(true, |all, (path, kept)| {
        let done = match kept {
            None => remove_if_there(path),
            // Where it was not replaced yet, both are the same file, and both names stay.
            Some(kept) => fs::rename(kept, path)
                .and_then(|()| move_beside(kept, path))
                .and_then(|()| remove_if_there(kept)),
        };
        all & done.is_ok()
    })
}

fn lock(store: &Path) -> Result<Lock, BackupError> {
    Lock::acquire(store).map_err(|error| match error {
        LockError::InUse { holder } => BackupError::InUse {
            path: store.to_owned(),
            holder,
        },
        LockError::File { path, source } => BackupError::Write { path, source },
    })
}

/// Whether something is there that can be replaced.
fn present(path: &Path) -> Result<bool, BackupError> {
    files::regular_or_missing(path).map_err(|source| cannot_write(path, source))?;
    Ok(path.symlink_metadata().is_ok())
}

/// Gives the restored store a higher generation than it has, and than the store has whose place it takes.
fn raised(places: &Places, parts: &mut [(Part, Vec<u8>)], now: u64) -> Result<ControllerId, BackupError> {
    // One that cannot be read has no generation, and stays as it is, with what a crash has left.
    let before = Store::look_at(&places.store).and_then(|store| store.inspect());
    let before = before.ok().and_then(|found| found.controller);
    let path = &places.store;
    let restored = parts.iter_mut().find(|(part, _)| *part == Part::Store);
    let mut raised = None;
    if let Some((_, image)) = restored {
        let store = Store::of_image(image, path)?;
        raised = store.raise_generation(before.as_ref(), now)?;
        *image = store.image()?;
    }
    raised.ok_or_else(|| BackupError::Unusable {
        path: path.clone(),
        reason: "its identity cannot be read".to_owned(),
    })
}

/// Gives what is there another name besides, with what SQLite has beside it. Returns that name.
fn keep(path: &Path, time: &str) -> Result<Option<PathBuf>, BackupError> {
    if !present(path)? {
        return Ok(None);
    }
    let first = files::with_suffix(path, &format!(".before-{time}"));
    let (mut kept, mut number) = (first.clone(), 1);
    while kept.symlink_metadata().is_ok() {
        number += 1;
        kept = files::with_suffix(&first, &format!("-{number}"));
    }
    let moved = fs::hard_link(path, &kept).and_then(|()| move_beside(path, &kept));
    moved.map_err(|source| cannot_write(&kept, source))?;
    Ok(Some(kept))
}

/// Has what SQLite keeps beside a database follow it.
fn move_beside(old: &Path, new: &Path) -> io::Result<()> {
    let beside = BESIDE
        .iter()
        .map(|suffix| (files::with_suffix(old, suffix), files::with_suffix(new, suffix)));
    beside
        .filter(|(old, _)| old.exists())
        .try_for_each(|(old, new)| fs::rename(old, new))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn cannot_write(path: &Path, source: io::Error) -> BackupError {
    BackupError::Write {
        path: path.to_owned(),
        source,
    }
}
