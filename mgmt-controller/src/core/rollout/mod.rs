//! A roll-out: a configuration is tried on one instance after another, while the one before stays the deployed one.
//!
//! What is changed is a node: an instance is given the deployed configuration, with those of its nodes as in the new one that are changed, so that
//! its agent restarts these and no others. That the rest is the same in both is what makes a change one that can be rolled out. An agent of ours takes
//! what it is given for a trial; one of Zeek's, which restarts all of its nodes whatever has changed, is changed as a whole.
//!
//! What happens is decided here ([`stages`]: which nodes are next; [`gate`]: whether they do well) and done by the cluster ([`orders`]: how it begins and ends; [`steps`]: how it goes on).

mod gate;
mod judging;
mod orders;
mod stages;
mod steps;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use broker_codec::data::ZeekString;
use mgmt_api::{
    Configuration,
    operator::{RolledNode, RolledState, RolloutOptions, RolloutStage, RolloutState, text},
};
use serde::{Deserialize, Serialize};

pub(super) use self::{
    gate::{Sample, complaint, samples},
    stages::{Unit, Way, check, stages},
};

/// What is stored of one that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRollout {
    pub id: ZeekString,
    pub asked_by: String,
    /// In seconds since 1970.
    pub begun: u64,
    pub options: RolloutOptions,
    pub state: RolloutState,
    pub reasons: Vec<String>,
    /// The nodes that run as in its configuration, or are about to.
    pub changed: BTreeSet<ZeekString>,
    /// Those of them that were watched, and did well.
    pub proven: BTreeSet<ZeekString>,
    /// The instances whose agents take no trial: they are changed as a whole.
    pub whole: BTreeSet<ZeekString>,
    /// The id of the deployed configuration: where another one is, this is void.
    pub deployed: ZeekString,
    pub configuration: Arc<Configuration>,
}

/// One that is under way.
#[derive(Debug)]
pub(super) struct Rollout {
    pub(super) stored: StoredRollout,
    /// What is changed, in this order.
    pub(super) stages: Vec<(&'static str, Vec<Unit>)>,
    /// What is being done, by instance.
    pub(super) steps: BTreeMap<ZeekString, Step>,
    /// What instances are given that run something else than what is deployed.
    given: BTreeMap<ZeekString, Arc<Configuration>>,
    /// The requests by which agents are told of trials, which they have not answered.
    pub(super) announced: BTreeSet<ZeekString>,
    /// Whether it has changed since it was last stored,
    pub(super) is_dirty: bool,
    /// is being stored: what follows waits for that,
    pub(super) is_writing: bool,
    /// and was ever.
    pub(super) is_stored: bool,
}

/// Nodes of an instance that are changed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) nodes: BTreeSet<ZeekString>,
    pub(super) phase: Phase,
    /// How they were before.
    pub(super) before: BTreeMap<ZeekString, Sample>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its agent is asked how the nodes are, before they are changed.
    Sampling,
    /// What is to be changed is being stored, or the agent is away.
    Due,
    /// Its agent has got the configuration, under this id.
    Asked(ZeekString),
    /// Its nodes are up: until the request of this id expires.
    Watched(ZeekString),
    /// Its agent is asked how they are.
    Judged,
}

impl Step {
    pub(super) const fn new(nodes: BTreeSet<ZeekString>, phase: Phase) -> Self {
        Self {
            nodes,
            phase,
            before: BTreeMap::new(),
        }
    }

    /// Whether its nodes are up, as far as it is about them.
    const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Sampling | Phase::Watched(_) | Phase::Judged)
    }
}

impl Rollout {
    /// One that begins, or goes on where an earlier controller has left it.
    pub(super) fn new(stored: StoredRollout, deployed: &Configuration) -> Self {
        let stages = stages(deployed, &stored);
        let mut rollout = Self {
            stages,
            stored,
            steps: BTreeMap::new(),
            given: BTreeMap::new(),
            announced: BTreeSet::new(),
            is_dirty: false,
            is_writing: false,
            is_stored: false,
        };
        rollout.take_up(deployed);
        rollout
    }

    /// What an earlier controller was about to do.
    fn take_up(&mut self, deployed: &Configuration) {
        let units: Vec<Unit> = self.units().cloned().collect();
        for unit in units {
            if !self.stored.changed.contains(&unit.node) {
                continue;
            }
            if !self.stored.proven.contains(&unit.node) && self.way() == Way::Forth {
                let step = self.steps.entry(unit.instance.clone());
                let step = step.or_insert_with(|| Step::new(BTreeSet::new(), Phase::Due));
                step.nodes.insert(unit.node.clone());
            }
            self.give(&unit.instance, deployed);
        }
    }

