//! The configurations of a cluster on its controller's control socket. What comes of deployments is in `own/configured.rs`.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

use crate::support::{
    controller::Controller,
    home,
    http::{assert_problem, request, request_with},
    limit::Limit,
    mgmtctl,
    program::Outcome,
    zeek_client::zeek_client,
};

const PATH: &str = "/v1/clusters/default/configurations";

const CLUSTER: &str = "[instances]\nsensor1\n[manager]\ninstance = sensor1\nrole = manager\n";

#[test]
fn a_configuration_is_had_with_its_id_as_its_tag_and_one_that_is_not_there_is_not_found() {
    let mut controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    for which in ["staged", "deployed"] {
        let none = request(&directory, &format!("GET {PATH}/{which}"), "");
        assert_problem(&none, 404, &format!("no configuration is {which}"));
        mgmtctl::ask(&directory, &["config", "show", which])
            .failed(1, &format!("no configuration is {which}"));
    }
    let staged = zeek_client(&mut controller, &["stage-config", "-"], Some(CLUSTER)).json(0);
    let id = staged["results"]["id"].as_str().expect("an id");
    let answer = request(&directory, &format!("GET {PATH}/staged"), "");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains(&format!("etag: \"{id}\"\r\n")), "{answer}");
    let shown = mgmtctl::ask(&directory, &["config", "show", "staged", "--json"]);
    assert_eq!(shown.json(0)["id"], id);
    mgmtctl::ask(&directory, &["config", "show", "ready"]).failed(64, "one is staged, and one deployed");
    controller.stop();
}

/// Stages by HTTP.
fn put(directory: &Path, fields: &str, body: &str) -> String {
    request_with(directory, &format!("PUT {PATH}/staged"), fields, body)
}

