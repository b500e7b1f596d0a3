//! A whole session, in which `mgmtctl` alone drives a cluster: what it prints, and its exit codes, are in `tests/golden/session.txt`.

use std::{fmt::Write as _, fs};

use expect_test::expect_file;

use super::{events::Follower, sensors::Sensors};
use crate::support::mgmtctl::{masked, without_ids};

#[test]
fn mgmtctl_alone_drives_a_cluster() {
    let mut sensors = Sensors::start();
    let mut said = String::new();
    let mut cluster = sensors.cluster([0, 1]);
    let worker = "worker-sensor-2-1";
    fs::write(sensors.file("cluster.ini"), cluster.text()).expect("written");
    cluster.always_dies(worker, "no such interface");
    fs::write(sensors.file("failing.ini"), cluster.text()).expect("written");
    fs::write(sensors.file("empty.json"), "{}").expect("written");

    let run = |sensors: &Sensors, said: &mut String, arguments: &str| {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let ran = sensors.mgmtctl(&words);
        let printed = [ran.stderr.as_str(), ran.stdout.as_str()].concat();
        let _ = write!(
            said,
            "$ mgmtctl {arguments}\n{}# exit code {}\n\n",
            without_ids(&masked(&printed)),
            ran.exit
        );
    };
    for arguments in [
        "status",
        "config stage cluster.ini",
        "config diff",
        "deploy --yes",
        "status",
        "config diff failing.ini",
        "deploy failing.ini --yes",
        "status",
    ] {
        run(&sensors, &mut said, arguments);
    }
    let mut follower = Follower::begin(&sensors.working_dir(), &["-n", "1000"]);
    follower.shows(&[worker, "is FAILED, was CRASHED"]);
    for arguments in [
        "logs worker-sensor-2-1",
        "diag worker-sensor-2-1",
        "restart logger",
        "restart cook",
        "deploy cluster.ini --yes",
    ] {
        run(&sensors, &mut said, arguments);
    }
    sensors.states_until(|states| states.values().all(|(state, _)| state == "RUNNING"));
    for arguments in [
        "status",
        "logs worker-sensor-2-1",
        "print x logger",
        "config stage empty.json",
        "deploy --yes",
        "status",
        "deployments x",
    ] {
        run(&sensors, &mut said, arguments);
    }
    expect_file!["../golden/session.txt"].assert_eq(&said);
    sensors.stop();
}
