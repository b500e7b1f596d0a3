//! Nodes whose processes live and do nothing.

use mgmt_api::State;
use rustix::process::Signal;
use zeek_simulator::NodeBehaviour;

use super::{Host, assert_all_run, assert_deployed, behaving, configuration, node, told, told_until};
use crate::support::signal;

/// Between two heartbeats, in milliseconds. A node that is missed for three of them is wedged.
const HEARTBEAT: u64 = 1000;

#[test]
fn a_node_that_is_stopped_and_one_in_an_endless_loop_are_wedged_until_they_are_heard_again() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let beating = NodeBehaviour {
        heartbeat: Some(HEARTBEAT),
        ..NodeBehaviour::default()
    };
    let looping = NodeBehaviour {
        mute: true,
        ..beating.clone()
    };
    let wanted = [
        node("manager"),
        behaving(node("worker-loops"), &looping),
        behaving(node("worker-stops"), &beating),
    ];
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let wedged = |name: &str| format!("node {name} is wedged: no heartbeat for 3 s");
    controlling.hear_said(&[&wedged("worker-loops")]);
    let pids = host.pids();

    signal(pids["worker-stops"], Signal::STOP);
    controlling.hear_said(&[&wedged("worker-stops")]);
    let said = told(&mut controlling);
    let state_of = |name: &str| said[name];
    for (name, state) in [
        ("manager", State::Running),
        ("worker-loops", State::Unknown),
        ("worker-stops", State::Unknown),
    ] {
        assert_eq!(state_of(name), (state, Some(pids[name])), "{said:?}");
    }

    signal(pids["worker-stops"], Signal::CONT);
    controlling.hear_said(&["node worker-stops is no more wedged: it has a heartbeat again, after"]);
    let all_but_one = told_until(&mut controlling, |said| said["worker-stops"].0 == State::Running);
    assert_eq!(all_but_one["worker-stops"].1, Some(pids["worker-stops"]));
    assert_eq!(host.pids(), pids, "none is ended for that");

    // One that is mended is.
    let mended = [
        node("manager"),
        node("worker-loops"),
        behaving(node("worker-stops"), &beating),
    ];
    assert_deployed(&controlling.deploy_configuration(&configuration("c2", &mended)));
    let after = assert_all_run(&host, &mut controlling, &mended);
    assert_eq!(after["worker-stops"], pids["worker-stops"]);
    agent.stop();
}
