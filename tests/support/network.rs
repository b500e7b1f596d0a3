//! A network of its own, in which programs of this host and containers run: loopback, and what a test makes.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::works;

/// Needs root.
#[derive(Debug)]
pub(crate) struct Network {
    /// It is there as long as a process is in it.
    holder: Child,
}

impl Network {
    pub(crate) fn new() -> Self {
        // Its standard input ends with this process, whatever becomes of that.
        let script = "ip link set lo up && echo ready && exec cat";
        let holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = holder.expect("unshare can be run");
        let mut line = String::new();
        let stdout = holder.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("a pipe can be read");
        assert_eq!(line, "ready\n", "a network can be made");
        Self { holder }
    }

    /// The file by which it is entered.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }

    /// A command that starts a program of this host in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .args(["--", program]);
        command
    }

    /// Makes an interface of this name.
    pub(crate) fn add_interface(&self, name: &str) {
        // Not every kernel has the type `dummy`.
        let made = works(
            self.command("ip")
                .args(["link", "add", name, "type", "veth", "peer", "name", "peer0"]),
        );
        assert!(made, "an interface can be made");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
