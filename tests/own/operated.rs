//! What operators see and do by `mgmtctl`: of one sensor on its agent's socket, of a cluster on its controller's.

use std::path::Path;

use broker_endpoint::tls::TlsConfig;
use expect_test::expect;
use mgmt_api::{State, topics};
use serde_json::json;

use super::{
    Host, NAME, assert_all_run, assert_deployed, behaving, configuration,
    events::Follower,
    nodes,
    sensors::{SENSORS, Sensors},
    told_until,
};
use crate::support::{
    cluster_file::always_dies,
    http::failing,
    limit::Limit,
    mgmtctl::{self, masked},
    peer::Peer,
};

/// A printed status by which something is to be mended.
fn warned(directory: &Path) -> String {
    let status = mgmtctl::ask(directory, &["status"]);
    assert_eq!(status.exit, 1, "{status:?}");
    status.stdout
}

#[test]
fn a_sensor_is_operated_without_its_controller() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let sensor = host.directory(NAME);
    let wanted = nodes(&["manager", "worker-1", "worker-2"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    assert_all_run(&host, &mut controlling, &wanted);
    drop(controlling);
    let controller = Peer::connect(agent.broker(), TlsConfig::Anonymous, topics::CONTROLLER);
    let limit = Limit::new("the controller to be heard of");
    limit.poll(|| failing(&sensor).is_empty().then_some(()));

    expect![[r"
        instance sensor: agent 0.1.0, up TIME, supervision native, configuration c1
        INSTANCE NODE ROLE STATE PID UP RESTARTS
        sensor manager manager RUNNING PID TIME 0
        sensor worker-1 worker RUNNING PID TIME 0
        sensor worker-2 worker RUNNING PID TIME 0
        WARNING: instance sensor: nothing is read by nodes worker-1, worker-2: there is neither an interface nor mgmt.pcap_file
        as deployed, with WARNINGS (instance sensor): 3 nodes (3 RUNNING)
    "]]
    .assert_eq(&masked(&warned(&sensor)));

    let stopped = mgmtctl::ask(&sensor, &["stop", "worker-1"]);
    assert_eq!(stopped.printed(), "stopping: worker-1\n");
    let again = mgmtctl::ask(&sensor, &["stop", "worker-1"]);
    assert_eq!(again.printed(), "nothing to stop: no node had to change\n");
    let mut controlling = super::connect(&agent);
    told_until(&mut controlling, |said| said["worker-1"].1.is_none());
    let status = warned(&sensor);
    let last = status.lines().last().expect("a line");
    assert_eq!(
        last,
        "as deployed but for 1 node that an operator has stopped, with WARNINGS (instance sensor): 3 nodes (2 RUNNING, 1 STOPPED)"
    );
    let started = mgmtctl::ask(&sensor, &["start", "--all", "--json"]);
    assert_eq!(started.json(0), json!({"nodes": ["worker-1"], "failures": []}));
    assert_all_run(&host, &mut controlling, &wanted);

    drop(controller);
    let limit = Limit::new("the end of the connection");
    limit.poll(|| (!failing(&sensor).is_empty()).then_some(()));
    expect![[r"
        instance sensor: agent 0.1.0, up TIME, supervision native, configuration c1
        INSTANCE NODE ROLE STATE PID UP RESTARTS
        sensor manager manager RUNNING PID TIME 0
        sensor worker-1 worker RUNNING PID TIME 0
        sensor worker-2 worker RUNNING PID TIME 0
        WARNING: instance sensor: nothing is read by nodes worker-1, worker-2: there is neither an interface nor mgmt.pcap_file
        WARNING: instance sensor: no controller is connected, since ?: look at the controller, and at this agent's setting controller
        as deployed, with WARNINGS (instance sensor): 3 nodes (3 RUNNING)
    "]]
    .assert_eq(&masked(&warned(&sensor)));
    let log = agent.stop();
    assert!(log.contains("stops worker-1, as user "), "{log}");

    mgmtctl::ask(&sensor, &["status"]).failed(3, "its daemon does not run");
}

#[test]
fn what_is_wrong_is_said_in_the_last_lines_and_by_the_exit_code() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let sensor = host.directory(NAME);
    let mut wanted = nodes(&["manager", "worker-1"]);
    wanted[1] = behaving(wanted[1].clone(), &always_dies("\u{1b}[31mno such interface"));
    controlling.deploy_configuration(&configuration("c1", &wanted));
    told_until(&mut controlling, |said| said["worker-1"].0 == State::Failed);

    let status = mgmtctl::ask(&sensor, &["status"]);
    assert_eq!(status.exit, 1, "{status:?}");
    let lines: Vec<String> = masked(&status.stdout).lines().map(str::to_owned).collect();
    let [.., problem, summary] = &lines[..] else {
        panic!("{status:?}")
    };
    assert!(problem.starts_with("worker-1 on sensor is FAILED: "), "{problem}");
    assert_eq!(
        summary,
        "NOT as deployed (worker-1), with WARNINGS (instance sensor): 2 nodes (1 FAILED, 1 RUNNING)"
    );

    let started = mgmtctl::ask(&sensor, &["start", "worker-1"]);
    assert_eq!(
        started.printed(),
        "starting: worker-1\n",
        "it is not waited for five minutes"
    );
    told_until(&mut controlling, |said| said["worker-1"].0 == State::Failed);

    let logs = mgmtctl::ask(&sensor, &["logs", "worker-1"]);
    let last = "--- standard error of worker-1\n\\x1b[31mno such interface\n";
    assert!(logs.printed().ends_with(last), "{logs:?}");
    let mut follower = Follower::of(&sensor, &["logs", "-f", "worker-1"]);
    follower.shows(&["--- standard error of worker-1, PID ", "no such interface"]);
    mgmtctl::ask(&sensor, &["start", "worker-1"]).printed();
    follower.shows(&["--- standard error of worker-1, PID ", "no such interface"]);
    drop(follower);
    told_until(&mut controlling, |said| said["worker-1"].0 == State::Failed);
    let history = mgmtctl::ask(&sensor, &["diag", "worker-1"]);
    let lines: Vec<String> = masked(history.printed()).lines().map(str::to_owned).collect();
    assert_eq!(lines[..2], ["TIME STATE PID WHY", "AT PENDING - -"], "{lines:?}");
    let ended = " exit status 1, last line: \\x1b[31mno such interface";
    let is_end = |line: &&String| line.starts_with("AT CRASHED ") && line.ends_with(ended);
    assert_eq!(lines.iter().filter(is_end).count(), 12, "{lines:?}");
    let wanted = "the agent starts it, as user ";
    assert!(lines.iter().any(|line| line.contains(wanted)), "{lines:?}");
    let [.., written, last] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(written, "\\x1b[31mno such interface");
    let now = "worker-1 on sensor, worker, is FAILED, has ended by itself ";
    assert!(last.starts_with(now), "{last}");
    mgmtctl::ask(&sensor, &["diag", "worker-9"]).failed(1, "mgmtctl: this agent has no node worker-9\n");
    mgmtctl::ask(&sensor, &["logs", "worker-9"]).failed(1, "mgmtctl: this agent has no node worker-9\n");
    mgmtctl::ask(&sensor, &["stop"]).failed(64, "Usage:");
    mgmtctl::ask(&sensor, &["restart", "--all"]).failed(64, "stop and start them here");
    agent.stop();
}

#[test]
fn a_cluster_on_two_hosts_is_operated_by_its_controller() {
    let mut sensors = Sensors::start();
    let cluster = sensors.cluster([1, 1]);
    let before = sensors.deploy(&cluster);
    let [_, second] = SENSORS;
    expect![[r"
        cluster default: configuration ID is deployed since ?
        INSTANCE NODE ROLE STATE PID UP RESTARTS
        sensor-1 logger logger RUNNING PID TIME 0
        sensor-1 manager manager RUNNING PID TIME 0
        sensor-1 proxy proxy RUNNING PID TIME 0
        sensor-1 worker-sensor-1-1 worker RUNNING PID TIME 0
        sensor-2 worker-sensor-2-1 worker RUNNING PID TIME 0
        all as deployed: 2 of 2 instances connected, 5 nodes (5 RUNNING)
    "]]
    .assert_eq(&masked(sensors.mgmtctl(&["status"]).printed()));

    expect![[r"
        INSTANCE DEPLOYED CONNECTED FOR ADDRESS AGENT SUPERVISION CONFIGURATION NODES
        sensor-1 yes yes TIME ? 0.1.0 native ID 4
        sensor-2 yes yes TIME ? 0.1.0 native ID 1
        2 of 2 deployed instances connected
    "]]
    .assert_eq(&masked(sensors.mgmtctl(&["instances"]).printed()));

    let stopped = sensors.mgmtctl(&["stop", "--role", "worker", "--instance", second]);
    assert_eq!(stopped.printed(), "stopping: worker-sensor-2-1\n");
    sensors.states_until(|states| states["worker-sensor-2-1"].0 == "STOPPED");
    let started = sensors.mgmtctl(&["start", "--role", "worker"]);
    assert_eq!(started.printed(), "starting: worker-sensor-2-1\n");
    sensors.states_until(|states| states["worker-sensor-2-1"].0 == "RUNNING");
    let restarted = sensors.mgmtctl(&["restart", "worker-sensor-1-1"]);
    assert_eq!(restarted.printed(), "restarting: worker-sensor-1-1\n");
    sensors
        .mgmtctl(&["stop", "worker-9"])
        .failed(1, "the deployed configuration has no node worker-9\n");
    sensors.mgmtctl(&["stop", second]).failed(
        1,
        &format!("has no node {second}; {second} is an instance: --instance {second}\n"),
    );
    sensors.states_until(|states| states["worker-sensor-1-1"].0 == "RUNNING");
    let after = sensors.pids();
    let same = |name: &&String| after.get(*name) == before.get(*name);
    let kept: Vec<&String> = before.keys().filter(same).collect();
    assert_eq!(kept, ["logger", "manager", "proxy"]);

    let agent = sensors.instances[1].agent.take();
    agent.expect("it runs").kill();
    assert_eq!(sensors.mgmtctl(&["status"]).exit, 1);
    let refused = sensors.mgmtctl(&["stop", "--all"]);
    refused.failed(1, "");
    assert!(refused.stdout.contains(&format!(
        "cannot stop worker-sensor-2-1 on {second}: instance {second} is not connected"
    )));
    assert!(
        refused
            .stdout
            .contains("stopping: logger, manager, proxy, worker-sensor-1-1"),
        "{refused:?}"
    );

    sensors.instances[1].start_agent();
    sensors.states_until(|states| states.contains_key("worker-sensor-2-1"));
    sensors.mgmtctl(&["start", "--all"]).printed();
    sensors.states_until(|states| states.values().all(|(state, _)| state == "RUNNING"));
    assert_eq!(sensors.mgmtctl(&["status"]).exit, 0);
    sensors.stop();
}

#[test]
fn a_shell_completes_the_names_of_what_is_deployed() {
    let mut sensors = Sensors::start();
    let cluster = sensors.cluster([1, 1]);
    sensors.deploy(&cluster);
    let directory = sensors.working_dir();
    let completed = |words: &[&str]| mgmtctl::completed(&directory, words);
    assert_eq!(
        completed(&["logs", "worker"]),
        ["worker-sensor-1-1", "worker-sensor-2-1"]
    );
    assert_eq!(completed(&["stop", "--instance", "sensor-2"]), ["sensor-2"]);
    assert_eq!(completed(&["status", "--cluster", ""]), ["default"]);
    let script = sensors.mgmtctl(&["completion", "bash"]);
    assert!(script.printed().contains("complete -o nospace"), "{script:?}");
    sensors.stop();
    assert_eq!(completed(&["logs", "worker"]), [""; 0], "the controller is away");
}
