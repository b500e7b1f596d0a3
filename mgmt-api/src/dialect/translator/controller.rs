//! The controller's side: clients that set configurations, agents that have configurations set.

use broker_codec::{Data, data::ZeekString, zeek::Event};

use super::{Published, REQUESTS_MAX, Translation, Translator, as_one, fault, reqid};
use crate::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, Configuration, RequestKind, ResultRecord,
    dialect::{Dialect, DialectError},
};

/// How far a client's request to set a configuration has come, which the model takes in two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Staging,
    Deploying,
}

impl Translator {
    /// A client wants a configuration set: it is staged, and when that has succeeded, deployed.
    ///
    /// DIFFERENCE(older-clients): so it is checked, ports are assigned, and the client is always answered, also if there are no
    /// instances: then without results. Controllers up to 54aaf3a623 check nothing, and never answer that. `get_instances` and
    /// `get_nodes` show the instances that are connected, which older controllers do not if they are not deployed to.
    pub(super) fn set_configuration(
        &mut self,
        topic: ZeekString,
        event: Event,
    ) -> Result<Translation, DialectError> {
        let reqid = reqid(&event);
        let refusal = if self.configurations.contains_key(&reqid) {
            // As in the core: the answer to the first is the answer to both.
            return Ok(Translation::default());
        } else if self.configurations.len() >= REQUESTS_MAX {
            "too many requests pending"
        } else {
            self.configurations.insert(reqid, Phase::Staging);
            return Ok(Translation::to_model(topic, event));
        };
        let results = vec![ResultRecord::failure(reqid.clone(), refusal)];
        self.configuration_set(&topic, reqid, results)
    }

    pub(super) fn outgoing_of_controller(
        &mut self,
        topic: &[u8],
        event: &Event,
    ) -> Result<Translation, DialectError> {
        if self.dialect >= Dialect::V5_0 {
            return self.convert(topic, event);
        }
        let name = event.name.as_str().unwrap_or_default();
        if let "Management::Controller::API::stage_configuration_response"
        | "Management::Controller::API::deploy_response" = name
        {
            return self.progress(topic, event);
        }
        match name.strip_prefix("Management::Agent::API::") {
            Some(verb) if verb.ends_with("_request") => self.ask_agent(topic, event),
            _ => self.convert(topic, event),
        }
    }

    /// A configuration has been staged or deployed, for this client or for another.
    fn progress(&mut self, topic: &[u8], event: &Event) -> Result<Translation, DialectError> {
        let response: ClientResponse = event.parse().map_err(fault)?;
        let reqid = response.reqid().clone();
        let expected = match response.kind() {
            RequestKind::StageConfiguration => Phase::Staging,
            _ => Phase::Deploying,
        };
        if self.configurations.get(&reqid) != Some(&expected) {
            return Ok(Translation::default());
        }
        let success = response.results().iter().all(|result| result.success);
        if expected == Phase::Staging && success {
            self.configurations.insert(reqid.clone(), Phase::Deploying);
            let deploy = ClientRequest::Deploy { reqid };
            let event = Event::of(&deploy).map_err(fault)?;
            return Ok(Translation::to_model(topic.into(), event));
        }
        self.configurations.remove(&reqid);
        let results = response.results().to_vec();
        self.configuration_set(topic, reqid, results)
    }

    /// The answer to a client's request to set a configuration: the agents' results, of which 4.x has one for each, and the
    /// controller's failures. The id of the configuration came with 5.0.
    pub(super) fn configuration_set(
        &self,
        topic: &[u8],
        reqid: ZeekString,
        results: Vec<ResultRecord>,
    ) -> Result<Translation, DialectError> {
        let is_id = |result: &ResultRecord| {
            result.success && result.instance.is_none() && matches!(result.data, Some(Data::String(_)))
        };
        let mut results: Vec<_> = results.into_iter().filter(|result| !is_id(result)).collect();
        if self.dialect <= Dialect::V4_2 {
            results = one_for_each_instance(&reqid, results);
        }
        let response = ClientResponse::Deploy { reqid, results };
        let event = Event::of(&response).map_err(fault)?;
        self.convert(topic, &event)
    }

