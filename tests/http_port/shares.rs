//! What one token takes of the memory for bodies it does not take from others.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
};

use super::{Served, assert_good, bearer};
use crate::support::{
    http::{assert_problem, connection_from},
    limit::Limit,
};

const BODY: usize = 16 * 1024 * 1024;

/// Begins a request of so many bytes, and returns what is answered before any of them is sent: that they are awaited, or that they are not.
fn begin(served: &Served, token: &str) -> (String, BufReader<TcpStream>) {
    let to = served.address();
    let mut stream = connection_from(Ipv4Addr::LOCALHOST, to);
    let head = format!(
        "POST /v1/clusters/default/nodes/stop HTTP/1.1\r\nHost: {to}\r\n{}Expect: 100-continue\r\nContent-Length: {BODY}\r\n\r\n",
        bearer(token)
    );
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut stream = BufReader::new(stream);
    let mut status = String::new();
    stream.read_line(&mut status).expect("an answer");
    (status, stream)
}

#[test]
fn one_token_leaves_others_memory_for_their_requests() {
    let served = Served::start(&[]);
    let [greedy, other] = ["greedy", "other"].map(|name| served.token(name, &["--role", "deploy"]));
    let mut open = Vec::new();
    for _ in 0..2 {
        let (status, stream) = begin(&served, &greedy);
        assert_eq!(status, "HTTP/1.1 100 Continue\r\n");
        open.push(stream);
    }
    assert!(begin(&served, &greedy).0.starts_with("HTTP/1.1 503 "));
    let stops = |token: &str| served.send("POST /v1/clusters/default/nodes/stop", token, r#"{"all": true}"#);
    assert_problem(
        &stops(&greedy),
        503,
        "one token, certificate or user may have 32 MiB",
    );
    assert!(!stops(&other).starts_with("HTTP/1.1 503 "));
    for _ in 0..2 {
        let (status, stream) = begin(&served, &other);
        assert_eq!(status, "HTTP/1.1 100 Continue\r\n");
        open.push(stream);
    }
    // What only shows needs none.
    assert_good(&served.get("/v1/clusters", &greedy));
    drop(open);
    Limit::new("memory for bodies").poll(|| (!stops(&greedy).starts_with("HTTP/1.1 503 ")).then_some(()));
    served.controller.stop();
}
