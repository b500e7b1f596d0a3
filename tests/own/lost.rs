//! An agent whose directory is removed while it runs.

use std::fs;

use mgmt_api::State;
use rustix::process::Signal;

use super::{
    Host, NAME, assert_all_run, assert_deployed, configuration, nodes, remove_directory, told_until,
};
use crate::support::{limit::Limit, mgmtctl, signal};

#[test]
fn a_lost_directory_is_told_and_made_again_and_what_should_run_is_still_known() {
    let host = Host::new();
    let (mut agent, mut controlling) = host.start_connected(&[]);
    let wanted = nodes(&["manager", "worker-1", "worker-2", "worker-3"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let sensor = host.directory(NAME);
    mgmtctl::ask(&sensor, &["stop", "worker-3"]).printed();
    let before = told_until(&mut controlling, |said| said["worker-3"].1.is_none());

    // Where the directories were, there is something else.
    let state = host.home.path().join("state");
    remove_directory(&state);
    fs::write(&state, "").expect("a file can be made");
    let gone = "is gone, and cannot be made again: ";
    controlling.hear_said(&["the agent's directory ", gone, "; nodes run on"]);
    let of_nodes = "the directories of manager, worker-1, worker-2 are gone: what these nodes write is lost until they are restarted";
    controlling.hear_said(&[of_nodes]);

    fs::remove_file(&state).expect("it is ours");
    controlling.hear_said(&[
        "what was in the agent's directory ",
        " is gone, and is written again",
    ]);
    agent
        .stderr
        .until_all(&["control.sock was gone, and is there again"]);
    let told = mgmtctl::ask(&sensor, &["status"]);
    assert!(told.stdout.contains(of_nodes), "{told:?}");
    assert_eq!(told_until(&mut controlling, |_| true), before);

    // What has no directory comes back with one, at a crash and when an operator restarts it.
    signal(before["worker-1"].1.expect("it runs"), Signal::KILL);
    controlling.hear_states(&["worker-1"], State::Crashed);
    controlling.hear_states(&["worker-1"], State::Running);
    mgmtctl::ask(&sensor, &["stop", "worker-2", "manager"]).printed();
    told_until(&mut controlling, |said| {
        said["worker-2"].1.is_none() && said["manager"].1.is_none()
    });
    mgmtctl::ask(&sensor, &["start", "worker-2", "manager"]).printed();
    told_until(&mut controlling, |said| said["manager"].0 == State::Running);
    let limit = Limit::new("no node to work in a directory that is gone");
    limit.poll(|| {
        let told = mgmtctl::ask(&sensor, &["status"]);
        (!told.stdout.contains("are gone")).then_some(())
    });

    // One alone, too.
    remove_directory(&host.directory("worker-1"));
    controlling.hear_said(&["the directories of worker-1 are gone"]);

    // The next agent knows what runs, and what an operator has stopped.
    agent.kill();
    let agent = host.start(&[]);
    let mut controlling = super::connect(&agent);
    let after = told_until(&mut controlling, |said| {
        said.values()
            .filter(|(state, _)| *state == State::Running)
            .count()
            == 3
    });
    assert_eq!(after["worker-3"], (State::Stopped, None));
    assert_eq!(host.pids().len(), 3);
    agent.stop();
}

#[test]
fn an_emptied_directory_is_filled_again() {
    let host = Host::new();
    let (mut agent, mut controlling) = host.start_connected(&[]);
    let wanted = nodes(&["manager", "worker-1"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let before = assert_all_run(&host, &mut controlling, &wanted);
    let sensor = host.directory(NAME);
    for entry in fs::read_dir(&sensor).expect("it is there") {
        let path = entry.expect("an entry").path();
        let removed = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        removed.expect("it is ours");
    }
    controlling.hear_said(&[
        "what was in the agent's directory ",
        " is gone, and is written again",
    ]);
    agent
        .stderr
        .until_all(&["control.sock was gone, and is there again"]);
    let limit = Limit::new("what should run to be written down");
    limit.poll(|| sensor.join("desired.json").exists().then_some(()));
    assert!(sensor.join("scripts/node-link.zeek").exists());
    agent.kill();
    let agent = host.start(&[]);
    let mut controlling = super::connect(&agent);
    assert_eq!(assert_all_run(&host, &mut controlling, &wanted), before);
    agent.stop();
}
