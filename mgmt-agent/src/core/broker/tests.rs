use std::time::Duration;

use broker_codec::data::Set;
use mgmt_api::{
    AgentMessage, ClusterRole, Configuration, Instance, Node, NodeOutputs, ResultRecord, SequentialIds,
    State, SupervisorMessage, SupervisorResponse, SupervisorStatus,
};

use super::*;

const SUPERVISOR: EndpointId = EndpointId::from_random([1; 16]);
const CONTROLLER: EndpointId = EndpointId::from_random([2; 16]);
const NODE: EndpointId = EndpointId::from_random([3; 16]);

struct Driven {
    agent: BrokerAgent,
    now: Now,
}

impl Driven {
    fn new() -> Self {
        let mut settings = Settings::default();
        settings.agent.name = "a".into();
        Self {
            agent: BrokerAgent::new(settings, Box::new(SequentialIds::default())),
            now: Now::START,
        }
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        self.agent.step(self.now, input)
    }

    fn added(&mut self, peer: EndpointId) -> Vec<Action> {
        self.step(Input::PeerAdded {
            peer,
            address: "127.0.0.1:1".into(),
            is_supervisor: peer == SUPERVISOR,
            is_ours: false,
        })
    }

    fn hears(&mut self, peer: EndpointId, topic: &str, event: &impl Serialize) -> Vec<Action> {
        self.step(Input::Message {
            peer,
            topic: topic.into(),
            data: Event::of(event).unwrap().into_data(),
        })
    }
}

fn published(actions: &[Action]) -> Vec<(String, String)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Publish { topic, event, .. } => Some((topic.to_string(), event.name.to_string())),
            _ => None,
        })
        .collect()
}

fn refusals(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Refuse { reason, .. } => Some(reason.as_str()),
            _ => None,
        })
        .collect()
}

fn get_nodes(reqid: &str) -> AgentRequest {
    AgentRequest::GetNodes { reqid: reqid.into() }
}

#[test]
fn requests_reach_the_supervisor_and_its_failures_the_controller() {
    let mut driven = Driven::new();
    assert_eq!(published(&driven.added(CONTROLLER)), []);
    let hello = published(&driven.added(SUPERVISOR));
    let topic = "zeek/management/agent/a".to_owned();
    // Controllers of 4.x, if there are any, listen elsewhere.
    assert_eq!(
        hello,
        [
            (topic.clone(), "Management::Agent::API::notify_agent_hello".into()),
            (
                "zeek/cluster-control/agent/a".into(),
                "ClusterAgent::API::notify_agent_hello".into()
            )
        ]
    );

    let asked = driven.hears(CONTROLLER, &topic, &get_nodes("r1"));
    let status = (
        "zeek/supervisor".into(),
        "SupervisorControl::status_request".into(),
    );
    assert_eq!(published(&asked), [status]);
    let logged = asked.iter().filter_map(|action| match action {
        Action::Log { reqid, .. } => Some(reqid.clone().unwrap().to_string()),
        _ => None,
    });
    // Both lines are about the controller's request: they have its id, not the command's.
    assert_eq!(logged.collect::<Vec<_>>(), ["r1", "r1"]);

    // Even if the tick comes late: the reason that the Supervisor's machine gives comes before the time-out.
    driven.now = Now::from_start(Duration::from_secs(60));
    let answered = driven.step(Input::Tick);
    let answer = answered.iter().find_map(|action| match action {
        Action::Publish { event, .. } => event
            .parse()
            .ok()
            .filter(|message| matches!(message, AgentMessage::GetNodes { .. })),
        _ => None,
    });
    let Some(AgentMessage::GetNodes { result, .. }) = answer else {
        panic!("no answer in {answered:?}");
    };
    let error = result.error.unwrap().to_string();
    assert!(error.contains("has not answered"), "{error}");
    assert!(
        error.contains("policy/frameworks/cluster/backend/broker"),
        "{error}"
    );
}

/// The lines about requests: what they say first, and the id that they are logged under.
fn lines(actions: &[Action]) -> Vec<(String, Option<String>)> {
    let line = |action: &Action| match action {
        Action::Log { reqid, message, .. } => {
            let message = message.replace("Management::Agent::API::", "");
            let words = message.split(' ').take(2).collect::<Vec<_>>().join(" ");
            Some((words, reqid.as_ref().map(ToString::to_string)))
        }
        _ => None,
    };
    actions.iter().filter_map(line).collect()
}

