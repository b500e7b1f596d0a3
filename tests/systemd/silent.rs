//! Nodes whose processes live and do nothing, and those that write a lot.

use zeek_simulator::{Exit, NodeBehaviour};

use super::hosts::Hosts;
use crate::support::container::Container;

const STOPS: &str = "worker-sensor-1-1";
const PRINTS: &str = "worker-sensor-1-2";

/// Between two heartbeats, in milliseconds. A node that is missed for three of them is wedged.
const HEARTBEAT: u64 = 1000;

/// How much a node writes each time that it is started, in MiB, which is five times until it has failed; and how much memory, in KiB, that may
/// cost its agent: it reads the last lines only, and would read 16 MiB at most.
const PRINTED: u32 = 3;
const COST_MAX: u64 = 8 << 10;

/// The most memory that the agent has had, in KiB.
fn peak(container: &Container) -> u64 {
    let line =
        "sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/$(systemctl show -P MainPID mgmt-agent)/status";
    container.sh(line).parse().expect("a number")
}

#[test]
fn a_node_that_is_stopped_is_wedged_and_one_that_prints_a_lot_costs_little_and_shows_its_last_lines() {
    let Some(mut hosts) = Hosts::start(&[""]) else {
        return;
    };
    let mut cluster = Hosts::cluster(&[2]);
    cluster.behave(
        STOPS,
        &NodeBehaviour {
            heartbeat: Some(HEARTBEAT),
            ..NodeBehaviour::default()
        },
    );
    let before = hosts.deploy(&cluster);
    let stopped = before[STOPS].as_raw_nonzero();
    hosts.host().sh(&format!("kill -STOP {stopped}"));
    hosts.said(&format!("node {STOPS} is wedged: no heartbeat for 3 s"));
    let states = hosts.states_until(|states| states[STOPS].0 == "UNKNOWN");
    assert_eq!(states[STOPS].1, Some(before[STOPS]));
    hosts.host().sh(&format!("kill -CONT {stopped}"));
    hosts.said(&format!("node {STOPS} is no more wedged"));
    assert_eq!(hosts.all_run(), before, "none is ended for that");

    let peak_before = peak(hosts.host());
    let mut printing = cluster.clone();
    printing.behave(
        PRINTS,
        &NodeBehaviour {
            prints: Some(PRINTED),
            exit: Some(Exit {
                status: 1,
                aborts: false,
            }),
            ..NodeBehaviour::default()
        },
    );
    hosts.operated.fail(&printing);
    hosts.said(&format!(
        "node {PRINTS} has failed, it ended 5 times: exit status 1, last line: last line 100;"
    ));
    let cost = peak(hosts.host()) - peak_before;
    assert!(cost < COST_MAX, "{cost} KiB");
    let after = hosts.deploy(&cluster);
    assert!(
        before
            .iter()
            .all(|(name, pid)| (after[name] == *pid) == (name != PRINTS))
    );
}
