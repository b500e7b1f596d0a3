//! Nodes that wait for what they need, and start when it is there.

use std::{fs, net::TcpListener, process::Command, sync::Arc};

use broker_codec::data::Port;
use mgmt_api::{AgentMessage, AgentRequest, Node, State};
use rustix::process::Signal;

use super::{Host, assert_all_run, assert_deployed, configuration, node, told_until};
use crate::support::{limit::Limit, not_tested, signal, works};

#[test]
fn a_node_that_has_failed_returns_by_itself_when_its_cause_is_gone() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&["--node-failed-retry", "1sec"]);
    let script = host.home.path().join("own.zeek");
    let write = |text: &str| fs::write(&script, text).expect("it can be written");
    write("# nothing\n");
    let failing = Node {
        scripts: Some(vec![script.display().to_string().into()]),
        ..node("worker-1")
    };
    let wanted = [node("manager"), failing];
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let before = assert_all_run(&host, &mut controlling, &wanted);
    write("} error\n");
    signal(before["worker-1"], Signal::KILL);
    told_until(&mut controlling, |told| told["worker-1"].0 == State::Failed);
    write("# nothing\n");
    let after = assert_all_run(&host, &mut controlling, &wanted);
    assert_eq!(after["manager"], before["manager"]);
    agent.stop();
}

#[test]
fn a_node_whose_port_is_taken_says_by_whom_and_starts_when_it_is_free() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let holder = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = holder.local_addr().expect("it has one").port();
    let waiting = Node {
        metrics_port: Some(Port::tcp(port)),
        ..node("worker-1")
    };
    let wanted = [node("manager"), waiting];
    let config = Arc::new(configuration("c1", &wanted));
    let force = false;
    let asked = controlling.send(|reqid| AgentRequest::Deploy { reqid, config, force });
    let this = format!("in use by process {} (", std::process::id());
    let port = format!("node worker-1 waits: port {port}/tcp of 127.0.0.1 is ");
    controlling.hear_said(&[&port, &this]);
    assert!(!host.processes().contains_key("worker-1"));

    drop(holder);
    let results = controlling.hear(|message| match message {
        AgentMessage::Deploy { reqid, results } if reqid == asked => Some(results),
        _ => None,
    });
    assert_deployed(&results);
    assert_all_run(&host, &mut controlling, &wanted);
    let log = agent.stop();
    assert_eq!(log.matches(" waits: ").count(), 1, "it is told once: {log}");
}

#[test]
fn a_node_whose_interface_is_made_later_starts_then() {
    const NETWORK: [&str; 6] = [
        "unshare",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        "ip link set lo up && exec \"$0\" \"$@\"",
    ];
    let mut try_out = Command::new("unshare");
    let make = "ip link add mgmt-test0 type dummy";
    if !works(try_out.args(["--map-root-user", "--net", "sh", "-c", make])) {
        not_tested("an interface that is made later, where no network of one's own is allowed");
        return;
    }
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let wanted = [Node {
        interface: Some("mgmt-test0".into()),
        ..node("worker-1")
    }];
    let config = Arc::new(configuration("c1", &wanted));
    let force = false;
    controlling.send(|reqid| AgentRequest::Deploy { reqid, config, force });
    let lacks = "node worker-1 waits: interface mgmt-test0 is not there";
    controlling.hear_said(&[lacks]);
    agent.stop();

    // The next agent remembers what should run. No peer can connect to it.
    let mut agent = host.start_by(&NETWORK, &[]);
    agent.stderr.until_all(&[lacks]);
    assert!(host.processes().is_empty());
    let pid = agent.pid().to_string();
    let mut enter = Command::new("nsenter");
    enter.args([
        "--target",
        &pid,
        "--user",
        "--net",
        "--preserve-credentials",
        "sh",
        "-c",
        make,
    ]);
    assert!(works(&mut enter), "{enter:?}");
    agent.stderr.until_all(&["node worker-1 is up"]);
    assert_eq!(host.pids().len(), 1);
    agent.stop();
    Limit::new("no process to be left").poll(|| host.processes().is_empty().then_some(()));
}
