//! Another Zeek on disk than that which nodes were started from.

use std::sync::Arc;

use broker_codec::data::{Port, ZeekString};
use mgmt_agent::{
    core::Command,
    supervisors::{
        Input,
        own::{End, News, OwnSupervisor},
    },
};

use super::run::{Run, S, settings, spec};

/// Whether the scripts of a node's latest start, or of what it is started with next, have one of this name in them.
fn loads(run: &Run, node: &str, script: &str) -> bool {
    let arguments = &run.launches[&ZeekString::from(node)].arguments;
    arguments
        .iter()
        .any(|argument| argument.ends_with(script.as_bytes()))
}

#[test]
fn a_node_that_starts_after_an_upgrade_is_started_as_the_new_zeek_takes_it() {
    let mut run = Run::new();
    run.command("create", &["m", "w1"]);
    run.up("m");
    run.news(News::Version(Some("zeek version 8.1.0".into())));
    run.take("0 start m; 0 start w1; zeek version 8.1.0 is installed");
    assert!(!loads(&run, "w1", "backend/broker"));
    run.end("w1", End::Exit(1));
    run.pass(S);
    assert!(loads(&run, "w1", "backend/broker") && !loads(&run, "m", "backend/broker"));
    run.command("restart", &["m"]);
    assert!(loads(&run, "m", "backend/broker"));
    // One that is found has been started by an agent that may have known another Zeek.
    let found = (*run.launches[&ZeekString::from("w1")]).clone();
    let mut other = Run::new();
    other.own = OwnSupervisor::new(settings());
    other.processes.insert("w1".into(), false);
    other.found.push(found);
    other.news(News::Available);
    other.end("w1", End::Unknown);
    other.pass(S);
    assert!(!loads(&other, "w1", "backend/broker"));
}

#[test]
fn a_zeek_that_is_too_old_now_or_does_not_say_which_it_is_starts_no_node() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    run.news(News::Version(None));
    run.end("w1", End::Exit(1));
    run.pass(S);
    run.news(News::Version(Some("zeek version 5.2.0".into())));
    run.end("w1", End::Exit(1));
    run.pass(2 * S);
    let log = std::mem::take(&mut run.log).join("; ");
    let reason = "Zeek 5.2 is too old: 6.0 or later is needed";
    let expected = [
        "0 w1 crashed: exit status 1; 517 start w1".to_owned(),
        format!("zeek version 5.2.0 is installed: {reason}"),
        format!(" w1 crashed: not started: {reason}"),
    ];
    assert!(expected.iter().all(|part| log.contains(part)), "{log}");
    assert!(run.processes.is_empty());
}

#[test]
fn a_node_talks_as_those_of_its_cluster_do_that_run() {
    let with_ports = |name: &str| {
        let mut spec = spec(name);
        let cluster = Arc::make_mut(&mut spec.cluster);
        for (place, port) in cluster.values_mut().zip(2200..) {
            place.p = Some(Port::tcp(port));
        }
        Box::new(spec)
    };
    let mut run = Run::new();
    for name in ["l1", "l2", "m", "w1"] {
        let id = name.into();
        let node = with_ports(name);
        run.step(Input::Command(Command::Create { id, node }));
    }
    run.settle();
    for name in ["l1", "l2", "m", "w1"] {
        run.up(name);
    }
    run.news(News::Version(Some("zeek version 8.1.0".into())));
    run.command("restart", &["w1"]);
    assert!(loads(&run, "w1", "backend/broker"), "the others talk by Broker");
    let id = "w2".into();
    let node = with_ports("w2");
    run.step(Input::Command(Command::Create { id, node }));
    run.settle();
    assert!(loads(&run, "w2", "backend/broker"));
    run.command("restart", &["l1", "l2", "m", "w1", "w2"]);
    run.pass(60 * S);
    for name in ["l1", "l2", "m", "w1", "w2"] {
        assert!(loads(&run, name, "backend/zeromq"), "{name}");
    }
}
