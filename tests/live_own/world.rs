//! A controller and agents that keep nodes of a real Zeek themselves, each host in a network of its own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use flate2::read::GzDecoder;
use mgmt_api::{ClusterRole, Configuration, Instance, Node, OptionRecord};
use rustix::process::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    live_controller::{TIMEOUT, run},
    support::{
        cluster::{agent_command, kill_processes_in, processes_in, start_agent},
        controller::{Controller, binary},
        daemon::Daemon,
        home,
        limit::Limit,
        network::Network,
        session::Session,
    },
};

/// An agent, and what is needed to start it again.
pub(super) struct Host {
    name: &'static str,
    address: &'static str,
    network: Arc<Network>,
    home: TempDir,
    agent: Option<Daemon>,
    controller: String,
}

impl Host {
    pub(super) fn start_agent(&mut self, prefix: &Path) {
        let mut command = agent_command(&self.home, self.name, &format!("{}:2151", self.address));
        command
            .args([
                "--supervise",
                "native",
                "--controller",
                &self.controller,
                "--zeek-prefix",
            ])
            .arg(prefix)
            .args([
                "Management::Agent::archive_interval=1sec",
                "Management::connect_retry=100msec",
            ])
            .arg(format!(
                "Management::Agent::archive_dir={}",
                self.archive().display()
            ))
            .env("PATH", "/usr/bin:/bin");
        self.agent = Some(self.network.within(|| start_agent(&self.home, &mut command)));
    }

    /// Waits for the agent to say this.
    pub(super) fn says(&mut self, words: &str) {
        self.says_all(&[words]);
    }

    /// Waits for the agent to say all of this, in any order.
    pub(super) fn says_all(&mut self, words: &[&str]) {
        let agent = self.agent.as_mut().expect("it runs");
        agent.stderr.until_all(words);
    }

    pub(super) fn kill_agent(&mut self) {
        self.agent.take().expect("it runs").kill();
    }

    fn archive(&self) -> PathBuf {
        self.home.path().join("archive")
    }

    fn state(&self) -> PathBuf {
        self.home.path().join("state/nodes")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.agent.take());
        kill_processes_in(self.home.path());
    }
}

/// All of it.
pub(super) struct World {
    prefix: TempDir,
    pub(super) script: PathBuf,
    controller: Controller,
    pub(super) hosts: Vec<Host>,
    deployed: u32,
}

/// The node's process, by its name.
pub(super) type Pids = BTreeMap<String, Pid>;

impl World {
    /// With these hosts, each with its address; the first has the controller.
    pub(super) fn start(zeek: &Path, hosts: Vec<(&'static str, &'static str, Network)>) -> Self {
        let prefix = without_management(zeek);
        let script = prefix.path().join("counted.zeek");
        fs::write(&script, include_str!("counted.zeek")).expect("it can be written");
        let first = hosts[0].1;
        let mut command = Command::new(binary());
        command
            .args([
                "--websocket-listen",
                "127.0.0.1:0",
                "--state-dir",
                "state",
                "--spool-dir",
                "spool",
            ])
            .args(["--listen", &format!("{first}:2150"), "--zeek-prefix", "."]);
        let home = home();
        fs::create_dir(home.path().join("state")).expect("a directory can be made");
        let controller = hosts[0].2.within(|| Controller::launch(&home, command));
        let host = |(name, address, network)| Host {
            name,
            address,
            network: Arc::new(network),
            home: TempDir::with_prefix("host-").expect("a directory can be made"),
            agent: None,
            controller: format!("{first}:2150"),
        };
        let mut world = Self {
            script,
            controller,
            hosts: hosts.into_iter().map(host).collect(),
            prefix,
            deployed: 0,
        };
        for host in 0..world.hosts.len() {
            world.start_agent(host);
        }
        let limit = Limit::lasting(TIMEOUT, "the agents");
        limit.poll(|| {
            let (_, answer) = world.client(&["get-instances"]);
            (answer.as_object()?.len() == world.hosts.len()).then_some(())
        });
        world
    }

    pub(super) fn start_agent(&mut self, host: usize) {
        self.hosts[host].start_agent(self.prefix.path());
    }

    /// A node that counts, if it is a worker.
    pub(super) fn node(&self, name: &str, role: ClusterRole, host: usize) -> Node {
        Node {
            scripts: Some(vec![self.script.display().to_string().into()]),
            ..Node::new(name, self.hosts[host].name, role)
        }
    }