    /// A request to an agent. What its API does not have is answered in its place.
    fn ask_agent(&mut self, topic: &[u8], event: &Event) -> Result<Translation, DialectError> {
        let request: AgentRequest = event.parse().map_err(fault)?;
        let instance = self.instance(topic);
        let success = |reqid: &ZeekString| ResultRecord {
            instance: Some(instance.clone()),
            ..ResultRecord::success(reqid.clone())
        };
        if let AgentRequest::AgentWelcome { reqid } = &request {
            // 4.1 and 4.2 say the same hello, but 4.1 does not know the welcome, which is repeated while it is not answered.
            let repeated = self.welcome.replace(reqid.clone()).as_ref() == Some(reqid);
            if repeated && self.dialect == Dialect::V4_2 {
                self.dialect = Dialect::V4_1;
            }
        }
        let answer = match request {
            AgentRequest::AgentWelcome { reqid } if self.dialect == Dialect::V4_1 => {
                self.welcome = None;
                let result = success(&reqid);
                AgentMessage::AgentWelcome { reqid, result }
            }
            AgentRequest::AgentStandby { reqid } if self.dialect == Dialect::V4_1 => {
                // What 4.1 does with agents that it drops (`controller/main.zeek`, `drop_instance`).
                let nothing = AgentRequest::Deploy {
                    reqid: ZeekString::default(),
                    config: Configuration::default(),
                    force: false,
                };
                self.first_configuration = None;
                let event = Event::of(&nothing).map_err(fault)?;
                let mut translation = self.convert(topic, &event)?;
                let result = success(&reqid);
                let answer = AgentMessage::AgentStandby { reqid, result };
                translation.to_model.push(answered(topic, &answer)?);
                return Ok(translation);
            }
            AgentRequest::GetNodes { reqid } if self.dialect <= Dialect::V4_2 => AgentMessage::GetNodes {
                result: self.lacking(&reqid, &instance, "list its nodes"),
                reqid,
            },
            AgentRequest::NodeDispatch { reqid, .. } if self.dialect < Dialect::V5_0Rc1 => {
                AgentMessage::NodeDispatch {
                    results: vec![self.lacking(&reqid, &instance, "read variables")],
                    reqid,
                }
            }
            AgentRequest::Restart { reqid, .. } => AgentMessage::Restart {
                results: vec![self.lacking(&reqid, &instance, "restart nodes")],
                reqid,
            },
            AgentRequest::Deploy { .. } if self.dialect < Dialect::V5_0Rc1 && !self.greeted_again => {
                let translation = self.convert(topic, event)?;
                self.first_configuration = translation.to_peer.first().cloned();
                return Ok(translation);
            }
            AgentRequest::AgentStandby { .. } => {
                self.first_configuration = None;
                return self.convert(topic, event);
            }
            _ => return self.convert(topic, event),
        };
        Ok(Translation {
            to_model: vec![answered(topic, &answer)?],
            to_peer: Vec::new(),
        })
    }

    /// An agent has said something. Returns what it gets because of that.
    ///
    /// DIFFERENCE(second-hello): agents up to commit 54aaf3a623 say hello for each peer that they get, the controller and their Supervisor. What
    /// they are given after the first hello is lost when that was for the controller, and they call it a success; so they get it again after
    /// the second. Zeek's controller of that age does not, and no node runs.
    pub(super) fn note(&mut self, event: &Event) -> Vec<Published> {
        match event.name.as_str().unwrap_or_default() {
            "Management::Agent::API::agent_welcome_response" => self.welcome = None,
            "Management::Agent::API::notify_agent_hello" if self.dialect < Dialect::V5_0Rc1 => {
                self.greeted_again = self.greeted;
                self.greeted = true;
                if self.greeted_again {
                    return self.first_configuration.take().into_iter().collect();
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn lacking(&self, reqid: &ZeekString, instance: &ZeekString, what: &str) -> ResultRecord {
        let release = self.dialect.release();
        let error = format!("instance {instance} runs the agent of {release}, which cannot {what}");
        ResultRecord {
            instance: Some(instance.clone()),
            ..ResultRecord::failure(reqid.clone(), error)
        }
    }
}

/// An agent's answer, as if it had come from there.
fn answered(topic: &[u8], answer: &AgentMessage) -> Result<Published, DialectError> {
    Ok(Published {
        topic: topic.into(),
        event: Event::of(answer).map_err(fault)?,
    })
}

/// One result for each instance, in the order in which they come up, among the results that belong to none.
fn one_for_each_instance(reqid: &ZeekString, results: Vec<ResultRecord>) -> Vec<ResultRecord> {
    let mut by_instance: Vec<(Option<ZeekString>, Vec<ResultRecord>)> = Vec::new();
    for result in results {
        let place = by_instance
            .iter_mut()
            .find(|(instance, _)| instance.is_some() && *instance == result.instance);
        match place {
            Some((_, of_instance)) => of_instance.push(result),
            None => by_instance.push((result.instance.clone(), vec![result])),
        }
    }
    by_instance
        .into_iter()
        .map(|(instance, results)| as_one(reqid.clone(), instance, &results))
        .collect()
}
