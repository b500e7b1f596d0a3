//! The limits that no transcript can show in few lines.

use std::{cell::Cell, time::Duration};

use broker_codec::data::ZeekString;
use mgmt_agent::core::{Action, Agent, Input, OUTPUT_BYTES_MAX, Processes, REQUESTS_MAX, Report};
use mgmt_api::{
    AgentMessage, AgentRequest, ClusterRole, Configuration, Instance, Node, NodeOutputs, Now, SequentialIds,
};

use crate::transcript::{settings, started};

fn agent() -> Agent {
    let mut agent = Agent::new(settings(), Box::new(SequentialIds::default()));
    let _ = agent.step(Now::START, started());
    let _ = agent.step(Now::START, Input::Supervisor(Report::Ready));
    agent
}

/// What the agent tells controllers when it is asked for its nodes.
fn get_nodes(agent: &mut Agent, reqid: String) -> Vec<AgentMessage> {
    let request = AgentRequest::GetNodes { reqid: reqid.into() };
    ask(agent, request)
}

fn ask(agent: &mut Agent, request: AgentRequest) -> Vec<AgentMessage> {
    let topic = "zeek/management/agent/a".into();
    messages(agent.step(
        Now::START,
        Input::Request {
            peer: testkit::transcript::peer_id("p"),
            topic,
            request,
            of_ours: false,
            principal: None,
        },
    ))
}

fn messages(actions: Vec<Action>) -> Vec<AgentMessage> {
    actions
        .into_iter()
        .filter_map(|action| match action {
            Action::Tell(message) => Some(message),
            _ => None,
        })
        .collect()
}

fn error(messages: &[AgentMessage]) -> String {
    match messages {
        [AgentMessage::GetNodes { result, .. }] => result.error.as_ref().unwrap().to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_so_many_requests_can_be_under_way() {
    let mut agent = agent();
    for number in 0..REQUESTS_MAX {
        assert_eq!(get_nodes(&mut agent, number.to_string()), []);
    }
    let refused = get_nodes(&mut agent, "more".into());
    assert_eq!(error(&refused), "too many requests pending");
}

#[test]
fn only_the_end_of_a_crashed_nodes_output_is_passed_on() {
    let mut agent = agent();
    let node = Node::new("n", "a", ClusterRole::Worker);
    let config = Configuration::new("c1", [Instance::new("a")], [node]);
    let request = AgentRequest::Deploy {
        reqid: "r1".into(),
        config: config.into(),
        force: false,
    };
    assert_eq!(ask(&mut agent, request), []);
    let now = Cell::new(Now::START);
    let mut report = |report| messages(agent.step(now.get(), Input::Supervisor(report)));
    let _ = report(Report::Status {
        id: "#1".into(),
        status: Processes::default(),
    });
    let _ = report(Report::Created {
        id: "#2".into(),
        outcome: Ok(()),
    });
    for pid in [1, 2] {
        let _ = report(Report::NodeStarted {
            node: "n".into(),
            pid,
            is_to_end: false,
        });
        now.set(now.get() + Duration::from_secs(1));
    }
    let stderr = [vec![b'a'; 10], vec![b'b'; OUTPUT_BYTES_MAX]].concat();
    let outputs = NodeOutputs {
        stdout: "nothing".into(),
        stderr: stderr.into(),
    };
    let expected = ZeekString::from(format!("last output: {}", "b".repeat(OUTPUT_BYTES_MAX)));
    match &report(Report::NodeExited {
        node: "n".into(),
        outputs,
    })[..]
    {
        [
            AgentMessage::Error { msg, .. },
            AgentMessage::Log { msg: output, .. },
        ] => {
            assert_eq!(*output, expected);
            assert!(msg.len() < 400, "{msg}");
        }
        other => panic!("{other:?}"),
    }
}
