//! A node whose process is stopped, as by a debugger or by one who means another process: what its agent says of it, and what clients
//! get who ask. Real processes.

use broker_codec::data::ZeekString;
use mgmt_api::{AgentMessage, AgentRequest, State};
use rustix::process::{Signal, kill_process};

use crate::{
    supervised::{Host, assert_all_succeed, pid},
    support::controlling::Controlling,
};

/// The states of the nodes, by name.
fn states(controlling: &mut Controlling) -> Vec<(String, State)> {
    let nodes = controlling.nodes().expect("nodes").into_iter();
    let mut states: Vec<_> = nodes.map(|node| (node.node.to_string(), node.state)).collect();
    states.sort();
    states
}

/// The errors of an answer to `get-id-value`, without those about values that stand-ins do not have.
fn value_errors(controlling: &mut Controlling) -> Vec<(Option<String>, String)> {
    let answer = controlling.ask(|reqid| AgentRequest::NodeDispatch {
        reqid,
        action: vec!["get_id_value".into(), "Cluster::node".into()],
        nodes: ["one", "two"].map(ZeekString::from).into(),
    });
    let AgentMessage::NodeDispatch { results, .. } = answer else {
        panic!("another answer");
    };
    let errors = results.into_iter().filter(|result| !result.success);
    let named = errors.map(|result| {
        let text = |text: Option<ZeekString>| text.map(|text| text.to_string());
        (text(result.node), text(result.error).unwrap_or_default())
    });
    named.collect()
}

#[test]
fn a_node_that_is_stopped_is_named_and_unknown_until_it_is_continued() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    assert_all_succeed(&controlling.deploy("c1", &["one", "two"]), 2);
    let nodes = controlling.nodes().expect("nodes");
    let one = nodes.iter().find(|node| node.node == "one").expect("it runs");
    let one = pid(one.pid);
    kill_process(one, Signal::STOP).expect("it runs");
    // A peer may be silent for 30 s.
    controlling.hear_states(&["one"], State::Unknown);
    let known = |state| [("one".to_owned(), state), ("two".to_owned(), State::Running)];
    assert_eq!(states(&mut controlling), known(State::Unknown));
    let errors = value_errors(&mut controlling);
    let [(Some(node), error)] = &errors[..] else {
        panic!("one error about one node: {errors:?}");
    };
    assert_eq!(node, "one");
    // Had it been waited for, the request would have timed out.
    assert!(error.contains("node one is silent: "), "{error}");

    kill_process(one, Signal::CONT).expect("it runs");
    controlling.hear_states(&["one"], State::Running);
    assert_eq!(states(&mut controlling), known(State::Running));
    assert_eq!(value_errors(&mut controlling), []);
    let log = agent.stop();
    let line = |text: &str| {
        let line = log.lines().find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("{text} is not told: {log}"))
            .to_owned()
    };
    assert!(line("node one is silent").contains(" WARN "));
    assert!(line("node one is up again").contains(" INFO "));
}
