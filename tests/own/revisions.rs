//! What has been deployed: it is remembered over crashes and in backups, and one goes back to it.

use std::fs;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Host, NAME, two_controllers::Hub};
use crate::support::{
    controller::STORE,
    http::{request, request_with},
    limit::Limit,
    mgmtctl,
};

/// Writes a configuration of a manager and a worker on the agent of a host, in which the worker has this environment.
fn write(hub: &Hub, host: &Host, manager: u16, name: &str, env: &Value) {
    let config = json!({
        "instances": [{ "name": NAME, "host": "127.0.0.1", "port": host.port.port() }],
        "nodes": [
            { "name": "manager", "instance": NAME, "role": "manager", "port": manager },
            { "name": "worker-1", "instance": NAME, "role": "worker", "interface": "lo", "env": env },
        ],
    });
    fs::write(hub.directory().join(name), config.to_string()).expect("it can be written");
}

fn history(hub: &Hub, cluster: &str) -> Value {
    hub.mgmtctl(&["--cluster", cluster, "history", "--json"]).json(0)
}

/// The numbers of the revisions that are kept, with their notes.
fn noted(history: &Value) -> Vec<(u64, Option<&str>)> {
    let revisions = history["revisions"].as_array().expect("a list").iter();
    revisions
        .map(|one| (one["revision"].as_u64().expect("a number"), one["note"].as_str()))
        .collect()
}

/// What is printed but its last line, and that.
#[track_caller]
fn last_line(printed: &str) -> (&str, &str) {
    let printed = printed.trim_end();
    printed.rsplit_once('\n').unwrap_or(("", printed))
}

/// Deploys three configurations one after the other, with notes.
fn deploy_three(hub: &Hub, host: &Host, manager: u16) {
    for (number, name, env) in [
        (1, "one", json!({ "A": "1" })),
        (2, "two", json!({ "A": "2" })),
        (3, "three", json!({ "A": "2", "B": "3" })),
    ] {
        write(hub, host, manager, name, &env);
        let deployed = hub.mgmtctl(&["deploy", name, "--yes", "--note", name]);
        let words = format!(" as revision {number}, 2 of 2 nodes up");
        assert!(last_line(deployed.printed()).1.ends_with(&words), "{deployed:?}");
    }
}

/// What differs in the environment of the worker.
fn worker(differences: &[&str]) -> String {
    let line = |difference: &&str| format!("node worker-1 on {NAME}: env {difference}\n");
    let lines: String = differences.iter().map(line).collect();
    lines + "1 node differs\n"
}

/// Shows and compares the three, and asks for what is not there.
fn look_at_three(hub: &Hub) {
    let shown = hub.mgmtctl(&["show", "3", "--json"]).json(0);
    let deployed = hub.mgmtctl(&["config", "show", "--json"]).json(0);
    assert_eq!(shown["content"], deployed);
    let one = hub.mgmtctl(&["show", "1", "--json"]).json(0);
    assert_eq!(one["content"]["nodes"][1]["env"], json!({ "A": "1" }));
    assert_eq!(one["content"]["id"], one["configuration"]);
    for (revisions, lines) in [
        (&["1"][..], worker(&["A is 2, was 1", "B is 3, was not set"])),
        (&["3", "1"], worker(&["A is 1, was 2", "B is not set, was 3"])),
        (&["3"], "nothing differs\n".to_owned()),
    ] {
        let diff = hub.mgmtctl(&[&["diff"], revisions].concat());
        assert_eq!(diff.printed(), lines);
    }
    hub.mgmtctl(&["show", "4"])
        .failed(1, "there is no revision 4: those that are kept are 1 to 3");
    hub.mgmtctl(&["rollback", "one", "--yes"])
        .failed(1, "there is no revision one");
    hub.mgmtctl(&["rollback", "1"])
        .failed(64, "look with `mgmtctl diff`, and say --yes");
    hub.mgmtctl(&["deploy", "--yes", "--note", "a\nb"])
        .failed(64, "a note is one line");
    let completed = mgmtctl::completed(&hub.directory(), &["diff", "1", ""]);
    assert!(
        completed.iter().any(|word| word.starts_with('2')),
        "{completed:?}"
    );
}

/// Goes back to the second, and then to the first.
fn go_back(hub: &Hub) {
    let back = hub.mgmtctl(&["rollback", "--yes"]);
    let (before, verdict) = last_line(back.printed());
    assert!(before.contains(&worker(&["B is not set, was 3"])), "{back:?}");
    assert!(verdict.ends_with(" as revision 4, 2 of 2 nodes up"), "{back:?}");
    let nothing = hub.mgmtctl(&["rollback", "2", "--yes"]);
    assert_eq!(
        nothing.printed(),
        "nothing to do: what is deployed does not differ from revision 2\n"
    );
    let back = hub.mgmtctl(&["rollback", "1", "--yes", "--note", "it was better"]);
    assert!(back.printed().contains(" as revision 5, "), "{back:?}");
}

