//! Which instances belong to the cluster.

use std::collections::BTreeMap;

use broker_codec::{
    EndpointId,
    data::{Address, Set, ZeekString},
};
use mgmt_api::{AgentRequest, Configuration, Instance};

use super::{controller::Controller, turn::Turn};

impl Controller {
    /// Makes the instances of a configuration the wanted ones.
    ///
    /// DIFFERENCE(moved-instance): an instance that is to be reached in another way is dropped and added. Zeek only
    /// drops it.
    pub(super) fn replace_instances(&mut self, turn: &mut Turn, config: &Configuration) {
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
                new.get(name).is_none_or(|instance| {
                    self.instances
                        .moves(instance, self.membership.observed_host(&instance.name))
                })
            })
            .cloned()
            .collect();
        for name in dropped {
            turn.debug(format!("dropping instance {name}"));
            self.drop_instance(turn, &name, new.get(&name).copied());
        }
        for (name, instance) in new {
            if !self.instances.wanted.contains_key(name) {
                turn.debug(format!("adding instance {name}"));
                self.add_instance(turn, instance.clone());
            }
        }
    }

    /// The instances, with the hosts that are open and have been observed filled in.
    pub(super) fn with_observed_hosts(&self, instances: Set<Instance>) -> Set<Instance> {
        instances
            .into_iter()
            .map(|mut instance| {
                if instance.host == Address::UNSPECIFIED_V4
                    && let Some(host) = self.membership.observed_host(&instance.name)
                {
                    instance.host = host;
                }
                instance
            })
            .collect()
    }

    fn drop_instance(&mut self, turn: &mut Turn, name: &ZeekString, replacement: Option<&Instance>) {
        let peer = self.membership.agent(name).map(|agent| agent.peer);
        self.stand_down(turn, name, peer);
        self.unwant(turn, name, replacement);
        self.instances.dismiss(name.clone());
    }

    /// Tells an agent that it is not part of the cluster, or not any more.
    pub(super) fn stand_down(&mut self, turn: &mut Turn, name: &ZeekString, peer: Option<EndpointId>) {
        let standby = AgentRequest::AgentStandby {
            reqid: ZeekString::default(),
        };
        self.send_to(turn, name, peer, standby);
    }

    /// Takes an instance out of the cluster. With what replaces it, if its name stays.
    pub(super) fn unwant(&mut self, turn: &mut Turn, name: &ZeekString, replacement: Option<&Instance>) {
        let dropped = self.instances.wanted.remove(name);
        self.instances.ready.remove(name);
        if let Some(dropped) = dropped
            && let Some(port) = dropped.listen_port
        {
            let moved = replacement.is_some_and(|instance| instance.listen_port.is_some());
            self.release(turn, (dropped.host, port), moved);
        }
        turn.info(format!("dropped instance {name}"));
    }

    fn add_instance(&mut self, turn: &mut Turn, mut instance: Instance) {
        let name = instance.name.clone();
        if let Some(port) = instance.listen_port {
            self.connect(turn, (instance.host, port));
        } else if instance.host == Address::UNSPECIFIED_V4
            && let Some(host) = self.membership.observed_host(&name)
        {
            instance.host = host;
        }
        self.instances.dismissed.remove(&name);
        self.instances.wanted.insert(name.clone(), instance);
        if self.membership.agent(&name).is_some() {
            self.welcome(turn, &name);
        } else {
            turn.debug(format!("instance {name} not known to us, skipping"));
        }
    }
}
