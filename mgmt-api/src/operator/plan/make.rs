//! A plan, of two configurations and what agents say.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::ZeekString;

use super::{
    super::{
        configuration::ConfigurationFile,
        diff::{self, Change, Difference, Field, What},
        request::text,
    },
    GroupPlan, InstancePlan, NodePlan, NodeProblem, Plan, Step, splits,
};
use crate::{
    enums::ClusterRole,
    link::{Fate, NodeFate, Problem},
    log::MESSAGE_BYTES_MAX,
    records::{Configuration, Node},
};

/// Of these interfaces workers share the packets.
const SHARED: &str = "af_packet::";

/// The option by which workers of one interface are of another group.
const FANOUT_ID: &str = "AF_Packet::fanout_id";

/// What is heard of an instance of the new configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Why nodes could not run there.
    pub problems: Vec<Problem>,
    pub nodes: Nodes,
}

/// What would become of its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// As its agent says.
    Told(Vec<NodeFate>),
    /// Its agent starts all of them anew at each deployment, for this reason.
    AllRestart(String),
    /// It is not known, for this reason.
    Unknown(String),
}

/// What a deployment of a configuration would do, by what is deployed and by what is heard of its instances. The plan has no id.
///
/// The new configuration is as agents would get it, with what the controller fills in.
pub fn make(
    deployed: Option<&Configuration>,
    new: &Configuration,
    heard: &BTreeMap<ZeekString, Heard>,
) -> Plan {
    let nothing = Configuration::default();
    let old = deployed.unwrap_or(&nothing);
    let differences = diff::between(&ConfigurationFile::from(old), &ConfigurationFile::from(new));
    let mut making = Making {
        old: by_name(old),
        new: by_name(new),
        fields: fields_of(&differences),
        heard,
        fates: fates(heard),
        all_restart: false,
    };
    let differs = deployed.is_none() || !differences.is_empty();
    // Agents that start all nodes anew do so if there is anything to deploy.
    let is_change = |node: &NodePlan| node.step.is_change();
    making.all_restart = differs || making.nodes().iter().any(is_change);
    let nodes = making.nodes();
    Plan {
        id: String::new(),
        deployed: deployed.map(|config| text(&config.id)),
        has_changes: making.all_restart,
        whole_cluster: match deployed {
            None => vec!["nothing is deployed".to_owned()],
            Some(old) => splits(old, new),
        },
        instances: instances(old, new, &differences, heard),
        groups: groups(&nodes, &making),
        nodes,
    }
}

struct Making<'a> {
    old: BTreeMap<&'a ZeekString, &'a Node>,
    new: BTreeMap<&'a ZeekString, &'a Node>,
    /// In what nodes differ, by their names.
    fields: BTreeMap<&'a str, &'a Vec<Field>>,
    heard: &'a BTreeMap<ZeekString, Heard>,
    /// What agents say of nodes, by instance and node.
    fates: BTreeMap<(&'a ZeekString, &'a ZeekString), &'a NodeFate>,
    /// Whether agents that start all nodes anew do so.
    all_restart: bool,
}

fn by_name(config: &Configuration) -> BTreeMap<&ZeekString, &Node> {
    config.nodes.iter().map(|node| (&node.name, node)).collect()
}

fn fates(heard: &BTreeMap<ZeekString, Heard>) -> BTreeMap<(&ZeekString, &ZeekString), &NodeFate> {
    let told = heard.iter().filter_map(|(instance, heard)| match &heard.nodes {
        Nodes::Told(fates) => Some(fates.iter().map(move |told| ((instance, &told.node), told))),
        Nodes::AllRestart(_) | Nodes::Unknown(_) => None,
    });
    told.flatten().collect()
}

fn fields_of(differences: &[Difference]) -> BTreeMap<&str, &Vec<Field>> {
    let of_nodes = differences
        .iter()
        .filter(|difference| difference.what == What::Node && difference.change == Change::Changed);
    of_nodes
        .map(|difference| (difference.name.as_str(), &difference.fields))
        .collect()
}

impl Making<'_> {
    fn nodes(&self) -> Vec<NodePlan> {
        let mut nodes: BTreeMap<&ZeekString, NodePlan> = BTreeMap::new();
        // Of what runs besides only the agent knows.
        let ended = self.fates.iter().filter(|(_, told)| told.fate == Fate::Ended);
        for ((instance, name), _) in ended {
            let mut plan = planned(name, instance, ClusterRole::None);
            plan.step = Step::Stop;
            nodes.insert(name, plan);
        }
        for (name, node) in &self.old {
            let mut plan = planned(name, &node.instance, node.role);
            plan.step = Step::Stop;
            nodes.insert(name, plan);
        }
        for (name, node) in &self.new {
            nodes.insert(name, self.node(node));
        }
        nodes.into_values().collect()
    }

    fn node(&self, node: &Node) -> NodePlan {
        let before = self.old.get(&node.name);
        let moved = before.filter(|before| before.instance != node.instance);
        let mut plan = planned(&node.name, &node.instance, node.role);
        plan.from = moved.map(|before| text(&before.instance));
        let fields = self.fields.get(plan.node.as_str());
        plan.fields = fields.map(|fields| (*fields).clone()).unwrap_or_default();
        let stays = before.is_some() && moved.is_none();
        match self.heard.get(&node.instance).map(|heard| &heard.nodes) {
            Some(Nodes::Told(_)) => match self.fates.get(&(&node.instance, &node.name)) {
                Some(told) => as_told(&mut plan, told, stays),
                None => guess(&mut plan, stays),
            },
            Some(Nodes::AllRestart(reason)) => {
                plan.step = match (stays, self.all_restart) {
                    (true, true) => Step::Restart,
                    (true, false) => Step::Keep,
                    (false, _) => Step::Create,
                };
                plan.reason = (plan.step == Step::Restart).then(|| reason.clone());
            }
            Some(Nodes::Unknown(_)) | None => guess(&mut plan, stays),
        }
        if moved.is_some() && plan.step != Step::StayStopped {
            plan.step = Step::Move;
        }
        plan
    }
}

