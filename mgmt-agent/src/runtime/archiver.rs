//! The archiver, a program that moves rotated logs to where they are kept.

use std::{fs::File, io, os::unix::fs::FileExt, process::Stdio, time::Duration};

use counters::Counters;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::{
    process::{Child, Command},
    task::{JoinError, JoinSet},
    time::timeout,
};

use crate::Counted;

/// How many archivers may run at a time. Further runs are left out: what they would do, the next one does.
pub(super) const ARCHIVERS_MAX: usize = 4;

/// How long those that run are waited for when the agent ends. They run on after that, but what comes of it is not logged.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// How much of what an archiver has written is logged, in bytes: the end.
const OUTPUT_BYTES_MAX: usize = 2048;

#[derive(Debug)]
pub(super) struct Archivers {
    /// Each with whether it did its work.
    running: JoinSet<bool>,
    counters: Counters<Counted>,
}

impl Archivers {
    pub(super) fn new(counters: Counters<Counted>) -> Self {
        let running = JoinSet::new();
        Self { running, counters }
    }

    /// Starts one by a shell, as Zeek does (`agent/main.zeek`, by `system()`). What it writes is logged when it has ended.
    pub(super) fn start(&mut self, command: &str) {
        while let Some(ended) = self.running.try_join_next() {
            self.note_end(&ended);
        }
        if self.running.len() >= ARCHIVERS_MAX {
            self.counters.increment(Counted::ArchiversLeftOut);
            tracing::warn!(
                command,
                running = self.running.len(),
                "earlier archivers have not ended: rotated logs stay where they are until the next archival"
            );
            return;
        }
        match Run::start(command) {
            Ok(run) => {
                self.counters.increment(Counted::Archivers);
                self.running.spawn(run.attend(command.to_owned()));
            }
            Err(error) => {
                self.counters.increment(Counted::ArchiversFailed);
                tracing::warn!(
                    command,
                    "the archiver cannot be started, rotated logs stay where they are: {error}"
                );
            }
        }
    }

    /// Waits for those that run, for a while: what they say last is to be heard.
    pub(super) async fn finish(&mut self) {
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                self.note_end(&ended);
            }
        };
        if timeout(LAST_WAIT, all).await.is_err() {
            tracing::info!(running = self.running.len(), "archivers still run, and run on");
        }
    }

    fn note_end(&self, ended: &Result<bool, JoinError>) {
        if !matches!(ended, Ok(true)) {
            self.counters.increment(Counted::ArchiversFailed);
        }
    }
}

struct Run {
    child: Child,
    output: File,
}

impl Run {
    /// It writes into memory: a pipe would break when we end before it does, and it with the pipe.
    fn start(command: &str) -> io::Result<Self> {
        let output = File::from(memfd_create("archiver", MemfdFlags::CLOEXEC)?);
        let child = Command::new("/bin/sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn()?;
        Ok(Self { child, output })
    }

    /// Waits for its end, and says whether it did its work.
    async fn attend(mut self, command: String) -> bool {
        let ended = self.child.wait().await;
        // What cannot be read was not said.
        let output = last_of(&self.output).unwrap_or_default();
        match ended {
            Ok(status) if status.success() => {
                if output.is_empty() {
                    tracing::debug!(command, "archived");
                } else {
                    tracing::info!(command, "the archiver says: {output}");
                }
                return true;
            }
            Ok(status) => tracing::warn!(
                command,
                "the archiver failed ({status}), rotated logs stay where they are: {output}"
            ),
            Err(error) => tracing::warn!(command, "the archiver cannot be waited for: {error}"),
        }
        false
    }
}

fn last_of(output: &File) -> io::Result<String> {
    let len = output.metadata()?.len();
    let mut bytes = vec![0; OUTPUT_BYTES_MAX];
    let from = len.saturating_sub(OUTPUT_BYTES_MAX as u64);
    let read = output.read_at(&mut bytes, from)?;
    bytes.truncate(read);
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn archivers_that_fail_are_counted() {
        let mut archivers = Archivers::new(Counters::default());
        for command in ["true", "exit 3", "/nonexistent/archiver"] {
            archivers.start(command);
        }
        archivers.finish().await;
        let count = |kind| archivers.counters.get(kind);
        assert_eq!(count(Counted::Archivers), 3);
        assert_eq!(count(Counted::ArchiversLeftOut), 0);
        assert_eq!(count(Counted::ArchiversFailed), 2);
    }

    #[tokio::test]
    async fn what_an_archiver_writes_is_kept_as_one_line_of_its_end() {
        let run = Run::start("echo one; seq 10000 >&2; echo two >&2").expect("there is a shell");
        let Run { mut child, output } = run;
        assert!(child.wait().await.expect("it can be waited for").success());
        let written = last_of(&output).expect("it can be read");
        assert!(written.len() < 2 * OUTPUT_BYTES_MAX, "{written}");
        assert!(written.ends_with("; 9999; 10000; two"), "{written}");
    }
}
