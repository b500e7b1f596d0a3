//! The archiver, a program that moves rotated logs to where they are kept.

use std::process::Stdio;

use tokio::{
    process::{Child, Command},
    task::{JoinError, JoinSet},
};

/// How many archivers may run at a time. Further runs are left out: what they would do, the next one does.
pub(super) const ARCHIVERS_MAX: usize = 4;

/// The archivers that run.
#[derive(Debug, Default)]
pub(super) struct Archivers {
    /// Each with whether it did its work.
    running: JoinSet<bool>,
    pub(super) started: u64,
    pub(super) left_out: u64,
    /// Those that could not be started or did not end with success, of those that have ended.
    failed: u64,
}

impl Archivers {
    /// Starts one by a shell, as Zeek does (`agent/main.zeek`, by `system()`): its output goes where our log goes, and
    /// nobody waits for it.
    pub(super) fn start(&mut self, command: &str) {
        self.note_ends();
        if self.running.len() >= ARCHIVERS_MAX {
            self.left_out += 1;
            tracing::warn!(
                command,
                running = self.running.len(),
                "earlier archivers have not ended, this run is left out"
            );
            return;
        }
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("exec 1>&2\n{command}")])
            .stdin(Stdio::null())
            .spawn();
        match child {
            Ok(child) => {
                self.started += 1;
                self.running.spawn(attend(child, command.to_owned()));
            }
            Err(error) => {
                self.failed += 1;
                tracing::warn!(command, %error, "the archiver cannot be started");
            }
        }
    }

    /// How many have failed so far.
    pub(super) fn failed(&mut self) -> u64 {
        self.note_ends();
        self.failed
    }

    fn note_ends(&mut self) {
        while let Some(ended) = self.running.try_join_next() {
            self.note_end(&ended);
        }
    }

    fn note_end(&mut self, ended: &Result<bool, JoinError>) {
        self.failed += u64::from(!matches!(ended, Ok(true)));
    }
}

/// Waits for an archiver's end, and says whether it did its work.
async fn attend(mut archiver: Child, command: String) -> bool {
    match archiver.wait().await {
        Ok(status) if status.success() => {
            tracing::debug!(command, "archived");
            return true;
        }
        Ok(status) => tracing::warn!(command, %status, "the archiver failed"),
        Err(error) => tracing::warn!(command, %error, "the archiver cannot be waited for"),
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn archivers_that_fail_are_counted() {
        let mut archivers = Archivers::default();
        for command in ["true", "exit 3", "/nonexistent/archiver 2>/dev/null"] {
            archivers.start(command);
        }
        while let Some(ended) = archivers.running.join_next().await {
            archivers.note_end(&ended);
        }
        assert_eq!(
            (archivers.started, archivers.left_out, archivers.failed()),
            (3, 0, 2)
        );
    }
}