    fn at_home<T: Send>(&mut self, act: impl FnOnce(&mut Controller) -> T + Send) -> T {
        let network = Arc::clone(&self.hosts[0].network);
        let controller = &mut self.controller;
        network.within(move || act(controller))
    }

    /// What zeek-client prints, and how it ends.
    pub(super) fn client(&mut self, arguments: &[&str]) -> (i32, Value) {
        let outcome = self.at_home(|controller| run(controller.websocket(), arguments, None));
        let printed = serde_json::from_str(&outcome.stdout);
        (
            outcome.exit,
            printed.unwrap_or_else(|error| panic!("{error}: {outcome:?}")),
        )
    }

    /// Has these nodes run. INI cannot write options, so it is staged without zeek-client.
    pub(super) fn try_deploy(&mut self, nodes: &[Node]) -> (i32, Value) {
        self.deployed += 1;
        let mut instances: Vec<Instance> = Vec::new();
        for host in &self.hosts {
            instances.push(Instance::new(host.name));
        }
        let config = Configuration::new(format!("c{}", self.deployed), instances, nodes.to_vec());
        self.at_home(|controller| Session::open(controller.websocket()).stage(&config));
        self.client(&["deploy"])
    }

    /// As [`Self::try_deploy`], which must succeed for every node.
    #[track_caller]
    pub(super) fn deploy(&mut self, nodes: &[Node]) {
        let (exit, answer) = self.try_deploy(nodes);
        assert_eq!((exit, &answer["errors"]), (0, &json!([])), "{answer}");
        let results = answer["results"]["nodes"].as_object();
        assert_eq!(results.map_or(0, serde_json::Map::len), nodes.len(), "{answer}");
    }

