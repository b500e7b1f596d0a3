//! One node of a file, of all that is said of it.

use std::collections::BTreeMap;

use broker_codec::data::{Set, ZeekString};
use mgmt_api::{ClusterRole, OptionRecord, operator::NodeEntry};

use super::{
    Level,
    cpus::in_ranges,
    expand::{Expansion, Group, Scope},
    fanout,
    names::Variables,
    problems::shown,
};

/// What is wrong with a node, and the line that says it.
type Wrong = (usize, String);

type Options = BTreeMap<ZeekString, ZeekString>;

impl<'a> Expansion<'a> {
    /// Adds a node of a group, whose name has this pattern, which is said in this line.
    pub(super) fn node(
        &mut self,
        group: &Group<'a>,
        pattern: (&str, usize),
        index: u32,
    ) -> Result<(), Wrong> {
        let role = group.role.to_string();
        let variables = Variables {
            instance: &group.instance.name,
            role: &role,
            capture: group.capture,
            index,
        };
        let name = self.name(group, &variables, pattern)?;
        let own = self.file.nodes.get(&name);
        let levels = own.map(|level| (Scope::Node, level)).into_iter();
        let levels: Vec<(Scope, &Level)> = levels.chain(group.levels.iter().copied()).collect();
        let env = |level: &'a Level| level.env.iter().map(|(name, value)| (&**name, &**value));
        let options = |level: &'a Level| level.options.iter().map(|(name, at)| (&**name, &*at.value));
        let mut options: Options = merged(&levels, options);
        let scripts = nearest(&levels, |level| level.scripts.as_ref());
        let mut node = NodeEntry {
            cpu_affinity: None,
            env: merged(&levels, env),
            instance: group.instance.name.as_str().into(),
            interface: None,
            metrics_port: own.and_then(|level| level.metrics_port),
            name: name.as_str().into(),
            options: None,
            port: own.and_then(|level| level.port),
            role: group.role,
            scripts: scripts
                .map(|scripts| scripts.iter().map(|script| script.as_str().into()).collect())
                .filter(|scripts: &Vec<_>| !scripts.is_empty()),
        };
        if group.role == ClusterRole::Worker {
            node.interface = self.interface(&levels, &variables, &mut options)?;
        } else {
            options.remove(fanout::OPTION.as_bytes());
            refuse_for_workers(&name, &role, own)?;
        }
        if let Some(cpus) = self.cpus(group, &name, own, index) {
            match cpus[..] {
                [cpu] => node.cpu_affinity = Some(cpu.into()),
                _ => _ = options.insert("mgmt.cpus".into(), in_list(&cpus).as_str().into()),
            }
        }
        let options = options
            .into_iter()
            .map(|(name, value)| OptionRecord { name, value });
        node.options = Some(options.collect::<Set<_>>()).filter(|options| !options.is_empty());
        self.config.nodes.push(node);
        Ok(())
    }

    /// A name that no other node has.
    fn name(
        &mut self,
        group: &Group<'a>,
        variables: &Variables<'_>,
        (pattern, line): (&str, usize),
    ) -> Result<String, Wrong> {
        let name = variables.filled_in(pattern);
        let name = name.map_err(|reason| (line, format!("name is {}: {reason}", shown(pattern))))?;
        match self.names.insert(name.clone(), group.instance.line) {
            None => Ok(name),
            Some(other) => {
                let name = shown(&name);
                let reason = format!(
                    "there is a node {name} already, of the instance at line {other}: say another name"
                );
                Err((line, reason))
            }
        }
    }

    /// What a worker captures from. Its fan-out group is noted, and is assigned where its capture may be one of several.
    fn interface(
        &mut self,
        levels: &[(Scope, &'a Level)],
        variables: &Variables<'_>,
        options: &mut Options,
    ) -> Result<Option<ZeekString>, Wrong> {
        let said = nearest(levels, |level| level.interface.as_ref());
        let interface = said.map(|at| {
            let told = |reason| (at.line, format!("interface is {}: {reason}", shown(&at.value)));
            variables.filled_in(&at.value).map_err(told)
        });
        let interface = interface.transpose()?;
        let by_af_packet = interface
            .as_ref()
            .filter(|interface| fanout::is_af_packet(interface));
        if let Some(interface) = by_af_packet {
            if variables.capture.is_some() {
                let assigned = || fanout::id_for(interface).as_str().into();
                options.entry(fanout::OPTION.into()).or_insert_with(assigned);
            }
            let id = options.get(fanout::OPTION.as_bytes()).map(ToString::to_string);
            self.groups.push((interface.clone(), id));
        } else if let Some(at) = nearest(levels, |level| level.options.get(fanout::OPTION)) {
            let interface = interface.map_or("no interface".to_owned(), |name| {
                format!("interface {}", shown(&name))
            });
            return Err((
                at.line,
                format!("a fanout_id is for interfaces such as af_packet::eth1, and there is {interface}"),
            ));
        }
        Ok(interface.map(|interface| interface.as_str().into()))
    }

    /// The CPUs that a node is to have, if that is said.
    fn cpus(
        &mut self,
        group: &Group<'a>,
        name: &str,
        own: Option<&'a Level>,
        index: u32,
    ) -> Option<Vec<u32>> {
        let own = own.and_then(|level| level.cpus.as_ref());
        let of_role = || {
            let mut levels = group.levels.iter().filter(|(scope, _)| *scope == Scope::Role);
            levels.find_map(|(_, level)| level.cpus.as_ref())
        };
        let said = match (own, group.role) {
            (Some(own), _) => own,
            (None, ClusterRole::Worker) => {
                // As many as workers, and the instance was looked at for them.
                let cpus = &group.cpus?.value;
                return cpus.get(index as usize - 1).map(|cpu| vec![*cpu]);
            }
            (None, _) => of_role()?,
        };
        self.refuse_absent_cpus(
            &format!("node {}", shown(name)),
            group.instance,
            said.line,
            &said.value,
        );
        Some(said.value.clone())
    }
}

fn nearest<'a, T>(
    levels: &[(Scope, &'a Level)],
    value: impl Fn(&'a Level) -> Option<&'a T>,
) -> Option<&'a T> {
    levels.iter().find_map(|(_, level)| value(level))
}

/// Names and values of all levels, of which the nearest count.
fn merged<'a, I: Iterator<Item = (&'a str, &'a str)>>(
    levels: &[(Scope, &'a Level)],
    of: impl Fn(&'a Level) -> I,
) -> BTreeMap<ZeekString, ZeekString> {
    let farthest_first = levels.iter().rev().flat_map(|(_, level)| of(level));
    farthest_first
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// What is said of a single node is meant for it.
fn refuse_for_workers(name: &str, role: &str, own: Option<&Level>) -> Result<(), Wrong> {
    let Some(level) = own else { return Ok(()) };
    let interface = level.interface.as_ref().map(|at| ("an interface", at.line));
    let fanout_id = level
        .options
        .get(fanout::OPTION)
        .map(|at| ("a fanout_id", at.line));
    match interface.or(fanout_id) {
        Some((what, line)) => Err((
            line,
            format!("node {} is a {role}, and only workers have {what}", shown(name)),
        )),
        None => Ok(()),
    }
}

/// As the agent reads it, which does not mind the order.
fn in_list(cpus: &[u32]) -> String {
    let mut cpus = cpus.to_vec();
    cpus.sort_unstable();
    in_ranges(cpus)
}
