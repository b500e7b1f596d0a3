//! As many nodes on one host as there may be: what the agent takes for each, and in which order they start and end.

use std::{collections::BTreeMap, fs, os::fd::OwnedFd};

use mgmt_api::Node;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{Host, assert_all_run, assert_deployed, configuration, node};
use crate::support::{daemon::Daemon, limit::Limit};

const COUNT: usize = 128;

/// The stages in which nodes of these roles start, and those in which they end.
const STARTS: [&str; 4] = ["logger", "manager", "proxy", "worker"];
const ENDS: [&[&str]; 3] = [&["worker"], &["manager", "proxy"], &["logger"]];

fn cluster() -> Vec<Node> {
    let workers = (5..=COUNT).map(|number| node(&format!("worker-{number}")));
    let first = ["logger-1", "manager", "proxy-1", "proxy-2"].map(node);
    first.into_iter().chain(workers).collect()
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

/// Waits for the end of all processes. None of a stage ends before all of the one before have.
fn end_by_stages(pids: &BTreeMap<String, Pid>) {
    let open = |(name, pid): (&String, &Pid)| {
        let process = pidfd_open(*pid, PidfdFlags::empty()).expect("it runs");
        (name.clone(), process)
    };
    let stage_of = |roles: &&[&str]| -> Vec<OwnedFd> {
        let its = pids
            .iter()
            .filter(|(name, _)| roles.iter().any(|role| is_of(name, role)));
        its.map(|entry| open(entry).1).collect()
    };
    let stages: Vec<Vec<OwnedFd>> = ENDS.iter().map(stage_of).collect();
    ended_by_stages(&stages);
}

fn ended_by_stages(stages: &[Vec<OwnedFd>]) {
    let limit = Limit::new("the end of all nodes");
    let ended = |process: &OwnedFd, wait: Option<Timespec>| {
        let mut awaited = [PollFd::new(process, PollFlags::IN)];
        poll(&mut awaited, wait.as_ref()).expect("it can be waited for") == 1
    };
    let at_once = Some(Timespec::default());
    for (at, stage) in stages.iter().enumerate() {
        for process in stage {
            let left = Timespec::try_from(limit.left()).expect("minutes are representable");
            assert!(ended(process, Some(left)), "it does not end in time");
            // What has ended stays so: looked at from the last stage to the first, what is seen of a later stage means that all of the
            // earlier one had ended before.
            let late = stages[at..].iter().skip(1).rev().flatten();
            let is_late = late.filter(|process| ended(process, at_once)).count();
            let all_of_this = stage.iter().all(|process| ended(process, at_once));
            assert!(
                is_late == 0 || all_of_this,
                "{is_late} nodes of a later stage have ended already"
            );
        }
    }
}

#[test]
fn many_nodes_start_and_end_by_stages_and_take_no_threads_of_the_agent() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let few = &cluster()[..4];
    assert_deployed(&controlling.deploy_configuration(&configuration("few", few)));
    let [threads_of_few, descriptors_of_few] = taken(&agent);

    let all = cluster();
    assert_deployed(&controlling.deploy_configuration(&configuration("all", &all)));
    let pids = assert_all_run(&host, &mut controlling, &all);
    assert_eq!(pids.len(), COUNT);
    // Those that have done what may block stay for a while, in case that there is more.
    let limit = Limit::new(format_args!("the agent to have about {threads_of_few} threads"));
    let descriptors = limit.poll(|| {
        let [threads, descriptors] = taken(&agent);
        (threads <= threads_of_few + 16).then_some(descriptors)
    });
    // The process, and its connection.
    let more = 2 * (COUNT - few.len());
    assert!(
        descriptors <= descriptors_of_few + more + 16,
        "{descriptors_of_few}, {descriptors} descriptors"
    );
    for stages in STARTS.windows(2) {
        let times = |role| {
            let its = pids.iter().filter(move |(name, _)| is_of(name, role));
            its.map(|(_, pid)| started(*pid))
        };
        let (last, first) = (times(stages[0]).max(), times(stages[1]).min());
        assert!(last <= first, "{stages:?}: {last:?}, {first:?}");
    }

    controlling.send(|reqid| mgmt_api::AgentRequest::AgentStandby { reqid });
    end_by_stages(&pids);
    agent.stop();
}
