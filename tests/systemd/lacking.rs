//! Nodes that wait for what they need, and start when it is there.

use super::{
    cluster::{now, started},
    hosts::Hosts,
};

const LATER: &str = "worker-later";
const WORKER: &str = "worker-sensor-1-1";

/// From when an interface is there to the start of its node, in microseconds.
const SOON: u64 = 2_000_000;

/// Has the agent begin anew, with its state on a small disk of its own.
const DISK: &str = "
systemctl stop mgmt-agent
mount -t tmpfs -o size=40m,mode=750,uid=zeek,gid=zeek none /var/lib/zeek-mgmt
systemctl start mgmt-agent";

#[test]
fn nodes_wait_for_an_interface_and_for_space_and_start_when_it_is_there() {
    let Some(mut hosts) = Hosts::start(&[""]) else {
        return;
    };
    hosts.host().sh(DISK);
    let mut cluster = Hosts::cluster(&[2]);
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
    let before = hosts.deploy(&cluster);

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
