//! Answers to what the peer under test asks and the recorded one did not: the recording has none.
//!
//! Only an agent asks for more than was recorded, and only its Supervisor: releases before 5.0 did not ask for the status before
//! they created nodes, and in one recording the agent could not read what it was to deploy. Then a Supervisor answers that
//! does at once what it is asked to do, and its nodes say hello.

use std::collections::BTreeMap;

use broker_codec::{
    Data, EndpointId, Envelope, EnvelopeKind, Topic,
    data::{Table, ZeekString},
    envelope::TTL_DEFAULT,
    zeek::Event,
};
use mgmt_api::topics;

use super::message::{encoded, reqid};

/// A Supervisor, as far as it is needed.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    /// How nodes are to be started, by their names.
    nodes: BTreeMap<ZeekString, Data>,
}

/// The node that a request to the Supervisor is about.
pub(super) fn node_of(event: &Event) -> Option<&ZeekString> {
    match event.args.get(1)? {
        Data::String(node) => Some(node),
        Data::Vector(config) => match config.first()? {
            Data::String(node) => Some(node),
            _ => None,
        },
        _ => None,
    }
}

impl Supervisor {
    /// Takes note of a request; yields the topic and the event of the answer, and the node that says hello then.
    pub(super) fn hear(&mut self, event: &Event) -> Option<(ZeekString, Event, Option<ZeekString>)> {
        let name = event.name.to_string();
        let verb = name
            .strip_prefix("SupervisorControl::")?
            .strip_suffix("_request")?;
        let node = node_of(event).cloned().unwrap_or_default();
        let result = match verb {
            "create" => {
                self.nodes
                    .insert(node.clone(), event.args.get(1).cloned().unwrap_or_default());
                Data::String(ZeekString::default())
            }
            "destroy" => Data::Boolean(self.nodes.remove(&node).is_some()),
            "restart" => Data::Boolean(self.nodes.contains_key(&node)),
            "status" => Data::Vector(vec![self.status()]),
            _ => return None,
        };
        let reqid = reqid(event)?;
        let answer = Event {
            name: format!("SupervisorControl::{verb}_response").into(),
            args: vec![Data::String(reqid.clone()), result],
            metadata: Some(Vec::new()),
        };
        let topic = format!("{}/{verb}_response/{reqid}", topics::SUPERVISOR).into();
        let is_started = ["create", "restart"].contains(&verb);
        Some((topic, answer, is_started.then_some(node)))
    }

    /// Its nodes by name, each with how it was started and a process ID.
    fn status(&self) -> Data {
        let nodes = self.nodes.iter().map(|(name, config)| {
            let node = Data::Vector(vec![config.clone(), Data::Integer(1)]);
            (Data::String(name.clone()), node)
        });
        Table::try_from(nodes.collect::<Vec<_>>()).map_or(Data::None, Data::Table)
    }
}

/// An event as it travels from a peer.
pub(super) fn envelope(sender: EndpointId, topic: &ZeekString, event: Event) -> Option<Envelope> {
    Some(Envelope {
        sender,
        receiver: EndpointId::NIL,
        kind: EnvelopeKind::Data,
        ttl: TTL_DEFAULT,
        topic: Topic::new(topic).ok()?,
        payload: encoded(&event.into_data())?,
    })
}

/// The id of a peer that is not in the recording.
pub(super) fn unrecorded_peer(number: usize) -> EndpointId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
    EndpointId::from_random(id)
}

/// What a node says when it is there.
pub(super) fn hello(node: &ZeekString) -> (ZeekString, Event) {
    let event = Event {
        name: "Management::Node::API::notify_node_hello".into(),
        args: vec![Data::String(node.clone())],
        metadata: None,
    };
    (topics::NODE.into(), event.native())
}

/// Whether a recorded request is the counterpart of one that was sent: the same for the same node.
pub(super) fn is_counterpart(recorded: &Event, sent: &Event) -> bool {
    recorded.name == sent.name && node_of(recorded) == node_of(sent)
}
