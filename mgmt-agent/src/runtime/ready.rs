use std::{net::SocketAddr, path::Path};

use serde::Serialize;

/// The version of the ready file's format; raised when a field changes its meaning.
pub const READY_VERSION: u32 = 1;

/// What the ready file holds.
#[derive(Serialize)]
pub(super) struct Ready<'a> {
    pub(super) version: u32,
    pub(super) pid: u32,
    pub(super) name: &'a str,
    /// The bound addresses, as in `127.0.0.1:2151`.
    pub(super) broker: &'a [SocketAddr],
    pub(super) broker_id: String,
    /// The working directory, with the management log.
    pub(super) dir: &'a Path,
}