#[test]
fn every_line_about_a_request_has_its_id() {
    let mut driven = Driven::new();
    driven.added(CONTROLLER);
    driven.added(SUPERVISOR);
    let topic = "zeek/management/agent/a";
    driven.hears(CONTROLLER, topic, &get_nodes("r1"));
    let status = SupervisorResponse::Status {
        reqid: "#1".into(),
        result: SupervisorStatus::default(),
    };
    let answered = driven.hears(SUPERVISOR, "zeek/supervisor/status_response/#1", &status);
    let r1 = Some("r1".to_owned());
    let ids: Vec<_> = lines(&answered).into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, [r1.clone(), r1], "{answered:?}");

    // Also if another one's message is what happens when its time is up.
    driven.hears(CONTROLLER, topic, &get_nodes("r2"));
    driven.now = Now::from_start(Duration::from_secs(3600));
    let late = lines(&driven.hears(CONTROLLER, topic, &get_nodes("r3")));
    let of = |id: &str| -> Vec<&str> {
        let of_it = late.iter().filter(|(_, reqid)| reqid.as_deref() == Some(id));
        of_it.map(|(words, _)| words.as_str()).collect()
    };
    assert!(of("r2").contains(&"tx get_nodes_response"), "{late:?}");
    assert_eq!(of("r3")[0], "rx get_nodes_request", "{late:?}");
}

#[test]
fn only_the_peer_at_the_supervisors_address_speaks_for_it() {
    let mut driven = Driven::new();
    driven.added(SUPERVISOR);
    driven.added(NODE);
    let exit = SupervisorMessage::NodeExit {
        node: "manager".into(),
        outputs: NodeOutputs::default(),
    };
    let shim = topics::SUPERVISOR_SHIM;
    let only = ["only the Supervisor speaks on this topic"];
    assert_eq!(refusals(&driven.hears(NODE, shim, &exit)), only);
    assert_eq!(
        refusals(&driven.hears(NODE, "zeek/supervisor/status_response/#1", &exit)),
        only
    );
    let heard = driven.hears(SUPERVISOR, shim, &exit);
    assert_eq!(refusals(&heard), [""; 0]);
    assert!(
        matches!(&heard[..], [Action::Log { message, .. }] if message.ends_with("notify_node_exit manager"))
    );
    // What a Supervisor asks of an agent is not obeyed either: it has no business there.
    assert_eq!(
        published(&driven.hears(SUPERVISOR, "zeek/management/agent/a", &get_nodes("r"))),
        []
    );
}

#[test]
fn what_does_not_belong_on_a_topic_is_refused_with_the_reason() {
    let mut driven = Driven::new();
    driven.added(CONTROLLER);
    let topic = "zeek/management/agent/a";
    let hello = NodeMessage::Hello { node: "n".into() };
    assert_eq!(
        refusals(&driven.hears(CONTROLLER, topic, &hello)),
        ["unknown event `Management::Node::API::notify_node_hello`"]
    );
    assert_eq!(
        refusals(&driven.hears(NODE, topics::NODE, &get_nodes("r"))),
        ["unknown event `Management::Agent::API::get_nodes_request`"]
    );
    assert_eq!(
        refusals(&driven.hears(CONTROLLER, "elsewhere", &get_nodes("r"))),
        ["no agent and no node listens on this topic"]
    );
    let garbage = Input::Message {
        peer: CONTROLLER,
        topic: topic.into(),
        data: Data::Count(1),
    };
    assert_eq!(refusals(&driven.step(garbage)), ["a Zeek message is a list"]);
}

#[test]
fn a_supervisor_that_comes_back_with_another_id_is_the_supervisor() {
    let mut driven = Driven::new();
    driven.added(SUPERVISOR);
    let lost = driven.step(Input::PeerLost {
        peer: SUPERVISOR,
        reason: "connection closed by the peer".into(),
    });
    assert_eq!(
        published(&lost)[0].1,
        "Management::Agent::API::notify_error",
        "{lost:?}"
    );
    let other = EndpointId::from_random([9; 16]);
    let back = driven.step(Input::PeerAdded {
        peer: other,
        address: "127.0.0.1:1".into(),
        is_supervisor: true,
        is_ours: false,
    });
    assert_eq!(
        published(&back)[0].1,
        "Management::Agent::API::notify_agent_hello"
    );
    // The old one has nothing to say any more.
    let node_status = SupervisorResponse::NodeStatus {
        node: "n".into(),
        pid: 1,
    };
    let topic = "zeek/supervisor/node_status";
    assert_eq!(refusals(&driven.hears(SUPERVISOR, topic, &node_status)).len(), 1);
    assert_eq!(refusals(&driven.hears(other, topic, &node_status)).len(), 0);
    // Nor does its late end count.
    let late = driven.step(Input::PeerLost {
        peer: SUPERVISOR,
        reason: "late".into(),
    });
    assert_eq!(published(&late), []);
}

