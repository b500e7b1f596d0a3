//! The real zeek-client from `PyPI`, as an operator runs it.

use std::{
    ffi::OsStr,
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use super::{controller::Controller, network::Network, program::Outcome, scenario, workspace_root};

/// Runs the latest release.
pub(crate) fn zeek_client(controller: &mut Controller, arguments: &[&str], stdin: Option<&str>) -> Outcome {
    ZeekClient::latest().run(controller.websocket(), arguments, stdin)
}

/// The installed zeek-client of one release.
#[derive(Debug)]
pub(crate) struct ZeekClient {
    program: PathBuf,
    version: String,
    /// The file of the network that it is run in, if that is another one than this process's.
    network: Option<PathBuf>,
}

impl ZeekClient {
    pub(crate) fn latest() -> Self {
        Self::release("1.5.0")
    }

    /// Finds the release in the environments that the setup made.
    pub(crate) fn release(version: &str) -> Self {
        let program = workspace_root()
            .join(".local/zeek-client")
            .join(version)
            .join("bin/zeek-client");
        assert!(
            program.exists(),
            "zeek-client {version} is not installed at {}: run scripts/check.sh --setup",
            program.display()
        );
        Self {
            program,
            version: version.to_owned(),
            network: None,
        }
    }

    /// The same in this network, as long as that is there.
    pub(crate) fn within(self, network: &Network) -> Self {
        Self {
            network: Some(network.path()),
            ..self
        }
    }

    /// Runs it against the controller at `address`. No configuration file or setting of the machine has any influence.
    pub(crate) fn run(
        &self,
        address: SocketAddr,
        arguments: &[impl AsRef<OsStr>],
        stdin: Option<&str>,
    ) -> Outcome {
        let started = Instant::now();
        let mut child = self.start(address, arguments, stdin.is_some());
        if let Some(text) = stdin {
            // A client that fails early does not read its input.
            let _ = child
                .stdin
                .take()
                .expect("stdin is piped")
                .write_all(text.as_bytes());
        }
        Outcome::of(child, "zeek-client", started)
    }

    /// Starts it; the caller has to wait for its end.
    pub(crate) fn start(
        &self,
        address: SocketAddr,
        arguments: &[impl AsRef<OsStr>],
        with_stdin: bool,
    ) -> Child {
        // A shell has what it starts in the background ignore SIGINT, tests and what these start included.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT");
        if let Some(network) = &self.network {
            command
                .arg("nsenter")
                .arg(format!("--net={}", network.display()))
                .arg("--");
        }
        command
            .arg(&self.program)
            .args(["--configfile", "/dev/null", "--controller", &address.to_string()])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("PYTHONUNBUFFERED", "1")
            .stdin(if with_stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("zeek-client {}: {error}", self.version))
    }

    pub(crate) fn repeat(command: &scenario::Command, address: SocketAddr) -> Outcome {
        let (program, arguments) = command.argv.split_first().expect("a recorded command has a name");
        assert_eq!(program, "zeek-client");
        Self::release(&command.client_version).run(address, arguments, command.stdin.as_deref())
    }
}
