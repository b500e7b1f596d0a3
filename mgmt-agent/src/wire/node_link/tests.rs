use broker_codec::{
    Data,
    data::{Timespan, Timestamp},
};
use mgmt_api::{
    Now,
    node_link::{Beat, agent_topic},
    topics,
};
use serde::Serialize;

use super::*;
use crate::core::{Action, Settings};

fn peer(letter: u8) -> EndpointId {
    EndpointId::from_bytes([letter; 16])
}

/// Sessions with an agent that keeps one node, `w-1`, with the token `secret`.
struct Host {
    sessions: Sessions,
    token: ZeekString,
}

impl Host {
    fn new() -> Self {
        Self {
            sessions: Sessions::new(Settings::default()),
            token: "secret".into(),
        }
    }

    /// What it takes a peer's event for, or why for nothing, in a line.
    fn hear(&mut self, letter: u8, topic: &ZeekString, said: &impl Serialize) -> String {
        let token = &self.token;
        let token_of = |node: &ZeekString| (*node == "w-1").then_some(token);
        let event = Event::of(said).unwrap();
        let mut turn = Turn::new(Now::START);
        let read = self
            .sessions
            .read(&mut turn, peer(letter), topic, event, &token_of);
        match read {
            Err(reason) => format!("refused: {reason}"),
            Ok(inputs) => serde_json::to_string(&inputs).unwrap(),
        }
    }

    fn link(&mut self, letter: u8, said: &NodeLinkMessage) -> String {
        self.hear(letter, &agent_topic(topics::NODE.as_bytes()), said)
    }

    /// What nodes are asked because of a request of a controller, and what is answered without.
    fn ask(&self, action: &[&str], nodes: &[&str]) -> Vec<String> {
        let request = NodeRequest::NodeDispatch {
            reqid: "r".into(),
            action: action.iter().map(|word| (*word).into()).collect(),
            nodes: nodes.iter().map(|node| (*node).into()).collect(),
        };
        let mut turn = Turn::new(Now::START);
        let answers = self.sessions.ask(&mut turn, &request);
        let asked = turn.into_actions().into_iter().map(|action| match action {
            Action::Publish {
                to: To::Subscribers { .. },
                topic,
                event,
            } => {
                let args: Vec<_> = event.args.iter().map(ToString::to_string).collect();
                format!("{topic} {} {}", event.name, args.join(" "))
            }
            other => panic!("{other:?}"),
        });
        let answered = answers.iter().map(|answer| match answer {
            Input::Node(NodeMessage::NodeDispatch { result, .. }) => result.to_string(),
            other => panic!("{other:?}"),
        });
        asked.chain(answered).collect()
    }
}

fn hello(node: &str, token: &str, protocol: u64) -> NodeLinkMessage {
    NodeLinkMessage::Hello {
        node: node.into(),
        pid: 42,
        version: "9.0.0".into(),
        role: "Cluster::WORKER".into(),
        protocol,
        token: token.into(),
    }
}

fn bye(node: &str) -> NodeLinkMessage {
    NodeLinkMessage::Bye { node: node.into() }
}

const UP: &str = r#"[{"SignOfLife":{"node":"w-1","sign":{"Hello":{"pid":42,"version":"9.0.0"}}}},{"Node":{"Management::Node::API::notify_node_hello":{"node":"w-1"}}}]"#;
const BYE: &str = r#"[{"SignOfLife":{"node":"w-1","sign":"Bye"}}]"#;

#[test]
fn a_hello_counts_with_the_token_of_that_node_only() {
    let mut host = Host::new();
    assert_eq!(
        host.link(b'n', &hello("w-1", "guess", 1)),
        "refused: it says to be node w-1, and shows another token than that of the node"
    );
    assert_eq!(
        host.link(b'n', &hello("w-2", "secret", 1)),
        "refused: it says to be node w-2, of which this agent keeps no process"
    );
    assert_eq!(
        host.link(b'n', &bye("w-1")),
        "refused: MgmtNode::bye: the peer has not shown that it is node w-1"
    );
    assert_eq!(host.link(b'n', &hello("w-1", "secret", 1)), UP);
    assert_eq!(host.link(b'n', &bye("w-1")), BYE);
}

