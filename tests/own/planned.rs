//! What a deployment would do, as `mgmtctl plan` shows it, and that it does just that.

use std::fs;

use expect_test::expect;

use super::sensors::Sensors;
use crate::support::{
    changed,
    cluster_file::ClusterFile,
    mgmtctl::{self, masked},
    program::Outcome,
};

impl Sensors {
    fn plan(&self, cluster: &ClusterFile) -> Outcome {
        fs::write(self.file("cluster.ini"), cluster.text()).expect("written");
        self.mgmtctl(&["plan", "cluster.ini", "--exit-code"])
    }

    fn deploy_plan(&self, plan: &Outcome) -> Outcome {
        self.mgmtctl(&["deploy", "--plan", &id_of(plan), "--yes"])
    }
}

/// The id of a plan, by the last line.
fn id_of(plan: &Outcome) -> String {
    let last = plan.stdout.lines().last().unwrap_or_default();
    let id = last.strip_prefix("plan ").and_then(|rest| rest.split_once(':'));
    id.unwrap_or_else(|| panic!("{plan:?}")).0.to_owned()
}

/// What is printed, without what differs from run to run.
fn shown(outcome: &Outcome) -> String {
    let id = id_of(outcome);
    let text = outcome.stdout.replace(&id, "PLAN");
    // The last line has numbers that look like times.
    let (lines, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    let lines = mgmtctl::without_ids(&masked(lines));
    format!("{lines}\n{last}\n").trim_start().to_owned()
}

#[test]
fn a_plan_says_what_a_deployment_does_and_touches_nothing() {
    let mut sensors = Sensors::start();
    let mut cluster = sensors.cluster([2, 1]);
    let first = sensors.plan(&cluster);
    assert_eq!(first.exit, 2, "{first:?}");
    assert!(
        first
            .stdout
            .ends_with(": 0 nodes restart, 0 run on, 6 start, 0 stop\n"),
        "{first:?}"
    );
    let before = sensors.deploy(&cluster);

    let same = sensors.plan(&cluster);
    assert_eq!(same.exit, 0, "{same:?}");
    assert_eq!(shown(&same), "plan PLAN: nothing to change, 6 nodes run on\n");
    sensors.deploy_plan(&same).printed();
    assert_eq!(sensors.pids(), before, "the same, deployed again");

    cluster.set("worker-sensor-1-1", "env = COLOUR=green");
    let plan = sensors.plan(&cluster);
    assert_eq!(plan.exit, 2, "{plan:?}");
    expect![[r"
        INSTANCE NODE WHAT WHY CAPTURES NOTHING
        sensor-1 worker-sensor-1-1 restarts env COLOUR is green, was not set until it has stopped and started; its last start took TIME
        rollable: it can be tried on one instance
        deploy it: mgmtctl deploy --plan PLAN
        plan PLAN: 1 node restarts, 5 run on, 0 start, 0 stop
    "]]
    .assert_eq(&shown(&plan));
    assert_eq!(
        id_of(&sensors.plan(&cluster)),
        id_of(&plan),
        "it is the same again"
    );
    assert_eq!(sensors.pids(), before, "nothing is touched by a plan");
    let deployed = sensors.deploy_plan(&plan);
    assert!(
        deployed.printed().ends_with(", 6 of 6 nodes up\n"),
        "{deployed:?}"
    );
    assert_eq!(changed(&before, &sensors.pids()), ["worker-sensor-1-1"]);
    sensors
        .deploy_plan(&plan)
        .failed(1, "make it again:\n  configuration ");
    sensors.stop();
}

#[test]
fn a_script_that_zeek_cannot_read_is_named_with_its_line_and_the_whole_cluster_is_said() {
    let mut sensors = Sensors::start();
    let mut cluster = sensors.cluster([1, 1]);
    let before = sensors.deploy(&cluster);
    let script = sensors.file("own.zeek");
    fs::write(&script, "# own\n} error\n").expect("written");
    let script = script.display().to_string();
    cluster.set("worker-sensor-2-1", &format!("scripts = {script}"));
    cluster.add_worker("worker-new", "sensor-1");
    let plan = sensors.plan(&cluster);
    assert_eq!(plan.exit, 1, "{plan:?}");
    let error = format!(
        "\nworker-sensor-2-1 cannot run on sensor-2: zeek -a: error in {script}, line 2: syntax error"
    );
    assert!(plan.stdout.contains(&error), "{plan:?}");
    let last: Vec<&str> = plan.stdout.lines().rev().take(3).collect();
    assert_eq!(
        last[1..],
        [
            "NOT to be deployed: mend what cannot run, and plan again",
            "whole cluster: node worker-new is added"
        ]
    );
    let told = sensors.mgmtctl(&["plan", "cluster.ini", "--json"]).json(1);
    assert_eq!(told["nodes"].as_array().map(Vec::len), Some(6), "{told}");
    sensors.deploy_plan(&plan).failed_to_deploy();
    assert_eq!(sensors.pids(), before);
    sensors.stop();
}

impl Outcome {
    #[track_caller]
    fn failed_to_deploy(&self) {
        assert_eq!(self.exit, 1, "{self:?}");
        let verdict = self.stdout.lines().last().unwrap_or_default();
        assert!(
            verdict.starts_with("NOT deployed (instance sensor-2)"),
            "{self:?}"
        );
    }
}

#[test]
fn a_plan_that_does_not_hold_any_more_is_refused_with_what_has_changed() {
    let mut sensors = Sensors::start();
    let mut cluster = sensors.cluster([1, 1]);
    sensors.deploy(&cluster);
    cluster.set("worker-sensor-1-1", "env = COLOUR=green");
    let plan = sensors.plan(&cluster);
    assert_eq!(plan.exit, 2, "{plan:?}");
    let mut other = sensors.cluster([1, 1]);
    other.set("worker-sensor-2-1", "env = COLOUR=red");
    let before = sensors.deploy(&other);
    let refused = sensors.deploy_plan(&plan);
    refused.failed(
        1,
        " is not what a deployment would do now; make it again:\n  configuration ",
    );
    refused.failed(1, ": WebSocket client ");
    refused.failed(
        1,
        "\n  node worker-sensor-2-1 restarts now (changed: environment); the plan says that it runs on\n",
    );
    assert_eq!(sensors.pids(), before);

    let mut away = sensors.instances.remove(1);
    away.stop();
    sensors.news.with(&["notify_log", "sensor-2"]);
    let plan = sensors.plan(&cluster);
    assert_eq!(plan.exit, 3, "{plan:?}");
    assert!(
        plan.stdout.contains(
            "\nnot known what would become of nodes on sensor-2: instance sensor-2 is not connected"
        ),
        "{plan:?}"
    );
    sensors
        .mgmtctl(&["deploy", "--plan", "0", "--yes"])
        .failed(1, "plan 0 is not known: ");
    sensors
        .mgmtctl(&["deploy", "--plan", "0"])
        .failed(64, "say --yes");
    sensors.stop();
}
