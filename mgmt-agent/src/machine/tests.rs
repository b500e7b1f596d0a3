use std::{collections::BTreeSet, time::Duration};

use mgmt_api::{AgentRequest, SequentialIds, node_link::agent_topic};

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

/// Who hears that the agent is there, of those who subscribed, when this peer comes.
fn greeted(agent: &mut BrokerAgent, peer: EndpointId, is_ours: bool) -> BTreeSet<To> {
    let actions = agent.step(
        Now::START,
        Input::PeerAdded {
            peer,
            address: "10.0.0.1:2150".into(),
            is_supervisor: false,
            is_ours,
            principal: None,
        },
    );
    let hellos = actions.into_iter().filter_map(|action| match action {
        Action::Publish { to, event, .. } if event.name.ends_with(b"notify_agent_hello") => Some(to),
        _ => None,
    });
    hellos.collect()
}

fn ask(agent: &mut BrokerAgent, peer: EndpointId) {
    let reqid = "r".into();
    let request = Event::of(&AgentRequest::GetNodes { reqid }).unwrap();
    let topic = Settings::default().agent_topic();
    let data = request.into_data();
    agent.step(Now::START, Input::Message { peer, topic, data });
}

#[test]
fn a_node_that_connects_has_the_agent_greet_no_controller_of_ours_again() {
    let settings = Settings {
        supervise: Supervise::Systemd,
        ..Settings::default()
    };
    let mut agent = BrokerAgent::new(settings, Box::new(SequentialIds::default()));
    for news in [own::News::Available, own::News::Looked] {
        agent.step(Now::START, Input::Nodes(news));
    }
    let [ours, zeeks, node] = [1, 2, 3].map(|byte| EndpointId::from_bytes([byte; 16]));
    let all_but = |except: &[EndpointId]| {
        BTreeSet::from([To::Subscribers {
            except: except.iter().copied().collect(),
        }])
    };
    assert_eq!(greeted(&mut agent, ours, true), all_but(&[]));
    ask(&mut agent, ours);
    assert_eq!(greeted(&mut agent, zeeks, false), all_but(&[ours]));
    ask(&mut agent, zeeks);
    // As recorded, Zeek's controller hears it again.
    assert_eq!(greeted(&mut agent, node, false), all_but(&[ours]));
}
