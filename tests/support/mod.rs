//! What several test modules share.

pub(crate) mod agent;
pub(crate) mod capture;
pub(crate) mod controller;
pub(crate) mod dice;
pub(crate) mod frames;
pub(crate) mod ids;
pub(crate) mod relay;
pub(crate) mod scenario;
pub(crate) mod session;
pub(crate) mod store;
pub(crate) mod websocket;
pub(crate) mod zeek_client;

use std::path::Path;

/// The workspace's folder: fixtures and private environments are found from here.
pub(crate) fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies below the workspace")
}
