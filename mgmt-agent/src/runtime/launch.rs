//! How a Supervisor of ours is started, and found again by a later agent.
//!
//! Before one is started, nothing of the one before may be left: nodes are no children of Zeek's Supervisor but of its stem, which
//! looks every second whether the Supervisor is there, and then takes up to 26 seconds to end them (`Supervisor.cc`,
//! `Stem::Shutdown`). Two processes would write into the directory of each node, and the new ones would find their ports taken.
//!
//! It outlives a crash of ours, and its nodes with it: the next agent finds it by a record in its directory and takes it
//! over, if it would start the same one.

use std::{
    fs, future, io,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use broker_codec::data::Port;
use broker_endpoint::PeerAddress;
use mgmt_daemon::{config::Value, files};
use supervise::unix::{Handle, Record};

use super::{
    kept::{Left, Program},
    stderr::Stderr,
};
use crate::{
    config::{Config, ZeekCommand, tls_options},
    coordinates::{AGENT_ADDRESS, AGENT_PORT, Coordinates},
};

/// Environment variables that make Zeek something else than a Supervisor of ours (`Supervisor.cc`, `agent/boot.zeek`,
/// `cluster/main.zeek`).
const NOT_INHERITED: [&str; 4] = [
    "ZEEK_STEM",
    "ZEEK_SUPERVISED_NODE",
    "ZEEK_MANAGEMENT_NODE",
    "CLUSTER_NODE",
];

/// The Supervisor's directory below that of the agent, and the record of its process in there.
const DIRECTORY: &str = "supervisor";
const RECORD: &str = "supervisor.json";

/// Whether the Supervisor of an agent that works in this directory runs.
pub(crate) fn runs_in(working_dir: &Path) -> bool {
    let record = read_record(&working_dir.join(DIRECTORY).join(RECORD));
    record.is_some_and(|record| record.runs())
}

/// A record that cannot be read tells of nothing.
fn read_record(path: &Path) -> Option<Record<Launch>> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The Supervisor as a program that is kept.
#[derive(Clone, Debug)]
pub(super) struct SupervisorProgram {
    pub(super) launch: Launch,
    /// Where it is to listen. With port 0 there is a free one for each start: what was free may be taken by the next.
    pub(super) address: PeerAddress,
}

impl Program for SupervisorProgram {
    const WHAT: &'static str = "Supervisor";
    const WHOLE: &'static str = "Supervisor and its nodes";
    const TAG: &'static str = "MGMT_AGENT_SUPERVISOR";
    /// Zeek's kills nodes after 26 seconds (`Supervisor.cc`, `Stem::Shutdown`).
    const STOP_TIMEOUT: Duration = Duration::from_secs(30);
    type Written = Stderr;
    /// Where it is going to listen: it does not say when.
    type Announced = PeerAddress;

    fn program(&self) -> &Path {
        &self.launch.program
    }

    fn arguments(&self) -> Vec<String> {
        self.launch.arguments()
    }

    fn directory(&self) -> &Path {
        &self.launch.directory
    }

    /// With new files for its output.
    fn start(&mut self) -> io::Result<(Handle, Stderr)> {
        self.launch.port = free_port(&self.address)?;
        let mut command = self.command()?;
        let launch = &self.launch;
        let file = |name| files::create(&launch.directory.join(name));
        command
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.directory)
            .stdout(file("stdout")?)
            .stderr(file("stderr")?);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        let process = Handle::child(command.spawn()?)?;
        // Without its record it can still be looked after, by this agent.
        if let Err(error) = launch.record(&process) {
            tracing::warn!(%error, "cannot write down which process the Supervisor is");
        }
        Ok((process, Stderr::new(launch.stderr())))
    }

    fn announced(&self, _: i32) -> impl Future<Output = PeerAddress> + Send {
        future::ready(PeerAddress {
            port: self.launch.port,
            ..self.address.clone()
        })
    }

    fn left_behind(&self) -> Option<Left<Self>> {
        let record = read_record(&self.launch.record_path())?;
        let process = record.process();
        let same = self.launch.would_start(&record.launch);
        let launch = Launch {
            directory: self.launch.directory.clone(),
            ..record.launch
        };
        Some(Left {
            process,
            written: same.then(|| Stderr::found(launch.stderr())),
            program: Self {
                launch,
                address: self.address.clone(),
            },
        })
    }

    fn forget(&self) {
        let _ = fs::remove_file(self.launch.record_path());
    }
}

/// How a Supervisor is started, or was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Launch {
    program: PathBuf,
    /// All but the port.
    arguments: Vec<String>,
    /// Where it listens; 0 until one is chosen.
    port: u16,
    environment: Vec<(String, String)>,
    /// Where it works: its output is here, in `stdout` and `stderr`, and its record.
    directory: PathBuf,
}

impl Launch {
    /// By this script, for an agent that is found there.
    pub(super) fn new(config: &Config, zeek: &ZeekCommand, script: &Path, agent: Coordinates) -> Self {
        let mut arguments = zeek.leading_arguments.clone();
        arguments.extend(["-j".into(), script.display().to_string()]);
        arguments.extend(zeek.further_arguments.iter().cloned());
        arguments.extend(tls_options(&config.daemon.broker_tls));
        let state = config.settings.state_dir.to_str_lossy().into_owned();
        let environment = [
            (AGENT_ADDRESS, agent.address.to_string()),
            (AGENT_PORT, agent.port.show()),
            ("ZEEK_MANAGEMENT_STATE_DIR", state),
            (
                "ZEEK_MANAGEMENT_SPOOL_DIR",
                config.daemon.spool_dir.display().to_string(),
            ),
        ];
        Self {
            program: zeek.program.clone(),
            arguments,
            port: config.supervisor.as_ref().map_or(0, |supervisor| supervisor.port),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            directory: config.daemon.working_dir.join(DIRECTORY),
        }
    }

    fn arguments(&self) -> Vec<String> {
        let port = format!("Broker::default_port={}", Port::tcp(self.port).show());
        self.arguments.iter().cloned().chain([port]).collect()
    }

    /// Whether a Supervisor that was started so is one that this would start. If the port is chosen at each start, any is as good.
    fn would_start(&self, started: &Self) -> bool {
        let port = if self.port == 0 { started.port } else { self.port };
        *started == Self { port, ..self.clone() }
    }

    fn record_path(&self) -> PathBuf {
        self.directory.join(RECORD)
    }

    fn record(&self, process: &Handle) -> io::Result<()> {
        let record = Record::new(process.id(), self)?;
        files::replace(
            &self.record_path(),
            &serde_json::to_vec(&record)?,
            files::FILE_MODE,
        )
    }

    fn stderr(&self) -> PathBuf {
        self.directory.join("stderr")
    }
}

/// The port of this address, or one that is free if it is 0.
///
/// Fails if another process listens there: Zeek would say so as one of many lines, and we might take that process for our
/// Supervisor.
fn free_port(address: &PeerAddress) -> io::Result<u16> {
    match TcpListener::bind((address.host.as_str(), address.port)) {
        Ok(listener) => Ok(listener.local_addr()?.port()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(io::Error::other(format!(
            "another process listens on {address}, perhaps the Supervisor of another agent; end it, or choose another --supervisor"
        ))),
        Err(error) if address.port == 0 => Err(error),
        // Zeek will say what is wrong.
        Err(_) => Ok(address.port),
    }
}