/// A node that runs, as it has said hello from its peer.
fn with_node() -> Driven {
    let mut driven = Driven::new();
    driven.step(Input::Installed {
        layout: Some(SupervisorLayout::V7_0),
    });
    driven.added(SUPERVISOR);
    driven.added(CONTROLLER);
    driven.added(NODE);
    let node = Node::new("worker-1", "a", ClusterRole::Worker);
    let config = Configuration::new("c1", [Instance::new("a")], [node]);
    let deploy = AgentRequest::Deploy {
        reqid: "r1".into(),
        config,
        force: false,
    };
    driven.hears(CONTROLLER, AGENT_TOPIC, &deploy);
    let status = SupervisorResponse::Status {
        reqid: "#1".into(),
        result: SupervisorStatus::default(),
    };
    driven.hears(SUPERVISOR, "zeek/supervisor/status_response/#1", &status);
    let hello = NodeMessage::Hello {
        node: "worker-1".into(),
    };
    driven.hears(NODE, topics::NODE, &hello);
    let nodes = &driven.agent.agent.nodes;
    assert_eq!(nodes.len(), 1);
    assert!(nodes.values().all(|own| own.node.state == State::Running));
    driven
}

const AGENT_TOPIC: &str = "zeek/management/agent/a";

fn warnings(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Log {
                level: Level::Warning,
                message,
                ..
            } => Some(message.as_str()),
            _ => None,
        })
        .collect()
}

/// The errors of the results of dispatches among these actions.
fn dispatch_errors(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Publish { event, .. } => event.parse().ok(),
            _ => None,
        })
        .filter_map(|message| match message {
            AgentMessage::NodeDispatch { results, .. } => Some(results),
            _ => None,
        })
        .flatten()
        .map(|result| result.error.unwrap().to_string())
        .collect()
}

#[test]
fn only_silence_of_a_node_that_runs_is_a_warning() {
    let gone = Input::PeerLost {
        peer: NODE,
        reason: "connection closed by the peer".into(),
    };
    let silent = Input::PeerSilent {
        peer: NODE,
        reason: "peer was silent for 30 s".into(),
    };
    // It has ended, or was ended: the Supervisor tells.
    let mut driven = with_node();
    assert_eq!(driven.step(gone), []);
    assert_eq!(driven.step(silent.clone()), []);
    // It is being restarted.
    let mut driven = with_node();
    let restart = AgentRequest::Restart {
        reqid: "r2".into(),
        nodes: Set::default(),
    };
    driven.hears(CONTROLLER, AGENT_TOPIC, &restart);
    assert_eq!(driven.step(silent), []);
}

#[test]
fn a_node_that_goes_silent_is_named_and_no_longer_waited_for() {
    let mut driven = with_node();
    let ask = |reqid: &str| AgentRequest::NodeDispatch {
        reqid: reqid.into(),
        action: vec!["get_id_value".into(), "X".into()],
        nodes: Set::default(),
    };
    let asked = driven.hears(CONTROLLER, AGENT_TOPIC, &ask("r2"));
    assert_eq!(dispatch_errors(&asked), Vec::<String>::new());
    let silent = driven.step(Input::PeerSilent {
        peer: NODE,
        reason: "peer was silent for 30 s".into(),
    });
    let told = "node worker-1 is silent: peer was silent for 30 s; its process may be stopped or hang";
    assert_eq!(warnings(&silent), [told]);
    assert_eq!(dispatch_errors(&silent), [told]);
    let at_once = dispatch_errors(&driven.hears(CONTROLLER, AGENT_TOPIC, &ask("r3")));
    assert_eq!(
        at_once,
        [format!("cluster node worker-1 not in running state: {told}")]
    );
    // Back.
    driven.added(NODE);
    let hello = NodeMessage::Hello {
        node: "worker-1".into(),
    };
    let back = driven.hears(NODE, topics::NODE, &hello);
    assert_eq!(warnings(&back), Vec::<&str>::new());
    let told = back.iter().any(
        |action| matches!(action, Action::Log { message, .. } if message == "node worker-1 is up again"),
    );
    assert!(told, "{back:?}");
    assert_eq!(
        dispatch_errors(&driven.hears(CONTROLLER, AGENT_TOPIC, &ask("r4"))),
        Vec::<String>::new()
    );
}

#[test]
fn inputs_and_actions_survive_a_journal() {
    let mut driven = Driven::new();
    let message = Input::Message {
        peer: NODE,
        topic: topics::NODE.into(),
        data: Event::of(&NodeMessage::NodeDispatch {
            reqid: "#1".into(),
            result: ResultRecord::success("#1".into()),
        })
        .unwrap()
        .into_data(),
    };
    let added = Input::PeerAdded {
        peer: SUPERVISOR,
        address: "[::1]:9999".into(),
        is_supervisor: true,
        is_ours: false,
    };
    for input in [added, message, Input::Tick, Input::Stopping] {
        let text = serde_json::to_string(&input).unwrap();
        assert_eq!(serde_json::from_str::<Input>(&text).unwrap(), input);
        for action in driven.step(input) {
            let text = serde_json::to_string(&action).unwrap();
            assert_eq!(serde_json::from_str::<Action>(&text).unwrap(), action);
        }
    }
}
