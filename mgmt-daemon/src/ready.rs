//! The ready file: how scripts learn that a daemon listens, and where.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{files, runtime::HostError};

/// Writes the file whole or not at all; who sees it can connect.
pub fn write(path: &Path, content: &impl Serialize) -> Result<(), HostError> {
    let write = || -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut text = serde_json::to_vec(content)?;
        text.push(b'\n');
        files::write(&temporary, &text)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| failed(path, source))
}

/// Removes the file: of this process at its end, or of an earlier one that crashed.
///
/// # Errors
///
/// Besides failures of the file system: if something else than a file has the name.
pub fn remove(path: &Path) -> Result<(), HostError> {
    match files::regular_or_missing(path).and_then(|()| fs::remove_file(path)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed(path, source)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, source: io::Error) -> HostError {
    HostError::ReadyFile {
        path: path.to_path_buf(),
        source,
    }
}
