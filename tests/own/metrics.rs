//! The metrics of both daemons at work, and what is made for them: alert rules and a dashboard. promtool looks at all of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use counters::Kind;
use regex_lite::Regex;
use serde_json::Value;
use tempfile::TempDir;

use super::sensors::{SENSORS, Sensors};
use crate::support::{
    certificates::{Authority, Validity, native_settings},
    cluster::{agent_command, start_agent},
    controller::Controller,
    http::{get, request},
    limit::Limit,
    pending, works, workspace_root,
};

/// Names of samples, each with the names of its labels, in all combinations that were seen.
type Seen = BTreeMap<String, BTreeSet<BTreeSet<String>>>;

/// The metrics of the daemon that works in this directory, in Prometheus' own format.
#[track_caller]
fn metrics(directory: &Path) -> String {
    let (head, body) = get(directory, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}\n{body}");
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    body
}

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a regular expression")
}

/// Names of labels in `{...}`.
fn labels(text: &str) -> BTreeSet<String> {
    let label = regex(r#"([a-z_]+)=~?""#);
    label
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

fn note(seen: &mut Seen, metrics: &str) {
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        let of_name = seen.entry(name.to_owned()).or_default();
        of_name.insert(labels(line));
    }
}

fn promtool(arguments: &[&str], input: &str) {
    if !works(Command::new("promtool").arg("--version")) {
        return pending(
            "promtool",
            "promtool",
            "promtool is not installed (package prometheus)",
        );
    }
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .current_dir(contrib(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let mut stdin = promtool.stdin.take().expect("stdin is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("it ends");
    let said = [&*output.stdout, &*output.stderr]
        .map(String::from_utf8_lossy)
        .concat();
    assert!(output.status.success(), "{arguments:?}: {said}");
}

fn contrib(file: &str) -> PathBuf {
    workspace_root().join("contrib/prometheus").join(file)
}

/// What daemons with a cluster, and others with certificates, have shown.
fn seen(controllers: &str, agents: &str) -> Seen {
    let mut seen = Seen::new();
    note(&mut seen, controllers);
    note(&mut seen, agents);
    let ca = Authority::new("Cluster CA");
    let settings = |name| native_settings(&ca, &ca.sign(name, &[], &Validity::Now));
    let controller = Controller::start(&settings("controller"));
    note(&mut seen, &metrics(&controller.working_dir("controller")));
    controller.stop();
    let home = TempDir::with_prefix("metrics-").expect("a directory can be made");
    let mut command = agent_command(&home, "sensor", "127.0.0.1:0");
    command
        .args(["--simulate", "--controller", "off"])
        .args(settings("sensor"));
    let agent = start_agent(&home, &mut command);
    note(&mut seen, &metrics(&home.path().join("state/nodes/sensor")));
    agent.stop();
    seen
}

/// What a daemon measures is in its metrics.
#[track_caller]
fn assert_measured<K: Kind>(program: &str, seen: &Seen) {
    for measured in K::iter() {
        let name: &str = measured.into();
        let suffix = if name == "request_duration_seconds" {
            "_bucket"
        } else {
            ""
        };
        let name = format!("zeek_mgmt_{program}_{name}{suffix}");
        assert!(
            seen.contains_key(&name),
            "{name} was not seen in {:?}",
            seen.keys()
        );
    }
}

/// What an expression, or a series, names that no daemon has.
fn unknown(expression: &str, seen: &Seen) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut of_all = BTreeSet::new();
    for found in regex(r"(zeek_mgmt_[a-z_]+)(\{[^}]*\})?").captures_iter(expression) {
        let name = &found[1];
        let Some(known) = seen.get(name) else {
            unknown.push(name.to_owned());
            continue;
        };
        let known: BTreeSet<&String> = known.iter().flatten().collect();
        for label in found
            .get(2)
            .map(|labels_of| labels(labels_of.as_str()))
            .unwrap_or_default()
        {
            if !known.contains(&label) {
                unknown.push(format!("{name}{{{label}}}"));
            }
        }
        of_all.extend(known);
    }
    for by in regex(r"by \(([a-z_, ]+)\)").captures_iter(expression) {
        let missing = by[1]
            .split(", ")
            .filter(|label| !of_all.contains(&(*label).to_owned()));
        unknown.extend(missing.map(|label| format!("by ({label}) in {expression}")));
    }
    unknown
}

#[track_caller]
fn assert_known(texts: &[String], seen: &Seen) {
    assert!(texts.len() > 5, "{texts:?}");
    let unknown: Vec<String> = texts.iter().flat_map(|text| unknown(text, seen)).collect();
    assert_eq!(unknown, [""; 0], "no daemon has shown this");
}

/// What stands behind a key in lines of YAML.
fn values(yaml: &str, key: &str) -> Vec<String> {
    let lines = yaml
        .lines()
        .filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key));
    lines.map(|value| value.trim().to_owned()).collect()
}

/// The queries of the dashboard.
fn queries(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("expr").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(queries)).collect()
        }
        Value::Array(values) => values.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