#[test]
fn only_the_peer_that_a_node_is_speaks_for_it_and_for_no_other() {
    let mut host = Host::new();
    host.link(b'n', &hello("w-1", "secret", 1));
    for (letter, node) in [(b'm', "w-1"), (b'n', "w-2")] {
        let answer = host.link(letter, &bye(node));
        assert!(
            answer.starts_with("refused: MgmtNode::bye: the peer has not shown"),
            "{answer}"
        );
    }
    let reply = NodeLinkMessage::Reply {
        reqid: "r".into(),
        result: ResultRecord {
            data: Some(Data::String("96".into())),
            ..ResultRecord::success("r".into())
        },
    };
    let answer = host.link(b'n', &reply);
    assert!(
        answer.starts_with("refused: MgmtNode::reply: "),
        "of no node: {answer}"
    );

    // Another process of that node takes its place.
    assert_eq!(host.link(b'm', &hello("w-1", "secret", 1)), UP);
    assert!(host.link(b'n', &bye("w-1")).starts_with("refused: "));
    assert_eq!(host.link(b'm', &bye("w-1")), BYE);
    assert_eq!(host.sessions.lost(peer(b'm')), Some("w-1".into()));
    assert!(host.link(b'm', &bye("w-1")).starts_with("refused: "));
}

#[test]
fn no_other_peer_speaks_for_such_a_node_where_those_of_zeeks_script_do() {
    let mut host = Host::new();
    let topic = topics::NODE.into();
    let says = |node: &str| NodeMessage::Hello { node: node.into() };
    assert_eq!(
        host.hear(b'n', &topic, &says("w-1")),
        "refused: it speaks for node w-1 and does not show the node's token"
    );
    let answers = NodeMessage::NodeDispatch {
        reqid: "r".into(),
        result: ResultRecord {
            node: Some("w-1".into()),
            ..ResultRecord::success("r".into())
        },
    };
    assert!(host.hear(b'n', &topic, &answers).starts_with("refused: "));
    assert_eq!(
        host.hear(b'n', &topic, &says("other")),
        r#"[{"Node":{"Management::Node::API::notify_node_hello":{"node":"other"}}}]"#
    );
}

#[test]
fn of_a_node_of_a_later_version_its_hello_counts() {
    let mut host = Host::new();
    assert_eq!(host.link(b'n', &hello("w-1", "secret", NODE_PROTOCOL + 1)), UP);
    assert_eq!(host.link(b'n', &bye("w-1")), "[]");
}

#[test]
fn heartbeats_are_read() {
    let mut host = Host::new();
    host.link(b'n', &hello("w-1", "secret", 1));
    let beat = Beat {
        number: 1,
        every: Timespan(5),
        source: "live".into(),
        network_time: Timestamp(6),
        received: 7,
        dropped: 8,
        link: 9,
        bytes: 10,
        connections: 11,
        events: 12,
        peers: vec!["manager".into()],
    };
    let node = "w-1".into();
    assert_eq!(
        host.link(b'n', &NodeLinkMessage::Heartbeat { node, beat }),
        r#"[{"SignOfLife":{"node":"w-1","sign":{"Beat":{"number":1,"every":"5ns","source":"live","network_time":"1970-01-01T00:00:00.000000006","received":7,"dropped":8,"link":9,"bytes":10,"connections":11,"events":12,"peers":["manager"]}}}}]"#
    );
}

#[test]
fn a_controllers_request_reaches_each_node_in_its_own_words() {
    let mut host = Host::new();
    let zeeks = |nodes: &str| {
        format!(
            "zeek/management/node Management::Node::API::node_dispatch_request r (get_id_value, X) {nodes}"
        )
    };
    let ours = "zeek/management/node-link/nodes MgmtNode::get_id r X {w-1}";
    let value = ["get_id_value", "X"];
    assert_eq!(host.ask(&value, &[]), [zeeks("{}")]);

    host.link(b'n', &hello("w-1", "secret", 1));
    assert_eq!(host.ask(&value, &[]), [ours]);
    assert_eq!(host.ask(&value, &["w-1"]), [ours]);
    assert_eq!(host.ask(&value, &["other"]), [zeeks("{other}")]);
    assert_eq!(
        host.ask(&value, &["other", "w-1"]),
        [ours, &zeeks("{other, w-1}")]
    );

    host.sessions.added(peer(b'z'), false, None);
    host.sessions.is_node(peer(b'z'), &"other".into());
    assert_eq!(host.ask(&value, &[]), [ours, &zeeks("{}")]);
}

#[test]
fn what_is_no_request_is_answered_as_zeeks_script_does() {
    let mut host = Host::new();
    host.link(b'n', &hello("w-1", "secret", 1));
    let answered = |action: &[&str]| host.ask(action, &[]);
    assert_eq!(
        answered(&[]),
        ["error (no dispatch arguments provided) (reqid r, node w-1)"]
    );
    assert_eq!(
        answered(&["get_id_value"]),
        ["error (get_id_value expects name of global identifier) (reqid r, node w-1)"]
    );
    assert_eq!(
        answered(&["dance"]),
        ["error (dispatch dance unknown) (reqid r, node w-1)"]
    );
}
