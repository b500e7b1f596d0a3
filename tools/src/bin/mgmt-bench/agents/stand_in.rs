//! One agent, which does at once as it is told.

use std::{mem::take, net::IpAddr};

use broker_codec::{
    Data, Topic,
    data::{Set, ZeekString},
    zeek::Event,
};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, EndpointHandle, tls::TlsConfig};
use mgmt_api::{
    AgentRequest, LinkMessage,
    backend::BROKER,
    link::{LAUNCH, PREPARE, Prepared, to_json},
    operator::{HISTORY, NotDone, NotDoneKind, OUTPUTS, START, STATUS, STOP},
    topics,
};
use serde::Serialize;
use testkit::FakeAgent;

use super::{Speaks, tally::Tally};
use crate::{Failure, failed};

/// What our agent announces that starts nodes itself.
const FEATURES: &[&str] = &[PREPARE, LAUNCH, STATUS, OUTPUTS, HISTORY, STOP, START];

/// What nodes answer to `get_id_value`: Zeek's send a string that holds JSON.
const VALUE: &str = "96";

#[derive(Debug)]
pub(super) struct StandIn {
    place: usize,
    name: ZeekString,
    topic: Topic,
    tally: Tally,
    agent: FakeAgent,
    endpoint: Endpoint,
}

impl StandIn {
    /// One with an endpoint that is not connected yet.
    pub(super) fn new(
        place: usize,
        name: &str,
        (speaks, source): (Speaks, Option<IpAddr>),
        tally: Tally,
    ) -> Result<Self, Failure> {
        let topic = topics::agent(topics::AGENT_PREFIX.as_bytes(), name.as_bytes());
        let topic = Topic::new(&topic).expect("a short name");
        let mut config = EndpointConfig::default();
        config.tls = TlsConfig::Anonymous;
        config.source = source;
        config.subscriptions = vec![topic.clone()];
        if speaks == Speaks::Extension {
            config.subscriptions.push(Topic::from_static(topics::LINK));
        }
        Ok(Self {
            place,
            name: name.into(),
            topic,
            tally,
            agent: FakeAgent::new(name.into(), VALUE.into()),
            endpoint: Endpoint::start(config).map_err(failed("starting an agent"))?,
        })
    }

    pub(super) fn handle(&self) -> EndpointHandle {
        self.endpoint.handle()
    }

    pub(super) async fn run(mut self) {
        while let Some(event) = self.endpoint.recv().await {
            match event {
                EndpointEvent::PeerAdded(_) => {
                    let hello = FakeAgent::hello(&self.name, self.endpoint.id(), true);
                    self.say(&self.topic, &hello).await;
                    self.tally.see(self.place, |seen| seen.connected = true);
                }
                EndpointEvent::PeerLost { .. } | EndpointEvent::PeerRemoved { .. } => {
                    self.tally.see(self.place, |seen| seen.connected = false);
                }
                EndpointEvent::Message(message) if message.topic == topics::LINK => {
                    self.hear_link(message.data).await;
                }
                EndpointEvent::Message(message) => self.hear(message.data).await,
                _ => {}
            }
        }
    }

    /// Answers a request. What is none, such as the answers of an agent whose name begins with this one's, is passed over.
    async fn hear(&mut self, data: Data) {
        let Some(request) = self.request(data) else {
            return;
        };
        let answer = self.agent.answer(&request);
        self.say(&self.topic, &answer).await;
        self.tally.see(self.place, |seen| seen.count(&request));
    }

    /// Reads of a configuration only what is this agent's: making records of all agents' nodes would cost this process more than the
    /// controller that it measures.
    fn request(&self, data: Data) -> Option<AgentRequest> {
        let mut event = Event::from_data(data).ok()?;
        if event.name.ends_with(b"::deploy_request")
            && let Some(Data::Vector(config)) = event.args.get_mut(1)
            && let [_, Data::Set(instances), Data::Set(nodes), ..] = config.as_mut_slice()
        {
            *instances = Set::default();
            *nodes = take(nodes).into_iter().filter(|node| self.is_own(node)).collect();
        }
        event.parse().ok()
    }

    fn is_own(&self, node: &Data) -> bool {
        let Data::Vector(fields) = node else {
            return false;
        };
        matches!(fields.get(1), Some(Data::String(instance)) if *instance == self.name)
    }

    async fn hear_link(&mut self, data: Data) {
        let message = Event::from_data(data).and_then(Event::parse);
        let answer = match message {
            Ok(LinkMessage::Announce { .. }) => LinkMessage::announce_agent(FEATURES, None),
            Ok(LinkMessage::Request { reqid, kind, .. }) => reply(reqid, &kind),
            Ok(LinkMessage::Reply { .. }) | Err(_) => return,
        };
        self.say(&Topic::from_static(topics::LINK), &answer).await;
        self.tally.see(self.place, |seen| seen.linked += 1);
    }

    async fn say(&self, topic: &Topic, message: &impl Serialize) {
        let event = Event::of(message).expect("it can be encoded").native();
        // The endpoint lives as long as this does, and no answer is too long for a message.
        let _ = self
            .endpoint
            .handle()
            .publish(topic.clone(), &event.into_data())
            .await;
    }
}

/// Every node can run; no operator asks for anything else.
fn reply(reqid: ZeekString, kind: &ZeekString) -> LinkMessage {
    let ok = *kind == *PREPARE;
    let json = if ok {
        to_json(&Prepared {
            problems: Vec::new(),
            backend: Some(BROKER.into()),
            fates: None,
        })
    } else {
        to_json(&NotDone::new(
            NotDoneKind::Unavailable,
            "a stand-in does not do this",
        ))
    };
    let json = json.expect("plain texts are JSON");
    LinkMessage::Reply { reqid, ok, json }
}
