//! Nodes as children of the agent, for containers and hosts without systemd: carries out [`Order`]s, and tells [`News`].
//!
//! Each node that is known has a task, which does one thing after the other, and waits for its process by a descriptor; what may block is
//! done elsewhere. Nodes live on when the agent ends, however it ends: the next one finds them by what they have written down
//! ([`launcher`]), and is only not told how they end.

mod node;
mod outputs;
mod strays;
mod works;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use broker_codec::data::ZeekString;
use rustix::process::{Pid, test_kill_process};
use supervise::{
    sessions::{Sessions, has_open, holders, is_locked, leads_session},
    unix::{Handle, Record},
};
use tokio::{sync::mpsc, task::spawn_blocking};

use self::{
    node::{NodeTask, Running},
    outputs::Outputs,
    strays::{Stray, Strays},
    works::Works,
};
use crate::{
    launcher::{self, Run},
    supervisors::own::{Launch, News, Order},
};

/// How long a process that has the lock of a node may take to write down which one it is.
const RECORD_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle to the tasks, which end with it. Nodes do not.
#[derive(Debug)]
pub struct Native {
    orders: mpsc::UnboundedSender<Order>,
    news: mpsc::UnboundedReceiver<News>,
}

/// What all nodes have in common.
struct Common {
    /// The program whose subcommand is the [`launcher`].
    launcher: PathBuf,
    /// The agent's name. Nodes of another one are left alone.
    agent: ZeekString,
    outputs: Outputs,
    sessions: Sessions,
    works: Works,
    news: mpsc::UnboundedSender<News>,
}

/// A node that an earlier agent has started.
struct Found {
    launch: Box<Launch>,
    running: Running,
    age: Duration,
}

impl Native {
    /// Nodes have their directories in this one. The program that launches them is `/proc/self/exe`, the one that runs: what an upgrade has put
    /// in its place may read another `node.json`.
    ///
    /// To be called within tokio's runtime.
    pub fn start(nodes: PathBuf, launcher: PathBuf, agent: ZeekString) -> io::Result<Self> {
        let (orders, to_do) = mpsc::unbounded_channel();
        // For each order there are few, and they are fetched before messages of peers.
        let (tell, news) = mpsc::unbounded_channel();
        // Nothing stands between the agent and its children.
        let _ = tell.send(News::Available);
        let common = Common {
            launcher,
            agent,
            outputs: Outputs::start()?,
            sessions: Sessions::start(),
            works: Works::start()?,
            news: tell,
        };
        tokio::spawn(dispatch(nodes, Arc::new(common), to_do));
        Ok(Self { orders, news })
    }

    /// Has something done. Returns at once; what becomes of it is news.
    pub fn order(&self, order: Order) {
        // A task that panicked carries out nothing more.
        let _ = self.orders.send(order);
    }

    /// What happens next. May be cancelled without losing anything.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }
}

/// Hands each order to the task of its node.
async fn dispatch(directory: PathBuf, common: Arc<Common>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut nodes = BTreeMap::new();
    let mut strays = Strays::new();
    while let Some(order) = orders.recv().await {
        let name = match &order {
            Order::Look => {
                strays = look(&directory, &common, &mut nodes).await;
                continue;
            }
            Order::Start { launch } | Order::Rewrite { launch } => launch.node(),
            Order::Terminate { node } | Order::Kill { node } | Order::Forget { node } => node,
        };
        if !nodes.contains_key(name) {
            let strays = strays.remove(name).unwrap_or_default();
            nodes.insert(name.clone(), keep(name.clone(), &common, None, strays));
        }
        if let Some(node) = nodes.get(name) {
            let _ = node.send(Box::new(order));
        }
    }
}

/// Starts the task of a node.
fn keep(
    name: ZeekString,
    common: &Arc<Common>,
    found: Option<Running>,
    strays: Vec<Stray>,
) -> mpsc::UnboundedSender<Box<Order>> {
    let (orders, to_do) = mpsc::unbounded_channel();
    let node = NodeTask {
        name,
        orders: to_do,
        common: Arc::clone(common),
        strays,
    };
    tokio::spawn(node.keep(found));
    orders
}

/// Finds the nodes that run, and takes them over. Returns those that cannot be.
async fn look(
    directory: &Path,
    common: &Arc<Common>,
    nodes: &mut BTreeMap<ZeekString, mpsc::UnboundedSender<Box<Order>>>,
) -> Strays {
    let place = directory.to_owned();
    // What cannot be looked at is empty.
    let agent = common.agent.clone();
    let found = spawn_blocking(move || find(&place, &agent)).await;
    let (found, mut all_strays) = found.unwrap_or_default();
    let ids = found.iter().map(|found| found.running.process.id()).collect();
    for Found { launch, running, age } in found {
        let name = launch.node().clone();
        // One that is kept already is not found.
        if nodes.contains_key(&name) {
            continue;
        }
        let pid = running.process.id().into();
        common.outputs.watch(&running.directory, running.from);
        let _ = common.news.send(News::Found { launch, pid, age });
        nodes.insert(name.clone(), keep(name, common, Some(running), Vec::new()));
    }
    let _ = common.news.send(News::Looked);
    // No order is carried out before these are known.
    let place = directory.to_owned();
    let strays = spawn_blocking(move || strays::find(&place, &ids));
    for (name, strays) in strays.await.unwrap_or_default() {
        all_strays.entry(name).or_default().extend(strays);
    }
    all_strays
}

