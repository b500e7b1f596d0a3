use std::{
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use broker_codec::data::ZeekString;
use bytes::BytesMut;
use mgmt_api::NodeConfig;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{outputs::Stream, revival::Revival};
use crate::{
    Program, SupervisorBehaviour,
    command_line::{NODE_OPTION, variable},
    node::Instructions,
    path,
};

/// How often SIGTERM is sent before SIGKILL.
const TERM_ROUNDS: u32 = 13;

/// Between two signals. The death of another node shortens it.
const ROUND: Duration = Duration::from_secs(2);

/// How long the output of a node is waited for after its end: a process that it started may hold it open.
const DRAIN: Duration = Duration::from_millis(500);

/// The longest line that is kept whole.
const LINE_MAX: usize = 64 * 1024;

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
        line: Vec<u8>,
    },
    /// Something happened that Zeek's Supervisor reports as an error.
    Trouble(String),
}

/// Starts, watches and ends the processes of nodes, one order after the other (`Stem` in `src/supervisor/Supervisor.cc`).
/// While it waits for a node to end it does nothing else.
pub(super) struct Stem {
    program: Program,
    words: Vec<String>,
    announced: bool,
    zeek_version: String,
    notices: mpsc::Sender<Notice>,
    nodes: BTreeMap<ZeekString, Node>,
    exits: JoinSet<Exit>,
}

struct Node {
    config: NodeConfig,
    process: Option<Process>,
    started: Instant,
    revival: Revival,
    /// Whether we have ever signalled it: from then on its ends are not reported as premature.
    killed: bool,
}

struct Process {
    pid: u32,
    handle: OwnedFd,
}

struct Exit {
    node: ZeekString,
    pid: u32,
    status: io::Result<ExitStatus>,
}

impl Stem {
    pub(super) fn new(
        program: Program,
        words: Vec<String>,
        behaviour: &SupervisorBehaviour,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            program,
            words,
            announced: behaviour.announced,
            zeek_version: behaviour.zeek_version.clone(),
            notices,
            nodes: BTreeMap::new(),
            exits: JoinSet::new(),
        }
    }

    /// Works until there can be no more orders, then ends all nodes.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let revive = self.next_revival();
            tokio::select! {
                biased;
                Some(exit) = self.exits.join_next() => self.ended(exit).await,
                () = until(revive) => self.revive().await,
                order = orders.recv() => match order {
                    None => break,
                    Some(Order::Create(config)) => {
                        let name = config.name.clone();
                        let node = Node {
                            config: *config,
                            process: None,
                            started: Instant::now(),
                            revival: Revival::new(),
                            killed: false,
                        };
                        self.nodes.insert(name.clone(), node);
                        self.start(&name).await;
                    }
                    Some(Order::Restart(name)) => {
                        self.end(Some(&name)).await;
                        self.start(&name).await;
                    }
                    Some(Order::Destroy(name)) => {
                        self.end(Some(&name)).await;
                        self.nodes.remove(&name);
                    }
                },
            }
        }
        self.end(None).await;
    }

    /// When the next node may be started again.
    fn next_revival(&self) -> Option<Instant> {
        let dead = self.nodes.values().filter(|node| node.process.is_none());
        dead.map(|node| node.started + node.revival.delay()).min()
    }

    /// Starts nodes again that have ended by themselves.
    async fn revive(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self
            .nodes
            .iter_mut()
            .filter(|(_, node)| node.process.is_none() && node.started + node.revival.delay() <= now)
            .map(|(name, node)| {
                node.revival.revived();
                name.clone()
            })
            .collect();
        for name in due {
            if let Some(pid) = self.start(&name).await {
                let text = format!("Supervised node '{name}' (PID {pid}) revived after premature exit");
                self.tell(Notice::Trouble(text)).await;
            }
        }
    }

    async fn start(&mut self, name: &ZeekString) -> Option<u32> {
        let mut child = match self.spawn(name) {
            Ok(child) => child,
            Err(error) => {
                let text = format!("failed to fork Zeek node '{name}': {error}");
                self.tell(Notice::Trouble(text)).await;
                // As after a start: tried again, with growing delay.
                if let Some(node) = self.nodes.get_mut(name) {
                    node.started = Instant::now();
                }
                return None;
            }
        };
        let node = self.nodes.get_mut(name)?;
        let pid = child.id()?;
        let number = process_of(pid)?;
        // Not waited for yet, so the process is there, dead or alive.
        let handle = pidfd_open(number, PidfdFlags::empty()).ok()?;
        node.process = Some(Process { pid, handle });
        node.started = Instant::now();
        let directory = node.config.directory.as_ref().map(path);
        let instructions = Instructions {
            config: node.config.clone(),
            announced: self.announced,
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
            .args(&self.program.arguments)
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
        if node.process.as_ref().is_none_or(|process| process.pid != pid) {
            return;
        }
        node.process = None;
        node.revival.lived(node.started.elapsed());
        if node.killed {
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

    /// Ends a node, or all of them, however long it takes.
    async fn end(&mut self, only: Option<&ZeekString>) {
        for round in 0.. {
            let kill = round >= TERM_ROUNDS && variable("ZEEK_SUPERVISOR_NO_SIGKILL").is_none();
            let signal = if kill { Signal::KILL } else { Signal::TERM };
            let meant = self
                .nodes
                .iter_mut()
                .filter(|(name, _)| only.is_none_or(|only| only == *name));
            let mut running = 0;
            for (_, node) in meant {
                if let Some(process) = &node.process {
                    running += 1;
                    node.killed = true;
                    // Fails if it has just ended, which is heard of next.
                    let _ = pidfd_send_signal(&process.handle, signal);
                }
            }
            let deadline = Instant::now() + ROUND;
            while running > 0
                && let Ok(Some(exit)) = timeout_at(deadline, self.exits.join_next()).await
            {
                self.ended(exit).await;
                running -= 1;
                if only.is_some() {
                    break;
                }
            }
            let runs = |node: &Node| node.process.is_some();
            let left = match only {
                Some(name) => self.nodes.get(name).is_some_and(runs),
                None => self.nodes.values().any(runs),
            };
            if !left {
                return;
            }
        }
    }

    async fn tell(&self, notice: Notice) {
        // The other half listens until this one has ended.
        let _ = self.notices.send(notice).await;
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn process_of(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// Reads what a node writes, line by line, until its end.
async fn drain(
    mut from: impl AsyncRead + Unpin,
    stream: Stream,
    node: ZeekString,
    notices: mpsc::Sender<Notice>,
) {
    let mut buffer = BytesMut::with_capacity(4096);
    loop {
        let ended = !matches!(from.read_buf(&mut buffer).await, Ok(1..));
        loop {
            let line = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let line = buffer.split_to(end);
                    let _ = buffer.split_to(1);
                    line
                }
                None if buffer.len() >= LINE_MAX || (ended && !buffer.is_empty()) => buffer.split(),
                None => break,
            };
            if line.is_empty() {
                continue;
            }
            let notice = Notice::Line {
                node: node.clone(),
                stream,
                line: line.to_vec(),
            };
            if notices.send(notice).await.is_err() {
                return;
            }
        }
        if ended {
            return;
        }
    }
}