    /// The nodes that are in this state, agents left out.
    pub(super) fn pids(&mut self, state: &str) -> Pids {
        let (exit, answer) = self.client(&["get-nodes"]);
        assert_eq!(exit, 0, "{answer}");
        let hosts = answer["results"].as_object().expect("an object");
        let nodes = hosts
            .values()
            .flat_map(|nodes| nodes.as_object().expect("an object"));
        nodes
            .filter(|(_, node)| node["mgmt_role"].is_null() && node["state"] == state)
            .map(|(name, node)| {
                let pid = node["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
                (name.clone(), pid.and_then(Pid::from_raw).expect("it runs"))
            })
            .collect()
    }

    /// Waits until so many nodes run.
    pub(super) fn running(&mut self, count: usize) -> Pids {
        let limit = Limit::lasting(TIMEOUT, format_args!("{count} nodes that run"));
        limit.poll(|| Some(self.pids("RUNNING")).filter(|pids| pids.len() == count))
    }

    /// Each of the nodes says its name.
    pub(super) fn all_answer(&mut self, names: &[&str]) {
        let (exit, answer) = self.client(&["get-id-value", "Cluster::node"]);
        let expected: BTreeMap<&str, &str> = names.iter().map(|name| (*name, *name)).collect();
        assert_eq!((exit, &answer["results"]), (0, &json!(expected)), "{answer}");
    }

    /// How manager and logger, which have ports of `ZeroMQ`'s on the first host, want peers to prove who they are.
    pub(super) fn mechanisms(&mut self) -> [String; 2] {
        let (_, answer) = self.client(&["get-nodes"]);
        let host = &self.hosts[0];
        let ports = ["manager", "logger"].map(|node| answer["results"][host.name][node]["port"].as_u64());
        ports.map(|port| {
            let port = port
                .and_then(|port| u16::try_from(port).ok())
                .expect("it has one");
            host.network
                .within(|| zmtp_mechanism(&format!("{}:{port}", host.address)))
        })
    }

    /// The lines of a log of the first host's logger, wherever they are by now: archived, rotated, or being written.
    pub(super) fn lines(&self, log: &str) -> Vec<String> {
        let host = &self.hosts[0];
        let mut files = files_below(&host.archive());
        files.extend(files_below(&host.home.path().join("spool/log-queue")));
        files.push(host.state().join(format!("logger/{log}.log")));
        let mut all = Vec::new();
        for path in files {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.split(['.', '_']).next() != Some(log) {
                continue;
            }
            // One that is moved or packed at this moment is seen the next time.
            let Ok(mut file) = File::open(&path) else { continue };
            let mut text = String::new();
            let read = if Path::new(&name)
                .extension()
                .is_some_and(|extension| extension == "gz")
            {
                GzDecoder::new(file).read_to_string(&mut text)
            } else {
                file.read_to_string(&mut text)
            };
            if read.is_ok() {
                let lines = text.lines().filter(|line| !line.starts_with('#'));
                all.extend(lines.map(ToOwned::to_owned));
            }
        }
        all
    }

    /// How many connections of the trace were logged.
    pub(super) fn of_trace(&self) -> usize {
        let lines = self.lines("conn");
        lines.iter().filter(|line| line.contains("\t192.0.2.1\t")).count()
    }

    /// By node and process, the numbers that it has logged, in order.
    pub(super) fn counted(&self) -> BTreeMap<(String, u64), Vec<u64>> {
        let mut counted: BTreeMap<(String, u64), Vec<u64>> = BTreeMap::new();
        for line in self.lines("counted") {
            let fields: Vec<&str> = line.split('\t').collect();
            if let [node, process, number] = fields[..] {
                let process = process.parse().expect("a number");
                let numbers = counted.entry((node.to_owned(), process)).or_default();
                numbers.push(number.parse().expect("a number"));
            }
        }
        for numbers in counted.values_mut() {
            numbers.sort_unstable();
        }
        counted
    }

    /// Waits until the manager's sums are those of so many workers, again and again.
    pub(super) fn sums(&self, workers: usize) {
        let limit = Limit::lasting(TIMEOUT, format_args!("sums of {workers} workers"));
        let before = self.lines("sums").len();
        limit.poll(|| {
            let sums = self.lines("sums");
            let fresh = sums.get(before..)?;
            let expected = workers.to_string();
            (fresh.len() > 3 && fresh[fresh.len() - 3..].iter().all(|sum| *sum == expected)).then_some(())
        });
    }

    /// How many logs were archived.
    pub(super) fn archived(&self) -> usize {
        files_below(&self.hosts[0].archive()).len()
    }

    /// Waits until no process works for a host, its agent left out.
    pub(super) fn nothing_runs(&self) {
        let limit = Limit::lasting(TIMEOUT, "the end of all nodes");
        for host in &self.hosts {
            limit.poll(|| processes_in(&host.state()).len().le(&1).then_some(()));
        }
    }

    pub(super) fn stop(mut self) {
        for host in &mut self.hosts {
            let agent = host.agent.take().expect("it runs");
            agent.stop();
            let left = processes_in(host.home.path());
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

/// What a server of `ZeroMQ`'s says in its greeting (ZMTP 3, RFC 23).
fn zmtp_mechanism(address: &str) -> String {
    let mut server = TcpStream::connect(address).expect("it listens");
    // Signature and version. It would not go on with a client that says that it proves nothing.
    let greeting = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    server.write_all(&greeting).expect("it can be greeted");
    let mut greeting = [0; 64];
    server.read_exact(&mut greeting).expect("it greets");
    let mechanism = String::from_utf8_lossy(&greeting[12..32]);
    mechanism.trim_end_matches('\0').to_owned()
}

/// As nodes tell it.
pub(super) fn number(pid: Pid) -> u64 {
    pid.as_raw_nonzero().get().unsigned_abs().into()
}

pub(super) fn option(name: &str, value: &str) -> OptionRecord {
    OptionRecord {
        name: name.into(),
        value: value.into(),
    }
}

/// An installation as Zeek will be: all of this one but the scripts of the Management framework.
fn without_management(zeek: &Path) -> TempDir {
    let prefix = TempDir::with_prefix("prefix-").expect("a directory can be made");
    let mut from = zeek.to_path_buf();
    let mut to = prefix.path().to_path_buf();
    for next in ["share", "zeek", "policy", "frameworks", "management"] {
        for entry in fs::read_dir(&from).expect("it can be read") {
            let entry = entry.expect("it can be read");
            if entry.file_name() != next {
                symlink(entry.path(), to.join(entry.file_name())).expect("a link can be made");
            }
        }
        from.push(next);
        to.push(next);
        if next != "management" {
            fs::create_dir(&to).expect("a directory can be made");
        }
    }
    prefix
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("{}: {error}", directory.display()),
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    paths
        .into_iter()
        .flat_map(|path| {
            // Not the link to live logs.
            if path.is_dir() && !path.is_symlink() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
