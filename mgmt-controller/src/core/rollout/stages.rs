//! Which nodes are changed, and in which order.

use std::collections::BTreeSet;

use broker_codec::data::{Excerpt, ZeekString};
use mgmt_api::{
    ClusterRole, Configuration,
    operator::{RolloutOptions, WATCH_MAX, counted},
};

use super::{Rollout, Step, StoredRollout};

/// The stages after that of the canary: nodes that others connect to come first.
const ROLES: [(ClusterRole, &str); 4] = [
    (ClusterRole::Logger, "loggers"),
    (ClusterRole::Manager, "manager"),
    (ClusterRole::Proxy, "proxies"),
    (ClusterRole::Worker, "workers"),
];

/// A node that is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) node: ZeekString,
    pub(crate) instance: ZeekString,
    pub(crate) role: ClusterRole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forth,
    Back,
}

/// The nodes that differ, and all others of an instance that is changed as a whole, by stage. A stage without nodes is none.
pub(crate) fn stages(deployed: &Configuration, rollout: &StoredRollout) -> Vec<(&'static str, Vec<Unit>)> {
    let new = &rollout.configuration;
    let differs = |node: &mgmt_api::Node| deployed.nodes.iter().all(|before| before != node);
    let touched = new.nodes.iter().filter(|node| differs(node));
    let touched: BTreeSet<&ZeekString> = touched.map(|node| &node.instance).collect();
    let whole =
        |node: &mgmt_api::Node| touched.contains(&node.instance) && rollout.whole.contains(&node.instance);
    let mut units: Vec<(usize, Unit)> = Vec::new();
    for node in new.nodes.iter().filter(|node| differs(node) || whole(node)) {
        let unit = Unit {
            node: node.name.clone(),
            instance: node.instance.clone(),
            role: node.role,
        };
        let is_canary = rollout.options.canary.iter().any(|name| node.instance == **name);
        // One that is changed as a whole is changed in one stage: the last one that has a node of it.
        let of_instance = new.nodes.iter().filter(|other| other.instance == node.instance);
        let of_instance = of_instance.map(|other| stage_of(other.role)).max();
        let stage = match (is_canary, whole(node)) {
            (true, _) => 0,
            (false, true) => of_instance.unwrap_or_default(),
            (false, false) => stage_of(node.role),
        };
        units.push((stage, unit));
    }
    units.sort_by(|(stage, unit), (other_stage, other)| {
        let key = |stage, unit: &Unit| {
            (
                stage,
                unit.instance.clone(),
                stage_of(unit.role),
                unit.node.clone(),
            )
        };
        key(*stage, unit).cmp(&key(*other_stage, other))
    });
    let names = ["canary"].into_iter().chain(ROLES.map(|(_, name)| name));
    let stages = names.enumerate().map(|(number, name)| {
        let of_stage = units.iter().filter(|(stage, _)| *stage == number);
        (name, of_stage.map(|(_, unit)| unit.clone()).collect::<Vec<_>>())
    });
    stages.filter(|(_, units)| !units.is_empty()).collect()
}

/// The canary's is 0.
fn stage_of(role: ClusterRole) -> usize {
    let place = ROLES.iter().position(|(known, _)| *known == role);
    place.map_or(ROLES.len(), |place| place + 1)
}

/// What of its options cannot be carried out.
pub(crate) fn check(options: &RolloutOptions, config: &Configuration) -> Result<(), String> {
    for name in &options.canary {
        if !config.instances.iter().any(|instance| instance.name == **name) {
            let name = Excerpt::new(name.as_bytes());
            return Err(format!("the configuration has no instance {name} to be a canary"));
        }
    }
    if options.max_parallel == 0 {
        return Err("nodes are changed on at least one instance at a time: max_parallel is 0".into());
    }
    if options.watch > WATCH_MAX {
        return Err(format!("nodes are watched for {WATCH_MAX} s at most"));
    }
    for (role, number) in &options.max_unavailable {
        if !ROLES.iter().any(|(known, _)| known.to_string() == *role) {
            let role = Excerpt::new(role.as_bytes());
            return Err(format!(
                "max_unavailable: {role} is no role; these are logger, manager, proxy and worker"
            ));
        }
        if *number == 0 {
            return Err(format!(
                "max_unavailable: no {role} could be changed if none may be down"
            ));
        }
    }
    Ok(())
}

