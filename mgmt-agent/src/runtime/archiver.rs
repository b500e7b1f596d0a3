//! The archiver, a program that moves rotated logs to where they are kept.

use std::process::Stdio;

use tokio::{process::Command, task::JoinSet};

/// How many archivers may run at a time. Further runs are left out: what they would do, the next one does.
pub(super) const ARCHIVERS_MAX: usize = 4;

/// The archivers that run.
#[derive(Debug, Default)]
pub(super) struct Archivers {
    running: JoinSet<()>,
    pub(super) started: u64,
    pub(super) left_out: u64,
}

impl Archivers {
    /// Starts one by a shell, as Zeek does (`agent/main.zeek`, by `system()`): its output goes where our log goes, and
    /// nobody waits for it.
    pub(super) fn start(&mut self, command: &str) {
        while self.running.try_join_next().is_some() {}
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
            Ok(mut child) => {
                self.started += 1;
                let command = command.to_owned();
                self.running.spawn(async move {
                    match child.wait().await {
                        Ok(status) if status.success() => tracing::debug!(command, "archived"),
                        Ok(status) => tracing::warn!(command, %status, "the archiver failed"),
                        Err(error) => tracing::warn!(command, %error, "the archiver cannot be waited for"),
                    }
                });
            }
            Err(error) => tracing::warn!(command, %error, "the archiver cannot be started"),
        }
    }
}
