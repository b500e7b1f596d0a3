//! Configurations and deployments, by zeek-client and by `mgmtctl` in turn: each sees what the other has done.

use std::fs;

use expect_test::expect;
use serde_json::json;

use super::sensors::Sensors;
use crate::support::mgmtctl::{self, masked};

#[test]
fn what_zeek_client_has_staged_and_deployed_is_what_mgmtctl_shows() {
    let mut sensors = Sensors::start();
    let mut cluster = sensors.cluster([1, 1]);
    sensors.deploy(&cluster);
    let shown = sensors.mgmtctl(&["config", "show"]);
    let same = sensors.zeek_client(&["get-config", "--deployed"], None);
    assert_eq!(shown.printed(), same.printed());

    cluster.set("worker-sensor-1-1", "env = A=\"b c\" D=");
    cluster.set("worker-sensor-1-1", "cpu_affinity = 0");
    sensors.succeed(&["stage-config", "-"], Some(&cluster.text()));
    let shown = sensors.mgmtctl(&["config", "show", "staged"]);
    let same = sensors.zeek_client(&["get-config"], None);
    assert_eq!(shown.printed(), same.printed());
    let shown = sensors.mgmtctl(&["config", "show", "staged", "--json"]);
    let same = sensors.zeek_client(&["get-config", "--as-json"], None);
    assert_eq!(shown.printed(), same.printed());
    sensors.stop();
}

#[test]
fn what_mgmtctl_deploys_zeek_client_shows_and_each_node_is_told_of() {
    let mut sensors = Sensors::start();
    let cluster = sensors.cluster([0, 1]);
    fs::write(sensors.file("cluster.ini"), cluster.text()).expect("written");
    let deployed = sensors.mgmtctl(&["deploy", "cluster.ini", "--yes"]);
    expect![[r"
        configuration ID is staged, nothing is deployed:
        instance sensor-1 is new
        instance sensor-2 is new
        node logger is new: instance sensor-1, port PORT, role logger
        node manager is new: instance sensor-1, port PORT, role manager
        node proxy is new: instance sensor-1, port PORT, role proxy
        node worker-sensor-2-1 is new: instance sensor-2, interface lo, role worker
        2 instances and 4 nodes differ
        INSTANCE NODE STATE
        sensor-1 logger up
        sensor-1 manager up
        sensor-1 proxy up
        sensor-2 worker-sensor-2-1 up
        deployed: configuration ID as revision 1, 4 of 4 nodes up
    "]]
    .assert_eq(&mgmtctl::without_ids(&masked(deployed.printed())));
    let shown = sensors.mgmtctl(&["config", "show"]);
    let same = sensors.zeek_client(&["get-config", "--deployed"], None);
    assert_eq!(shown.printed(), same.printed());
    let diff = sensors.mgmtctl(&["config", "diff"]);
    assert_eq!(diff.printed(), "nothing differs\n");
    sensors.stop();
}

#[test]
fn what_has_failed_is_said_in_the_last_lines_and_deployments_of_all_are_remembered() {
    let mut sensors = Sensors::start();
    let mut cluster = sensors.cluster([0, 1]);
    sensors.deploy(&cluster);
    let printed = sensors.mgmtctl(&["print", "bits_per_uid", "manager", "logger"]);
    assert_eq!(
        printed.printed(),
        "manager on sensor-1: 96\nlogger on sensor-1: 96\n"
    );
    sensors
        .mgmtctl(&["print", "x", "cook"])
        .failed(1, "the deployed configuration has no node cook");

    cluster.always_dies("worker-sensor-2-1", "\u{1b}[31mno such interface");
    sensors.fail(&cluster);
    let failed = sensors.mgmtctl(&["deploy", "--yes"]);
    assert_eq!(failed.exit, 1, "{failed:?}");
    let lines: Vec<String> = mgmtctl::without_ids(&masked(&failed.stdout))
        .lines()
        .map(str::to_owned)
        .collect();
    let [.., reason, verdict] = &lines[..] else {
        panic!("{failed:?}")
    };
    assert!(
        reason.starts_with("instance sensor-2: node worker-sensor-2-1 has failed")
            && reason.contains(r"\x1b[31mno such interface"),
        "{reason}"
    );
    assert_eq!(
        verdict,
        "NOT all well: configuration ID is deployed as revision 2, 3 of 4 nodes up"
    );

    cluster.set("manager", "scripts = /absent.zeek");
    fs::write(sensors.file("cluster.ini"), cluster.text()).expect("written");
    let refused = sensors.mgmtctl(&["deploy", "cluster.ini", "--yes", "--json"]);
    assert!(
        refused
            .stderr
            .contains("node manager on sensor-1: scripts is /absent.zeek, was not set\n")
    );
    let told = refused.json(1);
    assert_eq!(
        [&told["state"], &told["is_accepted"]],
        [&json!("failed"), &json!(false)]
    );
    let nodes = &told["instances"][0]["nodes"];
    assert_eq!(
        [&nodes[0]["state"], &nodes[1]["state"]],
        [&json!("unchanged"), &json!("failed")]
    );

    let all = sensors.mgmtctl(&["deployments", "--json"]).json(0);
    let all = all["deployments"].as_array().expect("a list").iter();
    let all: Vec<(&str, bool)> = all
        .map(|one| {
            let asked_by = one["asked_by"].as_str().expect("who");
            (
                one["state"].as_str().expect("a state"),
                asked_by.starts_with("user "),
            )
        })
        .collect();
    assert_eq!(
        all,
        [
            ("failed", true),
            ("failed", true),
            ("failed", false),
            ("done", false)
        ]
    );
    sensors.stop();
}
