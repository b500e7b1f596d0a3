//! A lock on a file, which keeps a second process off what the first one has.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::files;

/// Longest note about a holder that is read back, in bytes.
const HOLDER_MAX: u64 = 64;

/// An advisory lock. The system releases it when the process ends, however it ends; the file stays.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// A lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("in use by {holder}")]
    InUse { holder: String },
    #[error("cannot lock {path}")]
    File { path: PathBuf, source: io::Error },
}

impl Lock {
    /// Takes the lock of a file or directory, on a file beside it, and notes who has it.
    pub fn acquire(what: &Path) -> Result<Self, LockError> {
        Self::take(&Self::path(what))
    }

    /// Takes the lock that is this file, and notes who has it.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = files::options()
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::InUse {
                    holder: holder(&file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // The note only serves the message of a second daemon; a full disk must not keep us from starting.
        let noted = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::debug!(%error, path = %path.display(), "cannot note the holder of the lock");
        }
        Ok(Self { file })
    }

    /// Whether this is still the lock of a file or directory: the file that is locked may have been removed.
    pub fn is_on(&self, what: &Path) -> bool {
        let named = fs::metadata(Self::path(what));
        let locked = self.file.metadata();
        matches!((locked, named), (Ok(locked), Ok(named)) if files::is_same(&locked, &named))
    }

    /// Lets the program that this process is going to execute, and what that starts, have the lock.
    pub fn keep_at_exec(&self) -> io::Result<()> {
        Ok(fcntl_setfd(&self.file, FdFlags::empty())?)
    }

    /// The file that is locked in place of a file or directory.
    pub fn path(what: &Path) -> PathBuf {
        files::with_suffix(what, ".lock")
    }

    /// Who has the lock of a file or directory, in words, if another process has. Makes no lock.
    pub fn holder_of(what: &Path) -> Option<String> {
        Self::holder(&Self::path(what))
    }

    /// Who has the lock that is this file, likewise.
    pub fn holder(path: &Path) -> Option<String> {
        let file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(holder(&file)),
            _ => None,
        }
    }
}

fn holder(file: &File) -> String {
    let mut text = String::new();
    let pid = match file.take(HOLDER_MAX).read_to_string(&mut text) {
        Ok(_) => text.trim().parse::<u32>().ok(),
        Err(_) => None,
    };
    let Some(pid) = pid else {
        return String::from("another process");
    };
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        // What it had started has inherited the lock.
        Err(_) => format!("what process {pid} has started, which has ended"),
    }
}
