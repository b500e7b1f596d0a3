//! The agent's side: controllers that set configurations.

use broker_codec::{data::ZeekString, zeek::Event};

use super::{Published, REQUESTS_MAX, Translation, Translator, as_one, fault, reqid};
use crate::{
    agent::AgentMessage,
    dialect::api::{Dialect, DialectError},
    records::ResultRecord,
    requests::NotAdmitted,
};

/// A controller's request to set a configuration.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    /// The model's topic that it came on.
    topic: ZeekString,
    /// Whether the controller has its answer; the deployment itself goes on.
    answered: bool,
}

impl Translator {
    /// A controller wants a configuration set. Up to the seed's API it hears at once that this is being done, see
    /// [`Self::settle`].
    pub(super) fn set_agent_configuration(
        &mut self,
        topic: ZeekString,
        event: Event,
    ) -> Result<Translation, DialectError> {
        let reqid = reqid(&event);
        if self.deployments.contains_key(&reqid) {
            return Ok(Translation::default());
        }
        if self.deployments.len() >= REQUESTS_MAX {
            let full = NotAdmitted::TooMany { max: REQUESTS_MAX };
            let result = ResultRecord {
                instance: Some(self.instance(&topic)),
                ..ResultRecord::failure(reqid.clone(), full.answer().unwrap_or_default())
            };
            return self.answer_deployment(&topic, reqid, result);
        }
        // Without an id there is no answer.
        if !reqid.is_empty() && self.dialect < Dialect::V5_0Rc1 {
            let topic = topic.clone();
            let answered = false;
            self.deployments.insert(reqid, Deployment { topic, answered });
        }
        Ok(Translation::to_model(topic, event))
    }

    /// Takes in what the core of an agent says on one of the model's topics.
    pub fn outgoing(&mut self, topic: &[u8], event: &Event) -> Result<Translation, DialectError> {
        let is = |name: &str| event.name == *name;
        if is("Management::Agent::API::notify_agent_hello") && !self.heard {
            return self.introduce(topic, event);
        }
        if is("Management::Agent::API::deploy_response") && self.dialect < Dialect::V5_0Rc1 {
            return self.deployed(topic, event);
        }
        let translation = self.convert(topic, event)?;
        // 4.x has fewer states: a change between two that are one there is none.
        let is_no_change = |Published { event, .. }: &Published| event.args.get(2) == event.args.get(3);
        if is("Management::Agent::API::notify_change") && translation.to_peer.iter().any(is_no_change) {
            return Ok(Translation::default());
        }
        Ok(translation)
    }

    /// An agent speaks first, so it must not wait until it knows what its controller speaks. Those of 4.x have a topic of their
    /// own; those before and after 72acf24f52 share one, and only what is assumed can be said there.
    fn introduce(&self, topic: &[u8], event: &Event) -> Result<Translation, DialectError> {
        let mut translation = self.convert(topic, event)?;
        if !self.dialect.is_cluster_controller() {
            let oldest = Self {
                dialect: Dialect::V4_2,
                ..self.clone()
            };
            translation.to_peer.extend(oldest.convert(topic, event)?.to_peer);
        }
        Ok(translation)
    }

    /// The core has answered a deployment. If the controller has been answered before, it still hears which nodes failed.
    fn deployed(&mut self, topic: &[u8], event: &Event) -> Result<Translation, DialectError> {
        let Ok(AgentMessage::Deploy { reqid, results }) = event.clone().parse() else {
            return Ok(Translation::default());
        };
        let Some(deployment) = self.deployments.remove(&reqid) else {
            return Ok(Translation::default());
        };
        let instance = self.instance(topic);
        if !deployment.answered {
            let result = as_one(reqid.clone(), Some(instance), &results);
            return self.answer_deployment(topic, reqid, result);
        }
        let mut translation = Translation::default();
        for node in results.iter().filter(|result| !result.success) {
            let Some(node) = &node.node else { continue };
            let error = AgentMessage::Error {
                instance: instance.clone(),
                msg: format!("node {node} did not come up").into(),
                node: node.clone(),
            };
            let event = Event::of(&error).map_err(fault)?;
            translation.to_peer.extend(self.convert(topic, &event)?.to_peer);
        }
        Ok(translation)
    }

    /// What is owed to the peer now that the agent's core has dealt with everything that came in: agents of old do not wait for their nodes
    /// (`agent/main.zeek` up to 54aaf3a623, `set_configuration_request`), and their controllers do not expect it.
    pub fn settle(&mut self) -> Result<Vec<Published>, DialectError> {
        let mut owed = Vec::new();
        for (reqid, deployment) in &mut self.deployments {
            if !std::mem::replace(&mut deployment.answered, true) {
                owed.push((reqid.clone(), deployment.topic.clone()));
            }
        }
        let mut answers = Vec::new();
        for (reqid, topic) in owed {
            let result = ResultRecord {
                instance: Some(self.instance(&topic)),
                ..ResultRecord::success(reqid.clone())
            };
            answers.extend(self.answer_deployment(&topic, reqid, result)?.to_peer);
        }
        Ok(answers)
    }

    fn answer_deployment(
        &self,
        topic: &[u8],
        reqid: ZeekString,
        mut result: ResultRecord,
    ) -> Result<Translation, DialectError> {
        // Controllers of 4.1 and 4.2 read the node of a failure without asking whether there is one, and their handler ends if there is none
        // (`controller/main.zeek`, `ClusterAgent::API::set_configuration_response`): their client would wait for ever.
        if !result.success && self.dialect <= Dialect::V4_2 {
            result.node.get_or_insert_default();
        }
        let response = AgentMessage::Deploy {
            reqid,
            results: vec![result],
        };
        let event = Event::of(&response).map_err(fault)?;
        self.convert(topic, &event)
    }
}
