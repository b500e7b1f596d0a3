use std::collections::BTreeMap;

use broker_codec::{Data, data::ZeekString};
use mgmt_api::{AgentRequest, Configuration, Instance, RequestKind, ResultRecord};

use super::{
    configurations::Slot,
    controller::{AfterWrite, Controller},
    requests::{Key, Logged, Pending, listed},
    turn::Turn,
};

const KIND: RequestKind = RequestKind::Deploy;

/// A deployment that is under way.
#[derive(Debug)]
pub(super) struct Deployment {
    /// The request that it carries out. It may time out, and be answered, before the deployment ends.
    pub(super) key: Key,
    config: Configuration,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Waits until all its instances are ready.
    Waiting,
    /// Its configuration is being stored as the deployed one.
    Persisting,
}

impl Controller {
    /// A client's request to deploy what was staged last.
    pub(super) fn deploy_ready(&mut self, turn: &mut Turn, reqid: ZeekString) {
        let Some(ready) = &self.configurations.ready else {
            let error = "no configuration available to deploy";
            self.refuse(turn, KIND, reqid, error, Logged::Pending);
            return;
        };
        if let Some(earlier) = &self.deployment {
            let error = [
                b"earlier deployment ",
                earlier.key.reqid().as_bytes(),
                b" still pending",
            ]
            .concat();
            self.refuse(turn, KIND, reqid, error, Logged::Pending);
            return;
        }
        let config = ready.clone();
        self.deploy(turn, Key::Client(KIND, reqid), config);
    }

    /// At start: brings the agents back to the deployed configuration.
    pub(super) fn deploy_persisted(&mut self, turn: &mut Turn) {
        let Some(config) = self.configurations.deployed.clone() else {
            return;
        };
        let reqid = self.ids.next_id();
        turn.info(format!(
            "deploying persisted configuration {}, request {reqid}",
            config.id
        ));
        self.deploy(turn, Key::Internal(reqid), config);
    }

    /// Starts a deployment; there is no other.
    ///
    /// DIFFERENCE(deployed-instances): instances are dropped and added by the configuration that is deployed. Zeek goes by the one staged last,
    /// also when it deploys another.
    fn deploy(&mut self, turn: &mut Turn, key: Key, config: Configuration) {
        let nothing_to_do = config.instances.is_empty();
        self.await_answer(turn, key.clone(), Pending::Deployment);
        self.deployment = Some(Deployment {
            key,
            config: config.clone(),
            phase: if nothing_to_do {
                Phase::Persisting
            } else {
                Phase::Waiting
            },
        });
        if !nothing_to_do {
            self.replace_instances(turn, &config);
        } else if self.configurations.deployed.as_ref() == Some(&config) {
            self.finish_deployment(turn, Ok(()));
        } else {
            self.write(turn, vec![(Slot::Deployed, config)], AfterWrite::FinishDeployment);
        }
    }

    /// The end of a deployment: its configuration is the deployed one now, or cannot be stored.
    pub(super) fn finish_deployment(&mut self, turn: &mut Turn, outcome: Result<(), String>) {
        let Some(Deployment { key, config, .. }) = self.deployment.take() else {
            return;
        };
        let stored = outcome.is_ok();
        if stored {
            self.replace_instances(turn, &config);
        }
        let waited_for = self.requests.remove(&key).is_some();
        let Key::Client(kind, reqid) = key else {
            return;
        };
        if waited_for {
            let result = match outcome {
                Ok(()) => ResultRecord {
                    data: Some(Data::String(config.id)),
                    ..ResultRecord::success(reqid.clone())
                },
                Err(error) => {
                    let error = format!("cannot store the deployed configuration: {error}");
                    ResultRecord::failure(reqid.clone(), error)
                }
            };
            self.respond(turn, kind, reqid, vec![result], Logged::Pending);
        }
        if stored && self.instances.all_ready() {
            self.agents_ready(turn);
        }
    }

    /// The request of the deployment has timed out. What is being stored is finished all the same: it may have become
    /// durable already. Returns the results so far.
    pub(super) fn give_up_deployment(&mut self) -> Vec<ResultRecord> {
        if let Some(Deployment {
            phase: Phase::Waiting,
            ..
        }) = self.deployment
        {
            self.deployment = None;
        }
        Vec::new()
    }

    /// All wanted instances are ready, which may be none (`notify_agents_ready`, an event in Zeek). If nothing is being
    /// deployed, some of them may have restarted since the last deployment: repeats it.
    ///
    /// A deployment without instances also gets here and is repeated, without effect.
    fn agents_ready(&mut self, turn: &mut Turn) {
        turn.info(format!(
            "rx Management::Controller::API:notify_agents_ready {}",
            listed(&self.instances.ready)
        ));
        if self.deployment.is_some() {
            return;
        }
        if let Some(config) = self.configurations.deployed.clone() {
            let reqid = self.ids.next_id();
            turn.info(format!("no deployment in progress, triggering via {reqid}"));
            self.deploy(turn, Key::Internal(reqid), config);
        }
    }

    /// Makes the instances of a configuration the wanted ones.
    ///
    /// DIFFERENCE(moved-instance): an instance that is to be reached in another way is dropped and added. Zeek only drops it.
    fn replace_instances(&mut self, turn: &mut Turn, config: &Configuration) {
        let new: BTreeMap<&ZeekString, &Instance> = config
            .instances
            .iter()
            .map(|instance| (&instance.name, instance))
            .collect();
        let dropped: Vec<ZeekString> = self
            .instances
            .wanted
            .keys()
            .filter(|name| {
                new.get(name)
                    .is_none_or(|instance| self.instances.moves(instance))
            })
            .cloned()
            .collect();
        for name in dropped {
            turn.debug(format!("dropping instance {name}"));
            self.drop_instance(turn, &name);
        }
        for (name, instance) in new {
            if !self.instances.wanted.contains_key(name) {
                turn.debug(format!("adding instance {name}"));
                self.add_instance(turn, instance.clone());
            }
        }
    }

    fn drop_instance(&mut self, turn: &mut Turn, name: &ZeekString) {
        let standby = AgentRequest::AgentStandby {
            reqid: ZeekString::default(),
        };
        self.send(turn, name, standby);
        self.instances.wanted.remove(name);
        self.instances.ready.remove(name);
        turn.info(format!("dropped instance {name}"));
    }

    fn add_instance(&mut self, turn: &mut Turn, mut instance: Instance) {
        match self.instances.known.get(&instance.name) {
            Some(known) => {
                if instance.listen_port.is_none() {
                    instance.host = known.host;
                }
            }
            None => turn.debug(format!("instance {} not known to us, skipping", instance.name)),
        }
        self.instances.wanted.insert(instance.name.clone(), instance);
    }
}
