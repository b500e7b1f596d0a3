//! What an operator sees of a cluster on two hosts.

use rustix::process::Signal;
use serde_json::json;

use super::sensors::{SENSORS, Sensors};
use crate::support::signal;

#[test]
fn sixteen_nodes_on_two_hosts_run_and_one_that_is_killed_is_back_with_a_notice() {
    let mut sensors = Sensors::start();
    let cluster = sensors.cluster([5, 8]);
    let before = sensors.deploy(&cluster);
    assert_eq!(before.len(), 16);
    for name in ["manager", "worker-sensor-2-8"] {
        signal(before[name], Signal::KILL);
        let ended = format!("node {name} ended: signal 9");
        sensors.news.with(&[&ended, "it is started again in"]);
        sensors
            .news
            .with(&["Management::CRASHED", "Management::RUNNING", name]);
    }
    sensors.states_until(|states| states.values().all(|(state, _)| state == "RUNNING"));
    let after = sensors.pids();
    for (name, pid) in &before {
        let is_killed = ["manager", "worker-sensor-2-8"].contains(&name.as_str());
        assert_eq!(after[name] != *pid, is_killed, "{name}: {before:?}, {after:?}");
    }
    sensors.stop();
}

#[test]
fn a_node_that_always_dies_is_failed_with_its_last_words_and_runs_when_its_cause_is_gone() {
    let mut sensors = Sensors::start();
    let cluster = sensors.cluster([1, 1]);
    let mut dying = cluster.clone();
    dying.always_dies("worker-sensor-2-1", "fatal error: problem with interface");
    let printed = sensors.fail(&dying);
    let worker = &printed["results"]["nodes"]["worker-sensor-2-1"];
    assert_eq!(
        worker["stderr"], "fatal error: problem with interface",
        "{printed}"
    );
    assert_eq!(
        (&worker["instance"], &worker["success"]),
        (&json!(SENSORS[1]), &json!(false))
    );
    // A busy machine may take longer than the answer waits.
    let failed = "node worker-sensor-2-1 has failed, it ended 5 times: exit status 1, last line: fatal error: problem with interface; it is tried \
                  again in 5 min";
    sensors.news.with(&["notify_error", failed]);
    sensors.states_until(|states| states["worker-sensor-2-1"].0 == "FAILED");
    let states = sensors.states();
    let others = states.iter().filter(|(name, _)| *name != "worker-sensor-2-1");
    assert!(
        others.clone().all(|(_, (state, _))| state == "RUNNING"),
        "{states:?}"
    );

    // The others run on.
    let after = sensors.deploy(&cluster);
    for (name, (_, pid)) in others {
        assert_eq!(Some(after[name]), *pid, "{name}");
    }
    sensors.stop();
}

#[test]
fn why_a_node_cannot_run_is_told_once() {
    let mut sensors = Sensors::start();
    let mut cluster = sensors.cluster([1, 1]);
    cluster.set("worker-sensor-2-1", "env = '=x'");
    let printed = sensors.fail(&cluster);
    let error = "not deployed: node worker-sensor-2-1 cannot run on instance sensor-2: no environment variable can be called ''; the deployed \
                 configuration is unchanged";
    assert_eq!(printed["errors"], json!([error]), "{printed}");
    sensors.stop();
}
