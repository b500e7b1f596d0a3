//! What one token takes of the daemon it does not take from others.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use super::{Served, assert_good, bearer};
use crate::support::{
    http::{assert_problem, connection_from},
    limit::Limit,
};

const BODY: usize = 16 * 1024 * 1024;

/// Begins a request of so many bytes, and returns what is answered before any of them is sent: that they are awaited, or that they are not.
fn begin(served: &Served, token: &str, length: usize) -> (String, BufReader<TcpStream>) {
    let to = served.address();
    let mut stream = connection_from(Ipv4Addr::LOCALHOST, to);
    let head = format!(
        "POST /v1/clusters/default/nodes/stop HTTP/1.1\r\nHost: {to}\r\n{}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n",
        bearer(token)
    );
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut stream = BufReader::new(stream);
    let mut status = String::new();
    stream.read_line(&mut status).expect("an answer");
    (status, stream)
}

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n";

#[track_caller]
fn assert_refused((mut answer, mut rest): (String, BufReader<TcpStream>), words: &str) {
    let _ = rest.read_to_string(&mut answer);
    assert_problem(&answer, 503, words);
}

#[test]
fn one_token_has_so_many_requests_under_way() {
    let served = Served::start(&[]);
    let [greedy, other] = ["greedy", "other"].map(|name| served.token(name, &["--role", "deploy"]));
    let mut open = Vec::new();
    for _ in 0..8 {
        let (status, stream) = begin(&served, &greedy, 1);
        assert_eq!(status, CONTINUE);
        open.push(stream);
    }
    assert_problem(
        &served.get("/v1", &greedy),
        503,
        "8 requests of this token, certificate or user are under way",
    );
    assert_good(&served.get("/v1", &other));
    served.local(&["clusters"]).printed();
    drop(open);
    Limit::new("to be let in again").poll(|| served.get("/v1", &greedy).contains(" 200 OK").then_some(()));
    served.controller.stop();
}

#[test]
fn one_token_leaves_others_memory_for_their_requests() {
    let served = Served::start(&[]);
    let [greedy, other] = ["greedy", "other"].map(|name| served.token(name, &["--role", "deploy"]));
    let mut open = Vec::new();
    for _ in 0..2 {
        let (status, stream) = begin(&served, &greedy, BODY);
        assert_eq!(status, CONTINUE);
        open.push(stream);
    }
    let words = "one token, certificate or user may have 32 MiB";
    assert_refused(begin(&served, &greedy, BODY), words);
    for _ in 0..2 {
        let (status, stream) = begin(&served, &other, BODY);
        assert_eq!(status, CONTINUE);
        open.push(stream);
    }
    // All is taken, and short ones are read nevertheless.
    let third = served.token("third", &["--role", "deploy"]);
    assert_refused(begin(&served, &third, BODY), words);
    for token in [&greedy, &third] {
        let stopped = served.send("POST /v1/clusters/default/nodes/stop", token, r#"{"all": true}"#);
        assert_problem(&stopped, 409, "nothing is deployed");
    }
    // What only shows needs none.
    assert_good(&served.get("/v1/clusters", &greedy));
    drop(open);
    Limit::new("memory for bodies").poll(|| (begin(&served, &greedy, BODY).0 == CONTINUE).then_some(()));
    served.controller.stop();
}
