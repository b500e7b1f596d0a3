//! Nodes that agents keep themselves, as `mgmt-agent --supervise native` does: real agents and processes, with a real controller and
//! zeek-client where operators have them. The nodes are stand-ins.

mod adopted;
mod changes;
mod cluster;
mod clusters;
mod configured;
mod described;
mod emptied;
mod events;
mod full_disk;
mod lacking;
mod lost;
mod many;
mod metrics;
mod operated;
mod planned;
mod ready;
mod revisions;
mod rolled_out;
mod sensors;
mod session;
mod silent;
mod stopped;
mod templates;
mod two_controllers;
mod upgraded;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use broker_codec::data::ZeekString;
use mgmt_api::{ClusterRole, Configuration, Instance, Node, ResultRecord, State};
use rustix::process::Pid;
use serde_json::json;
use tempfile::TempDir;
use testkit::ReservedPort;
use zeek_simulator::{NODE_VARIABLE, NodeBehaviour};

use crate::support::{
    cluster::{agent_binary, agent_command, kill_processes_in, processes_in, start_agent},
    controlling::Controlling,
    daemon::Daemon,
    limit::Limit,
};

/// The process of each node.
pub(crate) type Pids = BTreeMap<String, Pid>;

/// The name of the agent of a [`Host`].
const NAME: &str = "sensor";

/// A host with one agent, which has no controller but those that connect to it.
struct Host {
    home: TempDir,
    /// Where the agent listens: nodes look for the next one there.
    port: ReservedPort,
    agent: PathBuf,
    /// Where Zeek is installed, if nodes are not to be the agent's own stand-ins.
    zeek: Option<PathBuf>,
}

impl Drop for Host {
    /// Ends what outlives its agent.
    fn drop(&mut self) {
        kill_processes_in(self.home.path());
    }
}

/// Removes a directory in which processes write meanwhile.
fn remove_directory(path: &Path) {
    Limit::new("the end of a directory").poll(|| fs::remove_dir_all(path).ok());
}

impl Host {
    fn new() -> Self {
        Self {
            home: TempDir::with_prefix("own-").expect("a directory can be made"),
            port: ReservedPort::new("127.0.0.1"),
            agent: agent_binary().to_owned(),
            zeek: None,
        }
    }

    /// Starts the agent, by a program with these words that its own command line is added to, if there are any.
    fn start_by(&self, words: &[&str], further: &[&str]) -> Daemon {
        let mut agent = agent_command(&self.home, NAME, &self.port.address().to_string());
        match &self.zeek {
            None => agent.arg("--simulate"),
            Some(prefix) => agent.args(["--supervise", "native", "--zeek-prefix"]).arg(prefix),
        };
        agent
            .args(["--controller", "off", "Management::connect_retry=50msec"])
            .args(["--zeek-deployment-timeout", "60sec"])
            .args(further);
        let mut words = words.iter().map(Path::new).chain([self.agent.as_path()]);
        let mut command = Command::new(words.next().expect("a program"));
        command
            .args(words)
            .args(agent.get_args())
            .env_clear()
            .current_dir(self.home.path());
        start_agent(&self.home, &mut command)
    }

    fn start(&self, further: &[&str]) -> Daemon {
        self.start_by(&[], further)
    }

    /// Starts the agent, and asks it what controllers ask.
    fn start_connected(&self, further: &[&str]) -> (Daemon, Controlling) {
        let agent = self.start(further);
        let controlling = connect(&agent);
        (agent, controlling)
    }

    /// The processes of its nodes, by the name that they have in their environment.
    fn processes(&self) -> BTreeMap<String, Vec<Pid>> {
        processes_of_nodes(self.home.path())
    }

    /// Waits until each of the nodes has a process, and says which.
    fn pids(&self) -> Pids {
        once_each(self.processes())
    }

    /// Where a node works.
    fn directory(&self, node: &str) -> PathBuf {
        self.home.path().join("state/nodes").join(node)
    }
}

