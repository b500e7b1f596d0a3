//! A peer that asks an agent what a controller would ask: what the agent knows is heard without a controller's own opinion.

use std::{net::SocketAddr, time::Duration};

use broker_codec::data::{ZeekString, from_data};
use broker_endpoint::tls::TlsConfig;
use mgmt_api::{
    AgentMessage, AgentRequest, ClusterRole, Configuration, Instance, LinkMessage, Node, NodeStatus,
    ResultRecord, State,
    link::{from_json, to_json},
    operator::{Changed, NotDone, Selection},
    topics,
};
use tokio::time::timeout;

use super::{
    limit::Limit,
    peer::{Peer, data_of},
    runtime,
};

/// A peering with an agent that listens.
pub(crate) struct Controlling {
    peer: Peer,
    name: String,
    asked: u32,
}

impl Controlling {
    /// Connects to the agent of this name over anonymous TLS.
    pub(crate) fn connect(agent: SocketAddr, name: &str) -> Self {
        Self {
            peer: Peer::connect(agent, TlsConfig::Anonymous, topics::AGENT_PREFIX),
            name: name.to_owned(),
            asked: 0,
        }
    }

    /// Waits for something that the agent tells; what it tells before that is passed over.
    pub(crate) fn hear<T>(&mut self, pick: impl Fn(AgentMessage) -> Option<T>) -> T {
        let limit = Limit::new(format_args!("something that agent {} tells", self.name));
        self.peer.hear(&limit, |event| {
            pick(event.parse().expect("an event of the agents' API"))
        })
    }

    /// Waits for so long, in which the agent must not tell anything.
    pub(crate) fn hear_nothing_for(&mut self, time: Duration) {
        let heard = runtime().block_on(async { timeout(time, self.peer.endpoint.recv()).await });
        if let Ok(event) = heard {
            panic!("the agent tells: {event:?}");
        }
    }

    /// Waits until the agent says hello: it has its Supervisor.
    pub(crate) fn hear_hello(&mut self) {
        self.hear(|message| matches!(message, AgentMessage::Hello { .. }).then_some(()));
    }

    /// Waits until each of these nodes has been told to have got into a state.
    pub(crate) fn hear_states(&mut self, nodes: &[&str], state: State) {
        let mut awaited: Vec<ZeekString> = nodes.iter().map(|node| (*node).into()).collect();
        while !awaited.is_empty() {
            let node = self.hear(|message| match message {
                AgentMessage::Change { n, new, .. } if new == state => Some(n.name),
                _ => None,
            });
            awaited.retain(|awaited| *awaited != node);
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, request: impl FnOnce(ZeekString) -> AgentRequest) -> AgentMessage {
        let reqid = self.send(request);
        self.hear(|message| (message.reqid() == Some(&reqid)).then_some(message))
    }

    /// Asks without waiting. Returns the id of the request.
    pub(crate) fn send(&mut self, request: impl FnOnce(ZeekString) -> AgentRequest) -> ZeekString {
        self.asked += 1;
        let reqid = ZeekString::from(format!("asked-{}", self.asked));
        let request = data_of(&request(reqid.clone()));
        let topic = topics::agent(topics::AGENT_PREFIX.as_bytes(), self.name.as_bytes());
        self.peer.publish(&topic, &request);
        reqid
    }

    /// Waits for the agent to say something about nodes, or itself, with all of these words.
    pub(crate) fn hear_said(&mut self, words: &[&str]) -> String {
        self.hear(|message| {
            let (AgentMessage::Log { msg, .. } | AgentMessage::Error { msg, .. }) = message else {
                return None;
            };
            let said = msg.to_string();
            words.iter().all(|word| said.contains(word)).then_some(said)
        })
    }

    /// The agent's nodes, or why it cannot say.
    pub(crate) fn nodes(&mut self) -> Result<Vec<NodeStatus>, String> {
        let AgentMessage::GetNodes { result, .. } = self.ask(|reqid| AgentRequest::GetNodes { reqid }) else {
            panic!("another answer");
        };
        if let Some(error) = result.error {
            return Err(error.to_string());
        }
        let mut nodes: Vec<NodeStatus> = from_data(result.data.expect("nodes")).expect("nodes");
        nodes.retain(|node| node.node != self.name.as_str());
        Ok(nodes)
    }

    /// Deploys nodes of these names, all of them workers.
    pub(crate) fn deploy(&mut self, id: &str, nodes: &[&str]) -> Vec<ResultRecord> {
        let name = self.name.as_str();
        let worker = |node: &&str| Node::new(*node, name, ClusterRole::Worker);
        let instance = Instance {
            host: "127.0.0.1".parse().expect("an address"),
            ..Instance::new(name)
        };
        self.deploy_configuration(&Configuration::new(id, [instance], nodes.iter().map(worker)))
    }

    pub(crate) fn deploy_configuration(&mut self, config: &Configuration) -> Vec<ResultRecord> {
        let (config, force) = (config.clone().into(), false);
        let answer = self.ask(|reqid| AgentRequest::Deploy { reqid, config, force });
        let AgentMessage::Deploy { results, .. } = answer else {
            panic!("another answer");
        };
        results
    }
}

/// One who stops and starts nodes by way of the extension, as a controller of ours does.
pub(crate) struct Operator(Peer);

impl Operator {
    pub(crate) fn connect(agent: SocketAddr) -> Self {
        Self(Peer::connect(agent, TlsConfig::Anonymous, topics::LINK))
    }

    /// Asks for something about these nodes, all if there are none, without waiting.
    pub(crate) fn send(&self, kind: &str, nodes: &[&str]) {
        let which = Selection {
            all: nodes.is_empty(),
            nodes: nodes.iter().map(|node| (*node).into()).collect(),
            ..Selection::default()
        };
        let request = LinkMessage::Request {
            reqid: "operator".into(),
            kind: kind.into(),
            json: to_json(&which).expect("it can be written"),
        };
        self.0.publish(topics::LINK, &data_of(&request));
    }

    /// Asks, and waits for the answer: the nodes that were changed, or why none was.
    pub(crate) fn ask(&mut self, kind: &str, nodes: &[&str]) -> Result<Vec<String>, String> {
        self.send(kind, nodes);
        let limit = Limit::new("an answer to an operator");
        self.0.hear(&limit, |event| match event.parse() {
            Ok(LinkMessage::Reply { ok: true, json, .. }) => {
                let changed: Changed = from_json(&json).expect("what was changed");
                Some(Ok(changed.nodes))
            }
            Ok(LinkMessage::Reply { json, .. }) => {
                let refused: NotDone = from_json(&json).expect("a reason");
                Some(Err(refused.reason.to_string()))
            }
            _ => None,
        })
    }
}
