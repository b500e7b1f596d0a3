//! What agents of older releases make of the conversation: both ends of each connection translate.

use std::collections::BTreeMap;

use broker_codec::{EndpointId, data::ZeekString, zeek::Event};
use mgmt_api::{
    AgentMessage, AgentRequest, Dialect, Translator,
    dialect::{Peer, Published, Side, Topics, Translation},
    topics,
};
use mgmt_controller::core::Input;

/// The translators of connections, by peer.
#[derive(Default)]
pub(super) struct Translators(BTreeMap<EndpointId, Ends>);

struct Ends {
    /// The agent's: what serves controllers of a dialect is, to its controller, an agent of that dialect.
    agent: Translator,
    controller: Translator,
    dialect: Dialect,
}

impl Translators {
    pub(super) fn open(&mut self, peer: EndpointId, dialled: bool, dialect: Dialect) {
        let end = |side, assumed| {
            let peer = Peer {
                id: peer.to_string().into(),
                dialled,
                host: "127.0.0.1".parse().unwrap(),
            };
            Translator::new(side, peer, Topics::default(), assumed)
        };
        let ends = Ends {
            agent: end(Side::Agent, dialect),
            controller: end(Side::Controller, Dialect::V7_0),
            dialect,
        };
        self.0.insert(peer, ends);
    }

    /// What the controller sends for a request.
    pub(super) fn sent_to_agent(
        &self,
        peer: EndpointId,
        topic: &ZeekString,
        request: &AgentRequest,
    ) -> Option<Published> {
        let dialect = self.0.get(&peer)?.controller.dialect();
        let said = dialect.say(&Topics::default(), topic, &Event::of(request).unwrap());
        said.unwrap()
    }

    /// The requests that an agent makes of what it was sent.
    pub(super) fn at_agent(&mut self, peer: EndpointId, sent: Published) -> Vec<AgentRequest> {
        let ends = self.0.get_mut(&peer).expect("a connection");
        let known = sent.event.name.ends_with(b"::set_configuration_request");
        if ends.dialect == Dialect::V4_1 && !known {
            return Vec::new();
        }
        let translation = ends.agent.incoming(&sent.topic, sent.event).unwrap();
        let requests = translation.to_model.into_iter();
        requests
            .map(|published| published.event.parse().unwrap())
            .collect()
    }

    /// What an agent sends for what it says. Nothing where it is spoilt so much that there is no such event.
    pub(super) fn sent_to_controller(
        &mut self,
        peer: EndpointId,
        topic: &ZeekString,
        message: &AgentMessage,
    ) -> Vec<Published> {
        let Some(ends) = self.0.get_mut(&peer) else {
            return Vec::new();
        };
        let Ok(translation) = ends.agent.outgoing(topic, &Event::of(message).unwrap()) else {
            return Vec::new();
        };
        // Unlike ours, an agent of Zeek has one topic only.
        let of_4_x = |published: &Published| {
            published
                .topic
                .starts_with(topics::CLUSTER_AGENT_PREFIX.as_bytes())
        };
        let own = |published: &Published| of_4_x(published) == ends.dialect.is_cluster_controller();
        translation.to_peer.into_iter().filter(own).collect()
    }

    /// What the controller makes of what it was sent.
    pub(super) fn at_controller(&mut self, peer: EndpointId, sent: Published) -> Option<Input> {
        let ends = self.0.get_mut(&peer)?;
        let Translation { to_model, to_peer } = ends.controller.incoming(&sent.topic, sent.event).ok()?;
        assert_eq!(to_peer, []);
        let Published { topic, event } = to_model.into_iter().next()?;
        Some(Input::Agent {
            peer,
            topic,
            message: event.parse().unwrap(),
            dialect: ends.controller.dialect(),
        })
    }
}