/// The process that is recorded as a node, if it runs and is: a record may be a copy of another node's. One whose files cannot be seen is
/// believed to be it.
fn node_by(record: Record<Run>, lock: &Path) -> Option<(Record<Run>, Handle)> {
    let process = record.process()?;
    let is_it = has_open(record.pid(), lock).unwrap_or_else(|| is_locked(lock));
    is_it.then_some((record, process))
}

/// The process that is a node, by what it has open, as what was written down of it is lost.
fn node_with(lock: &Path) -> Option<(Record<Run>, Handle)> {
    let leader = holders(lock).into_iter().find(|id| leads_session(*id))?;
    let record = Record::new(leader, Run::default()).ok()?;
    node_by(record, lock)
}

/// The nodes of an agent that run in these directories, with their process ids.
pub(super) fn running(nodes: &Path, agent: &ZeekString) -> Vec<(ZeekString, i32)> {
    let entries = fs::read_dir(nodes).into_iter().flatten().flatten();
    let running = entries.filter_map(|entry| {
        let directory = entry.path();
        let launch = launcher::read_of_any_user(&directory).ok()?;
        let record = launcher::recorded(&directory)?;
        (launch.agent == *agent && record.process().is_some()).then(|| (launch.node().clone(), record.pid()))
    });
    running.collect()
}

/// The nodes of an agent, and those of which it cannot be read whose they are.
fn find(nodes: &Path, agent: &ZeekString) -> (Vec<Found>, Strays) {
    let mut strays = Strays::new();
    let entries = match fs::read_dir(nodes) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (Vec::new(), strays),
        Err(error) => {
            let nodes = nodes.display();
            tracing::warn!(%error, "cannot look for running nodes in {nodes}: see whose it is");
            return (Vec::new(), strays);
        }
    };
    let began = Instant::now();
    let mut all: Vec<Found> = Vec::new();
    for directory in entries.flatten().map(|entry| entry.path()) {
        match find_in(&directory, began) {
            Some(Ok(mut found)) if found.launch.agent == *agent => {
                if let Some(before) = all.last() {
                    found.launch.share_with(&before.launch);
                }
                all.push(found);
            }
            Some(Ok(_)) | None => {}
            Some(Err(stray)) => {
                let name = directory.file_name().unwrap_or_default().as_encoded_bytes();
                strays.entry(name.into()).or_default().push(stray);
            }
        }
    }
    (all, strays)
}

/// The node of a directory, if it runs. One that was just being started when the agent ended has time to say which process it is.
/// Of one whose file is damaged nothing is left but its process.
fn find_in(directory: &Path, began: Instant) -> Option<Result<Found, Stray>> {
    let lock = directory.join(launcher::LOCK);
    let is_taken = || is_locked(&lock);
    let (record, process) = loop {
        let running = launcher::recorded(directory).and_then(|record| node_by(record, &lock));
        match running {
            Some(running) => break running,
            None if is_taken() && began.elapsed() < RECORD_TIMEOUT => thread::sleep(RECORD_TIMEOUT / 50),
            None => {
                if let Some(running) = is_taken().then(|| node_with(&lock)).flatten() {
                    break running;
                }
                if is_taken() {
                    let holder = node::holder(directory);
                    let directory = directory.display();
                    tracing::warn!(
                        "{holder} has the lock of {directory} and is not known as its node, which cannot be started before that one ends"
                    );
                }
                return None;
            }
        }
    };
    let running = Running {
        process,
        directory: directory.to_owned(),
        from: [record.launch.stdout, record.launch.stderr],
    };
    let launch = launcher::read(directory).and_then(|launch| launcher::of_directory(directory, launch));
    match launch {
        Ok(launch) => Some(Ok(Found {
            launch: Box::new(launch),
            running,
            age: record.age(),
        })),
        Err(reason) => {
            let stray = stray(record.pid());
            let then = if stray.is_some() {
                "it is ended before that node is started; if that node is not to run, end it by hand"
            } else {
                "it is another user's, end it by hand"
            };
            tracing::warn!(
                pid = record.pid(),
                "a process runs in {} as a node, but node.json there cannot be used: {reason}; {then}",
                directory.display()
            );
            stray.map(Err)
        }
    }
}

/// A process that can be ended by this user.
fn stray(pid: i32) -> Option<Stray> {
    test_kill_process(Pid::from_raw(pid)?).ok()?;
    Stray::new(pid).ok()
}
