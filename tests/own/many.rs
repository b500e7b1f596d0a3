//! As many nodes on one host as there may be: what the agent takes for each, and in which order they start and end.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use mgmt_api::Node;
use rustix::process::Pid;
use zeek_simulator::NodeBehaviour;

use super::{Host, Pids, assert_all_run, assert_deployed, behaving, configuration, node};
use crate::support::{daemon::Daemon, limit::Limit};

const COUNT: usize = 128;

/// The stages in which nodes of these roles start, and those in which they end.
const STARTS: [&str; 4] = ["logger", "manager", "proxy", "worker"];
const ENDS: [&[&str]; 3] = [&["worker"], &["manager", "proxy"], &["logger"]];

/// Nodes that are slow to end, one of each stage, and by how many milliseconds.
const SLOW: [(&str, u64); 3] = [("worker-77", 2000), ("proxy-2", 1000), ("logger-1", 500)];

/// How much longer the end of all may take than the slowest node of each stage does.
const MARGIN: Duration = Duration::from_secs(1);

/// How much memory of the agent may be resident that is in no file, in KiB: some 8,700 are in the tests' build, 3,500 of them without nodes.
const ANONYMOUS_MAX: u64 = 10_000;

fn cluster() -> Vec<Node> {
    let workers = (5..=COUNT).map(|number| node(&format!("worker-{number}")));
    let first = ["logger-1", "manager", "proxy-1", "proxy-2"].map(node);
    let slow = |node: Node| match SLOW.iter().find(|(name, _)| node.name == **name) {
        None => node,
        Some((_, time)) => {
            let ends_after = Some(*time);
            behaving(
                node,
                &NodeBehaviour {
                    ends_after,
                    ..NodeBehaviour::default()
                },
            )
        }
    };
    first.into_iter().chain(workers).map(slow).collect()
}

fn is_of(name: &str, role: &str) -> bool {
    name.starts_with(role)
}

/// When a process was started, in ticks since the host was (`proc(5)`).
fn started(pid: Pid) -> u64 {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let text = fs::read_to_string(path).expect("it runs");
    let (_, fields) = text.rsplit_once(')').expect("its name is in parentheses");
    let field = fields.split_whitespace().nth(19).expect("the 22nd field");
    field.parse().expect("a number")
}

/// How many threads the agent has, and how many descriptors.
fn taken(agent: &Daemon) -> [usize; 2] {
    ["task", "fd"].map(|what| {
        let entries = fs::read_dir(format!("/proc/{}/{what}", agent.pid()));
        entries.expect("the agent runs").count()
    })
}

/// The end of a node, as its files tell.
struct End {
    told: SystemTime,
    ended: SystemTime,
}

impl End {
    fn of(host: &Host, node: &str) -> Self {
        let directory = host.directory(node);
        let last = |file: &str, words: &str| {
            let path = directory.join(file);
            let text = fs::read_to_string(&path).expect("it has written");
            assert!(text.trim_end().ends_with(words), "{node}: {text}");
            let metadata = fs::metadata(&path);
            metadata.and_then(|file| file.modified()).expect("a time")
        };
        Self {
            told: last("stderr", "received termination signal"),
            ended: last(".status", "TERMINATED [atexit]"),
        }
    }

    fn took(&self) -> Duration {
        self.ended.duration_since(self.told).expect("it was told before")
    }
}

/// All nodes have ended that were told to at this time: a stage when the one before had, and none waited for another one of its stage.
fn assert_ended_by_stages(host: &Host, nodes: &[Node], asked: SystemTime) {
    let names: Vec<String> = nodes.iter().map(|node| node.name.to_string()).collect();
    let mut before = SystemTime::UNIX_EPOCH;
    let mut slowest = Duration::ZERO;
    for roles in ENDS {
        let of_stage = |name: &&String| roles.iter().any(|role| is_of(name, role));
        let ends: Vec<End> = names
            .iter()
            .filter(of_stage)
            .map(|name| End::of(host, name))
            .collect();
        let first = ends.iter().map(|end| end.told).min().expect("it has nodes");
        assert!(
            before <= first,
            "{roles:?} were told before all of the stage before had ended"
        );
        before = ends.iter().map(|end| end.ended).max().expect("it has nodes");
        slowest += ends.iter().map(End::took).max().expect("it has nodes");
    }
    let took = before.duration_since(asked).expect("they were told before");
    let of_nodes: u64 = SLOW.iter().map(|(_, time)| time).sum();
    // The times of files are a few milliseconds late.
    assert!(
        slowest >= Duration::from_millis(of_nodes * 9 / 10),
        "{slowest:?}: they are slow"
    );
    assert!(
        took <= slowest + MARGIN,
        "{took:?}, and the slowest of each stage {slowest:?}"
    );
}

/// The agent's memory that is in no file and resident, in KiB.
fn anonymous(agent: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("the agent runs");
    let mut lines = status.lines();
    let line = lines
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .expect("a line of it");
    let number = line.trim().trim_end_matches(" kB");
    number.parse().expect("a number")
}

/// Of each further node the agent takes two descriptors, the process and its connection, and no thread.
fn assert_takes_little(agent: &Daemon, [threads_of_few, descriptors_of_few]: [usize; 2], more: usize) {
    let [threads, descriptors] = taken(agent);
    assert!(
        threads <= threads_of_few + 1,
        "{threads_of_few}, {threads} threads"
    );
    assert!(
        descriptors <= descriptors_of_few + 2 * more + 16,
        "{descriptors_of_few}, {descriptors} descriptors"
    );
}

fn assert_started_by_stages(pids: &Pids) {
    for stages in STARTS.windows(2) {
        let times = |role| {
            let its = pids.iter().filter(move |(name, _)| is_of(name, role));
            its.map(|(_, pid)| started(*pid))
        };
        let (last, first) = (times(stages[0]).max(), times(stages[1]).min());
        assert!(last <= first, "{stages:?}: {last:?}, {first:?}");
    }
}

#[test]
fn many_nodes_start_and_end_by_stages_and_take_little_of_the_agent() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let all = cluster();
    let few = &all[..4];
    assert_deployed(&controlling.deploy_configuration(&configuration("few", few)));
    let before = taken(&agent);

    assert_deployed(&controlling.deploy_configuration(&configuration("all", &all)));
    let pids = assert_all_run(&host, &mut controlling, &all);
    assert_eq!(pids.len(), COUNT);
    assert_takes_little(&agent, before, COUNT - few.len());
    assert_started_by_stages(&pids);
    let of_all = anonymous(&agent);
    assert!(of_all < ANONYMOUS_MAX, "{of_all} KiB");

    agent.kill();
    let (agent, mut controlling) = host.start_connected(&[]);
    assert_eq!(assert_all_run(&host, &mut controlling, &all), pids);
    let taken_over = anonymous(&agent);
    assert!(taken_over < ANONYMOUS_MAX, "{taken_over} KiB");

    let asked = SystemTime::now();
    assert_deployed(&controlling.deploy_configuration(&configuration("none", &[])));
    let limit = Limit::new("the end of all nodes");
    limit.poll(|| host.processes().is_empty().then_some(()));
    assert_ended_by_stages(&host, &all, asked);
    agent.stop();
}
