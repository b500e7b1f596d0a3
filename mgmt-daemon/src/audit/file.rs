use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use crate::files::{SECRET_MODE, is_same, options, regular_or_missing, with_suffix};

/// How long a file may become, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// How many earlier files are kept, as `audit.log.old.1`, the latest, to `audit.log.old.9`: logrotate has other
/// names, so neither takes a file of the other's.
pub(super) const KEPT: u32 = 9;

/// The file that lines go to, and those before it.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    open: Option<File>,
}

impl AuditFile {
    /// Makes nothing yet.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Makes the file if it is not there, and finds out whether it can be written.
    pub(super) fn open(&mut self) -> io::Result<()> {
        let (file, _) = self.take()?;
        self.open = Some(file);
        Ok(())
    }

    /// Appends lines, all of them or none. A file that was moved or removed meanwhile is made anew.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let (mut file, length) = self.take()?;
        if let Err(error) = file.write_all(lines) {
            // A part of a line would spoil the next one.
            let _ = file.set_len(length);
            return Err(error);
        }
        self.open = Some(file);
        if length + lines.len() as u64 >= FILE_BYTES_MAX {
            self.rotate();
        }
        Ok(())
    }

    /// The file at the path, and its length.
    fn take(&mut self) -> io::Result<(File, u64)> {
        if let Some(file) = self.open.take()
            && let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(&self.path))
            && is_same(&open, &there)
        {
            return Ok((file, open.len()));
        }
        regular_or_missing(&self.path)?;
        let file = options().append(true).mode(SECRET_MODE).open(&self.path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    /// The next line begins a new file. One that cannot be moved goes on.
    fn rotate(&mut self) {
        self.open = None;
        let numbered = |number: u32| with_suffix(&self.path, &format!(".old.{number}"));
        for number in (1..KEPT).rev() {
            let _ = fs::rename(numbered(number), numbered(number + 1));
        }
        if let Err(error) = fs::rename(&self.path, numbered(1)) {
            tracing::warn!(%error, path = %self.path.display(), "the audit log cannot be rotated, and grows");
        }
    }
}
