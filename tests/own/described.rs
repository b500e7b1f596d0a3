//! The daemons' `OpenAPI` documents: what `mgmtctl --json` prints fits them, and a client can be made of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::{events::Follower, sensors::Sensors};
use crate::support::{
    http, mgmtctl,
    program::{Outcome, run_command},
    workspace_root,
};

/// The Python that setup has made, with a program of these tests.
fn python(program: &[&str]) -> Command {
    let python = workspace_root().join(".local/openapi/venv/bin/python");
    assert!(
        python.exists(),
        "there is no {}: run scripts/check.sh --setup",
        python.display()
    );
    let mut command = Command::new(python);
    command
        .args(program)
        .current_dir(workspace_root().join("tests/openapi"));
    command
}

/// What was printed, and the schemas of a daemon that it is to fit.
struct Printed {
    directory: PathBuf,
    values: Vec<Value>,
}

impl Printed {
    fn of(directory: PathBuf) -> Self {
        let values = Vec::new();
        Self { directory, values }
    }

    fn document(&self) -> Value {
        let (head, body) = http::get(&self.directory, "/v1/openapi.json");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Runs `mgmtctl`, which prints what this schema is of.
    fn run(&mut self, arguments: &str, schema: &str) -> Value {
        let words: Vec<&str> = arguments.split_whitespace().chain(["--json"]).collect();
        let ran = mgmtctl::ask(&self.directory, &words);
        let printed = serde_json::from_str(&ran.stdout);
        let printed: Value = printed.unwrap_or_else(|error| panic!("{arguments}: {error}: {ran:?}"));
        self.is(arguments, schema, &printed);
        printed
    }

    fn run_all(&mut self, commands: &[(&str, &str)]) {
        for (arguments, schema) in commands {
            self.run(arguments, schema);
        }
    }

    fn is(&mut self, what: &str, schema: &str, value: &Value) {
        let one = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        let many = |name: &str| json!({ "type": "array", "minItems": 1, "items": one(name) });
        let schema = match schema.split_once(" of ") {
            Some(("list", name)) => many(name),
            // What is printed of several clusters.
            Some((field, name)) => {
                json!({ "properties": { field: many(name) }, "unevaluatedProperties": false })
            }
            None => one(schema),
        };
        self.values
            .push(json!({ "what": what, "schema": schema, "value": value }));
    }

    /// In what something does not fit, a line each.
    fn faults(&self, home: &Path) -> String {
        let input = home.join("printed.json");
        let given = json!({ "document": self.document(), "values": self.values });
        fs::write(&input, given.to_string()).expect("it can be written");
        let script = "import sys, runpy; sys.stdin = open(sys.argv[1]); runpy.run_path('fits.py')";
        let ran = run_command(&mut python(&["-c", script, input.to_str().expect("text")]));
        ran.printed().to_owned()
    }
}

/// Commands to a controller, and the schemas of what they print; until a node fails,
const FAILING: &[(&str, &str)] = &[
    ("status", "ClusterStatus"),
    ("config stage cluster.ini", "Staged"),
    ("config show staged", "ConfigurationFile"),
    ("config diff", "list of Difference"),
    ("deploy --yes", "Deployment"),
    ("deploy failing.ini --yes", "Deployment"),
    ("status", "ClusterStatus"),
];

/// and from then on.
const FAILED: &[(&str, &str)] = &[
    ("logs worker-sensor-2-1", "Outputs"),
    ("diag worker-sensor-2-1", "NodeHistory"),
    ("print x logger", "Values"),
    ("restart logger", "Changed"),
    ("stop logger", "Changed"),
    ("start logger", "Changed"),
    ("deploy cluster.ini --yes", "Deployment"),
    ("plan cluster.ini", "Plan"),
    ("config show", "ConfigurationFile"),
    ("history", "Revisions"),
    ("show 1", "Revision"),
    ("diff 2 1", "list of Difference"),
    ("rollback 1 --yes", "RevisionSummary"),
    ("instances", "list of InstanceReport"),
    ("--cluster lab config stage lab.json", "Staged"),
    ("clusters", "Clusters"),
    ("status", "clusters of ClusterStatus"),
    ("clusters delete lab", "Changed"),
    ("whoami", "Whoami"),
    ("reload", "Reloaded"),
    ("token create other --role read --cluster lab", "MadeToken"),
    ("token list", "Tokens"),
    ("token revoke other", "Token"),
];

/// The same to an agent.
const TO_AGENT: &[(&str, &str)] = &[
    ("status", "AgentStatus"),
    ("logs worker-sensor-2-1", "Outputs"),
    ("diag worker-sensor-2-1", "NodeHistory"),
    ("stop worker-sensor-2-1", "Changed"),
    ("start worker-sensor-2-1", "Changed"),
    ("whoami", "Whoami"),
    ("reload", "Reloaded"),
    ("token create other --role read", "MadeToken"),
    ("token list", "Tokens"),
    ("token revoke other", "Token"),
];

fn of_controller(sensors: &Sensors) -> Printed {
    let worker = "worker-sensor-2-1";
    let mut cluster = sensors.cluster([0, 1]);
    fs::write(sensors.file("cluster.ini"), cluster.text()).expect("written");
    cluster.always_dies(worker, "no such interface");
    fs::write(sensors.file("failing.ini"), cluster.text()).expect("written");
    let lab = json!({ "instances": [{ "name": "elsewhere", "host": "127.0.0.1", "port": 1 }] });
    fs::write(sensors.file("lab.json"), lab.to_string()).expect("written");
    let directory = sensors.working_dir();
    let mut printed = Printed::of(directory.clone());
    printed.run_all(FAILING);
    let event = Follower::begin(&directory, &["-n", "1000", "--json"]).json("is FAILED, was CRASHED");
    printed.is("events", "Event", &event);
    let end = Follower::of(&directory, &["logs", "-f", worker, "--json"]).json("no such interface");
    printed.is("logs -f", "Moment", &end);
    printed.run_all(FAILED);
    let all = printed.run("deployments", "Deployments");
    let id = all["deployments"][0]["id"].as_str().expect("text").to_owned();
    printed.run(&format!("deployments {id}"), "Deployment");
    let (_, problem) = http::get(&directory, "/v1/clusters/nowhere/status");
    let problem: Value = serde_json::from_str(&problem).expect("JSON");
    printed.is("a problem", "Problem", &problem);
    printed
}

#[test]
fn what_mgmtctl_prints_as_json_fits_the_documents() {
    let sensors = Sensors::start();
    let mut printed = of_controller(&sensors);
    let home = sensors.working_dir();
    assert_eq!(printed.faults(&home), "");
    let mut of_agent = Printed::of(sensors.agent_directory(1));
    of_agent.run_all(TO_AGENT);
    assert_eq!(of_agent.faults(&home), "");

    printed.is(
        "wrong",
        "Clusters",
        &json!({ "clusters": [{ "cluster": 1, "colour": "red" }] }),
    );
    let faults = printed.faults(&home);
    let faults: Vec<&str> = faults.lines().collect();
    let [type_, field] = faults[..] else {
        panic!("{faults:?}");
    };
    assert!(
        type_.starts_with("wrong: $.clusters[0].cluster: 1 is not of type"),
        "{type_}"
    );
    assert!(
        field.starts_with("wrong: $.clusters[0]: ") && field.contains("'colour'"),
        "{field}"
    );
    sensors.stop();
}

/// Makes a client of a daemon's document.
fn make_client(document: &Value, home: &Path) -> Outcome {
    let [input, config, output] = ["openapi.json", "config.yml", "made"].map(|name| home.join(name));
    fs::write(&input, document.to_string()).expect("it can be written");
    // No programs that make it look better.
    fs::write(&config, "post_hooks: []\n").expect("it can be written");
    let [input, config, output] = [&input, &config, &output].map(|path| path.to_str().expect("text"));
    let command = [
        "-m",
        "openapi_python_client",
        "generate",
        "--meta",
        "none",
        "--overwrite",
        "--fail-on-warning",
    ];
    let options = ["--path", input, "--config", config, "--output-path", output];
    run_command(&mut python(&[&command[..], &options].concat()))
}

#[test]
fn a_client_made_of_the_document_lists_nodes() {
    let mut sensors = Sensors::with(&["--http-listen", "127.0.0.1:0"]);
    let cluster = sensors.cluster([1, 1]);
    let pids = sensors.deploy(&cluster);
    let token = sensors.mgmtctl(&["token", "create", "python", "--role", "read"]);
    let home = sensors.working_dir();
    make_client(&Printed::of(sensors.agent_directory(0)).document(), &home).printed();
    make_client(&Printed::of(home.clone()).document(), &home).printed();
    let server = format!("http://{}", sensors.http());
    let script = "import sys, runpy; sys.path.insert(0, sys.argv.pop()); runpy.run_path('nodes.py')";
    let arguments = [
        "-c",
        script,
        &server,
        token.printed().trim_end(),
        home.to_str().expect("text"),
    ];
    let listed = run_command(&mut python(&arguments));
    let mut listed: Vec<&str> = listed.printed().lines().collect();
    assert_eq!(listed.pop(), Some("there is no cluster nowhere"));
    let mut expected: Vec<String> = pids
        .iter()
        .map(|(node, pid)| {
            let instance = if node.ends_with("sensor-2-1") {
                "sensor-2"
            } else {
                "sensor-1"
            };
            let role = node.split('-').next().unwrap_or_default();
            format!("{instance} {node} {role} RUNNING {}", pid.as_raw_nonzero())
        })
        .collect();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    sensors.stop();
}