/// What the configurations say.
fn guess(plan: &mut NodePlan, stays: bool) {
    plan.is_guess = true;
    plan.step = match (stays, plan.fields.is_empty()) {
        (true, true) => Step::Keep,
        (true, false) => Step::Restart,
        (false, _) => Step::Create,
    };
    if plan.step == Step::Restart {
        plan.reason = Some("its configuration changes".to_owned());
    }
}

/// What its agent says of a node.
fn as_told(plan: &mut NodePlan, told: &NodeFate, stays: bool) {
    plan.step = match told.fate {
        Fate::Kept | Fate::Told => Step::Keep,
        Fate::Restarted => Step::Restart,
        Fate::Started if stays => Step::Start,
        Fate::Started => Step::Create,
        Fate::Stopped => Step::StayStopped,
        Fate::Ended | Fate::Unknown => Step::Unknown,
    };
    plan.is_told = told.fate == Fate::Told;
    let reason = told.reason.as_ref();
    plan.reason = reason.map(|reason| reason.excerpt(MESSAGE_BYTES_MAX).to_string());
    plan.start_millis = told.start_millis;
}

fn planned(name: &ZeekString, instance: &ZeekString, role: ClusterRole) -> NodePlan {
    NodePlan {
        node: text(name),
        instance: text(instance),
        role,
        ..NodePlan::default()
    }
}

fn instances(
    old: &Configuration,
    new: &Configuration,
    differences: &[Difference],
    heard: &BTreeMap<ZeekString, Heard>,
) -> Vec<InstancePlan> {
    let names = old.instances.iter().chain(&new.instances);
    let names: BTreeSet<&ZeekString> = names.map(|instance| &instance.name).collect();
    let of_instances = differences
        .iter()
        .filter(|difference| difference.what == What::Instance);
    let changes: BTreeMap<&str, Change> = of_instances
        .map(|difference| (difference.name.as_str(), difference.change))
        .collect();
    let plan = |name: &ZeekString| {
        let instance = text(name);
        let mut plan = InstancePlan {
            change: changes.get(instance.as_str()).copied(),
            instance,
            ..InstancePlan::default()
        };
        if let Some(heard) = heard.get(name) {
            match &heard.nodes {
                Nodes::Told(_) => {}
                Nodes::AllRestart(note) => plan.note = Some(note.clone()),
                Nodes::Unknown(reason) => plan.unknown = Some(reason.clone()),
            }
            let problem = |problem: &Problem| NodeProblem {
                node: text(&problem.node),
                reason: problem.reason.excerpt(MESSAGE_BYTES_MAX).to_string(),
            };
            plan.problems = heard.problems.iter().map(problem).collect();
        }
        plan
    };
    names.into_iter().map(plan).collect()
}

/// By what workers are of one group: instance, interface, and the number of the group.
type Group = (String, String, Option<String>);

fn group_of(node: &Node) -> Option<Group> {
    let interface = node.interface.as_ref().map(text)?;
    let is_shared = node.role == ClusterRole::Worker && interface.starts_with(SHARED);
    let mut options = node.options.iter().flat_map(|options| options.iter());
    let number = options.find(|option| option.name == FANOUT_ID);
    let number = number.map(|option| text(&option.value));
    is_shared.then(|| (text(&node.instance), interface, number))
}

/// Of the groups that run before and after, those whose flows are dealt anew.
fn groups(nodes: &[NodePlan], making: &Making<'_>) -> Vec<GroupPlan> {
    let mut groups: BTreeMap<Group, (GroupPlan, bool)> = BTreeMap::new();
    for plan in nodes {
        let name = ZeekString::from(plan.node.as_str());
        let runs = !matches!(plan.step, Step::Create | Step::Start | Step::StayStopped);
        let is_to_run = !matches!(plan.step, Step::Stop | Step::StayStopped);
        let before = making.old.get(&name).filter(|_| runs);
        let before = before.and_then(|node| group_of(node));
        let after = making.new.get(&name).filter(|_| is_to_run);
        let after = after.and_then(|node| group_of(node));
        let is_same = before == after;
        let restarts = plan.step == Step::Restart && is_same;
        for (group, is_before) in [(before, true), (after, false)] {
            let Some(group) = group else { continue };
            let (instance, interface) = (group.0.clone(), group.1.clone());
            let (group, is_dealt) = groups.entry(group).or_default();
            (group.instance, group.interface) = (instance, interface);
            *is_dealt |= restarts || !is_same;
            if is_before {
                group.before += 1;
                group.restart += usize::from(restarts);
            } else {
                group.after += 1;
            }
        }
    }
    let dealt = groups
        .into_values()
        .filter(|(group, is_dealt)| *is_dealt && group.before > 0 && group.after > 0);
    dealt.map(|(group, _)| group).collect()
}

#[cfg(test)]
mod tests;
