//! What those hear who follow events: by `mgmtctl events`, and as programs read the stream.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::Child,
};

use rustix::process::Signal;
use serde_json::Value;

use super::sensors::Sensors;
use crate::support::{
    cluster::kill_processes_in,
    controller::Controller,
    home,
    http::{assert_problem, request, request_with},
    mgmtctl, signal,
    told::Told,
};

/// `mgmtctl events`, which goes on until it is dropped.
pub(super) struct Follower {
    child: Child,
    shown: Told,
    noted: Told,
}

impl Follower {
    pub(super) fn begin(directory: &Path, arguments: &[&str]) -> Self {
        Self::of(directory, &[&["events"], arguments].concat())
    }

    /// Another command that goes on.
    pub(super) fn of(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = mgmtctl::begin(directory, arguments);
        Self {
            shown: Told::by(child.stdout.take().expect("it is piped")),
            noted: Told::by(child.stderr.take().expect("it is piped")),
            child,
        }
    }

    pub(super) fn shows(&mut self, words: &[&str]) {
        self.shown.until_all(words);
    }

    /// The next line with these words, which is JSON.
    pub(super) fn json(&mut self, words: &str) -> Value {
        let lines = self.shown.until_all(&[words]);
        let line = lines.last().expect("a line");
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of the stream that are neither empty nor comments, up to one that begins so.
fn read_until(directory: &Path, path: &str, fields: &str, last: &str) -> Vec<String> {
    let mut stream = UnixStream::connect(directory.join("control.sock")).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").expect("written");
    let mut lines = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.expect("text").trim_end().to_owned();
        let is_last = line.starts_with(last);
        lines.push(line);
        if is_last {
            break;
        }
    }
    lines
}

/// What is behind these words, in the first line that begins with them.
fn of<'a>(lines: &'a [String], begin: &str) -> &'a str {
    let found = lines.iter().find_map(|line| line.strip_prefix(begin));
    found.unwrap_or_else(|| panic!("{begin}: {lines:#?}"))
}

#[test]
fn what_happens_to_instances_nodes_and_deployments_is_told() {
    let mut sensors = Sensors::start();
    let directory = sensors.working_dir();
    let mut follower = Follower::begin(&directory, &[]);
    follower.shows(&["instance sensor-1 is connected", "instance sensor-2 is connected"]);
    let cluster = sensors.cluster([1, 1]);
    let pids = sensors.deploy(&cluster);
    follower.shows(&[
        "INFO    the deployment of configuration ",
        "node manager on instance sensor-1 is RUNNING",
        "is done",
    ]);
    let worker = pids.keys().find(|name| name.starts_with("worker")).expect("one");
    signal(pids[worker], Signal::KILL);
    follower.shows(&[
        &format!("WARNING node {worker} on instance sensor-1 is CRASHED, was RUNNING"),
        "ended: signal 9",
        &format!("INFO    node {worker} on instance sensor-1 is RUNNING, was CRASHED"),
    ]);
    let agent = sensors.instances[1].agent.take();
    agent.expect("it runs").kill();
    follower.shows(&["WARNING instance sensor-2 is lost, with 1 node that may run on"]);

    // As a program reads it: what it lacks comes after the last that it has.
    let past = read_until(&directory, "/v1/events?last=10000", "", "event: deployment");
    assert_eq!(past[0], "HTTP/1.1 200 OK");
    assert_eq!(of(&past, "content-type: "), "text/event-stream");
    let first = of(&past, "id: ");
    let next = read_until(
        &directory,
        "/v1/events",
        &format!("Last-Event-ID: {first}\r\n"),
        "data: {",
    );
    assert_ne!(of(&next, "id: "), first);
    assert!(of(&next, "data: ").starts_with(r#"{"time":"2"#));
    let reset = read_until(&directory, "/v1/events", "Last-Event-ID: 1-7\r\n", "id: ");
    assert_eq!(of(&reset, "event: "), "reset");
    assert_eq!(of(&reset, "id: "), first);
    let other = read_until(&directory, "/v1/events?last=9&cluster=other", "", ":");
    assert!(!other.iter().any(|line| line.starts_with("id: ")), "{other:?}");
    assert_problem(&request(&directory, "GET /v1/events?last=many", ""), 400, "last");
    assert_problem(
        &request(&directory, "GET /v1/events?lest=1", ""),
        400,
        "unknown field `lest`",
    );

    drop(follower);
    kill_processes_in(sensors.instances[1].home());
    sensors.stop();
}

#[test]
fn who_follows_goes_on_with_the_next_controller_and_hears_that_something_is_missing() {
    let home = home();
    let controller = Controller::start_in::<&str>(&home, &[]);
    let directory = controller.working_dir("controller");
    let stage = |id: &str| {
        let body = format!(r#"{{"id": "{id}", "instances": [], "nodes": []}}"#);
        let fields = "If-None-Match: *\r\n";
        let answer = request_with(
            &directory,
            "PUT /v1/clusters/default/configurations/staged",
            fields,
            &body,
        );
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    let mut follower = Follower::begin(&directory, &["--json"]);
    stage("a");
    follower.shows(&["\"message\":\"stages configuration "]);
    controller.kill();
    follower.noted.until_all(&["; trying again"]);
    let controller = Controller::start_in::<&str>(&home, &[]);
    follower.noted.until_all(&["connected again"]);
    follower
        .noted
        .until_all(&["events are missing here: the controller was restarted"]);
    stage("b");
    follower.shows(&["\"message\":\"stages configuration "]);
    controller.stop();
}
