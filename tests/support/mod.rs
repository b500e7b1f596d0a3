//! What several test modules share.

pub(crate) mod agent;
pub(crate) mod certificates;
pub(crate) mod cluster;
pub(crate) mod cluster_file;
pub(crate) mod container;
pub(crate) mod controller;
pub(crate) mod controlling;
pub(crate) mod daemon;
pub(crate) mod frames;
pub(crate) mod http;
pub(crate) mod ids;
pub(crate) mod limit;
pub(crate) mod mgmtctl;
pub(crate) mod network;
pub(crate) mod news;
pub(crate) mod operated;
pub(crate) mod peer;
pub(crate) mod program;
pub(crate) mod relay;
pub(crate) mod scenario;
pub(crate) mod secure;
pub(crate) mod session;
pub(crate) mod soak;
pub(crate) mod store;
pub(crate) mod told;
pub(crate) mod websocket;
pub(crate) mod zeek_client;

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The workspace's folder: fixtures and private environments are found from here.
pub(crate) fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies below the workspace")
}

/// Has a daemon keep its files in the directory that it is started in.
pub(crate) const DIRECTORIES: [&str; 6] = [
    "--state-dir",
    "state",
    "--spool-dir",
    "spool",
    "--zeek-prefix",
    ".",
];

/// Threads for what runs beside tests.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("threads can be started"));
    &RUNTIME
}

/// A directory that is gone when the last one who has it is.
pub(crate) fn home() -> Arc<TempDir> {
    Arc::new(TempDir::with_prefix("conformance-").expect("a directory can be made"))
}

/// Whether strace is there, by which something is tested.
pub(crate) fn has_strace(what: &str) -> bool {
    let present = works(Command::new("strace").arg("-V"));
    if !present {
        missing("strace", what);
    }
    present
}

/// Sends a signal to a process that runs.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).expect("it runs");
}

/// The nodes that have another process than before, or are new or gone.
pub(crate) fn changed(before: &BTreeMap<String, Pid>, after: &BTreeMap<String, Pid>) -> Vec<String> {
    let mut names: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names.retain(|name| before.get(name) != after.get(name));
    names
}

/// Whether a command ends with success.
pub(crate) fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A program that Debian has a package for, and that the scripts install. Without it the test is of no use, which is an
/// error where everything is meant to be there.
pub(crate) fn missing(package: &str, what: &str) {
    assert!(
        env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{package} is not installed: run scripts/check.sh --setup"
    );
    not_tested(&format!(
        "{what}, for want of {package}; scripts/check.sh --setup installs it"
    ));
}

/// Says what was not tested past the test's captured output: a reader of the outcome must see it. A failure if the environment says that this is
/// required, by its word among those of `MGMT_REQUIRE`.
pub(crate) fn pending(required: &str, shown: &str, why: &str) {
    let words = env::var("MGMT_REQUIRE").unwrap_or_default();
    assert!(!words.split(',').any(|word| word == required), "{why}");
    let line = format!("{shown}-pending: {why}\n");
    io::stderr()
        .write_all(line.as_bytes())
        .expect("standard error works");
}

/// What lies below a directory, itself included, and can be used by others than its owner and group, or changed by its group.
pub(crate) fn open_to_others(directory: &Path) -> Vec<PathBuf> {
    let mut open = Vec::new();
    let mut queue = vec![directory.to_path_buf()];
    while let Some(path) = queue.pop() {
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory can be read");
            queue.extend(entries.map(|entry| entry.expect("it can be read").path()));
        }
        if metadata.permissions().mode() & 0o027 != 0 {
            open.push(path);
        }
    }
    open
}

/// Says what cannot be tested on this machine.
#[expect(clippy::print_stderr, reason = "tells what was not tested")]
pub(crate) fn not_tested(what: &str) {
    eprintln!("NOT TESTED: {what}");
}
