//! Nodes that cannot be taken over: they are ended before a node of their name is started.
//!
//! Of those whose directory was removed while no agent was there, nothing in the new one tells, and the lock in it is another file. They are
//! known by their environment, which says which node they are, and where they load its layout from. That of a process with more rights
//! than the agent, as by file capabilities, cannot be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use broker_codec::data::ZeekString;
use rustix::process::Signal;
use supervise::{
    sessions::{ids, is_locked, leads_session, removed_directory},
    unix::Record,
};
use tokio::time::timeout;

use crate::launcher;

/// How long one may take to end before it is killed if its directory is gone: it has nothing left to write.
const GONE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long another one may take, as by default a node that is kept.
const TERM_TIMEOUT: Duration = Duration::from_secs(60);

/// The processes of nodes, by name.
pub(super) type Strays = BTreeMap<ZeekString, Vec<Stray>>;

#[derive(Debug)]
pub(super) struct Stray {
    process: Record<()>,
    timeout: Duration,
}

impl Stray {
    /// The process of a node that works in its directory.
    pub(super) fn new(pid: i32) -> io::Result<Self> {
        Self::of(pid, TERM_TIMEOUT)
    }

    fn of(pid: i32, timeout: Duration) -> io::Result<Self> {
        let process = Record::new(pid, ())?;
        Ok(Self { process, timeout })
    }

    /// Ends it: asks it first. Returns its id; nothing if it has ended meanwhile.
    pub(super) async fn end(&self) -> Option<i32> {
        let mut process = self.process.process()?;
        process.signal(Signal::TERM);
        process.signal(Signal::CONT);
        if timeout(self.timeout, process.ended()).await.is_err() {
            process.signal(Signal::KILL);
            process.ended().await;
        }
        Some(self.process.pid())
    }
}

/// Those that have their directories below this one, other than these processes.
pub(super) fn find(nodes: &Path, others: &BTreeSet<i32>) -> Strays {
    let mut strays = Strays::new();
    // The agent that has started them may have got there by a link.
    let is_here = |directory: &Path| {
        let above = directory.parent().map(fs::canonicalize);
        above.is_some_and(|above| above.ok() == fs::canonicalize(nodes).ok())
    };
    for id in ids().unwrap_or_default() {
        if others.contains(&id) || !leads_session(id) {
            continue;
        }
        let Some((name, directory)) = node_of(id).filter(|(_, directory)| is_here(directory)) else {
            continue;
        };
        // What a node leaves behind when it ends looks like it, and has a directory.
        if is_locked(&directory.join(launcher::LOCK)) || removed_directory(id).is_none() {
            continue;
        }
        if let Ok(stray) = Stray::of(id, GONE_TIMEOUT) {
            tracing::warn!(
                "process {id} is node {name}, whose directory {} was removed: what it writes is lost; it is ended before that node is \
                 started; if that node is not to run, end it by hand",
                directory.display()
            );
            strays.entry(name).or_default().push(stray);
        }
    }
    strays
}

/// Which node a process is, and where it works, if it was started as one.
fn node_of(id: i32) -> Option<(ZeekString, PathBuf)> {
    let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
    let value_of = |name: &str| {
        let mut entries = environment.split(|byte| *byte == 0);
        entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let name = value_of("CLUSTER_NODE")?;
    let path = value_of("ZEEKPATH")?.split(|byte| *byte == b':').next()?;
    let directory = PathBuf::from(OsStr::from_bytes(path));
    (directory.file_name()?.as_bytes() == name).then(|| (name.into(), directory))
}
