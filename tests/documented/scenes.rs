//! What has been done at a site before the commands of a page are run there.

use std::{fs, process::Command};

use serde_json::json;

use super::site::Site;
use crate::support::{cluster_file::always_dies, program::run_command, workspace_root};

/// All is well.
pub(super) fn deployed(site: &mut Site) {
    site.deploy("").printed();
    site.all_well();
}

/// A node ends again and again, and a sensor is away.
pub(super) fn troubled(site: &mut Site) {
    let dies = json!(always_dies("fatal error: problem with interface lo"));
    assert_eq!(site.deploy(&format!("env = 'STAND_IN_NODE={dies}'\n")).exit, 1);
    site.status_when(1, "1 FAILED");
    site.sensor("sensor2").agent.take().expect("it runs").kill();
    site.status_when(1, "1 of 2 instances connected");
}

/// A file says otherwise than what is deployed.
pub(super) fn changed(site: &mut Site) {
    deployed(site);
    let cluster = site.cluster("");
    let (first, second) = cluster.split_once("interface = lo").expect("it has a worker");
    let other = format!(
        "{first}interface = eth2{second}\n[worker-3]\ninstance = sensor3\nrole = worker\ninterface = lo\n"
    );
    site.write(
        "cluster.ini",
        &other.replace("[instances]\n", "[instances]\nsensor3\n"),
    );
}

/// A file has another environment for a worker.
pub(super) fn planned(site: &mut Site) {
    deployed(site);
    site.write("cluster.ini", &site.cluster("env = TUNING=high\n"));
}

/// A file gives the workers another environment.
pub(super) fn recoloured(site: &mut Site) {
    deployed(site);
    site.write(
        "cluster.ini",
        &site
            .cluster("")
            .replace("interface = lo", "interface = lo\nenv = COLOUR=green"),
    );
}

/// The example of a page is there.
pub(super) fn an_example(site: &mut Site) {
    let example = workspace_root().join("docs/examples/one-host.toml");
    site.write(
        "one-host.toml",
        &fs::read_to_string(example).expect("it is there"),
    );
}

/// A file has another environment for the first worker.
pub(super) fn tuned(site: &mut Site) {
    deployed(site);
    site.write("cluster.ini", &site.cluster("env = TUNED=1\n"));
}

/// A file names a script that is not there.
pub(super) fn lacking(site: &mut Site) {
    deployed(site);
    site.write("cluster.ini", &site.cluster("scripts = /opt/site/tuning.zeek\n"));
}

/// A file has a cluster on the first sensor.
pub(super) fn lab(site: &mut Site) {
    let cluster = site.cluster("");
    let (first, _) = cluster.split_once("\n[worker-2]").expect("it is there");
    let without: Vec<&str> = first
        .lines()
        .filter(|line| !line.starts_with("sensor2"))
        .collect();
    let worker =
        |number| format!("\n\n[worker-{number}]\ninstance = sensor1\nrole = worker\ninterface = lo\n");
    let text = [without.join("\n"), worker(2), worker(3)].concat();
    site.write("lab.ini", &text);
}

/// A shell is where the control socket is.
pub(super) fn at_the_socket(site: &mut Site) {
    let socket = site.hub().join("control.sock");
    let here = site.place("hub").0.join("control.sock");
    std::os::unix::fs::symlink(socket, here).expect("a link can be made");
}

pub(super) fn for_prometheus(site: &mut Site) {
    site.directory("hub", "/etc/prometheus");
}

/// A new host is there for the second sensor, whose agent does not run yet.
pub(super) fn with_a_new_host(site: &mut Site) {
    deployed(site);
    site.sensor("new").agent.take().expect("it runs").stop();
}

/// Logs of long ago and of today are archived.
pub(super) fn old_logs(site: &mut Site) {
    let logs = site.directory("sensor1", "/opt/zeek/logs");
    for day in ["2026-01-01", "today"] {
        fs::create_dir(logs.join(day)).expect("it can be made");
    }
    let old = logs.join("2026-01-01/conn.10:00:00-11:00:00.log.gz");
    fs::write(logs.join("today/conn.log.gz"), "").expect("it can be written");
    run_command(
        Command::new("/usr/bin/touch")
            .args(["--date", "100 days ago"])
            .arg(old),
    )
    .printed();
}

/// Another controller has left its state where Zeek's does.
pub(super) fn state_of_zeeks_controller(site: &mut Site) {
    deployed(site);
    site.systemctl("hub", "stop", &["mgmt-controller"]);
    let zeek = site.directory("hub", "/opt/zeek/var/lib");
    site.directory("hub", "/opt/zeek/spool");
    site.directory("hub", "/var/backups");
    fs::rename(site.place("hub").0.join("state/nodes"), zeek.join("nodes")).expect("it can be moved");
}

/// The agent of a sensor does not run.
pub(super) fn without_agent(site: &mut Site) {
    deployed(site);
    site.systemctl("sensor1", "stop", &["mgmt-agent"]);
}

/// Zeek's directories are there.
pub(super) fn back_to_zeek(site: &mut Site) {
    deployed(site);
    for directory in ["/opt/zeek/var/lib", "/opt/zeek/spool", "/var/backups"] {
        site.directory("hub", directory);
    }
}

/// The controller is asked from elsewhere, by a token and by a certificate.
pub(super) fn served(site: &mut Site) {
    let home = site.place("hub").0;
    let token = site.mgmtctl(&["token", "create", "alice", "--role", "deploy", "--cluster", "lab"]);
    fs::write(home.join(".mgmt-token"), token.printed()).expect("it can be written");
    site.give_certificate("alice", &home);
    let ca = home.join("ca.pem");
    site.with_settings(&[
        format!("--http-client-ca={}", ca.display()),
        "--roles=alice read".to_owned(),
    ]);
}