/// Connects to the agent, and waits until that knows which nodes run.
fn connect(agent: &Daemon) -> Controlling {
    let mut controlling = Controlling::connect(agent.broker(), NAME);
    controlling.hear_hello();
    controlling
}

pub(crate) fn processes_of_nodes(home: &Path) -> BTreeMap<String, Vec<Pid>> {
    let mut processes: BTreeMap<String, Vec<Pid>> = BTreeMap::new();
    for process in processes_in(home) {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let name = environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(b"CLUSTER_NODE="));
        if let Some(name) = name {
            let name = String::from_utf8(name.to_vec()).expect("a plain name");
            let number = process.file_name().and_then(|name| name.to_str()?.parse().ok());
            let pid = number.and_then(Pid::from_raw).expect("a process");
            processes.entry(name).or_default().push(pid);
        }
    }
    processes
}

/// No node has two processes.
#[track_caller]
pub(crate) fn once_each(processes: BTreeMap<String, Vec<Pid>>) -> Pids {
    let one = |(name, pids): (String, Vec<Pid>)| {
        let [pid] = pids[..] else {
            panic!("node {name} runs as {pids:?}");
        };
        (name, pid)
    };
    processes.into_iter().map(one).collect()
}

/// What the agent says of its nodes: states, and process ids.
fn told(controlling: &mut Controlling) -> BTreeMap<String, (State, Option<Pid>)> {
    let nodes = controlling.nodes().expect("nodes").into_iter();
    let shown = |pid: i64| Pid::from_raw(i32::try_from(pid).expect("small"));
    nodes
        .map(|node| (node.node.to_string(), (node.state, node.pid.and_then(shown))))
        .collect()
}

/// Waits until what the agent says of its nodes is good.
fn told_until(
    controlling: &mut Controlling,
    good: impl Fn(&BTreeMap<String, (State, Option<Pid>)>) -> bool,
) -> BTreeMap<String, (State, Option<Pid>)> {
    let limit = Limit::new("nodes to be as they should");
    limit.poll(|| Some(told(controlling)).filter(&good))
}

/// All nodes of these names run, as what the agent says that they are, and no others.
#[track_caller]
fn assert_all_run(host: &Host, controlling: &mut Controlling, nodes: &[Node]) -> Pids {
    let names: BTreeSet<String> = nodes.iter().map(|node| node.name.to_string()).collect();
    let said = told_until(controlling, |said| {
        said.values().all(|(state, _)| *state == State::Running)
    });
    let pids = host.pids();
    let running = |(name, pid): (&String, &Pid)| (name.clone(), (State::Running, Some(*pid)));
    assert_eq!(said, pids.iter().map(running).collect());
    assert_eq!(pids.keys().cloned().collect::<BTreeSet<_>>(), names);
    pids
}

#[track_caller]
fn assert_deployed(results: &[ResultRecord]) {
    assert!(results.iter().all(|result| result.success), "{results:?}");
}

/// A node whose role its name begins with.
fn node(name: &str) -> Node {
    let role = match name.split('-').next() {
        Some("logger") => ClusterRole::Logger,
        Some("manager") => ClusterRole::Manager,
        Some("proxy") => ClusterRole::Proxy,
        _ => ClusterRole::Worker,
    };
    Node::new(name, NAME, role)
}

fn nodes(names: &[&str]) -> Vec<Node> {
    names.iter().map(|name| node(name)).collect()
}

fn behaving(mut node: Node, behaviour: &NodeBehaviour) -> Node {
    let behaviour = ZeekString::from(json!(behaviour).to_string());
    node.env.insert(NODE_VARIABLE.into(), behaviour);
    node
}

fn configuration(id: &str, nodes: &[Node]) -> Configuration {
    let instance = Instance {
        host: "127.0.0.1".parse().expect("an address"),
        ..Instance::new(NAME)
    };
    Configuration::new(id, [instance], nodes.iter().cloned())
}