impl Rollout {
    /// Why an instance that is changed as a whole never can be: more of its nodes would be down than may be.
    pub(crate) fn never(&self) -> Option<String> {
        for instance in &self.stored.whole {
            for (role, _) in ROLES {
                let units = self.units();
                let count = units
                    .filter(|unit| unit.instance == *instance && unit.role == role)
                    .count();
                if let Some(most) = self.most(role)
                    && count > most
                {
                    return Some(format!(
                        "the agent of instance {instance} restarts all nodes at once, {} among them, and {most} may be down",
                        counted(count, &role.to_string())
                    ));
                }
            }
        }
        None
    }

    fn most(&self, role: ClusterRole) -> Option<usize> {
        let most = self.stored.options.max_unavailable.get(&role.to_string())?;
        usize::try_from(*most).ok()
    }

    /// The next nodes to change, of an instance where nothing is done, if some can be: of those `down` it is known that they do not run, or not known
    /// whether they do.
    pub(crate) fn next_step(
        &self,
        is_ready: impl Fn(&ZeekString) -> bool,
        down: &BTreeSet<ZeekString>,
        all: &Configuration,
    ) -> Option<(ZeekString, BTreeSet<ZeekString>)> {
        let most = usize::try_from(self.stored.options.max_parallel).unwrap_or(usize::MAX);
        if self.steps.len() >= most {
            return None;
        }
        let todo = self.todo();
        let mut tried: BTreeSet<&ZeekString> = BTreeSet::new();
        for unit in &todo {
            let instance = &unit.instance;
            if self.steps.contains_key(instance) || !is_ready(instance) || !tried.insert(instance) {
                continue;
            }
            let of_instance: Vec<&Unit> = todo
                .iter()
                .filter(|unit| unit.instance == *instance)
                .copied()
                .collect();
            let nodes = self.batch(&of_instance, down, all);
            let is_whole = self.stored.whole.contains(instance);
            if nodes.is_empty() || (is_whole && nodes.len() < of_instance.len()) {
                continue;
            }
            return Some((instance.clone(), nodes));
        }
        None
    }

    /// What is left to do, as far as it is its turn: of the first stage that is not through. On the way back all at once, what has failed first.
    fn todo(&self) -> Vec<&Unit> {
        let is_left = |unit: &&Unit| match self.way() {
            Way::Forth => !self.stored.proven.contains(&unit.node),
            Way::Back => self.stored.changed.contains(&unit.node),
        };
        match self.way() {
            Way::Forth => {
                let mut stages = self.stages.iter();
                let stage = stages.find(|(_, units)| units.iter().any(|unit| is_left(&unit)));
                let units = stage.into_iter().flat_map(|(_, units)| units);
                units.filter(is_left).collect()
            }
            Way::Back => self.units().filter(is_left).collect(),
        }
    }

    /// As many of these nodes as may be down.
    fn batch(
        &self,
        units: &[&Unit],
        down: &BTreeSet<ZeekString>,
        all: &Configuration,
    ) -> BTreeSet<ZeekString> {
        let mut nodes = BTreeSet::new();
        for (role, _) in ROLES {
            let of_role: BTreeSet<&ZeekString> = all
                .nodes
                .iter()
                .filter(|node| node.role == role)
                .map(|node| &node.name)
                .collect();
            let changing = self.steps.values().filter(|step| !step.is_up());
            let changing = changing.flat_map(|step: &Step| &step.nodes);
            let unavailable: BTreeSet<&ZeekString> = changing
                .chain(down)
                .filter(|node| of_role.contains(node))
                .collect();
            let mut room = self
                .most(role)
                .map_or(usize::MAX, |most| most.saturating_sub(unavailable.len()));
            for unit in units.iter().filter(|unit| unit.role == role) {
                if unavailable.contains(&unit.node) {
                    nodes.insert(unit.node.clone());
                } else if room > 0 {
                    room -= 1;
                    nodes.insert(unit.node.clone());
                }
            }
        }
        nodes
    }

    /// Nodes that keep others from being changed, as they are down and no more may be.
    pub(crate) fn kept_waiting_by<'a>(
        &self,
        down: &'a BTreeSet<ZeekString>,
        all: &Configuration,
    ) -> Vec<&'a ZeekString> {
        let is_limited = |node: &&ZeekString| {
            let known = all.nodes.iter().find(|known| known.name == **node);
            known.is_some_and(|known| self.most(known.role).is_some())
        };
        down.iter().filter(is_limited).collect()
    }
}
