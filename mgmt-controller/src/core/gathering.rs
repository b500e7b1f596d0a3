//! Which instances belong to the cluster: gathering those of a configuration, and making them the cluster's when it is accepted.

use broker_codec::{
    EndpointId,
    data::{Address, Set, ZeekString},
};
use mgmt_api::{AgentRequest, Configuration, Instance, ResultRecord};

use super::{
    action::Level,
    instances::target_of,
    membership::Membership,
    peers::{LostName, Target},
    turn::{About, Turn},
};
use crate::Counted;

impl Membership {
    /// At start: the instances of the deployed configuration are the cluster's.
    pub(super) fn adopt(&mut self, turn: &mut Turn<'_>, config: &Configuration) {
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
    pub(super) fn reach_dismissed(&mut self, turn: &mut Turn<'_>) {
        let targets: Vec<_> = self.instances.dismissed.values().filter_map(target_of).collect();
        for target in targets {
            self.connect(turn, target);
        }
    }

    /// Connects to the instances of a configuration that are not the cluster's, and welcomes them. Their answer shows that they live;
    /// nothing changes for them by that (`agent/main.zeek`, `agent_welcome_request`).
    pub(super) fn gather(&mut self, turn: &mut Turn<'_>, config: &Configuration) {
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
    fn reach_out(&mut self, turn: &mut Turn<'_>, instance: &Instance) -> Option<Target> {
        let dialled = target_of(instance).filter(|target| self.connect(turn, *target));
        let name = &instance.name;
        if self.peers.agent(name).is_none() {
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

    /// Those of them whose agents refuse this controller.
    pub(super) fn refusing(&self) -> Vec<ZeekString> {
        let mut missing = self.missing();
        missing.retain(|name| self.peers.obeys_other(name).is_some());
        missing
    }

    /// Whether some of the gathered instances are there.
    pub(super) fn some_are_there(&self) -> bool {
        self.missing().len() < self.instances.gathered.len()
    }

    /// Whether none of the instances that are missing is connected and obeys.
    pub(super) fn missing_are_absent(&self) -> bool {
        let missing = self.missing();
        missing.iter().all(|name| !self.peers.has_obedient(name))
    }

    /// Whether no welcome of a wanted instance is outstanding.
    pub(super) fn connected_are_ready(&self) -> bool {
        let mut missing = self.instances.wanted_missing();
        missing.all(|name| !self.peers.has_obedient(name))
    }

    /// Whether an instance can be given a configuration: it answered its welcome, and if it is to be reached elsewhere than now, the
    /// agent there waits for the name.
    fn is_there(&self, instance: &Instance) -> bool {
        if self.is_elsewhere(instance) {
            let target = target_of(instance);
            return self.peers.waits_at(&instance.name, target).is_some();
        }
        self.instances.ready.contains(&instance.name)
    }

    /// Whether we are connected to an agent of this name, and at another place than the one where it is to be.
    pub(super) fn is_elsewhere(&self, instance: &Instance) -> bool {
        let holder = self.peers.agent(&instance.name).map(|agent| agent.peer);
        let present = holder.and_then(|holder| self.peers.target(holder));
        target_of(instance).is_some() && present.is_some() && present != target_of(instance)
    }

    /// The gathered instances are the cluster's from now on, and no others. Returns the agents that were left for others.
    ///
    /// DIFFERENCE(moved-instance): an instance that is to be reached at another place is stood down where it is, and welcomed there. Zeek
    /// only stands it down.
    pub(super) fn accept(&mut self, turn: &mut Turn<'_>) -> Vec<LostName> {
        let mut left = Vec::new();
        self.instances.dismissed = self.instances.dismissed_then();
        let gathered = std::mem::take(&mut self.instances.gathered);
        let before = std::mem::replace(&mut self.instances.wanted, gathered.clone());
        self.instances.dialled.clear();
        for name in before.keys().filter(|name| !gathered.contains_key(*name)) {
            turn.debug(format!("dropping instance {name}"));
            let peer = self.peers.agent(name).map(|agent| agent.peer);
            self.stand_down(turn, name, peer);
            self.forget_welcome(name);
            self.instances.ready.remove(name);
            turn.info(format!("dropped instance {name}"));
            if peer.is_none() {
                let absence = self.absence(turn, name);
                let message = format!(
                    "{absence}: it was dropped, nodes that it still has go on until its agent is back and is told"
                );
                turn.report(Level::Warning, About::Instance(name), message);
            }
        }
        for (name, instance) in &gathered {
            if self.is_elsewhere(instance)
                && let Some(holder) = self.peers.agent(name).map(|agent| agent.peer)
            {
                self.stand_down(turn, name, Some(holder));
                left.extend(self.move_away(turn, holder));
            }
        }
        for target in before.values().filter_map(target_of) {
            self.release(turn, target);
        }
        left
    }

    /// The gathered instances are not accepted: everything is as it was before they were gathered. Returns the agents that were left.
    pub(super) fn disband(&mut self, turn: &mut Turn<'_>) -> Vec<LostName> {
        let mut left = Vec::new();
        let gathered = std::mem::take(&mut self.instances.gathered);
        for name in gathered.keys() {
            if !self.instances.wanted.contains_key(name) {
                self.forget_welcome(name);
                self.instances.ready.remove(name);
            }
        }
        for target in std::mem::take(&mut self.instances.dialled) {
            if !self.instances.are_at(target) {
                left.extend(self.leave(turn, target, "its deployment failed"));
            }
        }
        left
    }

    /// The instances, with the hosts that are open and have been observed filled in.
    pub(super) fn with_observed_hosts(&self, instances: Set<Instance>) -> Set<Instance> {
        instances
            .into_iter()
            .map(|mut instance| {
                if instance.host == Address::UNSPECIFIED_V4
                    && let Some(host) = self.peers.observed_host(&instance.name)
                {
                    instance.host = host;
                }
                instance
            })
            .collect()
    }

    /// An agent is left in favour of the one that waits elsewhere for its name.
    fn move_away(&mut self, turn: &mut Turn<'_>, peer: EndpointId) -> Option<LostName> {
        let reason = "the instance is to be reached elsewhere";
        let left = match self.peers.target(peer) {
            Some(target) => self.leave(turn, target, reason),
            None => self.close_peer(turn, peer, reason),
        }?;
        Some(LostName { moves: true, ..left })
    }

    /// Tells a known agent that it is part of the cluster, unless it has been told and has not answered.
    pub(super) fn welcome(&mut self, turn: &mut Turn<'_>, name: &ZeekString) {
        if self.peers.obeys_other(name).is_some() {
            return;
        }
        let Some(welcome) = self.peers.welcome_of(name) else {
            return;
        };
        if welcome.is_none() {
            let reqid = turn.ids.next_id();
            *welcome = Some(reqid.clone());
            self.send_welcome(turn, name, reqid);
        }
    }

    fn send_welcome(&mut self, turn: &mut Turn<'_>, name: &ZeekString, reqid: ZeekString) {
        self.send(turn, name, AgentRequest::AgentWelcome { reqid: reqid.clone() });
        let deadline = turn.now + self.welcome_timeout;
        let inserted = self.welcomes.insert(reqid, deadline, name.clone());
        debug_assert!(inserted.is_ok(), "a live welcome is never sent again");
    }

    /// A welcome is dropped, as its instance is not needed any more.
    pub(super) fn forget_welcome(&mut self, name: &ZeekString) {
        if let Some(reqid) = self.peers.welcome_of(name).and_then(Option::take) {
            self.welcomes.remove(&reqid);
        }
    }

    /// A welcome has not been answered in time.
    ///
    /// DIFFERENCE(repeated-welcome): a welcome is repeated, under the same id, until it is answered; agents that were
    /// welcomed are not welcomed once more before that. Zeek welcomes an agent at each hello, and only then (Q-10,
    ///
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        let Some((reqid, name)) = self.welcomes.pop_expired(turn.now) else {
            return;
        };
        turn.info(format!("request {reqid} timed out"));
        let name = &name;
        let wanted = self.instances.are_needed(name) && !self.instances.ready.contains(name);
        let Some(welcome) = self.peers.welcome_of(name) else {
            return;
        };
        if welcome.as_ref() != Some(&reqid) {
            return;
        }
        if wanted {
            turn.counters.increment(Counted::WelcomesRepeated);
            self.send_welcome(turn, name, reqid);
        } else {
            *welcome = None;
        }
    }

    /// Whether an instance has become ready by the answer to its welcome.
    pub(super) fn welcome_answered(
        &mut self,
        turn: &mut Turn<'_>,
        name: &ZeekString,
        reqid: &ZeekString,
        result: &ResultRecord,
    ) -> bool {
        let Some(welcome) = self.peers.welcome_of(name) else {
            return false;
        };
        let names_other = result.instance.as_ref().is_some_and(|instance| instance != name);
        if welcome.as_ref() != Some(reqid) || names_other {
            turn.debug(format!(
                "ignoring answer {reqid} of {name}: no request waits for it"
            ));
            turn.counters.increment(Counted::AnswersIgnored);
            return false;
        }
        *welcome = None;
        self.welcomes.remove(reqid);
        if !result.success || !self.instances.are_needed(name) {
            let peer = self.peers.agent(name).map(|agent| agent.peer);
            self.stand_down(turn, name, peer);
            return false;
        }
        self.instances.ready.insert(name.clone());
        turn.info(format!("instance {name} ready"));
        true
    }
}