#[test]
fn what_was_deployed_is_remembered_over_a_crash_and_in_a_backup_and_one_goes_back_to_it() {
    let (host, [manager, _second, _third]) = (Host::new(), testkit::ReservedPort::for_manager("127.0.0.1"));
    let agent = host.start(&[]);
    let mut hub = Hub::new();
    hub.start();
    assert_eq!(hub.mgmtctl(&["history"]).printed(), "nothing has been deployed\n");
    hub.mgmtctl(&["rollback", "--yes"])
        .failed(1, "there is no earlier revision");
    deploy_three(&hub, &host, manager.port());
    let told = history(&hub, "default");
    let expected = [(3, Some("three")), (2, Some("two")), (1, Some("one"))];
    assert_eq!(noted(&told), expected);
    assert_eq!(told["deployed_revision"], 3);
    let asked_by = told["revisions"][0]["asked_by"].as_str();
    assert!(asked_by.is_some_and(|who| who.starts_with("user ")), "{told}");
    let again = hub.mgmtctl(&["deploy", "--yes"]);
    assert!(again.printed().contains(" as revision 3, "), "{again:?}");
    assert_eq!(history(&hub, "default"), told, "it is the same revision");
    look_at_three(&hub);

    hub.crash();
    hub.start();
    hub.status_until("all as deployed");
    assert_eq!(history(&hub, "default"), told);
    go_back(&hub);
    let told = history(&hub, "default");
    let expected = [(5, Some("it was better")), (4, Some("rollback to revision 2"))];
    assert_eq!(noted(&told)[..2], expected);
    let checksum = |at: usize| &told["revisions"][at]["checksum"];
    assert_eq!([checksum(0), checksum(1)], [checksum(4), checksum(3)]);
    let printed = hub.mgmtctl(&["history"]);
    let id = told["deployed"].as_str().expect("an id");
    let words = format!("revision 5 is deployed, of 5 revisions: configuration {id}");
    assert_eq!(last_line(printed.printed()).1, words);

    let backup = hub.home.path().join("backup.tar");
    let backup = backup.to_str().expect("a plain path");
    hub.store(&["backup", backup]).printed();
    let mut other = Hub::new();
    other.store(&["restore", backup]).printed();
    let inspected = other.store(&["inspect"]);
    let words = "cluster default, revisions: 5\n";
    assert!(inspected.printed().contains(words), "{inspected:?}");
    other.start();
    assert_eq!(history(&other, "default"), told);
    let [here, there] = [&hub, &other].map(|hub| hub.mgmtctl(&["show", "1", "--json"]).json(0));
    assert_eq!(here, there);
    other.stop();
    hub.stop();
    agent.stop();
}

fn json_of(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

const DEPLOYMENTS: &str = "/v1/clusters/lab/deployments";
const MANY: u64 = 103;

/// Of a cluster without instances, where a deployment has ended when it has begun.
#[test]
fn each_cluster_keeps_so_many_and_what_an_earlier_release_has_deployed_gets_a_number() {
    let mut hub = Hub::new();
    hub.start();
    let directory = hub.directory();
    fs::write(directory.join("nothing.json"), "{}").expect("it can be written");
    let mut on = "If-None-Match: *\r\n".to_owned();
    for number in 1..=MANY {
        let put = "PUT /v1/clusters/lab/configurations/staged";
        let staged = request_with(&directory, put, &on, "{}");
        assert!(staged.starts_with("HTTP/1.1 200"), "{staged}");
        let body = if number == 1 { "" } else { r#"{"note": "again"}"# };
        let deployed = request_with(&directory, &format!("POST {DEPLOYMENTS}"), &on, body);
        assert!(deployed.starts_with("HTTP/1.1 202"), "{deployed}");
        let id = json_of(&deployed)["id"].as_str().expect("an id").to_owned();
        let told = Limit::new("its end").poll(|| {
            let told = json_of(&request(&directory, &format!("GET {DEPLOYMENTS}/{id}"), ""));
            (told["state"] != "running").then_some(told)
        });
        assert_eq!(told["revision"], number, "{told}");
        let id = told["configuration"].as_str().expect("an id");
        on = format!("If-Match: \"{id}\"\r\n");
    }
    let wrong = request_with(
        &directory,
        &format!("POST {DEPLOYMENTS}"),
        &on,
        r#"{"note": "a\nb"}"#,
    );
    assert!(wrong.starts_with("HTTP/1.1 422"), "{wrong}");
    let told = history(&hub, "lab");
    let numbers: Vec<u64> = noted(&told).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (MANY - 99..=MANY).rev().collect::<Vec<_>>());
    assert!(noted(&history(&hub, "default")).is_empty(), "each has its own");
    let pruned = request(&directory, "GET /v1/clusters/lab/revisions/3", "");
    assert!(pruned.starts_with("HTTP/1.1 404"), "{pruned}");

    hub.crash();
    let store = Connection::open(directory.join(STORE)).expect("a database");
    store
        .execute("delete from mgmt_revisions where number > 5", [])
        .expect("it can be written");
    drop(store);
    hub.start();
    let told = history(&hub, "lab");
    assert_eq!(told["deployed_revision"], Value::Null);
    let printed = hub.mgmtctl(&["--cluster", "lab", "history"]);
    let (_, last) = last_line(printed.printed());
    assert!(last.contains("is deployed, and has no number yet"), "{printed:?}");
    let deployed = hub.mgmtctl(&["--cluster", "lab", "deploy", "nothing.json", "--yes"]);
    assert!(deployed.printed().contains(" as revision 7, "), "{deployed:?}");
    let told = history(&hub, "lab");
    assert_eq!(
        noted(&told),
        [(7, None), (6, None), (5, Some("again")), (4, Some("again"))]
    );
    assert_eq!(told["revisions"][1]["asked_by"], Value::Null);
    let printed = hub.mgmtctl(&["--cluster", "lab", "history"]);
    assert!(printed.printed().contains("not known"), "{printed:?}");

    // It has nothing that agents run, so it can go, with its revisions.
    hub.mgmtctl(&["clusters", "delete", "lab"]).printed();
    hub.mgmtctl(&["--cluster", "lab", "history"])
        .failed(1, "no cluster lab");
    hub.mgmtctl(&["--cluster", "lab", "deploy", "nothing.json", "--yes"])
        .printed();
    assert_eq!(noted(&history(&hub, "lab")), [(1, None)]);
    hub.stop();
}
