//! Controllers that are started to be measured.

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
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

use crate::{
    Failure, failed,
    usage::{field, read},
};

/// How long a controller may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to end after SIGTERM, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection is tried while the controller starts: the resolution of the start time.
const CONNECT_INTERVAL: Duration = Duration::from_micros(250);

/// How to start a controller, any number of times.
#[derive(Debug)]
pub(crate) struct Launch {
    address: SocketAddr,
    /// Where it serves Broker peers.
    broker: SocketAddr,
    program: String,
    arguments: Vec<String>,
}

impl Launch {
    /// This project's controller on free ports, with its directories in the one that it is started in.
    pub(crate) fn own(path: &Path) -> Result<Self, Failure> {
        let path = fs::canonicalize(path).map_err(failed(path.display().to_string()))?;
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("looking for a free port"));
        // Both at the same time, so that they differ.
        let listeners = [bind()?, bind()?];
        let [address, broker] = listeners.map(|listener| listener.local_addr());
        let address = address.map_err(failed("looking for a free port"))?;
        let broker = broker.map_err(failed("looking for a free port"))?;
        let (websocket, native) = (address.to_string(), broker.to_string());
        let arguments = [
            ["--name", "bench"],
            ["--websocket-listen", &websocket],
            ["--listen", &native],
            ["--state-dir", "."],
            ["--spool-dir", "spool"],
        ];
        Ok(Self {
            address,
            broker,
            program: path.display().to_string(),
            arguments: arguments.concat().into_iter().map(str::to_owned).collect(),
        })
    }

    /// Any command, which will listen on these addresses.
    pub(crate) fn command(
        (address, broker): (SocketAddr, SocketAddr),
        command: &[String],
    ) -> Result<Self, Failure> {
        let (program, arguments) = command.split_first().expect("the caller has a command");
        if TcpStream::connect(address).is_ok() {
            return Err(failed(program)(format!("{address} is in use already")));
        }
        Ok(Self {
            address,
            broker,
            program: program.clone(),
            arguments: arguments.to_vec(),
        })
    }

    /// Starts the controller in a new directory and waits until it accepts connections.
    pub(crate) async fn start(&self) -> Result<Controller, Failure> {
        let home = TempDir::with_prefix("mgmt-bench-").map_err(failed("making a directory"))?;
        self.start_in(home).await
    }

    /// Starts it where it may have run before.
    pub(crate) async fn start_in(&self, home: TempDir) -> Result<Controller, Failure> {
        let started = Instant::now();
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed(format!("starting {}", self.program)))?;
        let mut controller = Controller {
            address: self.address,
            broker: self.broker,
            started,
            listening_after: Duration::ZERO,
            group: Group(child),
            home,
        };
        let what = format!("waiting for {} to listen on {}", self.program, self.address);
        timeout(START_TIMEOUT, controller.listens())
            .await
            .unwrap_or_else(|late| Err(io::Error::other(late)))
            .map_err(failed(what))?;
        controller.listening_after = started.elapsed();
        Ok(controller)
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
    /// Where it serves Broker peers.
    pub(crate) broker: SocketAddr,
    pub(crate) started: Instant,
    pub(crate) listening_after: Duration,
    group: Group,
    home: TempDir,
}

/// What was started, and what it has started: Zeek's controller is three processes. Dropped, it is killed.
#[derive(Debug)]
struct Group(Child);

impl Group {
    fn signal(&self, signal: Signal) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // The group may have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Memory of a process and all its descendants, in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) processes: usize,
    /// The sum of the resident sets: memory that processes share is counted for each.
    pub(crate) rss_kib: u64,
    /// The sum of the proportional sets: shared memory is divided among those that share it.
    pub(crate) pss_kib: u64,
}

impl Controller {
    /// Waits until it accepts connections.
    async fn listens(&mut self) -> io::Result<()> {
        while !accepts(self.address).await? {
            if let Some(status) = self.group.0.try_wait()? {
                return Err(io::Error::other(format!("it ended before, with {status}")));
            }
            sleep(CONNECT_INTERVAL).await;
        }
        Ok(())
    }

    /// Fails if it has ended.
    pub(crate) fn still_runs(&mut self) -> Result<(), Failure> {
        let ended = self.group.0.try_wait();
        match ended.map_err(failed("looking for the controller"))? {
            None => Ok(()),
            Some(status) => {
                let after = self.started.elapsed().as_secs();
                Err(failed("the controller")(format!(
                    "it has ended after {after} s, with {status}"
                )))
            }
        }
    }

    /// The process that was started and its descendants, each after its parent.
    fn processes(&self) -> Result<Vec<u32>, Failure> {
        let mut processes: Vec<u32> = self.group.0.id().into_iter().collect();
        let mut next = 0;
        while let Some(&process) = processes.get(next) {
            // Those of the main thread, which is the one that Zeek forks in.
            let children = read(process, &format!("task/{process}/children"))?;
            processes.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
            next += 1;
        }
        Ok(processes)
    }

    /// The process that is the controller: where there are several, Zeek's Supervisor has a child, whose child it is.
    pub(crate) fn process(&self) -> Result<u32, Failure> {
        let last = self.processes()?.pop();
        last.ok_or_else(|| failed("looking for the controller's process")("it has ended"))
    }

    /// The memory of the whole process tree, now.
    pub(crate) fn memory(&self) -> Result<Memory, Failure> {
        let mut memory = Memory::default();
        for process in self.processes()? {
            let rollup = read(process, "smaps_rollup")?;
            memory.processes += 1;
            memory.rss_kib += field(&rollup, "Rss:");
            memory.pss_kib += field(&rollup, "Pss:");
        }
        Ok(memory)
    }

    /// Kills the controller and everything it started; returns where it ran.
    pub(crate) async fn kill(mut self) -> Result<TempDir, Failure> {
        self.group.signal(Signal::KILL);
        self.group
            .0
            .wait()
            .await
            .map_err(failed("waiting for the controller"))?;
        Ok(self.home)
    }

    /// Ends the controller and everything it started.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        for signal in [Signal::TERM, Signal::KILL] {
            self.group.signal(signal);
            if let Ok(status) = timeout(STOP_TIMEOUT, self.group.0.wait()).await {
                status.map_err(failed("waiting for the controller"))?;
                break;
            }
        }
        Ok(())
    }
}
