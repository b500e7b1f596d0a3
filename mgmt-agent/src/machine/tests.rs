use std::{collections::BTreeSet, time::Duration};

use mgmt_api::{AgentMessage, AgentRequest, SequentialIds, node_link::agent_topic};

use super::*;
use crate::core::{NodeSpec, Supervise, To, order::Launch};

fn launch(name: &str, token: &str) -> Box<Launch> {
    Box::new(Launch {
        spec: NodeSpec {
            name: name.into(),
            directory: "/w-1".into(),
            ..NodeSpec::default()
        },
        agent: "agent".into(),
        token: token.into(),
        program: "/zeek".into(),
        ..Launch::default()
    })
}

/// Says something as a node; whether it is refused.
fn is_refused(agent: &mut BrokerAgent, said: &NodeLinkMessage) -> bool {
    let input = Input::Message {
        peer: EndpointId::from_bytes([b'n'; 16]),
        topic: agent_topic(&Settings::default().node_topic),
        data: Event::of(said).unwrap().into_data(),
    };
    let actions = agent.step(Now::START, input);
    actions
        .iter()
        .any(|action| matches!(action, Action::Refuse { .. }))
}

/// A node says hello once, when it has connected, which may be before it is known which nodes run.
#[test]
fn a_node_that_says_hello_before_it_is_found_is_heard_then() {
    let settings = Settings {
        supervise: Supervise::Systemd,
        ..Settings::default()
    };
    let mut agent = BrokerAgent::new(settings, Box::new(SequentialIds::default()));
    let hello = NodeLinkMessage::Hello {
        node: "w-1".into(),
        pid: 42,
        version: "9.0.0".into(),
        role: "Cluster::WORKER".into(),
        protocol: 1,
        token: "secret".into(),
    };
    assert!(!is_refused(&mut agent, &hello));
    for news in [
        own::News::Available,
        own::News::Found {
            launch: launch("w-1", "secret"),
            pid: 42,
            age: Duration::from_secs(1),
        },
        own::News::Looked,
    ] {
        agent.step(Now::START, Input::Nodes(news));
    }
    // Only the node itself may say this.
    let bye = NodeLinkMessage::Bye { node: "w-1".into() };
    assert!(!is_refused(&mut agent, &bye));

    // One that is known is heard at once, though systemd may be away for long.
    let peer = EndpointId::from_bytes([b'n'; 16]);
    let reason = "a reason".into();
    agent.step(Now::START, Input::Nodes(own::News::Unavailable { reason }));
    agent.step(
        Now::START,
        Input::PeerLost {
            peer,
            reason: "it has ended".into(),
        },
    );
    assert!(is_refused(&mut agent, &bye));
    assert!(!is_refused(&mut agent, &hello));
    assert!(!is_refused(&mut agent, &bye));
}

/// An agent under our own supervision that knows which nodes run: none.
fn agent() -> BrokerAgent {
    let settings = Settings {
        supervise: Supervise::Systemd,
        ..Settings::default()
    };
    let mut agent = BrokerAgent::new(settings, Box::new(SequentialIds::default()));
    for news in [own::News::Available, own::News::Looked] {
        agent.step(Now::START, Input::Nodes(news));
    }
    agent
}

fn peer_added(peer: EndpointId, is_ours: bool) -> Input {
    Input::PeerAdded {
        peer,
        address: "10.0.0.1:2150".into(),
        is_supervisor: false,
        is_ours,
        principal: None,
    }
}

/// Who hears that the agent is there, of those who subscribed, when this peer comes.
fn greeted(agent: &mut BrokerAgent, peer: EndpointId, is_ours: bool) -> BTreeSet<To> {
    let actions = agent.step(Now::START, peer_added(peer, is_ours));
    let hellos = actions.into_iter().filter_map(|action| match action {
        Action::Publish { to, event, .. } if event.name.ends_with(b"notify_agent_hello") => Some(to),
        _ => None,
    });
    hellos.collect()
}

fn ask(agent: &mut BrokerAgent, peer: EndpointId, request: &AgentRequest) {
    let topic = Settings::default().agent_topic();
    let data = Event::of(request).unwrap().into_data();
    agent.step(Now::START, Input::Message { peer, topic, data });
}

fn get_nodes() -> AgentRequest {
    AgentRequest::GetNodes { reqid: "r".into() }
}

#[test]
fn a_node_that_connects_has_the_agent_greet_no_controller_of_ours_again() {
    let mut agent = agent();
    let [ours, zeeks, node] = [1, 2, 3].map(|byte| EndpointId::from_bytes([byte; 16]));
    let all_but = |except: &[EndpointId]| {
        BTreeSet::from([To::Subscribers {
            except: except.iter().copied().collect(),
        }])
    };
    assert_eq!(greeted(&mut agent, ours, true), all_but(&[]));
    ask(&mut agent, ours, &get_nodes());
    assert_eq!(greeted(&mut agent, zeeks, false), all_but(&[ours]));
    ask(&mut agent, zeeks, &get_nodes());
    // As recorded, Zeek's controller hears it again.
    assert_eq!(greeted(&mut agent, node, false), all_but(&[ours]));
}

#[test]
fn what_else_is_said_when_a_peer_connects_is_said_to_a_controller_of_ours() {
    let mut agent = agent();
    let [ours, node] = [1, 2].map(|byte| EndpointId::from_bytes([byte; 16]));
    greeted(&mut agent, ours, true);
    ask(&mut agent, ours, &get_nodes());
    agent.peers.new_peer = Some(node);
    let mut turn = Turn::new(Now::START);
    let said = AgentMessage::Deploy {
        reqid: "r".into(),
        results: Vec::new(),
    };
    agent.peers.tell(&mut turn, &said);
    let actions = turn.into_actions();
    assert!(
        matches!(&actions[..], [Action::Publish { to, .. }] if *to == To::ALL),
        "{actions:?}"
    );
}
