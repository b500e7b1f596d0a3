//! Which instances belong to the cluster: gathering those of a configuration, and making them the cluster's when it is accepted.

use broker_codec::{
    EndpointId,
    data::{Address, Set, ZeekString},
};
use mgmt_api::{AgentRequest, Configuration, Instance};

use super::{
    action::{Action, Level},
    controller::Controller,
    instances::target_of,
    membership::Target,
    requests::Key,
    turn::Turn,
};

impl Controller {
    /// At start: the instances of the deployed configuration are the cluster's.
    pub(super) fn adopt(&mut self, turn: &mut Turn, config: &Configuration) {
        for instance in &config.instances {
            turn.debug(format!("adding instance {}", instance.name));
            self.instances.dismissed.remove(&instance.name);
            self.instances
                .wanted
                .insert(instance.name.clone(), instance.clone());
            self.reach_out(turn, instance);
        }
    }

    /// At start: instances that were dropped and may not know are told when they are there.
    pub(super) fn reach_dismissed(&mut self, turn: &mut Turn) {
        let targets: Vec<_> = self.instances.dismissed.values().filter_map(target_of).collect();
        for target in targets {
            self.connect(turn, target);
        }
    }

    /// Connects to the instances of a configuration that are not the cluster's, and welcomes them. Their answer shows that they live;
    /// nothing changes for them by that (`agent/main.zeek`, `agent_welcome_request`).
    pub(super) fn gather(&mut self, turn: &mut Turn, config: &Configuration) {
        for instance in &config.instances {
            self.instances
                .gathered
                .insert(instance.name.clone(), instance.clone());
        }
        for instance in &config.instances {
            let known = self.instances.wanted.get(&instance.name);
            if known.is_none_or(|before| target_of(before) != target_of(instance)) {
                turn.debug(format!("adding instance {}", instance.name));
                let dialled = self.reach_out(turn, instance);
                self.instances.dialled.extend(dialled);
            }
        }
    }

    /// Connects to an instance that listens, and welcomes it if its agent is there. Returns where to, if that was not connected to before.
    fn reach_out(&mut self, turn: &mut Turn, instance: &Instance) -> Option<Target> {
        let dialled = target_of(instance).filter(|target| self.connect(turn, *target));
        let name = &instance.name;
        if self.membership.agent(name).is_none() {
            turn.debug(format!("instance {name} not known to us, skipping"));
        } else if !self.instances.ready.contains(name) {
            self.welcome(turn, name);
        }
        dialled
    }

    /// The instances that are gathered and not there yet.
    pub(super) fn missing(&self) -> Vec<ZeekString> {
        let gathered = self.instances.gathered.values();
        let missing = gathered.filter(|instance| !self.is_there(instance));
        missing.map(|instance| instance.name.clone()).collect()
    }

    /// Whether an instance can be given a configuration: it answered its welcome, and if it is to be reached elsewhere than now, the
    /// agent there waits for the name.
    fn is_there(&self, instance: &Instance) -> bool {
        if self.is_elsewhere(instance) {
            let target = target_of(instance);
            return self.membership.waits_at(&instance.name, target).is_some();
        }
        self.instances.ready.contains(&instance.name)
    }

    /// Whether we are connected to an agent of this name, and at another place than the one where it is to be.
    pub(super) fn is_elsewhere(&self, instance: &Instance) -> bool {
        let holder = self.membership.agent(&instance.name).map(|agent| agent.peer);
        let present = holder.and_then(|holder| self.membership.target(holder));
        target_of(instance).is_some() && present.is_some() && present != target_of(instance)
    }

    /// The gathered instances are the cluster's from now on, and no others.
    ///
    /// DIFFERENCE(moved-instance): an instance that is to be reached at another place is stood down where it is, and welcomed there. Zeek
    /// only stands it down.
    pub(super) fn accept(&mut self, turn: &mut Turn) {
        self.instances.dismissed = self.instances.dismissed_then();
        let gathered = std::mem::take(&mut self.instances.gathered);
        let before = std::mem::replace(&mut self.instances.wanted, gathered.clone());
        self.instances.dialled.clear();
        for name in before.keys().filter(|name| !gathered.contains_key(*name)) {
            turn.debug(format!("dropping instance {name}"));
            let peer = self.membership.agent(name).map(|agent| agent.peer);
            self.stand_down(turn, name, peer);
            self.forget_welcome(name);
            self.instances.ready.remove(name);
            turn.info(format!("dropped instance {name}"));
            if peer.is_none() {
                let absence = self.absence(turn.now, name);
                let message =
                    format!("{absence}: it was dropped, its nodes go on until its agent is back and is told");
                turn.push(Action::Report {
                    level: Level::Warning,
                    message,
                });
            }
        }
        for (name, instance) in &gathered {
            if self.is_elsewhere(instance)
                && let Some(holder) = self.membership.agent(name).map(|agent| agent.peer)
            {
                self.stand_down(turn, name, Some(holder));
                self.move_away(turn, holder);
            }
        }
        for target in before.values().filter_map(target_of) {
            self.release(turn, target);
        }
    }

    /// The gathered instances are not accepted: everything is as it was before they were gathered.
    pub(super) fn disband(&mut self, turn: &mut Turn) {
        let gathered = std::mem::take(&mut self.instances.gathered);
        for name in gathered.keys() {
            if !self.instances.wanted.contains_key(name) {
                self.forget_welcome(name);
                self.instances.ready.remove(name);
            }
        }
        for target in std::mem::take(&mut self.instances.dialled) {
            if !self.instances.are_at(target) {
                self.disconnect(turn, target);
                if let Some(peer) = self.membership.at(target) {
                    self.close_peer(turn, peer, "its deployment failed");
                }
            }
        }
    }

    fn forget_welcome(&mut self, name: &ZeekString) {
        if let Some(reqid) = self.membership.welcome_of(name).and_then(Option::take) {
            self.requests.remove(&Key::Welcome(reqid));
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

    /// Tells an agent that it is not part of the cluster, or not any more.
    pub(super) fn stand_down(&mut self, turn: &mut Turn, name: &ZeekString, peer: Option<EndpointId>) {
        let standby = AgentRequest::AgentStandby {
            reqid: ZeekString::default(),
        };
        self.send_to(turn, name, peer, standby);
    }

    /// An agent is left in favour of the one that waits elsewhere for its name.
    fn move_away(&mut self, turn: &mut Turn, peer: EndpointId) {
        if let Some(target) = self.membership.target(peer) {
            self.disconnect(turn, target);
        }
        self.close_peer(turn, peer, "the instance is to be reached elsewhere");
    }
}
