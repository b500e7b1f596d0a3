//! `mgmt-agent launch DIRECTORY`: becomes the node of which `node.json` in that directory tells. Who starts a node starts this:
//! the agent, systemd, or an administrator.
//!
//! It takes the lock of the directory, which the node and all that it starts inherit: there are never two of a node. Its id stays, as it
//! executes Zeek in its own place, so it writes down who it is before (`run.json`). The node's environment is what `node.json` says,
//! and nothing else. What fails is one line on standard error, and an [exit code](Failure::code) that is none of Zeek's.
//!
//! [`Limits::memory_max`](crate::supervisors::own::Limits) is systemd's to obey: what `setrlimit(2)` has for it counts address space,
//! of which Zeek takes far more than it uses. So nodes that the agent keeps itself have no limit of memory.

mod limits;

use std::{
    convert::Infallible,
    env,
    ffi::{OsStr, OsString},
    fs, io,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use broker_codec::data::ZeekString;
use mgmt_daemon::{
    files::{self, FILE_MODE, SECRET_MODE},
    lock::{Lock, LockError},
    program::complain,
};
use rustix::{
    io::Errno,
    process::{Pid, Signal, geteuid, kill_process_group, setsid},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use supervise::{
    sessions::is_locked,
    unix::{Record, open, wait_for_end},
};

use crate::supervisors::own::Launch;

/// The subcommand by which this program is the launcher.
pub const SUBCOMMAND: &str = "launch";

/// What the node is started with, in its directory.
pub(crate) const NODE: &str = "node.json";

/// Which process it is.
const RUN: &str = "run.json";

/// Whose lock the node has.
pub(crate) const LOCK: &str = "lock";

/// The layout of the cluster, where Zeek looks for it (`scripts/base/frameworks/cluster/__load__.zeek`).
const LAYOUT: &str = "cluster-layout.zeek";

/// What Zeek says of itself with `-U`. After a crash the last word stays, so it would be taken for that of the next process.
const STATUS: &str = ".status";

/// How much is read of [`NODE`], in bytes: it holds a whole cluster.
const NODE_BYTES_MAX: u64 = 64 << 20;

/// How much is read of [`RUN`], in bytes.
const RUN_BYTES_MAX: u64 = 4 << 10;

/// How long the lock is tried for. Whether a node has it can only be seen by taking it for a moment.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the command before a start may take.
const BEFORE_TIMEOUT: Duration = Duration::from_secs(60);

/// What is written down about a node's process, besides which one it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// How long the files for its outputs were when it was started, in bytes.
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

/// Why the node was not started.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("give the directory of one node: mgmt-agent launch DIRECTORY")]
    Usage,
    #[error("the node of {directory} runs already: its lock is {holder}; end that one first")]
    Locked { directory: PathBuf, holder: LockError },
    #[error("{path} does not say what to start: {source}; have the agent write it anew, by a deployment")]
    Node { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Limit(#[from] limits::Refused),
    #[error("cannot use {path}: {source}; see whether there is space and whose it is")]
    File { path: PathBuf, source: io::Error },
    #[error("before_start of node {node} {how}: mend the command, or take it away: {command}")]
    Before {
        node: ZeekString,
        command: ZeekString,
        how: String,
    },
    #[error("cannot execute {program}: {source}; see whether Zeek is installed there")]
    Exec { program: String, source: io::Error },
}

impl Failure {
    /// 64 for a wrong command line, 69 if the command before the start failed, 74 for files, 75 if the node runs already, 78 for what
    /// `node.json` says (these are those of `sysexits.h`); 126 and 127, as a shell's, if Zeek cannot be executed, or is not there.
    fn code(&self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Before { .. } => 69,
            Self::File { .. } => 74,
            Self::Locked { .. } => 75,
            Self::Node { .. } | Self::Limit(_) => 78,
            Self::Exec { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Exec { .. } => 126,
        }
    }
}

/// Becomes the node, or says why not.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let Err(failure) = launch(arguments);
    complain("mgmt-agent launch", &failure.to_string());
    ExitCode::from(failure.code())
}

fn launch(arguments: &[OsString]) -> Result<Infallible, Failure> {
    let [directory] = arguments else {
        return Err(Failure::Usage);
    };
    let file = |path: &str| {
        let path = Path::new(directory).join(path);
        |source| Failure::File { path, source }
    };
    env::set_current_dir(directory).map_err(file(""))?;
    let here = Path::new("");
    let lock = lock(Path::new(directory))?;
    let launch = read(here).map_err(|source| Failure::Node {
        path: Path::new(directory).join(NODE),
        source,
    })?;
    // One that leads a session or a process group already stays where it is.
    let _ = setsid();
    record().map_err(file(RUN))?;
    let numa = limits::apply(&launch)?;
    write_layout(here, &launch).map_err(file(LAYOUT))?;
    remove(Path::new(STATUS)).map_err(file(STATUS))?;
    before_start(&launch)?;
    // From here on what is started is the node.
    lock.keep_at_exec().map_err(file(LOCK))?;
    Err(execute(&launch, numa))
}

/// What a node could not have, as seen from this process, if that starts it.
pub(crate) fn foreseen(launch: &Launch) -> Option<String> {
    limits::foreseen(launch)
}

/// Takes the lock of a node's directory, which is this process's.
fn lock(directory: &Path) -> Result<Lock, Failure> {
    let began = Instant::now();
    loop {
        match Lock::take(Path::new(LOCK)) {
            Ok(lock) => return Ok(lock),
            Err(LockError::InUse { .. }) if began.elapsed() < LOCK_TIMEOUT => {
                thread::sleep(LOCK_TIMEOUT / 10);
            }
            Err(holder @ LockError::InUse { .. }) => {
                let directory = directory.to_owned();
                return Err(Failure::Locked { directory, holder });
            }
            Err(LockError::File { source, .. }) => {
                let path = directory.join(LOCK);
                return Err(Failure::File { path, source });
            }
        }
    }
}

/// What the node of a directory is started with. The file holds what only its owner may know.
pub(crate) fn read(directory: &Path) -> io::Result<Launch> {
    let file = files::open_foreign(&directory.join(NODE))?;
    let known = file.metadata()?;
    if known.uid() != geteuid().as_raw() || known.mode() & 0o077 != 0 {
        let mode = known.mode() & 0o7777;
        return Err(io::Error::other(format!(
            "it is not a file of mode 0600 of user {}, but has mode {mode:04o} and is of user {}",
            geteuid().as_raw(),
            known.uid()
        )));
    }
    parse(file, NODE_BYTES_MAX)
}

/// Likewise, of a node that may be another user's, if this one is root.
pub(crate) fn read_of_any_user(directory: &Path) -> io::Result<Launch> {
    if !geteuid().is_root() {
        return read(directory);
    }
    parse(files::open_foreign(&directory.join(NODE))?, NODE_BYTES_MAX)
}

/// What was read of a directory, if it is about the node that the directory is named after.
pub(crate) fn of_directory(directory: &Path, launch: Launch) -> io::Result<Launch> {
    let name = directory.file_name();
    if name.is_some_and(|name| **launch.node() == *name.as_encoded_bytes()) {
        Ok(launch)
    } else {
        Err(io::Error::other("it tells of another node"))
    }
}

fn parse<T: DeserializeOwned>(file: fs::File, bytes_max: u64) -> io::Result<T> {
    let mut text = Vec::new();
    file.take(bytes_max).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Writes down what the node of a directory is to be started with.
pub(crate) fn write(directory: &Path, launch: &Launch) -> io::Result<()> {
    files::replace(&directory.join(NODE), &serde_json::to_vec(launch)?, SECRET_MODE)
}

pub(crate) fn write_layout(directory: &Path, launch: &Launch) -> io::Result<()> {
    files::replace(&directory.join(LAYOUT), launch.layout.as_bytes(), FILE_MODE)
}

/// Forgets a node, unless it runs: then it is another agent's. What it wrote stays.
pub(crate) fn forget(directory: &Path) -> io::Result<()> {
    if is_locked(&directory.join(LOCK)) {
        return Ok(());
    }
    remove(&directory.join(NODE))?;
    remove(&directory.join(RUN))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The process that was the node of a directory last, if that is known. It may have ended.
pub(crate) fn recorded(directory: &Path) -> Option<Record<Run>> {
    parse(files::open_foreign(&directory.join(RUN)).ok()?, RUN_BYTES_MAX).ok()
}

fn record() -> io::Result<()> {
    let length = |of: &dyn std::os::fd::AsFd| rustix::fs::fstat(of).map_or(0, |known| known.st_size);
    let run = Run {
        stdout: u64::try_from(length(&io::stdout())).unwrap_or(0),
        stderr: u64::try_from(length(&io::stderr())).unwrap_or(0),
    };
    let record = Record::new(std::process::id().cast_signed(), run)?;
    files::replace(Path::new(RUN), &serde_json::to_vec(&record)?, FILE_MODE)
}

fn text(bytes: &ZeekString) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// A command in the node's environment.
fn command(launch: &Launch, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let environment = launch.environment.iter();
    command
        .env_clear()
        .envs(environment.map(|(name, value)| (text(name), text(value))))
        .stdin(Stdio::null());
    command
}

/// Runs the command that comes before the node.
fn before_start(launch: &Launch) -> Result<(), Failure> {
    let Some(before) = &launch.before_start else {
        return Ok(());
    };
    let failed = |how: String| Failure::Before {
        node: launch.node().clone(),
        command: before.clone(),
        how,
    };
    let mut command = command(launch, "/bin/sh");
    let child = command.arg("-c").arg(text(before)).process_group(0).spawn();
    match child.and_then(|child| within(child, BEFORE_TIMEOUT)) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(failed(format!("failed ({status})"))),
        Ok(None) => Err(failed(format!("took longer than {} s", BEFORE_TIMEOUT.as_secs()))),
        Err(error) => Err(failed(format!("cannot be run ({error})"))),
    }
}

/// Waits for the end of a child that leads a process group, or kills that when the time is over.
fn within(mut child: Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let id = child.id().cast_signed();
    wait_for_end(&open(id)?, Some(timeout));
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let group = Pid::from_raw(id).ok_or(Errno::SRCH)?;
    kill_process_group(group, Signal::KILL)?;
    child.wait()?;
    Ok(None)
}

/// Executes Zeek in the place of this process. Returns only if that fails.
fn execute(launch: &Launch, numa: Option<limits::Numactl>) -> Failure {
    let program = text(&launch.program);
    let mut command = match numa {
        None => command(launch, program),
        Some(numa) => {
            let mut command = command(launch, &numa.program);
            command.arg(numa.policy).arg(program);
            command
        }
    };
    let source = command.args(launch.arguments.iter().map(text)).exec();
    Failure::Exec {
        program: command.get_program().display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_takes_too_long_is_killed_with_what_it_started() {
        let run = |script: &str, timeout| {
            let mut command = Command::new("/bin/sh");
            let child = command.args(["-c", script]).process_group(0).spawn().unwrap();
            within(child, timeout).unwrap()
        };
        assert_eq!(run("exit 3", BEFORE_TIMEOUT).unwrap().code(), Some(3));
        assert_eq!(run("sleep 600 & wait", Duration::from_millis(50)), None);
    }
}