fn assert_rules_and_dashboard(seen: &Seen) {
    let read = |file| fs::read_to_string(contrib(file)).expect("it is there");
    assert_known(&values(&read("zeek-mgmt.rules.yml"), "expr:"), seen);
    let series = values(&read("zeek-mgmt.rules-test.yml"), "series:");
    assert_known(&series, seen);
    for text in &series {
        let name = text.split('{').next().expect("a name");
        assert!(seen[name].contains(&labels(text)), "{text}: {:?}", seen[name]);
    }
    let dashboard = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    assert_known(&queries(&dashboard), seen);

    let wrong =
        "max by (zeek_instance, path) (zeek_mgmt_agent_node_running{cook=\"a\"} or zeek_mgmt_agent_no)";
    let expected = [
        "zeek_mgmt_agent_node_running{cook}",
        "zeek_mgmt_agent_no",
        &format!("by (path) in {wrong}"),
    ];
    assert_eq!(unknown(wrong, seen), expected);
    promtool(&["check", "rules", "zeek-mgmt.rules.yml"], "");
    promtool(&["test", "rules", "zeek-mgmt.rules-test.yml"], "");
}

/// These lines, and possibly others, are in the metrics.
#[track_caller]
fn assert_lines(metrics: &str, expected: &[&str]) {
    for line in expected {
        assert!(
            metrics.lines().any(|known| known == *line),
            "no {line} in\n{metrics}"
        );
    }
}

#[test]
fn daemons_show_how_their_cluster_is_as_rules_and_dashboard_read_it() {
    let mut sensors = Sensors::start();
    let [first, second] = SENSORS;
    let (directory, home) = (sensors.working_dir(), sensors.instances[0].home().to_owned());
    let sensor = home.join("state/nodes").join(first);
    let cluster = sensors.cluster([1, 1]);
    sensors.deploy(&cluster);
    sensors.mgmtctl(&["stop", "worker-sensor-1-1"]).printed();
    sensors.states_until(|states| states["worker-sensor-1-1"].0 == "STOPPED");

    let of_manager = format!(r#"{{zeek_instance="{first}",node="manager"}}"#);
    let age = format!("zeek_mgmt_agent_node_heartbeat_age_seconds{of_manager} ");
    let limit = Limit::new("a heartbeat");
    let agents = limit.poll(|| Some(metrics(&sensor)).filter(|metrics| metrics.contains(&age)));
    let controllers = metrics(&directory);
    promtool(&["check", "metrics"], &controllers);
    promtool(&["check", "metrics"], &agents);
    let of_instance = |state| format!(r#"{{zeek_instance="{first}",state="{state}"}}"#);
    assert_lines(
        &agents,
        &[
            &format!("zeek_mgmt_agent_nodes{} 3.0", of_instance("RUNNING")),
            &format!("zeek_mgmt_agent_nodes{} 1.0", of_instance("STOPPED")),
            &format!("zeek_mgmt_agent_node_running{of_manager} 1.0"),
            &format!("zeek_mgmt_agent_node_starts_total{of_manager} 1.0"),
            &format!("zeek_mgmt_agent_node_crashes_total{of_manager} 0.0"),
            r#"zeek_mgmt_agent_peers{kind="controller"} 1.0"#,
            r#"zeek_mgmt_agent_request_duration_seconds_count{from="controller",kind="deploy",outcome="success"} 1"#,
            "zeek_mgmt_agent_ready 1.0",
            "# HELP zeek_mgmt_agent_published_total Events published.",
        ],
    );
    assert!(!agents.contains(r#"node_running{zeek_instance="sensor-1",node="worker-sensor-1-1"}"#));
    assert_lines(
        &controllers,
        &[
            &format!(
                r#"zeek_mgmt_controller_instance_connected{{cluster="default",zeek_instance="{second}"}} 1.0"#
            ),
            &format!(
                r#"zeek_mgmt_controller_node_running{{cluster="default",zeek_instance="{second}",node="worker-sensor-2-1"}} 1.0"#
            ),
            r#"zeek_mgmt_controller_peers{kind="agent"} 2.0"#,
            r#"zeek_mgmt_controller_request_duration_seconds_count{from="operator",kind="stop",outcome="success"} 1"#,
            r#"zeek_mgmt_controller_request_duration_seconds_count{from="client",kind="deploy",outcome="success"} 1"#,
            "zeek_mgmt_controller_store_writable 1.0",
        ],
    );

    let open = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\nX:";
    let answer = request(&directory, open, "");
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{answer}"
    );
    assert!(answer.ends_with("\n# EOF\n"), "{answer}");

    let seen = seen(&controllers, &agents);
    assert_measured::<mgmt_daemon::metrics::Measured>("controller", &seen);
    assert_measured::<mgmt_daemon::metrics::Measured>("agent", &seen);
    assert_measured::<mgmt_controller::Measured>("controller", &seen);
    assert_measured::<mgmt_agent::Measured>("agent", &seen);
    assert_rules_and_dashboard(&seen);
    sensors.stop();
}
