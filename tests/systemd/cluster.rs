//! What an operator sees of a cluster on two hosts.

use mgmt_agent::supervisors::own::Launch;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::{
    NODES,
    hosts::{Hosts, Pids, SENSORS},
};
use crate::support::container::Container;

/// A node's own secret.
const SECRET: &str = "hidden-from-others";

const DYING: &str = "worker-sensor-2-1";

/// Waits until there is no unit of a node, nor what it is started with.
const NOTHING_LEFT: &str = "
until [ -z \"$(systemctl list-units --all --plain --no-legend 'zeek-node@*'; ls -d /var/lib/zeek-mgmt/nodes/*/node.json 2>/dev/null)\" ]
do sleep 0.1
done";

/// The monotonic clock, in microseconds, as systemd tells it.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    micros.try_into().expect("it is not negative")
}

/// When the process of a unit was started.
pub(super) fn started(container: &Container, node: &str) -> u64 {
    let line = format!("systemctl show -P ExecMainStartTimestampMonotonic zeek-node@{node}");
    container.sh(&line).parse().expect("a number")
}

/// The nodes that have ended since then, in the order in which systemd says so.
fn ended(container: &Container, since: u64) -> Vec<String> {
    let printed = container.sh("journalctl --sync; journalctl --boot --quiet --output=json \
         MESSAGE_ID=7ad2d189f7e94e70a38c781354912448 + MESSAGE_ID=d9b373ed55a64feb8242e02dbe79a49c");
    let entries = printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let late = entries.filter(|entry| {
        let came = entry["__MONOTONIC_TIMESTAMP"].as_str().expect("a time");
        came.parse::<u64>().expect("a number") >= since
    });
    let nodes = late.filter_map(|entry| {
        let unit = entry["UNIT"].as_str()?.strip_prefix("zeek-node@")?;
        Some(unit.strip_suffix(".service")?.to_owned())
    });
    nodes.collect()
}

/// Which stage a node ends in.
fn stage(node: &str) -> usize {
    let roles = [&["worker"][..], &["manager", "proxy"], &["logger"]];
    let is_of = |roles: &&[&str]| roles.iter().any(|role| node.starts_with(role));
    roles.iter().position(is_of).expect("a role")
}

fn nothing_secret_is_shown(hosts: &Hosts) {
    for container in &hosts.containers {
        let shown = container.sh(
            "systemctl show 'zeek-node@*' zeek.slice; systemctl cat 'zeek-node@*'; systemctl status 'zeek-node@*'; \
             for pid in $(pgrep -u zeek); do tr '\\0' ' ' </proc/$pid/cmdline; done",
        );
        assert!(shown.contains("simulated-zeek"), "{shown}");
        assert!(!shown.contains(SECRET), "{shown}");
        for file in container.sh(&format!("ls {NODES}/*/node.json")).lines() {
            let text = container.sh(&format!("cat {file}"));
            let launch: Launch = serde_json::from_str(&text).expect("it can be read");
            let token = launch.token.to_string();
            assert!(token.len() > 8 && !shown.contains(&token), "{file}: {shown}");
        }
    }
}

/// Has all nodes restarted. Those of a host start in the order of their roles.
fn restart_all(hosts: &mut Hosts, before: &Pids) {
    let since = now();
    hosts.operated.succeed(&["restart"], None);
    let other = |(name, (state, pid)): (&String, &(String, Option<_>))| {
        state == "RUNNING" && pid.is_some_and(|pid| pid != before[name])
    };
    hosts.states_until(|states| states.iter().all(other));
    let after = hosts.all_run();
    assert!(after.keys().eq(before.keys()), "{after:?}");
    let host = hosts.host();
    let times = |role: &str| {
        let its = after
            .keys()
            .filter(|name| name.starts_with(role) && !name.contains(SENSORS[1]));
        its.map(|name| started(host, name)).collect::<Vec<_>>()
    };
    // By ZeroMQ, as all have one address.
    let times = ["manager", "logger", "proxy", "worker"].map(times);
    for stages in times.windows(2) {
        assert!(stages[0].iter().max() < stages[1].iter().min(), "{times:?}");
    }
    assert!(times[0][0] > since, "{times:?}");
    assert_ends_in_order(host, since, after.len() - 8);
}

fn assert_ends_in_order(host: &Container, since: u64, count: usize) {
    let ended = ended(host, since);
    assert_eq!(ended.len(), count, "{ended:?}");
    assert!(ended.is_sorted_by_key(|node| stage(node)), "{ended:?}");
}

#[test]
fn sixteen_nodes_on_two_hosts_are_operated_by_zeek_client() {
    let Some(mut hosts) = Hosts::start(&["", "--on-agent-exit keep"]) else {
        return;
    };
    let mut cluster = Hosts::cluster(&[5, 8]);
    cluster.set("worker-sensor-2-2", &format!("env = SECRET={SECRET}"));
    let before = hosts.deploy(&cluster);
    assert_eq!(before.len(), 16);
    nothing_secret_is_shown(&hosts);

    // Two that are killed are back, with a notice.
    let killed = [("manager", 0), ("worker-sensor-2-8", 1)];
    for (name, host) in killed {
        hosts.containers[host].sh(&format!("kill -9 {}", before[name].as_raw_nonzero()));
        let lines = hosts.logged(&format!("{name} CRASHED -> RUNNING: is up again"));
        let is_notice = |line: &String| line.contains(name) && line.contains("ended: signal 9 (SIGKILL)");
        assert!(lines.iter().any(is_notice), "{lines:#?}");
    }
    let after = hosts.all_run();
    for (name, pid) in &before {
        let is_killed = killed.iter().any(|(killed, _)| killed == name);
        assert_eq!(after[name] != *pid, is_killed, "{name}: {before:?}, {after:?}");
    }

    // One that always dies has failed with its last words, and runs when its cause is gone.
    let mut dying = cluster.clone();
    dying.always_dies(DYING, "fatal error: problem with interface");
    let printed = hosts.operated.fail(&dying);
    let worker = &printed["results"]["nodes"][DYING];
    assert_eq!(
        (&worker["instance"], &worker["success"]),
        (&json!(SENSORS[1]), &json!(false))
    );
    let written = worker["stderr"].as_str().expect("a text").lines();
    assert_eq!(
        written.last(),
        Some("fatal error: problem with interface"),
        "{printed}"
    );
    let states = hosts.states_until(|states| states[DYING].0 == "FAILED");
    let others = states.iter().filter(|(name, _)| *name != DYING);
    for (name, (state, pid)) in others {
        assert_eq!((&**state, *pid), ("RUNNING", Some(after[name])), "{name}");
    }
    let mut before = hosts.deploy(&cluster);
    for (name, pid) in &after {
        assert_eq!(before[name] == *pid, name != DYING, "{name}");
    }

    restart_all(&mut hosts, &before);

    // Without nodes no process is left, nor a unit.
    let since = now();
    let empty = cluster.without_nodes().text();
    hosts.operated.succeed(&["deploy-config", "-"], Some(&empty));
    for container in &hosts.containers {
        container.sh(NOTHING_LEFT);
    }
    assert!(hosts.pids().is_empty());
    assert_ends_in_order(hosts.host(), since, 8);

    // Stand-ins end with their agent, unless it is said that they are kept.
    before = hosts.deploy(&cluster);
    for container in &hosts.containers {
        container.sh("systemctl stop mgmt-agent");
        assert_eq!(container.sh("systemctl show -P Result mgmt-agent"), "success");
    }
    before.retain(|name, _| name.starts_with("worker-sensor-2-"));
    assert_eq!(hosts.pids(), before);
}
