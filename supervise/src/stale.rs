//! What a process has left running, which would be in the way of the next one: it is ended before that is started.
//!
//! It is known by an environment variable, which every process inherits, under any parent. A process that
//! has more rights than the owner, as by file capabilities, does not show its environment; but its forks have its command line.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
    process,
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Signal, pidfd_send_signal},
};
use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    sessions::ids,
    unix::{open, wait_for_end},
};

/// Between two signals.
const ROUND: Duration = Duration::from_secs(1);

/// How long processes that are killed may take to be gone: longer takes only one that the system does not let end.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// What a process and all that it starts have in common, and no others.
#[derive(Clone, Debug)]
pub struct Tag {
    variable: &'static str,
    value: String,
    arguments: Vec<String>,
}

/// A process that is to go.
#[derive(Debug)]
struct Orphan {
    id: i32,
    descriptor: OwnedFd,
}

impl Tag {
    /// The tag, by a variable of this name, of a process that works in this directory, which exists, and is started with these
    /// arguments; without any it is known by its environment only. The directory counts as what it is, not only by its path: containers may have one of the same path.
    pub fn new(variable: &'static str, directory: &Path, arguments: &[String]) -> io::Result<Self> {
        let known = fs::metadata(directory)?;
        Ok(Self {
            variable,
            value: format!("{}:{}:{}", known.dev(), known.ino(), directory.display()),
            arguments: arguments.to_vec(),
        })
    }

    /// The environment variable that the process is to be started with.
    pub fn variable(&self) -> (&'static str, &str) {
        (self.variable, &self.value)
    }

    /// Whether a process has it. One that has ended has nothing.
    fn is_on(&self, id: i32) -> bool {
        let read = |what: &str| fs::read(format!("/proc/{id}/{what}"));
        match read("environ") {
            Ok(environment) => environment
                .split(|byte| *byte == 0)
                .filter_map(|entry| entry.strip_prefix(self.variable.as_bytes())?.strip_prefix(b"="))
                .any(|value| value == self.value.as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                read("cmdline").is_ok_and(|line| self.is_command_line(&line))
            }
            Err(_) => false,
        }
    }

    /// Whether these are its arguments, after the name of the program.
    fn is_command_line(&self, line: &[u8]) -> bool {
        let Some(line) = line.strip_suffix(b"\0") else {
            return false;
        };
        let words = line.split(|byte| *byte == 0).skip(1);
        !self.arguments.is_empty() && words.eq(self.arguments.iter().map(String::as_bytes))
    }

    /// The processes that have it.
    pub fn processes(&self) -> io::Result<Vec<i32>> {
        let found = self.find()?;
        Ok(found.iter().map(|orphan| orphan.id).collect())
    }

    fn find(&self) -> io::Result<Vec<Orphan>> {
        let mut found = Vec::new();
        for id in ids()? {
            if u32::try_from(id).is_ok_and(|id| id == process::id()) {
                continue;
            }
            // Looked at again when it is held: that is the one that a signal reaches.
            if self.is_on(id)
                && let Ok(descriptor) = open(id)
                && self.is_on(id)
            {
                found.push(Orphan { id, descriptor });
            }
        }
        Ok(found)
    }
}