    pub(super) fn units(&self) -> impl Iterator<Item = &Unit> {
        self.stages.iter().flat_map(|(_, units)| units)
    }

    pub(super) const fn way(&self) -> Way {
        match self.stored.state {
            RolloutState::RollingBack => Way::Back,
            _ => Way::Forth,
        }
    }

    /// The nodes of an instance that run as in the new configuration, or are about to.
    fn changed_on(&self, instance: &ZeekString) -> BTreeSet<&ZeekString> {
        let of_instance = self.units().filter(|unit| unit.instance == *instance);
        let changed = of_instance.filter(|unit| self.stored.changed.contains(&unit.node));
        changed.map(|unit| &unit.node).collect()
    }

    /// What an instance is to run, if that is not what is deployed.
    pub(super) fn given(&self, instance: &ZeekString) -> Option<&Arc<Configuration>> {
        self.given.get(instance)
    }

    /// Which of its nodes are to run as in the new configuration has changed.
    fn give(&mut self, instance: &ZeekString, deployed: &Configuration) {
        let changed = self.changed_on(instance);
        if changed.is_empty() {
            self.given.remove(instance);
            return;
        }
        let new = &self.stored.configuration;
        let node = |before: &mgmt_api::Node| {
            let after = new.nodes.iter().find(|after| after.name == before.name);
            let after = after.filter(|after| changed.contains(&after.name));
            after.unwrap_or(before).clone()
        };
        let nodes: Vec<_> = deployed.nodes.iter().map(node).collect();
        let mixed = Configuration::new(new.id.clone(), deployed.instances.iter().cloned(), nodes);
        self.given.insert(instance.clone(), Arc::new(mixed));
    }

    /// A step begins: from now on these nodes are to run otherwise.
    pub(super) fn begin(&mut self, instance: &ZeekString, deployed: &Configuration) {
        let Some(step) = self.steps.get_mut(instance) else {
            return;
        };
        step.phase = Phase::Due;
        let nodes = step.nodes.clone();
        match self.way() {
            Way::Forth => self.stored.changed.extend(nodes),
            Way::Back => self.stored.changed.retain(|node| !nodes.contains(node)),
        }
        self.give(instance, deployed);
    }

    /// A step has ended well.
    pub(super) fn end_step(&mut self, instance: &ZeekString) {
        if let Some(step) = self.steps.remove(instance)
            && self.way() == Way::Forth
        {
            self.stored.proven.extend(step.nodes);
        }
    }

    /// All that was changed goes back.
    pub(super) fn turn_back(&mut self, reason: Option<String>) {
        self.stored.state = RolloutState::RollingBack;
        self.stored.reasons.extend(reason);
        self.stored.proven.clear();
        // What is asked for again takes the place of what was asked for.
        self.steps.clear();
    }

    /// An instance cannot be asked to go back: it does when its agent returns. Returns whether it has to.
    pub(super) fn goes_back_later(&mut self, instance: &ZeekString) -> bool {
        let nodes: Vec<ZeekString> = self.changed_on(instance).into_iter().cloned().collect();
        self.stored.changed.retain(|node| !nodes.contains(node));
        self.given.remove(instance);
        self.steps.remove(instance);
        !nodes.is_empty()
    }

    /// Whether nothing is left to do, in its way.
    pub(super) fn is_through(&self) -> bool {
        let left = match self.way() {
            Way::Forth => self.units().any(|unit| !self.stored.proven.contains(&unit.node)),
            Way::Back => !self.stored.changed.is_empty(),
        };
        self.steps.is_empty() && !left
    }

    /// How far it is, as operators are told.
    pub(super) fn told_stages(&self) -> Vec<RolloutStage> {
        let node = |unit: &Unit| RolledNode {
            node: text(&unit.node),
            instance: text(&unit.instance),
            role: unit.role,
            state: self.state_of(unit),
        };
        let stages = self.stages.iter();
        let stages = stages.map(|(stage, units)| RolloutStage {
            stage: (*stage).to_owned(),
            nodes: units.iter().map(node).collect(),
        });
        stages.collect()
    }

    fn state_of(&self, unit: &Unit) -> RolledState {
        let step = self.steps.get(&unit.instance);
        let step = step.filter(|step| step.nodes.contains(&unit.node));
        match step.map(|step| &step.phase) {
            Some(Phase::Due | Phase::Asked(_)) => RolledState::Changing,
            Some(Phase::Watched(_) | Phase::Judged) => RolledState::Watched,
            None if self.stored.changed.contains(&unit.node) => RolledState::Changed,
            Some(Phase::Sampling) | None => RolledState::Before,
        }
    }
}
