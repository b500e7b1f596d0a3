//! Who has a role in one cluster reaches into no other. `doors/table.rs` has every request by each role.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Ipv4Addr,
};

use serde_json::{Value, json};

use super::{Served, assert_good, bearer, body, send_from};
use crate::support::http::{assert_problem, connection_from};

/// A configuration of one instance, which is not there.
fn configuration(instance: &str) -> String {
    let instance = json!({ "name": instance, "host": "127.0.0.1", "port": 1 });
    json!({ "instances": [instance], "nodes": [] }).to_string()
}

/// The names of the clusters that a token shows.
fn clusters(served: &Served, token: &str) -> Vec<String> {
    let all = body(&served.get("/v1/clusters", token));
    let names = all["clusters"].as_array().expect("a list").iter();
    names
        .map(|cluster| cluster["cluster"].as_str().expect("text").to_owned())
        .collect()
}

fn stage(served: &Served, token: &str, cluster: &str) -> String {
    let line = format!("PUT /v1/clusters/{cluster}/configurations/staged");
    let fields = format!("{}If-None-Match: *\r\n", bearer(token));
    send_from(
        Ipv4Addr::LOCALHOST,
        served.address(),
        &line,
        &fields,
        &configuration(cluster),
    )
}

/// Who has this token may do nothing with a cluster.
#[track_caller]
fn assert_hidden(served: &Served, token: &str, cluster: &str) {
    let path = |rest: &str| format!("/v1/clusters/{cluster}/{rest}");
    assert_problem(
        &served.get(&path("status"), token),
        403,
        "takes the role read in cluster",
    );
    let line = format!("POST {}", path("deployments"));
    assert_problem(
        &served.send(&line, token, ""),
        403,
        "takes the role deploy in cluster",
    );
    let events = format!("/v1/events?cluster={cluster}");
    assert_problem(&served.get(&events, token), 403, "takes the role read in cluster");
}

#[test]
fn a_role_counts_in_its_clusters_alone() {
    let served = Served::start(&[]);
    let admin = served.token("admin", &["--role", "admin"]);
    let token = served.token("lab", &["--role", "deploy", "--cluster", "lab"]);
    assert_eq!(clusters(&served, &token), [""; 0]);
    assert_problem(
        &stage(&served, &token, "other"),
        403,
        "takes the role deploy in cluster other",
    );
    for cluster in ["lab", "other"] {
        assert_good(&stage(
            &served,
            if cluster == "lab" { &token } else { &admin },
            cluster,
        ));
    }
    assert_eq!(clusters(&served, &token), ["lab"]);
    assert_eq!(clusters(&served, &admin), ["default", "lab", "other"]);
    let whoami = served.remote("http", &["whoami", "--token-file", &served.token_file(&token)]);
    assert!(
        whoami.printed().ends_with(": deploy in cluster lab\n"),
        "{whoami:?}"
    );

    // Whether a cluster is there is not told either.
    for cluster in ["default", "other", "none", "LAB", "lab%20"] {
        assert_hidden(&served, &token, cluster);
    }
    assert_good(&served.get("/v1/clusters/lab/status", &token));
    let delete = "DELETE /v1/clusters/lab";
    assert_problem(
        &served.send(delete, &token, ""),
        403,
        "takes the role admin in cluster lab",
    );
    assert_good(&served.send(delete, &admin, ""));
    served.controller.stop();
}

#[test]
fn who_may_read_can_change_nothing() {
    const AT_LEAST: &str = "what changes configurations or nodes takes the role deploy, any other change admin; token t at 127.0.0.1:";
    let served = Served::start(&[]);
    let token = served.token_file(&served.token("t", &["--role", "read"]));
    let remote = |arguments: &[&str]| served.remote("http", &[&["--token-file", &token], arguments].concat());
    remote(&["status"]).printed();
    remote(&["clusters"]).printed();
    let file = served.home.path().join("cluster.json");
    std::fs::write(&file, configuration("sensor")).expect("it can be written");
    let file = file.display().to_string();
    remote(&["config", "stage", &file]).failed(1, AT_LEAST);
    remote(&["deploy", &file, "--yes"]).failed(1, AT_LEAST);
    remote(&["stop", "--all"]).failed(1, AT_LEAST);
    remote(&["clusters", "delete", "lab"]).failed(1, AT_LEAST);
    remote(&["reload"]).failed(1, AT_LEAST);
    remote(&["token", "list"]).failed(1, "takes the role admin in all clusters; token t at 127.0.0.1:");
    served.controller.stop();
}

/// The next event of a stream, or none at its end.
fn next_event(stream: &mut impl BufRead) -> Option<Value> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).expect("it can be read") == 0 {
            return None;
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return Some(serde_json::from_str(data).expect("JSON"));
        }
    }
}

#[test]
fn a_stream_tells_of_what_may_be_read_and_ends_when_that_ends() {
    let served = Served::start(&[]);
    let admin = served.token("admin", &["--role", "admin"]);
    let token = served.token("lab", &["--role", "read", "--cluster", "lab"]);
    let to = served.address();
    let mut stream = connection_from(Ipv4Addr::LOCALHOST, to);
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: {to}\r\n{}\r\n", bearer(&token));
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).expect("it can be read") > 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for cluster in ["default", "other", "lab"] {
        assert_good(&stage(&served, &admin, cluster));
    }
    let event = next_event(&mut stream).expect("an event");
    assert_eq!(event["cluster"], "lab", "{event}");
    served.local(&["token", "revoke", "lab"]).printed();
    while let Some(event) = next_event(&mut stream) {
        assert_eq!(event["cluster"], "lab", "{event}");
    }
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).expect("it has ended"), 0);
    served.controller.stop();
}

/// A token is looked at again when the body is there.
#[test]
fn who_is_revoked_while_a_request_comes_may_not_make_it() {
    let served = Served::start(&[]);
    let token = served.token("t", &["--role", "admin"]);
    let body = json!({ "name": "evil", "role": "admin" }).to_string();
    let (first, rest) = body.split_at(5);
    let mut stream = connection_from(Ipv4Addr::LOCALHOST, served.address());
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: {}\r\n{}Connection: close\r\nContent-Length: {}\r\n\r\n{first}",
        served.address(),
        bearer(&token),
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("written");
    served.local(&["token", "revoke", "t"]).printed();
    stream.write_all(rest.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_problem(&answer, 401, "or it was revoked");
    let left = served.local(&["token", "list", "--json"]);
    assert_eq!(left.json(0), json!({ "tokens": [] }));
    served.controller.stop();
}
