//! What an agent that crashed has left: its Supervisor and nodes, which the next agent takes over or replaces. Real processes; the Supervisor is a
//! stand-in.

use rustix::process::Pid;

use crate::{
    supervised::{Host, NAME, assert_all_succeed, connected, ends_within, lives, pids},
    support::controlling::Controlling,
};

/// An agent that crashed leaves its Supervisor and nodes behind.
struct Left {
    listen: String,
    supervisor_at: String,
    supervisor: Pid,
    nodes: Vec<Pid>,
}

fn leave_behind(host: &Host) -> Left {
    let (agent, mut controlling) = host.start_connected(&[]);
    assert_all_succeed(&controlling.deploy("c1", &["one"]), 1);
    let nodes = pids(&controlling.nodes().expect("nodes"));
    let record = host.record().expect("a Supervisor runs");
    let port = record["launch"]["port"].as_u64().expect("a port");
    let left = Left {
        listen: agent.broker().to_string(),
        supervisor_at: format!("127.0.0.1:{port}"),
        supervisor: host.supervisor(),
        nodes,
    };
    agent.kill();
    assert!(lives(left.supervisor));
    left
}

#[test]
fn the_next_agent_takes_over_what_one_that_crashed_has_left() {
    let host = Host::new();
    let left = leave_behind(&host);
    let (agent, mut controlling) = connected(host.start_at(&left.listen, &left.supervisor_at, &[]));
    assert_eq!(host.supervisor(), left.supervisor);
    // As after every start of an agent, it is the controller that says what is to run.
    let nodes = controlling.nodes().expect("nodes");
    assert_eq!(pids(&nodes), left.nodes);
    let log = agent.stop();
    assert!(log.contains("taking over the Supervisor"), "{log}");
    let ready = log.lines().find(|line| line.contains("ready"));
    let ready = ready.unwrap_or_else(|| panic!("it is not ready: {log}"));
    for field in [
        "zeek=\"zeek version 9.0.0\"",
        "broker_tls=\"anonymous\"",
        "broker_asks_for_certificates=false",
    ] {
        assert!(ready.contains(field), "{ready}");
    }
    assert!(!lives(left.supervisor), "it is ours to end now");
}

/// The agent chooses the port at each start of a Supervisor, so that of the one it has left is in the record only.
#[test]
fn a_supervisor_whose_port_the_agent_chose_is_taken_over_as_well() {
    let host = Host::new();
    let left = leave_behind(&host);
    let (agent, mut controlling) = connected(host.start_at(&left.listen, "127.0.0.1:0", &[]));
    assert_eq!(host.supervisor(), left.supervisor);
    assert_eq!(pids(&controlling.nodes().expect("nodes")), left.nodes);
    agent.stop();
    assert!(!lives(left.supervisor), "it is ours to end now");
}

#[test]
fn a_supervisor_that_would_be_started_in_another_way_now_is_replaced() {
    let host = Host::new();
    let left = leave_behind(&host);
    let further = ["--zeek-argument", "local"];
    let agent = host.start_at(&left.listen, &left.supervisor_at, &further);
    assert!(
        ends_within(left.supervisor, 60),
        "the earlier Supervisor lives on"
    );
    let mut controlling = Controlling::connect(agent.broker(), NAME);
    controlling.hear_hello();
    assert_eq!(controlling.nodes(), Ok(Vec::new()));
    assert_ne!(host.supervisor(), left.supervisor);
    agent.stop();
}
