//! `replay`: our controller and our agent in the place of those that were recorded.

mod live;
mod live_agent;
mod mutations;
mod pcap;
mod recordings;

use std::path::PathBuf;

use crate::support::workspace_root;

/// The folder of a recording.
fn folder(recording: &str) -> PathBuf {
    workspace_root().join("fixtures").join(recording)
}
