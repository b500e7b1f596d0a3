use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use broker_codec::data::ZeekString;
use broker_endpoint::at;
use bytes::Bytes;
use mgmt_api::NodeConfig;
use rustix::process::{Signal, pidfd_send_signal};
use supervise::{
    output::Lines,
    process::{Effect, Event, Policy, Process, Then},
    unix::open,
};
use tokio::{
    io::{AsyncRead, AsyncWriteExt},
    process::{Child, Command},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{outputs::Stream, policy::ZEEK};
use crate::{
    command_line::{CommandLine, NODE_OPTION, variable},
    node::Instructions,
    path,
};

/// How long the output of a node is waited for after its end: a process that it started may hold it open.
const DRAIN: Duration = Duration::from_millis(500);

/// What the stem is to do.
#[derive(Debug)]
pub(super) enum Order {
    Create(Box<NodeConfig>),
    Restart(ZeekString),
    Destroy(ZeekString),
}

#[derive(Debug)]
pub(super) enum Notice {
    /// A node has a process.
    Started {
        node: ZeekString,
        directory: Option<PathBuf>,
        pid: u32,
    },
    /// A node has written a line.
    Line {
        node: ZeekString,
        stream: Stream,
        line: Bytes,
    },
    /// Something happened that Zeek's Supervisor reports as an error.
    Trouble(String),
}

/// Starts, watches and ends the processes of nodes, one order after the other (`Stem` in `src/supervisor/Supervisor.cc`).
/// While it waits for a node to end it does nothing else.
pub(super) struct Stem {
    program: Vec<OsString>,
    words: Vec<String>,
    simulation: bool,
    zeek_version: String,
    notices: mpsc::Sender<Notice>,
    epoch: Instant,
    policy: Policy,
    nodes: BTreeMap<ZeekString, Node>,
    exits: JoinSet<Exit>,
}

struct Node {
    config: NodeConfig,
    machine: Process,
    /// The process, if there is one.
    running: Option<Running>,
    /// Whether we have ever signalled it: from then on its ends are not reported as premature.
    killed: bool,
}

struct Running {
    pid: u32,
    handle: OwnedFd,
    since: Instant,
}

struct Exit {
    node: ZeekString,
    pid: u32,
    status: io::Result<ExitStatus>,
}

impl Stem {
    pub(super) fn new(
        program: Vec<OsString>,
        command_line: &CommandLine,
        zeek_version: &str,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            program,
            words: command_line.words.clone(),
            simulation: command_line.simulation,
            zeek_version: zeek_version.to_owned(),
            notices,
            epoch: Instant::now(),
            policy: Policy {
                kills: variable("ZEEK_SUPERVISOR_NO_SIGKILL").is_none(),
                ..ZEEK
            },
            nodes: BTreeMap::new(),
            exits: JoinSet::new(),
        }
    }

    /// Works until there can be no more orders, then ends all nodes.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let due = self.next_deadline(None);
            tokio::select! {
                biased;
                Some(exit) = self.exits.join_next() => self.ended(exit).await,
                () = at(due) => self.revive().await,
                order = orders.recv() => match order {
                    None => break,
                    Some(Order::Create(config)) => {
                        let name = config.name.clone();
                        let node = Node {
                            config: *config,
                            machine: Process::new(self.policy),
                            running: None,
                            killed: false,
                        };
                        self.nodes.insert(name.clone(), node);
                        self.step(&name, Event::Start).await;
                    }
                    Some(Order::Restart(name)) => self.end(Some(&name), Then::Start).await,
                    Some(Order::Destroy(name)) => {
                        self.end(Some(&name), Then::Stay).await;
                        self.nodes.remove(&name);
                    }
                },
            }
        }
        self.end(None, Then::Stay).await;
    }

    /// When the machine of one of these nodes wants to hear of the time.
    fn next_deadline(&self, only: Option<&ZeekString>) -> Option<Instant> {
        let meant = self
            .nodes
            .iter()
            .filter(|(name, _)| only.is_none_or(|only| only == *name));
        let deadlines = meant.filter_map(|(_, node)| node.machine.deadline());
        deadlines.min().map(|deadline| self.epoch + deadline)
    }

    /// Starts nodes again that have ended by themselves.
    async fn revive(&mut self) {
        for name in self.names() {
            if let Some(pid) = self.step(&name, Event::Tick).await {
                let text = format!("Supervised node '{name}' (PID {pid}) revived after premature exit");
                self.tell(Notice::Trouble(text)).await;
            }
        }
    }

    fn names(&self) -> Vec<ZeekString> {
        self.nodes.keys().cloned().collect()
    }

    /// Does what a node's machine says to that. Returns the id of a process that was started.
    async fn step(&mut self, name: &ZeekString, event: Event) -> Option<u32> {
        let now = self.epoch.elapsed();
        let node = self.nodes.get_mut(name)?;
        let signal = match node.machine.step(now, event)? {
            Effect::Spawn => {
                let pid = self.start(name).await;
                let event = pid.map_or(Event::NotSpawned, |_| Event::Spawned);
                let node = self.nodes.get_mut(name)?;
                let _ = node.machine.step(self.epoch.elapsed(), event);
                return pid;
            }
            Effect::Terminate => Signal::TERM,
            Effect::Kill => Signal::KILL,
        };
        if let Some(running) = &node.running {
            node.killed = true;
            // Fails if it has just ended, which is heard of next.
            let _ = pidfd_send_signal(&running.handle, signal);
        }
        None
    }

    async fn start(&mut self, name: &ZeekString) -> Option<u32> {
        let mut child = match self.spawn(name) {
            Ok(child) => child,
            Err(error) => {
                let text = format!("failed to fork Zeek node '{name}': {error}");
                self.tell(Notice::Trouble(text)).await;
                return None;
            }
        };
        let node = self.nodes.get_mut(name)?;
        let pid = child.id()?;
        // Not waited for yet, so the process is there, dead or alive.
        let handle = open(i32::try_from(pid).ok()?).ok()?;
        node.running = Some(Running {
            pid,
            handle,
            since: Instant::now(),
        });
        let directory = node.config.directory.as_ref().map(path);
        let instructions = Instructions {
            config: node.config.clone(),
            simulation: self.simulation,
            zeek_version: self.zeek_version.clone(),
        };
        match (instructions.to_bytes(), child.stdin.take()) {
            (Ok(instructions), Some(mut stdin)) => {
                tokio::spawn(async move {
                    // A node that dies before it has read them needs no instructions.
                    let _ = stdin.write_all(&instructions).await;
                });
            }
            // The node ends when it gets nothing.
            (Err(error), _) => self.tell(Notice::Trouble(error.to_string())).await,
            (_, None) => {}
        }
        let name = name.clone();
        // Told before anything that it writes.
        let started = Notice::Started {
            node: name.clone(),
            directory,
            pid,
        };
        self.tell(started).await;
        let mut drains = JoinSet::new();
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            drains.spawn(drain(stdout, Stream::Stdout, name.clone(), self.notices.clone()));
            drains.spawn(drain(stderr, Stream::Stderr, name.clone(), self.notices.clone()));
        }
        self.exits.spawn(async move {
            let status = child.wait().await;
            let all = async { while drains.join_next().await.is_some() {} };
            // Aborted then, if it takes longer.
            let _ = timeout(DRAIN, all).await;
            Exit {
                node: name,
                pid,
                status,
            }
        });
        Some(pid)
    }

    fn spawn(&self, name: &ZeekString) -> io::Result<Child> {
        let node = self.nodes.get(name).ok_or(io::ErrorKind::NotFound)?;
        // The program as it was started, even if there is another one by its name now.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("zeek")
            .args(&self.program)
            .arg(NODE_OPTION)
            .args(&self.words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (key, value) in &node.config.env {
            command.env(path(key), path(value));
        }
        if !node.config.cluster.is_empty() {
            command.env("CLUSTER_NODE", path(name));
        }
        command.spawn()
    }

    /// A process has ended, by itself or because we wanted it.
    async fn ended(&mut self, exit: Result<Exit, tokio::task::JoinError>) {
        let Ok(Exit {
            node: name,
            pid,
            status,
        }) = exit
        else {
            return;
        };
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        let Some(running) = node.running.take_if(|running| running.pid == pid) else {
            return;
        };
        let (lived, killed) = (running.since.elapsed(), node.killed);
        Box::pin(self.step(&name, Event::Ended { lived })).await;
        if killed {
            return;
        }
        let how = match status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exited prematurely with status {code}"),
                (None, Some(signal)) => format!("terminated prematurely by signal {signal}"),
                (None, None) => format!("ended: {status}"),
            },
            Err(error) => format!("cannot be waited for: {error}"),
        };
        let text = format!("Supervised node '{name}' (PID {pid}) {how}");
        self.tell(Notice::Trouble(text)).await;
    }

    /// Ends a node, or all of them, however long it takes. Other nodes that end meanwhile are told of as ever.
    async fn end(&mut self, only: Option<&ZeekString>, then: Then) {
        let meant: Vec<_> = only.map_or_else(|| self.names(), |only| vec![only.clone()]);
        for name in &meant {
            self.step(name, Event::Stop(then)).await;
        }
        let is_stopping = |stem: &Self| {
            let machine = |name| stem.nodes.get(name).map(|node| &node.machine);
            meant.iter().filter_map(machine).any(Process::is_stopping)
        };
        while is_stopping(self) {
            let due = self.next_deadline(only);
            tokio::select! {
                biased;
                Some(exit) = self.exits.join_next() => self.ended(exit).await,
                () = at(due) => {
                    for name in &meant {
                        self.step(name, Event::Tick).await;
                    }
                }
            }
        }
    }

    async fn tell(&self, notice: Notice) {
        // The other half listens until this one has ended.
        let _ = self.notices.send(notice).await;
    }
}

/// Reads what a node writes, line by line, until its end.
async fn drain(
    from: impl AsyncRead + Unpin,
    stream: Stream,
    node: ZeekString,
    notices: mpsc::Sender<Notice>,
) {
    let mut lines = Lines::new(from);
    while let Some(line) = lines.next().await {
        let node = node.clone();
        if notices.send(Notice::Line { node, stream, line }).await.is_err() {
            return;
        }
    }
}
