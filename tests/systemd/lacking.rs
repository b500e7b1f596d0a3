//! Nodes that wait for what they need, or have failed, and start when it is there, or mended.

use super::{
    cluster::{now, started},
    hosts::Hosts,
};

const LATER: &str = "worker-later";
const WORKER: &str = "worker-sensor-1-1";

/// A script of a node's. As it is, it can be read; then it cannot.
const SCRIPT: &str = "/var/tmp/own.zeek";
const GOOD: &str = "echo '# nothing' >/var/tmp/own.zeek";
const BAD: &str = "echo '} error' >/var/tmp/own.zeek";

/// From when an interface is there to the start of its node, in microseconds.
const SOON: u64 = 2_000_000;

/// Has the agent begin anew, with its state on a small disk of its own.
const DISK: &str = "
systemctl stop mgmt-agent
mount -t tmpfs -o size=40m,mode=750,uid=zeek,gid=zeek none /var/lib/zeek-mgmt
systemctl start mgmt-agent";

#[test]
fn nodes_wait_for_an_interface_and_for_space_and_one_that_has_failed_is_tried_again() {
    let Some(mut hosts) = Hosts::start(&["--node-failed-retry 1sec"]) else {
        return;
    };
    hosts.host().sh(DISK);
    hosts.host().sh(GOOD);
    let mut cluster = Hosts::cluster(&[2]);
    cluster.set(WORKER, &format!("scripts = {SCRIPT}"));
    cluster.add(LATER, "sensor-1", "worker", "interface = mgmt-test0");
    let printed = hosts.operated.fail(&cluster);
    hosts.said(&format!("node {LATER} waits: interface mgmt-test0 is not there"));
    assert_eq!(printed["results"]["nodes"][LATER]["success"], false, "{printed}");
    hosts.states_until(|states| {
        states
            .iter()
            .all(|(name, (state, _))| (state == "RUNNING") == (name != LATER))
    });
    let since = now();
    hosts.network.add_interface("mgmt-test0");
    hosts.states_until(|states| states[LATER].0 == "RUNNING");
    let took = started(hosts.host(), LATER).checked_sub(since);
    assert!(took.is_some_and(|took| took < SOON), "{took:?} µs");
    let first = hosts.deploy(&cluster);

    hosts.host().sh(BAD);
    hosts
        .host()
        .sh(&format!("kill -9 {}", first[WORKER].as_raw_nonzero()));
    hosts.states_until(|states| states[WORKER].0 == "FAILED");
    hosts.host().sh(GOOD);
    hosts.states_until(|states| states[WORKER].0 == "RUNNING");
    let before = hosts.pids();

    hosts
        .host()
        .sh("dd if=/dev/zero of=/var/lib/zeek-mgmt/fill bs=4096 2>/dev/null || true");
    hosts.host().sh("systemctl stop zeek-node@worker-sensor-1-2");
    hosts.said("cannot write down what should run on this host: ");
    hosts
        .host()
        .sh(&format!("kill -9 {}", before[WORKER].as_raw_nonzero()));
    hosts.said(&format!("node {WORKER} waits: space in "));
    hosts.host().sh("rm /var/lib/zeek-mgmt/fill");
    hosts.states_until(|states| states[WORKER].0 == "RUNNING");
    hosts.said("what should run on this host is written down again");
    let desired = hosts
        .host()
        .sh("cat /var/lib/zeek-mgmt/nodes/sensor-1/desired.json");
    assert!(
        desired.contains("\"stopped\":[\"worker-sensor-1-2\"]"),
        "{desired}"
    );
    let after = hosts.pids();
    for (name, pid) in &before {
        let stays = ![WORKER, "worker-sensor-1-2"].contains(&name.as_str());
        assert_eq!(
            after.get(name) == Some(pid),
            stays,
            "{name}: {before:?}, {after:?}"
        );
    }
}
