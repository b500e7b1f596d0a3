//! Nodes under our own supervision, as peers: only the peer that has shown a node's token is that node.

use std::collections::BTreeSet;

use broker_codec::{
    EndpointId,
    data::{DataError, Set, ZeekString},
    zeek::Event,
};
use mgmt_api::{
    NodeLinkMessage, NodeLinkRequest, NodeMessage, NodeRequest, ResultRecord,
    dialect::Published,
    node_link::{NODE_PROTOCOL, nodes_topic},
};

use super::peers::{Sessions, publish, unsendable};
use crate::core::{Input, LifeSign, To, Turn};

/// The token of a node under our own supervision: what a peer has to show to be that node. No other node has one.
pub type TokenOf<'a> = &'a dyn Fn(&ZeekString) -> Option<&'a ZeekString>;

/// By what a node under our own supervision says which one it is.
pub const NODE_HELLO: &str = "MgmtNode::hello";

impl Sessions {
    /// What a node under our own supervision says, or why it means nothing.
    pub(super) fn read_node_link(
        &mut self,
        peer: EndpointId,
        event: Event,
        token_of: TokenOf<'_>,
    ) -> Result<Vec<Input>, String> {
        let linked = self.linked(peer);
        // All that is known of what a node of a later version says is its hello.
        if event.name != NODE_HELLO && linked.is_some_and(|(_, protocol)| protocol > NODE_PROTOCOL) {
            return Ok(Vec::new());
        }
        let message: NodeLinkMessage = event.parse().map_err(|error: DataError| error.to_string())?;
        if let NodeLinkMessage::Hello {
            node,
            pid,
            version,
            protocol,
            token,
            ..
        } = message
        {
            match token_of(&node) {
                Some(expected) if *expected == token => {}
                Some(_) => {
                    return Err(format!(
                        "it says to be node {node}, and shows another token than that of the node"
                    ));
                }
                None => {
                    return Err(format!(
                        "it says to be node {node}, of which this agent keeps no process"
                    ));
                }
            }
            self.is_linked(peer, &node, protocol);
            let pid = i64::try_from(pid).unwrap_or_default();
            return Ok(vec![
                Input::SignOfLife {
                    node: node.clone(),
                    sign: LifeSign::Hello { pid, version },
                },
                Input::Node(NodeMessage::Hello { node }),
            ]);
        }
        let event_name = message.event_name();
        let said_by = message.node().cloned().unwrap_or_default();
        match linked {
            Some((node, _)) if *node == said_by => {}
            _ => {
                return Err(format!(
                    "{event_name}: the peer has not shown that it is node {said_by}"
                ));
            }
        }
        let sign = match message {
            NodeLinkMessage::Reply { reqid, result } => {
                return Ok(vec![Input::Node(NodeMessage::NodeDispatch { reqid, result })]);
            }
            NodeLinkMessage::Heartbeat { beat, .. } => LifeSign::Beat(Box::new(beat)),
            NodeLinkMessage::TraceDone { .. } => LifeSign::TraceDone,
            NodeLinkMessage::CannotWrite { reason, .. } => LifeSign::CannotWrite(reason),
            NodeLinkMessage::Bye { .. } | NodeLinkMessage::Hello { .. } => LifeSign::Bye,
        };
        Ok(vec![Input::SignOfLife { node: said_by, sign }])
    }

    /// Asks nodes under our own supervision something.
    pub fn ask_linked(&self, turn: &mut Turn, request: &NodeLinkRequest) {
        match Event::of(request) {
            Ok(event) => {
                let topic = nodes_topic(&self.settings.node_topic);
                publish(turn, vec![(To::ALL, Published { topic, event })]);
            }
            Err(error) => unsendable(turn, request.event_name(), &error),
        }
    }

    /// Passes a controller's request on to those that are meant by it. Returns the answers of those that need not be asked, and whether
    /// other nodes than these are meant.
    pub(super) fn dispatch_linked(&self, turn: &mut Turn, request: &NodeRequest) -> (Vec<Input>, bool) {
        let NodeRequest::NodeDispatch { reqid, action, nodes } = request;
        let is_meant = |node: &&ZeekString| nodes.is_empty() || nodes.contains(*node);
        let linked: BTreeSet<&ZeekString> = self.linked_nodes().filter(is_meant).collect();
        let others = if nodes.is_empty() {
            linked.is_empty() || self.has_other_nodes()
        } else {
            nodes.iter().any(|node| !linked.contains(node))
        };
        if linked.is_empty() {
            return (Vec::new(), others);
        }
        let error = match action.as_slice() {
            [verb, id, ..] if *verb == "get_id_value" => {
                let only: Set<ZeekString> = linked.into_iter().cloned().collect();
                let (reqid, id) = (reqid.clone(), id.clone());
                self.ask_linked(turn, &NodeLinkRequest::GetId { reqid, id, only });
                return (Vec::new(), others);
            }
            // As Zeek's script for nodes answers.
            [] => "no dispatch arguments provided".to_owned(),
            [verb] if *verb == "get_id_value" => "get_id_value expects name of global identifier".to_owned(),
            [verb, ..] => format!("dispatch {verb} unknown"),
        };
        let answers = linked.into_iter().map(|node| {
            let result = ResultRecord {
                node: Some(node.clone()),
                ..ResultRecord::failure(reqid.clone(), error.as_str())
            };
            Input::Node(NodeMessage::NodeDispatch {
                reqid: reqid.clone(),
                result,
            })
        });
        (answers.collect(), others)
    }
}

/// Why what came on the topic of Zeek's script for nodes is no node's word: those under our own supervision have another one.
pub(super) fn of_other(message: &NodeMessage, token_of: TokenOf<'_>) -> Result<(), String> {
    let node = match message {
        NodeMessage::Hello { node } => Some(node),
        NodeMessage::NodeDispatch { result, .. } => result.node.as_ref(),
    };
    match node {
        Some(node) if token_of(node).is_some() => Err(format!(
            "it speaks for node {node} and does not show the node's token"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
