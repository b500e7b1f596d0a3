//! The ready file: how scripts learn that the controller listens, and where.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::RunError;
use crate::config::Config;

/// The version of the ready file's format; raised when a field changes its meaning.
pub const READY_VERSION: u32 = 1;

#[derive(Serialize)]
struct Ready<'a> {
    version: u32,
    pid: u32,
    name: &'a str,
    /// The bound addresses, as in `127.0.0.1:2149`.
    websocket: &'a [SocketAddr],
    /// Likewise for agents and native clients.
    broker: &'a [SocketAddr],
    /// The working directory, with the store and the management log.
    dir: &'a Path,
}

/// Where the process listens, with the ports that the system chose.
#[derive(Clone, Copy)]
pub(super) struct Listening<'a> {
    pub(super) websocket: &'a [SocketAddr],
    pub(super) broker: &'a [SocketAddr],
}

/// Writes the file whole or not at all; who sees it can connect.
pub(super) fn write(path: &Path, config: &Config, listening: Listening<'_>) -> Result<(), RunError> {
    let ready = Ready {
        version: READY_VERSION,
        pid: std::process::id(),
        name: &config.name,
        websocket: listening.websocket,
        broker: listening.broker,
        dir: &config.working_dir,
    };
    let write = || -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", ready.pid));
        let temporary = PathBuf::from(temporary);
        let mut text = serde_json::to_vec(&ready)?;
        text.push(b'\n');
        fs::File::create(&temporary)?.write_all(&text)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| failed(path, source))
}

/// Removes the file: of this process at its end, or of an earlier one that crashed.
pub(super) fn remove(path: &Path) -> Result<(), RunError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed(path, source)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, source: io::Error) -> RunError {
    RunError::ReadyFile {
        path: path.to_path_buf(),
        source,
    }
}
