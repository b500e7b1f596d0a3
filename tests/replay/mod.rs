//! `replay`: our controller and our agent in the place of those that were recorded.

mod link;
mod live;
mod live_agent;
mod live_zeek;
mod mutations;
mod recordings;

use std::path::PathBuf;

use tools::replay::cli::CliError;

use crate::support::workspace_root;

/// The folder of a recording.
fn folder(recording: &str) -> PathBuf {
    workspace_root().join("fixtures").join(recording)
}

/// Replays a recording with options that are separated by spaces.
fn replay(recording: &str, options: &str) -> Result<(bool, String), CliError> {
    let folder = folder(recording);
    let words: Vec<&str> = options.split_whitespace().collect();
    recordings::replayed(&[&[folder.to_str().unwrap()], &words[..]].concat())
}
