//! Where Prometheus finds the metrics of nodes, and that they are there: here through the agent, as nodes of one host listen on loopback.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use serde_json::{Value, json};
use testkit::ReservedPort;

use super::{SENSOR, World};
use crate::support::{
    http::{assert_problem, get, request},
    mgmtctl,
};

const METRICS: &str = "# TYPE zeek_net_packets gauge\nzeek_net_packets 7\n";

/// Serves metrics as a Zeek does, where the configuration says.
fn serve(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.expect("a connection");
            // It may come in pieces.
            let lines = BufReader::new(&stream)
                .lines()
                .map(|line| line.expect("a request"));
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            assert_eq!(head[0], "GET /metrics HTTP/1.1");
            let length = METRICS.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{METRICS}")
                .expect("it reads");
        }
    });
}

/// Asks as Prometheus does.
fn scrape(address: &str, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

fn targets(world: &World) -> Value {
    let (head, body) = get(&world.directory(), "/sd");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn prometheus_finds_nodes_and_their_agent_passes_on_what_they_say() {
    let world = World::start_with(&["--http-listen", "127.0.0.1:0"]);
    assert_eq!(targets(&world), json!([]));
    let metrics = ReservedPort::new("127.0.0.1");
    let worker = json!({ "name": "worker-1", "instance": SENSOR, "role": "worker", "interface": "lo", "metrics_port": metrics.port() });
    world.mgmtctl(&["deploy", &world.write(vec![worker]), "--yes"]);
    let at = metrics.address();
    // In the place of the stand-in, which listens nowhere.
    drop(metrics);
    serve(TcpListener::bind(at).expect("it was reserved"));
    let found = targets(&world);
    // The agent is on the controller's host: its nodes are reached without it.
    let expected = json!([{
        "targets": [at.to_string()],
        "labels": {
            "cluster": "default",
            "zeek_instance": SENSOR,
            "node": "worker-1",
            "role": "worker",
            "__scheme__": "http",
            "__metrics_path__": "/metrics",
        },
    }]);
    assert_eq!(found, expected);
    assert!(scrape(&at.to_string(), "/metrics", "any").ends_with(METRICS));

    let agent = world.instance.home().join("state/nodes").join(SENSOR);
    let (_, status) = get(&agent, "/v1/status");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let http: SocketAddr = serde_json::from_value(status["http"]["address"].clone()).expect("an address");
    assert_eq!(status["http"]["is_tls"], false);
    let token = mgmtctl::ask(&agent, &["token", "create", "prometheus", "--role", "read"]);
    let through =
        |node: &str, token: &str| scrape(&http.to_string(), &format!("/v1/nodes/{node}/metrics"), token);
    let answer = through("worker-1", token.printed().trim_end());
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(METRICS),
        "{answer}"
    );
    assert!(
        answer.contains("content-type: text/plain; charset=utf-8"),
        "{answer}"
    );
    assert_problem(&through("worker-1", "mgmt_0"), 401, "no token of this daemon");
    for (node, words) in [
        ("manager", "the node has no port for metrics"),
        ("none", "no such node"),
    ] {
        let answer = request(&agent, &format!("GET /v1/nodes/{node}/metrics"), "");
        assert_problem(&answer, 404, words);
    }
    world.stop();
}
