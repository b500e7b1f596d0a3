//! Controllers that are started to be measured.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use tempfile::TempDir;
use tokio::{
    net::TcpSocket,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// How long a controller may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to end after SIGTERM, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection is tried while the controller starts: the resolution of the start time.
const CONNECT_INTERVAL: Duration = Duration::from_micros(250);

/// A controller could not be started, looked at or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// An operation of the system failed.
    #[error("{what}: {source}")]
    System { what: String, source: io::Error },
    /// Something listens there already: its start cannot be measured.
    #[error("{0} is in use already")]
    InUse(SocketAddr),
    #[error("{program} ended with {status} before it listened on {address}")]
    Ended {
        program: String,
        status: std::process::ExitStatus,
        address: SocketAddr,
    },
    /// It did not listen in time.
    #[error("{program} did not listen on {address} within {} s", START_TIMEOUT.as_secs())]
    Slow { program: String, address: SocketAddr },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> ProcessError {
    let what = what.into();
    move |source| ProcessError::System { what, source }
}

/// How to start a controller, any number of times.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) address: SocketAddr,
    /// Where it serves Broker peers, if it is ours.
    broker: SocketAddr,
    program: String,
    arguments: Arguments,
}

#[derive(Debug)]
enum Arguments {
    /// This project's controller: told its port and directories.
    Own,
    /// Any other: as given.
    Given(Vec<String>),
}

impl Launch {
    /// This project's controller on a free port.
    pub(crate) fn own(path: &Path) -> Result<Self, ProcessError> {
        let path = fs::canonicalize(path).map_err(system(path.display().to_string()))?;
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(system("looking for a free port"));
        // Both at the same time, so that they differ.
        let listeners = [bind()?, bind()?];
        let [address, broker] = listeners.map(|listener| listener.local_addr());
        Ok(Self {
            address: address.map_err(system("looking for a free port"))?,
            broker: broker.map_err(system("looking for a free port"))?,
            program: path.display().to_string(),
            arguments: Arguments::Own,
        })
    }

    /// Any command, which will listen on `address`.
    pub(crate) fn command(address: SocketAddr, command: &[String]) -> Result<Self, ProcessError> {
        let (program, arguments) = command.split_first().expect("the caller has a command");
        if TcpStream::connect(address).is_ok() {
            return Err(ProcessError::InUse(address));
        }
        Ok(Self {
            address,
            broker: address,
            program: program.clone(),
            arguments: Arguments::Given(arguments.to_vec()),
        })
    }

    /// Starts the controller in a new directory and waits until it accepts connections.
    pub(crate) async fn start(&self) -> Result<Controller, ProcessError> {
        let home = TempDir::with_prefix("mgmt-bench-").map_err(system("making a directory"))?;
        let mut command = Command::new(&self.program);
        match &self.arguments {
            Arguments::Own => {
                let state = home.path().join("state");
                fs::create_dir(&state).map_err(system("making a directory"))?;
                command.args(["--name", "bench", "--websocket-listen", &self.address.to_string()]);
                command.args(["--listen", &self.broker.to_string()]);
                command
                    .arg("--state-dir")
                    .arg(state)
                    .arg("--spool-dir")
                    .arg(home.path().join("spool"));
            }
            Arguments::Given(arguments) => {
                command.args(arguments);
            }
        }
        let started = Instant::now();
        let mut child = command
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Zeek's controller is three processes: the group is what is stopped.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(system(format!("starting {}", self.program)))?;
        while !accepts(self.address)
            .await
            .map_err(system("connecting to the controller"))?
        {
            if let Some(status) = child.try_wait().map_err(system("waiting for the controller"))? {
                return Err(ProcessError::Ended {
                    program: self.program.clone(),
                    status,
                    address: self.address,
                });
            }
            if started.elapsed() > START_TIMEOUT {
                return Err(ProcessError::Slow {
                    program: self.program.clone(),
                    address: self.address,
                });
            }
            sleep(CONNECT_INTERVAL).await;
        }
        Ok(Controller {
            address: self.address,
            broker: self.broker,
            started,
            listening_after: started.elapsed(),
            child,
            _home: home,
        })
    }
}

/// Whether something listens there.
///
/// A connection to a free port may be given that very port as its own, and then succeeds with itself; and the controller could
/// not have the port any more. So the own port is chosen first.
async fn accepts(address: SocketAddr) -> io::Result<bool> {
    let (any, socket) = if address.is_ipv4() {
        (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), TcpSocket::new_v4()?)
    } else {
        (SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), TcpSocket::new_v6()?)
    };
    socket.bind(any)?;
    Ok(socket.local_addr()?.port() != address.port() && socket.connect(address).await.is_ok())
}

#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    /// Where it serves Broker peers, if it is ours.
    pub(crate) broker: SocketAddr,
    pub(crate) started: Instant,
    pub(crate) listening_after: Duration,
    child: Child,
    _home: TempDir,
}

/// Memory of a process and all its descendants, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    pub(crate) processes: usize,
    /// The sum of the resident sets: memory that processes share is counted for each.
    pub(crate) rss_kib: u64,
    /// The sum of the proportional sets: shared memory is divided among those that share it.
    pub(crate) pss_kib: u64,
}

impl Controller {
    fn group(&self) -> Option<Pid> {
        self.child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
    }

    /// The memory of the whole process tree, now.
    pub(crate) fn memory(&self) -> Result<Memory, ProcessError> {
        let mut memory = Memory::default();
        let children = children().map_err(system("reading /proc"))?;
        let mut queue: Vec<u32> = self.child.id().into_iter().collect();
        while let Some(process) = queue.pop() {
            let path = PathBuf::from(format!("/proc/{process}/smaps_rollup"));
            let rollup = fs::read_to_string(&path).map_err(system(path.display().to_string()))?;
            memory.processes += 1;
            memory.rss_kib += field(&rollup, "Rss:");
            memory.pss_kib += field(&rollup, "Pss:");
            queue.extend(children.get(&process).into_iter().flatten());
        }
        Ok(memory)
    }

    /// Ends the controller and everything it started.
    pub(crate) async fn stop(mut self) -> Result<(), ProcessError> {
        let group = self.group();
        for (signal, patience) in [(Signal::TERM, STOP_TIMEOUT), (Signal::KILL, STOP_TIMEOUT)] {
            if let Some(group) = group {
                // The group may have ended by itself.
                let _ = kill_process_group(group, signal);
            }
            if let Ok(status) = timeout(patience, self.child.wait()).await {
                status.map_err(system("waiting for the controller"))?;
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The children of every process.
fn children() -> io::Result<BTreeMap<u32, Vec<u32>>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(process) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        // A process that ends meanwhile has no parent any more.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else {
            continue;
        };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(process);
        }
    }
    Ok(children)
}

/// The parent in a line of `/proc/PID/stat`; the name before it may hold anything but ends with the last parenthesis.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// A field of `smaps_rollup`, in KiB.
fn field(rollup: &str, name: &str) -> u64 {
    rollup
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("42 (zeek) S 7 42 42 0 -1"), Some(7));
        assert_eq!(parent("42 (a) S 9) (b) R 8 1"), Some(8));
        assert_eq!(parent("42"), None);
    }

    #[test]
    fn fields_are_read_by_name() {
        let rollup = "5590a000-7ffd0000 ---p 00000000 00:00 0 [rollup]\nRss:   1234 kB\nPss:    567 kB\nPss_Anon: 9 kB\n";
        assert_eq!(
            (
                field(rollup, "Rss:"),
                field(rollup, "Pss:"),
                field(rollup, "Swap:")
            ),
            (1234, 567, 0)
        );
    }
}
