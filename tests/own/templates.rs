//! Configurations in TOML: nodes are made of them by `mgmtctl`, with what agents tell of their hosts.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::sensors::Sensors;
use crate::support::{limit::Limit, mgmtctl, workspace_root};

/// The CPUs that this process may use, and so may the agents that it starts: in words, and each.
fn allowed_cpus() -> (String, Vec<u32>) {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let allowed = allowed.expect("Linux tells it").trim().to_owned();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let [first, last]: [u32; 2] = [first, last].map(|number| number.parse().expect("a number"));
        first..=last
    };
    let cpus = allowed.split(',').flat_map(range).collect();
    (allowed, cpus)
}

/// The CPUs that a process may use.
fn cpus_of(pid: rustix::process::Pid) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).expect("it runs");
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    allowed.expect("Linux tells it").trim().to_owned()
}

/// A cluster of two sensors, of which the first has a worker for each CPU but one.
fn file(sensors: &Sensors, of_second: &str) -> String {
    let [manager, logger, proxy] = sensors.ports();
    format!(
        "[defaults.worker]
interface = \"lo\"
env = {{ OF = \"all\" }}
[template.sensor]
workers = \"cpus - 1\"
[instance.sensor-1]
template = \"sensor\"
loggers = 1
proxies = 1
[instance.sensor-1.manager]
name = \"manager\"
[instance.sensor-2]
template = \"sensor\"
{of_second}
[node.manager]
port = {manager}
[node.sensor-1-logger-1]
port = {logger}
[node.sensor-1-proxy-1]
port = {proxy}
"
    )
}

#[test]
fn a_file_of_two_sensors_is_deployed_with_workers_and_cpus_as_the_hosts_have_them() {
    let sensors = Sensors::start();
    let (allowed, cpus) = allowed_cpus();
    assert!(cpus.len() > 1, "this test takes two CPUs");
    let last = cpus.last().expect("there are two");
    let write = |text: &str| fs::write(sensors.file("cluster.toml"), text).expect("written");
    write(&file(&sensors, &format!("workers = 1\ncpus = {last}")));

    let expanded = sensors.mgmtctl(&["config", "expand", "cluster.toml"]);
    assert_eq!(
        expanded.printed(),
        sensors.mgmtctl(&["config", "expand", "cluster.toml"]).printed()
    );
    let names: Vec<String> = (1..cpus.len())
        .map(|number| format!("sensor-1-worker-{number}"))
        .collect();
    let expanded = expanded.json(0);
    let nodes = expanded["nodes"].as_array().expect("a list").iter();
    let of_nodes = nodes.filter_map(|node| node["name"].as_str());
    let first: Vec<&str> = of_nodes
        .filter(|name| name.starts_with("sensor-1-worker"))
        .collect();
    assert_eq!(first, names);

    let staged = sensors.mgmtctl(&["config", "stage", "cluster.toml"]);
    assert!(staged.printed().ends_with(" is staged\n"), "{staged:?}");
    let deployed = sensors.mgmtctl(&["deploy", "cluster.toml", "--yes"]);
    let sum = format!(", {0} of {0} nodes up\n", names.len() + 4);
    assert!(deployed.printed().ends_with(&sum), "{deployed:?}");
    let status = sensors.mgmtctl(&["status"]);
    for name in names
        .iter()
        .map(String::as_str)
        .chain(["manager", "sensor-1-logger-1", "sensor-2-worker-1"])
    {
        assert!(
            status.printed().contains(&format!(" {name} ")),
            "{name}: {status:?}"
        );
    }
    let told = sensors.mgmtctl(&["status", "--json"]).json(0);
    let of_instances = told["instances"].as_array().expect("a list").iter();
    assert!(
        of_instances
            .map(|report| &report["cpus"])
            .eq([&json!(allowed); 2]),
        "{told}"
    );
    let pids = sensors.pids();
    assert_eq!(cpus_of(pids["sensor-2-worker-1"]), last.to_string());
    assert_eq!(cpus_of(pids["sensor-1-worker-1"]), allowed);

    let again = sensors.mgmtctl(&["config", "diff", "cluster.toml"]);
    assert_eq!(again.printed(), "nothing differs\n");
    sensors.mgmtctl(&["deploy", "cluster.toml", "--yes"]).printed();
    assert_eq!(sensors.pids(), pids, "all run on");

    // The resolver reads this as 127.0.0.2, and it is no address.
    write(&file(&sensors, "host = \"127.2\""));
    let diff = sensors.mgmtctl(&["config", "diff", "cluster.toml"]);
    diff.printed();
    assert_eq!(
        diff.stderr,
        "mgmtctl: WARNING: instance sensor-2: its host 127.2 has the address 127.0.0.2 now, and 127.0.0.1 in the deployed configuration\n"
    );
    sensors.stop();
}

#[test]
fn what_a_file_asks_of_hosts_that_they_do_not_have_is_refused_by_instance() {
    let mut sensors = Sensors::start();
    let (allowed, cpus) = allowed_cpus();
    let directory = sensors.working_dir();
    let write = |text: &str| fs::write(directory.join("cluster.toml"), text).expect("written");
    write(&file(&sensors, "workers = 2\ncpus = \"1022-1023\""));
    for command in [
        &["config", "stage", "cluster.toml"][..],
        &["deploy", "cluster.toml", "--yes"],
    ] {
        let reason = format!(
            "mgmtctl: cluster.toml:15: instance sensor-2: there are no CPUs 1022-1023: the instance has {allowed}\n"
        );
        sensors.mgmtctl(command).failed(1, &reason);
    }
    sensors
        .mgmtctl(&["config", "show", "staged"])
        .failed(1, "no configuration is staged");

    sensors.instances[1].stop();
    Limit::new("one agent alone").poll(|| {
        let told = sensors.mgmtctl(&["status", "--json"]).json(0);
        told["instances"]
            .as_array()
            .filter(|all| all.len() == 1)
            .map(|_| ())
    });
    write(&file(&sensors, ""));
    let reason = "how many CPUs it has is not known (its agent is not connected): write a number instead of \"cpus - 1\"";
    let lacking = |command: &[&str]| sensors.mgmtctl(command).failed(1, reason);
    lacking(&["config", "stage", "cluster.toml"]);
    lacking(&["config", "expand", "cluster.toml"]);
    let given = ["config", "expand", "cluster.toml", "--cpus", "sensor-2=3"];
    let expanded = sensors.mgmtctl(&given).json(0);
    let nodes = expanded["nodes"].as_array().expect("a list");
    assert_eq!(nodes.len(), 3 + cpus.len() - 1 + 2, "{expanded}");
    sensors.stop();
}

#[test]
fn a_file_is_expanded_without_a_controller_where_nothing_is_asked_of_it() {
    let directory = TempDir::with_prefix("toml-").expect("a directory can be made");
    let directory = directory.path();
    let example = workspace_root().join("docs/examples/one-host.toml");
    fs::copy(example, directory.join("one-host.toml")).expect("it is there");
    let expand = |further: &[&str]| mgmtctl::ask(directory, &[&["config", "expand"], further].concat());
    let expanded = expand(&["--cpus", "zeek1=16", "one-host.toml"]).json(0);
    assert_eq!(expanded["nodes"].as_array().map(Vec::len), Some(15));
    expand(&["one-host.toml"]).failed(
        1,
        "mgmtctl: one-host.toml:7: instance zeek1: how many CPUs it has is not known (its controller does not tell: cannot connect to the control socket",
    );
    expand(&["--cpus", "zeek=16", "one-host.toml"])
        .failed(64, "--cpus zeek: there is no such instance in one-host.toml");
    expand(&["-o", "ini", "--cpus", "zeek1=16", "one-host.toml"]).failed(
        1,
        "a cluster file has no place for this: node zeek1-worker-1: option mgmt.before_start; -o json has one",
    );

    let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("written");
    write("small", "[instance.a]\nmanager = true\n");
    let ini = "[instances]\na\n\n[a-manager]\ninstance = a\nrole = MANAGER\n\n";
    assert_eq!(expand(&["-o", "ini", "small"]).printed(), ini);
    let by_pipe = mgmtctl::ask_with(
        directory,
        &["config", "expand", "-", "-o", "ini"],
        &directory.join("small"),
    );
    assert_eq!(by_pipe.printed(), ini);
    write("small.ini", ini);
    assert_eq!(
        expand(&["-o", "ini", "small.ini"]).printed(),
        ini,
        "a cluster file is what it is"
    );
    write("both", "[instance.a]\n[instances]\n");
    expand(&["both"]).failed(
        1,
        "mgmtctl: both: line 1 has a section of a TOML file, [instance.a], and line 2 one of a cluster file",
    );
    write("bad.toml", "[instance.a]\nwrokers = 1\n[instance.b\n");
    expand(&["bad.toml"]).failed(1, "mgmtctl: bad.toml:3: ");
    write("bad.toml", "[instance.a]\nwrokers = 1\nnice = 1.5\n");
    expand(&["bad.toml"]).failed(
        1,
        "mgmtctl: bad.toml has 2 errors:\n  bad.toml:2: [instance.a]: there is no key wrokers here; did you mean workers?\n  bad.toml:3: ",
    );
}
