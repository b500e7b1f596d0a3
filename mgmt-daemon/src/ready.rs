//! The ready file: how scripts learn that a daemon listens, and where.

use std::{fs, io, net::SocketAddr, path::Path};

use serde::Serialize;

use broker_codec::EndpointId;

use crate::{config::DaemonConfig, error::HostError, files};

/// The version of the format; raised when a field changes its meaning.
const VERSION: u32 = 1;

/// What the file holds.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    version: u32,
    pid: u32,
    name: &'a str,
    /// Where WebSocket clients connect, as in `127.0.0.1:2149`.
    #[serde(skip_serializing_if = "Option::is_none")]
    websocket: Option<&'a [SocketAddr]>,
    /// Likewise Broker peers.
    broker: &'a [SocketAddr],
    /// Where operators and monitors ask over TCP, if they can.
    #[serde(skip_serializing_if = "<[SocketAddr]>::is_empty")]
    http: &'a [SocketAddr],
    /// The Broker endpoint's.
    broker_id: String,
    /// The working directory, with store and management log.
    dir: &'a Path,
}

/// Writes the file of this process, if there is to be one, whole or not at all: a script that sees it can connect.
pub fn write(
    config: &DaemonConfig,
    broker_id: EndpointId,
    broker: &[SocketAddr],
    websocket: Option<&[SocketAddr]>,
    http: Option<SocketAddr>,
) -> Result<(), HostError> {
    let Some(path) = &config.ready_file else {
        return Ok(());
    };
    let content = Ready {
        version: VERSION,
        pid: std::process::id(),
        name: &config.name,
        websocket,
        broker,
        http: http.as_slice(),
        broker_id: broker_id.to_string(),
        dir: &config.working_dir,
    };
    let text = serde_json::to_string(&content).map_err(io::Error::from);
    let written = text.and_then(|text| files::replace(path, (text + "\n").as_bytes(), files::FILE_MODE));
    written.map_err(|source| failed(path, source))
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