/// Ends everything that has this tag, the process itself included: asks it to for so long, then kills it. `what` names the process
/// in the log.
pub async fn end_all(tag: Tag, what: &str, timeout: Duration) {
    let since = Instant::now();
    let tag = Arc::new(tag);
    let mut told = None;
    // Those that cannot be signalled, and have been told.
    let mut refusing = BTreeSet::new();
    loop {
        let to_look = Arc::clone(&tag);
        let left = match spawn_blocking(move || to_look.find())
            .await
            .map_err(io::Error::other)
            .and_then(|found| found)
        {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "cannot see which processes an earlier {what} has left");
                return;
            }
        };
        if left.is_empty() {
            return;
        }
        let waited = since.elapsed();
        let (signal, name) = if waited < timeout {
            (Signal::TERM, "SIGTERM")
        } else {
            (Signal::KILL, "SIGKILL")
        };
        let pids: Vec<i32> = left.iter().map(|process| process.id).collect();
        if waited >= timeout + KILL_TIMEOUT {
            tracing::error!(
                json.pids = format!("{pids:?}"),
                "processes of an earlier {what} do not end and may be in the way of the next: end these processes by hand"
            );
            return;
        }
        if told != Some(signal) {
            tracing::warn!(
                json.pids = format!("{pids:?}"),
                signal = name,
                "ending processes that an earlier {what} has left"
            );
            told = Some(signal);
        }
        let Ok(refused) = spawn_blocking(move || end(&left, signal)).await else {
            return;
        };
        for (pid, error) in refused {
            if refusing.insert(pid) {
                tracing::warn!(
                    pid,
                    "a process of an earlier {what} cannot be ended: {error}; end it by hand, or run its owner as its user"
                );
            }
        }
    }
}

/// Signals, and waits for all to end, for [`ROUND`] at most. Returns which cannot be signalled, and why.
fn end(left: &[Orphan], signal: Signal) -> Vec<(i32, Errno)> {
    let refused = left
        .iter()
        .filter_map(|process| match pidfd_send_signal(&process.descriptor, signal) {
            Ok(()) | Err(Errno::SRCH) => None,
            Err(error) => Some((process.id, error)),
        });
    let refused = refused.collect();
    let began = Instant::now();
    for process in left {
        wait_for_end(&process.descriptor, Some(ROUND.saturating_sub(began.elapsed())));
    }
    refused
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::{CommandExt, ExitStatusExt},
        process::{Child, Command, Stdio},
    };

    use super::*;

    fn tag(directory: &Path) -> Tag {
        Tag::new(
            "SUPERVISE_TEST",
            directory,
            &["-j".to_owned(), "a script".to_owned()],
        )
        .unwrap()
    }

    fn start(tag: Option<&Tag>, script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        if let Some(tag) = tag {
            let (name, value) = tag.variable();
            command.env(name, value);
        }
        // It says when it is ready, and lives until it is ended or its input is closed.
        command
            .args(["-c", script])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut byte = [0];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        child
    }

    fn clear(tag: &Tag, timeout: Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .unwrap()
            .block_on(end_all(tag.clone(), "process", timeout));
    }

    #[test]
    fn what_has_the_tag_is_ended_with_its_children_and_nothing_else() {
        let ours = tempfile::tempdir().unwrap();
        let others = tempfile::tempdir().unwrap();
        let mut tagged = start(Some(&tag(ours.path())), "sleep 600 & echo $!; read line");
        let mut other = start(Some(&tag(others.path())), "echo; read line");
        let mut untagged = start(None, "echo; read line");
        clear(&tag(ours.path()), Duration::from_secs(20));
        assert_eq!(tagged.wait().unwrap().signal(), Some(15));
        assert!(
            tag(ours.path()).find().unwrap().is_empty(),
            "the child has ended as well"
        );
        assert_eq!(other.try_wait().unwrap(), None);
        assert_eq!(untagged.try_wait().unwrap(), None);
        drop((other.stdin.take(), untagged.stdin.take()));
        other.wait().unwrap();
        untagged.wait().unwrap();
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let tag = tag(directory.path());
        let mut stubborn = start(
            Some(&tag),
            "trap '' TERM; echo; while :; do read line || sleep 600; done",
        );
        clear(&tag, Duration::ZERO);
        assert_eq!(stubborn.wait().unwrap().signal(), Some(9));
        assert!(tag.find().unwrap().is_empty());
    }

    #[test]
    fn a_command_line_is_that_of_the_process_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let tag = tag(directory.path());
        assert!(tag.is_command_line(b"/opt/zeek/bin/zeek\0-j\0a script\0"));
        assert!(!tag.is_command_line(b"vi\0a script\0"));
        assert!(!tag.is_command_line(b"zeek\0-j\0a script\0more\0"));
        assert!(!tag.is_command_line(b"zeek\0"));
        assert!(!tag.is_command_line(b""));
    }
}
