//! What should run, on disk: `desired.json` in the agent's directory.

use std::{
    io::{self, Read},
    path::Path,
};

use mgmt_daemon::files;

use crate::{
    core::{Desired, Supervise},
    error::RunError,
};

const FILE: &str = "desired.json";

/// Longer, in bytes, is no configuration that a message could bring.
const BYTES_MAX: u64 = 256 << 20;

/// What an earlier agent has written down; nothing, if there was none.
///
/// A file that cannot be read stands in the way: without it nodes that an operator has stopped would be started.
pub(crate) fn read(directory: &Path) -> Result<Desired, RunError> {
    let path = directory.join(FILE);
    let mut text = Vec::new();
    let file = match files::open_foreign(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Desired::default()),
        other => other,
    };
    let read = file.and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text));
    read.and_then(|_| Ok(serde_json::from_slice(&text)?))
        .map_err(|source| RunError::Desired { path, source })
}

/// Who kept the nodes for an earlier agent, if there was one that can be read of.
pub(crate) fn remembered_supervise(directory: &Path) -> Option<Supervise> {
    let desired = read(directory).ok()?;
    Some(desired.supervise).filter(|supervise| *supervise != Supervise::Zeek)
}

/// Writes it down, so that a crash leaves the one before or this one.
pub(crate) fn write(directory: &Path, desired: &Desired) -> io::Result<()> {
    let text = serde_json::to_vec(desired)?;
    files::replace(&directory.join(FILE), &text, files::SECRET_MODE)
}