/// The JSON of a good answer.
#[track_caller]
fn json_of(answer: &str) -> Value {
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn a_configuration_is_staged_by_one_who_knows_what_is_deployed_and_zeek_client_sees_it() {
    let mut controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    let nothing = "If-None-Match: *\r\n";
    let body = r#"{"id": "mine", "instances": [{"name": "sensor1"}],
        "nodes": [{"name": "manager", "instance": "sensor1", "role": "manager"}]}"#;
    assert_problem(
        &put(&directory, "", body),
        428,
        "nothing is deployed: say what the change rests on",
    );
    assert_problem(
        &put(&directory, "If-Match: \"a\"\r\n", body),
        412,
        "nothing is deployed now, which is not what",
    );
    let both = format!("{nothing}If-Match: \"a\"\r\n");
    assert_problem(
        &put(&directory, &both, body),
        400,
        "give If-Match with one entity tag",
    );
    assert_problem(
        &put(&directory, nothing, r#"{"colour": 1}"#),
        400,
        "unknown field `colour`",
    );
    assert_problem(
        &request(&directory, &format!("GET {PATH}/staged"), ""),
        404,
        "no configuration is staged",
    );

    let staged = json_of(&put(&directory, nothing, body));
    assert_ne!(staged["id"], "mine", "each has an id of its own");
    let shown = zeek_client(&mut controller, &["get-config", "--as-json"], None).json(0);
    assert_eq!(shown["id"], staged["id"]);
    assert_eq!(shown["nodes"][0]["role"], "MANAGER");

    json_of(&put(&directory, nothing, "{}"));
    zeek_client(&mut controller, &["deploy"], None).json(0);
    let deployed = json_of(&request(&directory, &format!("GET {PATH}/deployed"), ""));
    let id = deployed["id"].as_str().expect("an id");
    let refused = put(&directory, nothing, body);
    assert_problem(
        &refused,
        412,
        &format!("configuration {id} is deployed now, which is not what"),
    );
    json_of(&put(&directory, &format!("If-Match: \"{id}\"\r\n"), body));
    let log = controller.stop().stderr;
    assert!(
        log.contains(", as user ") && log.contains("stages configuration "),
        "{log}"
    );
}

#[test]
fn what_is_wrong_with_a_configuration_is_told_as_zeek_client_is_told() {
    let mut controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    let file = directory.join("cluster.ini");
    let cluster = "[instances]\na\n[a]\ninstance = b\nrole = worker\n";
    fs::write(&file, cluster).expect("written");
    let told = zeek_client(&mut controller, &["stage-config", "-"], Some(cluster)).json(1);
    let errors = told["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 2, "{told}");
    let refused = mgmtctl::ask(&directory, &["config", "stage", "cluster.ini"]);
    let lines = errors
        .iter()
        .map(|error| format!("\n  {}", error.as_str().expect("a text")));
    let lines: String = lines.collect();
    refused.failed(
        1,
        &format!("mgmtctl: the configuration cannot be staged:{lines}\n"),
    );
    let body =
        json!({"instances": [{"name": "a"}], "nodes": [{"name": "a", "instance": "b", "role": "worker"}]});
    let problem = put(&directory, "If-None-Match: *\r\n", &body.to_string());
    assert_problem(&problem, 422, &format!(r#""errors":{}"#, told["errors"]));
    controller.stop();
}

#[test]
fn mgmtctl_stages_cluster_files_and_json_and_says_what_is_wrong_with_a_file() {
    let mut controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    let file = |name: &str, text: &str| fs::write(directory.join(name), text).expect("written");
    file("cluster.ini", CLUSTER);
    let staged = mgmtctl::ask(&directory, &["config", "stage", "cluster.ini"]);
    assert!(staged.printed().ends_with(" is staged\n"), "{staged:?}");
    let shown = zeek_client(&mut controller, &["get-config"], None);
    let ini = mgmtctl::ask(&directory, &["config", "show", "staged"]);
    assert_eq!(ini.printed(), shown.printed());

    let json = mgmtctl::ask(&directory, &["config", "show", "staged", "--json"]);
    let changed = json.printed().replace(
        r#""options": null"#,
        r#""options": [{"name": "a", "value": "b"}]"#,
    );
    file("cluster.json", &changed);
    let staged = mgmtctl::ask_with(
        &directory,
        &["config", "stage", "-"],
        &directory.join("cluster.json"),
    );
    staged.printed();
    let shown = mgmtctl::ask(&directory, &["config", "show", "staged"]);
    assert!(
        shown
            .stderr
            .contains("JSON follows, as a cluster file has no place for this: node manager: option a"),
        "{shown:?}"
    );
    assert_eq!(shown.json(0)["nodes"][0]["options"][0]["value"], "b");
    let diff = mgmtctl::ask(&directory, &["config", "diff", "cluster.ini"]);
    assert_eq!(
        diff.printed(),
        "instance sensor1 is new\nnode manager is new: instance sensor1, role manager\n1 instance and 1 node differ\n"
    );

    file("bad.ini", "[w]\nrole = cook\n");
    file("bad.json", "{\"nodes\": 1}");
    file("large.ini", &"#".repeat(17 * 1024 * 1024));
    for (name, words) in [
        ("bad.ini", "bad.ini: line 2: node w: role cook is none"),
        (
            "bad.json",
            "bad.json: invalid type: integer `1`, expected a sequence at line 1 column 11",
        ),
        ("large.ini", "large.ini is larger than 16 MiB"),
        ("absent.ini", "cannot read absent.ini: No such file"),
    ] {
        for command in ["stage", "diff"] {
            mgmtctl::ask(&directory, &["config", command, name]).failed(1, words);
        }
    }
    controller.stop();
}

const DEPLOYMENTS: &str = "/v1/clusters/default/deployments";

/// Of an instance that is not there, for as long as that is waited for.
#[test]
fn a_deployment_that_runs_can_be_followed_and_keeps_others_out_and_goes_on_without_mgmtctl() {
    let mut controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    fs::write(directory.join("cluster.ini"), CLUSTER).expect("written");
    let following = mgmtctl::begin(&directory, &["deploy", "cluster.ini", "--yes"]);
    let limit = Limit::new("a deployment");
    let id = limit.poll(|| {
        let all = json_of(&request(&directory, &format!("GET {DEPLOYMENTS}"), ""));
        all["deployments"][0]["id"].as_str().map(str::to_owned)
    });
    let told = json_of(&request(&directory, &format!("GET {DEPLOYMENTS}/{id}"), ""));
    assert_eq!(told["state"], "running");
    assert_eq!(told["instances"][0]["state"], "waiting");
    assert_eq!(told["ended"], Value::Null);
    let running = mgmtctl::ask(&directory, &["deployments", &id]);
    assert!(
        running
            .printed()
            .ends_with("0 of 1 node up; waiting for the agent of sensor1\n"),
        "{running:?}"
    );

    let another = request_with(
        &directory,
        &format!("POST {DEPLOYMENTS}"),
        "If-None-Match: *\r\n",
        "",
    );
    assert_problem(&another, 409, "on the control socket (PID ");
    let refused = zeek_client(&mut controller, &["deploy"], None).json(1);
    let error = refused["errors"][0].as_str().expect("an error");
    assert!(
        error.starts_with(&format!("earlier deployment {id} still pending")),
        "{error}"
    );

    controller.kill();
    let lost = Outcome::of(following, "mgmtctl", Instant::now());
    lost.failed(3, &format!("the deployment goes on without mgmtctl as long as the controller runs: `mgmtctl deployments {id}`"));
}

#[test]
fn a_deployment_is_asked_for_by_one_who_knows_what_is_deployed_and_is_found_where_it_is_said_to_be() {
    let home = home();
    let controller = Controller::start_in::<&str>(&home, &[]);
    let directory = controller.working_dir("controller");
    let deploy = |fields: &str| request_with(&directory, &format!("POST {DEPLOYMENTS}"), fields, "");
    let nothing = "If-None-Match: *\r\n";
    assert_problem(&deploy(""), 428, "say what the change rests on");
    assert_problem(&deploy("If-Match: \"a\"\r\n"), 412, "nothing is deployed");
    assert_problem(&deploy(nothing), 409, "nothing is staged");
    assert_problem(
        &request(&directory, &format!("GET {DEPLOYMENTS}/a"), ""),
        404,
        "deployment a is not known",
    );
    mgmtctl::ask(&directory, &["deploy"]).failed(64, "look with `mgmtctl config diff`, and say --yes");
    mgmtctl::ask(&directory, &["deploy", "--yes"]).failed(1, "no configuration is staged");
    let none = mgmtctl::ask(&directory, &["deployments"]);
    assert_eq!(
        none.printed(),
        "no deployment was asked for since the controller was started\n"
    );

    json_of(&put(&directory, nothing, "{}"));
    let begun = deploy(nothing);
    assert!(begun.starts_with("HTTP/1.1 202 Accepted"), "{begun}");
    let place = begun
        .lines()
        .find_map(|line| line.strip_prefix("location: "))
        .expect("a place");
    let limit = Limit::new("its end");
    let ended = limit.poll(|| {
        let told = json_of(&request(&directory, &format!("GET {place}"), ""));
        (told["state"] != "running").then_some(told)
    });
    assert_eq!(ended["state"], "done");
    assert_eq!(
        json_of(&request(&directory, &format!("GET {PATH}/deployed"), ""))["id"],
        ended["configuration"]
    );
    let listed = mgmtctl::ask(&directory, &["deployments"]);
    assert!(listed.printed().contains("done"), "{listed:?}");
    controller.stop();
    let audit = fs::read_to_string(directory.join("audit.log")).expect("it is there");
    for request in ["deploy", "deployment_ended"] {
        let [id, configuration] = ["id", "configuration"].map(|key| &ended[key]);
        let words = format!(r#""request":"{request}","cluster":"default","id":{id},"outcome":"done","ms":"#);
        let mut lines = audit.lines().filter(|line| line.contains(&words));
        let line = lines.next().unwrap_or_else(|| panic!("{words}: {audit}"));
        assert!(line.ends_with(&format!(r#""after":{configuration}}}"#)), "{line}");
    }
}

/// What is printed on a terminal, on which this is typed, and the exit code.
fn on_terminal(directory: &Path, command: &str, typed: &str) -> Outcome {
    let started = Instant::now();
    let command = format!("{} --socket control.sock {command}", mgmtctl::binary().display());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("script is a part of Debian");
    let mut terminal = child.stdin.take().expect("it is piped");
    terminal.write_all(typed.as_bytes()).expect("it reads");
    drop(terminal);
    Outcome::of(child, "mgmtctl on a terminal", started)
}

#[test]
fn on_a_terminal_it_is_asked_before_anything_is_deployed() {
    let controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    json_of(&put(&directory, "If-None-Match: *\r\n", "{}"));
    let status = on_terminal(&directory, "status", "");
    let last = "\u{1b}[32mnothing is deployed: 0 nodes\u{1b}[0m";
    assert!(status.printed().contains(last), "{status:?}");
    let refused = on_terminal(&directory, "deploy", "n\n");
    assert_eq!(refused.exit, 1, "{refused:?}");
    assert!(
        refused.stdout.contains("? [y/N] ") && refused.stdout.contains(" stays staged"),
        "{refused:?}"
    );
    let none = mgmtctl::ask(&directory, &["deployments"]);
    assert!(
        none.printed().starts_with("no deployment was asked for"),
        "{none:?}"
    );
    let deployed = on_terminal(&directory, "deploy", "y\n");
    assert_eq!(deployed.exit, 0, "{deployed:?}");
    assert!(
        deployed.stdout.contains("deployed: configuration "),
        "{deployed:?}"
    );
    controller.stop();
}

#[test]
fn a_cluster_is_there_when_a_configuration_is_staged_in_it_until_it_is_deleted() {
    let mut controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    let clusters = || json_of(&request(&directory, "GET /v1/clusters", ""))["clusters"].clone();
    let stage = |cluster: &str, body: &str| {
        let line = format!("PUT /v1/clusters/{cluster}/configurations/staged");
        request_with(&directory, &line, "If-None-Match: *\r\n", body)
    };
    let names = |clusters: &Value| {
        let all = clusters.as_array().expect("a list").iter();
        let names = all.map(|summary| summary["cluster"].as_str().expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&clusters()), ["default"]);
    assert_problem(&stage("a%2Fb", "{}"), 422, "the name of a cluster has letters");
    assert_problem(
        &request(&directory, "DELETE /v1/clusters/lab", ""),
        404,
        "no cluster lab",
    );
    let host = r#"{"instances": [{"name": "host1"}]}"#;
    json_of(&stage("lab", host));
    assert_eq!(names(&clusters()), ["default", "lab"]);
    assert_problem(
        &stage("other", host),
        422,
        "instance 'host1' belongs to cluster lab",
    );
    let refused = zeek_client(
        &mut controller,
        &["stage-config", "-"],
        Some(&CLUSTER.replace("sensor1", "host1")),
    );
    assert!(
        refused.stdout.contains("instance 'host1' belongs to cluster lab"),
        "{refused:?}"
    );

    let shown = mgmtctl::ask(&directory, &["--cluster", "lab", "config", "show", "staged"]);
    assert!(shown.printed().contains("host1"), "{shown:?}");
    mgmtctl::ask(&directory, &["--cluster", "leb", "config", "show", "staged"]).failed(1, "no cluster leb");
    let deletion = request(&directory, "DELETE /v1/clusters/default", "");
    assert_problem(&deletion, 409, "cluster default is always there");
    let deleted = mgmtctl::ask(&directory, &["clusters", "delete", "lab"]);
    assert_eq!(deleted.printed(), "cluster lab is deleted\n");
    assert_eq!(names(&clusters()), ["default"]);
    controller.stop();
}
