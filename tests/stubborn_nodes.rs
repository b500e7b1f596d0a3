//! Nodes that fork, fail, hang, or do not end when they are to: real controller, agent, zeek-client and processes; the agent starts a
//! stand-in for Zeek, whose nodes behave like that. [`Instance::stop`](crate::support::cluster::Instance::stop) sees to it that
//! nothing is left running, here and in every other test.

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;
use tempfile::TempDir;
use zeek_simulator::{Exit, NodeBehaviour};

use crate::{
    agent_failures::{AGENT, CLUSTER, World, with_worker},
    support::cluster::{Zeek, installation},
};

/// A cluster whose agent has started its Supervisor.
fn world(zeek: &TempDir) -> World {
    World::start(|plan| plan.zeek = Zeek::Started(zeek.path().to_path_buf()))
}

fn is_there(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).expect("small")).expect("not 0");
    pidfd_open(pid, PidfdFlags::empty()).is_ok()
}

fn waits_to_be_started(node: &str) -> String {
    format!("the Supervisor has not started node {node} yet, it may be waiting for an earlier one to end")
}

#[test]
fn a_node_that_forks_is_managed_and_its_children_end_with_the_supervisor() {
    let zeek = installation();
    let mut world = world(&zeek);
    let behaviour = NodeBehaviour {
        forks: Some(3600),
        ..NodeBehaviour::default()
    };
    let deployed = world.succeed(&["deploy-config", "-"], Some(&with_worker(&behaviour)));
    assert_eq!(deployed["nodes"]["worker-01"]["success"], true);
    world.restart_worker();
    world.empty();
    // As under Zeek's Supervisor, which knows of its nodes only.
    let children = |world: &World| {
        let processes = world.instance.processes();
        processes
            .iter()
            .filter(|line| line.contains("--stand-in-linger"))
            .count()
    };
    assert_eq!(children(&world), 2);
    world.instance.stop();
}

#[test]
fn a_node_that_hangs_is_named_in_time_and_can_be_replaced() {
    let zeek = installation();
    let mut world = world(&zeek);
    let behaviour = NodeBehaviour {
        hangs: true,
        ..NodeBehaviour::default()
    };
    let printed = world.fail(&["deploy-config", "-"], Some(&with_worker(&behaviour)));
    let nodes = world.nodes();
    let (state, pid) = &nodes["worker-01"];
    assert_eq!(state, "PENDING");
    let [timed_out, still_starting] = &printed["errors"].as_array().unwrap()[..] else {
        panic!("{printed}");
    };
    assert_eq!(timed_out, "request timed out");
    let reason = still_starting.as_str().unwrap();
    assert!(
        reason.starts_with("node worker-01 is still starting after ")
            && reason.ends_with(&format!(", PID {pid}")),
        "{reason}"
    );
    assert_eq!(printed["results"]["nodes"]["manager"]["success"], true);
    assert_eq!(printed["results"]["nodes"]["worker-01"]["success"], false);
    world.deploy();
    assert!(!is_there(*pid), "the node that hung");
    world.instance.stop();
}

#[test]
fn a_node_that_ignores_sigterm_is_waited_for_in_words_and_killed_in_the_end() {
    let zeek = installation();
    let mut world = world(&zeek);
    let behaviour = NodeBehaviour {
        ignores_sigterm: true,
        ..NodeBehaviour::default()
    };
    world.succeed(&["deploy-config", "-"], Some(&with_worker(&behaviour)));
    let before = world.nodes();
    let printed = world.fail(&["deploy-config", "-"], Some(CLUSTER));
    assert_eq!(
        printed["errors"],
        json!([
            "request timed out",
            waits_to_be_started("manager"),
            waits_to_be_started("worker-01")
        ])
    );
    // Zeek's Supervisor kills a node after 26 seconds; what waits for that is then done.
    world.news_with(&["Management::RUNNING", "Management::STOPPED"]);
    world.news_with(&["Management::PENDING", "Management::RUNNING"]);
    world.wait_for_running(3);
    let after = world.nodes();
    assert_ne!(after["worker-01"].1, before["worker-01"].1);
    assert!(!is_there(before["worker-01"].1));
    world.instance.stop();
}

#[test]
fn a_node_that_ignores_sigterm_and_forks_does_not_outlive_its_agent() {
    let zeek = installation();
    let mut world = world(&zeek);
    let behaviour = NodeBehaviour {
        ignores_sigterm: true,
        hangs: true,
        forks: Some(3600),
        ..NodeBehaviour::default()
    };
    world.fail(&["deploy-config", "-"], Some(&with_worker(&behaviour)));
    world.instance.stop();
}

#[test]
fn a_node_that_aborts_at_once_is_called_crashed_and_goes_when_it_is_not_wanted() {
    let zeek = installation();
    let mut world = world(&zeek);
    let behaviour = NodeBehaviour {
        stderr: Some("internal error: bad".into()),
        exit: Some(Exit {
            status: 0,
            aborts: true,
        }),
        ..NodeBehaviour::default()
    };
    let printed = world.fail(&["deploy-config", "-"], Some(&with_worker(&behaviour)));
    assert_eq!(printed["errors"], json!(["request timed out"]));
    let worker = &printed["results"]["nodes"]["worker-01"];
    assert_eq!(
        *worker,
        json!({ "instance": AGENT, "success": false, "stdout": "", "stderr": "internal error: bad" })
    );
    assert_eq!(world.nodes()["worker-01"].0, "CRASHED");
    world.empty();
    world.instance.stop();
}

#[test]
fn news_say_live_why_a_node_fails() {
    let mut world = World::start(|_| ());
    let behaviour = NodeBehaviour {
        stderr: Some("opening eth1\nfatal error: no such packet source".into()),
        exit: Some(Exit {
            status: 1,
            aborts: false,
        }),
        ..NodeBehaviour::default()
    };
    let deploy = world.fail(&["deploy-config", "-"], Some(&with_worker(&behaviour)));
    assert_eq!(deploy["errors"], json!(["request timed out"]));
    let worker = &deploy["results"]["nodes"]["worker-01"];
    assert_eq!(
        worker["stderr"],
        "opening eth1\nfatal error: no such packet source"
    );

    for news in [
        "node worker-01 ended: ",
        "last output: opening eth1",
        "last line: fatal error: no such packet source; restart ",
    ] {
        world.news_about(news);
    }
    assert_eq!(world.nodes()["worker-01"].0, "CRASHED");
    world.instance.stop();
}
