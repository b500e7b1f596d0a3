//! The nodes of a file.

use std::collections::{BTreeMap, BTreeSet};

use mgmt_api::{
    ClusterRole,
    operator::{ConfigurationFile, InstanceEntry, counted},
};

use super::{
    Facts, InstanceShape, Level, Shape, TomlFile,
    cpus::{Count, Cpus, in_ranges},
    fanout,
    names::{meant, tells_apart},
    problems::{At, Problems, shown},
};

/// The most nodes that are made of a file: a controller takes no more.
const NODES_MAX: usize = 50_000;

/// What the nodes of a role are called, if it is not said.
const NAMES: [(ClusterRole, &str); 4] = [
    (ClusterRole::Manager, "${instance}-manager"),
    (ClusterRole::Logger, "${instance}-logger-${index}"),
    (ClusterRole::Proxy, "${instance}-proxy-${index}"),
    (ClusterRole::Worker, "${instance}-worker-${index}"),
];

const NAME_OF_CAPTURE: &str = "${instance}-worker-${capture}-${index}";

impl TomlFile {
    /// The configuration that the file stands for, or all that keeps it from being one.
    pub(crate) fn expand(&self, facts: &Facts) -> Result<ConfigurationFile, Problems> {
        let mut expansion = Expansion {
            file: self,
            facts,
            config: ConfigurationFile::default(),
            names: BTreeMap::new(),
            groups: Vec::new(),
            problems: Problems::default(),
        };
        for instance in &self.instances {
            expansion.instance(instance);
        }
        // Of an instance with which something is wrong there may be no nodes.
        if expansion.problems.is_empty() {
            expansion.refuse_unknown_nodes();
        }
        expansion.problems.or(expansion.config)
    }
}

/// For which nodes of an instance something is said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Node,
    Capture,
    Role,
    All,
}

/// Nodes of an instance to which the same is said, but for single ones.
pub(super) struct Group<'a> {
    pub(super) instance: &'a InstanceShape,
    pub(super) role: ClusterRole,
    pub(super) capture: Option<&'a str>,
    pub(super) count: u32,
    /// What is said, the nearest first.
    pub(super) levels: Vec<(Scope, &'a Level)>,
    /// The CPUs that each of these workers has one of.
    pub(super) cpus: Option<&'a At<Vec<u32>>>,
}

pub(super) struct Expansion<'a> {
    pub(super) file: &'a TomlFile,
    facts: &'a Facts,
    pub(super) config: ConfigurationFile,
    /// The names of nodes, and the lines of their instances.
    pub(super) names: BTreeMap<String, usize>,
    /// Interfaces and fan-out groups of the present instance's workers by `AF_PACKET`.
    pub(super) groups: Vec<(String, Option<String>)>,
    problems: Problems,
}

impl<'a> Expansion<'a> {
    fn instance(&mut self, instance: &'a InstanceShape) {
        self.entry(instance);
        let template = self.template(instance);
        let shapes: Vec<&Shape> = [&instance.shape].into_iter().chain(template).collect();
        let nearest = |number: fn(&Shape) -> Option<u32>| shapes.iter().find_map(|shape| number(shape));
        let has_manager = shapes.iter().find_map(|shape| shape.has_manager) == Some(true);
        let counts = [
            (ClusterRole::Manager, u32::from(has_manager)),
            (
                ClusterRole::Logger,
                nearest(|shape| shape.loggers).unwrap_or_default(),
            ),
            (
                ClusterRole::Proxy,
                nearest(|shape| shape.proxies).unwrap_or_default(),
            ),
        ];
        self.groups.clear();
        for (role, count) in counts {
            let levels = self.levels(&shapes, role, None);
            self.group(&Group {
                instance,
                role,
                capture: None,
                count,
                levels,
                cpus: None,
            });
        }
        let captures = captures(&shapes);
        if captures.is_empty() {
            self.workers(instance, &shapes, None, false);
        }
        for capture in &captures {
            self.workers(instance, &shapes, Some(capture), captures.len() > 1);
        }
        if let Some(reason) = fanout::contradiction(&self.groups) {
            self.problems.add(
                instance.line,
                format!("instance {}: {reason}", shown(&instance.name)),
            );
        }
    }

    /// The instance itself.
    fn entry(&mut self, instance: &InstanceShape) {
        let host = instance.host.as_ref().and_then(|host| {
            let of_name = || match self.facts.addresses.get(&host.value) {
                Some(Ok(address)) => Ok(*address),
                Some(Err(reason)) => Err(reason.as_str()),
                None => Err("it was not looked up"),
            };
            let address = host.value.parse().or_else(|_| of_name());
            let told = address.map_err(|reason| {
                format!(
                    "instance {}: its host {} cannot be resolved: {reason}; write its address, or leave host out if its agent connects",
                    shown(&instance.name),
                    shown(&host.value)
                )
            });
            told.map_err(|told| self.problems.add(host.line, told)).ok()
        });
        self.config.instances.push(InstanceEntry {
            host,
            name: instance.name.as_str().into(),
            port: instance.shape.plain.port,
        });
    }

    fn template(&mut self, instance: &InstanceShape) -> Option<&'a Shape> {
        let wanted = instance.template.as_ref()?;
        let template = self.file.templates.get(&wanted.value);
        if template.is_none() {
            let meant = meant(&wanted.value, self.file.templates.keys().map(String::as_str));
            let (name, wanted_name) = (shown(&instance.name), shown(&wanted.value));
            self.problems.add(
                wanted.line,
                format!("instance {name}: there is no template {wanted_name}{meant}"),
            );
        }
        template
    }

    /// What is said of nodes of a role, and of a capture, on an instance of these shapes; the nearest first.
    fn levels(
        &self,
        shapes: &[&'a Shape],
        role: ClusterRole,
        capture: Option<&str>,
    ) -> Vec<(Scope, &'a Level)> {
        let shapes = shapes.iter().copied().chain([&self.file.defaults]);
        let levels = shapes.flat_map(|shape| {
            let of_capture = capture
                .and_then(|name| shape.capture(name))
                .map(|level| (Scope::Capture, level));
            let of_role = shape.roles.get(&role).map(|level| (Scope::Role, level));
            of_capture
                .into_iter()
                .chain(of_role)
                .chain([(Scope::All, &shape.plain)])
        });
        levels.collect()
    }

    /// The workers of an instance, or of one of its captures.
    fn workers(
        &mut self,
        instance: &'a InstanceShape,
        shapes: &[&'a Shape],
        capture: Option<&'a str>,
        is_one_of_several: bool,
    ) {
        let levels = self.levels(shapes, ClusterRole::Worker, capture);
        let what = of(instance, capture);
        let Some(wanted) = levels.iter().find_map(|(_, level)| level.workers.as_ref()) else {
            if let Some(line) = says_of_workers(shapes, capture) {
                self.problems.add(
                    line,
                    format!("{what}: how many workers does it have? Write workers = NUMBER"),
                );
            }
            return;
        };
        let count = match self.number(instance, wanted.value) {
            Ok(count) => count,
            Err(reason) => return self.problems.add(wanted.line, format!("{what}: {reason}")),
        };
        let cpus = levels
            .iter()
            .find_map(|(scope, level)| Some((*scope, level.cpus.as_ref()?)));
        if let Some((scope, cpus)) = cpus {
            if is_one_of_several && scope != Scope::Capture {
                return self.problems.add(
                    cpus.line,
                    format!("{what}: it needs cpus of its own, as the instance has several captures: they would have the same CPUs"),
                );
            }
            if cpus.value.len() < count as usize {
                return self.problems.add(
                    cpus.line,
                    format!(
                        "{what}: each worker has a CPU of its own, and for {count} workers there are {}: {}",
                        cpus.value.len(),
                        in_ranges(cpus.value.iter().copied())
                    ),
                );
            }
        }
        let group = Group {
            instance,
            role: ClusterRole::Worker,
            capture,
            count,
            levels,
            cpus: cpus.map(|(_, cpus)| cpus),
        };
        if let Some(cpus) = group.cpus {
            let used = cpus.value.get(..count as usize).unwrap_or_default();
            self.refuse_absent_cpus(&what, instance, cpus.line, used);
        }
        self.group(&group);
    }

    /// How many workers there are, or why that cannot be told.
    fn number(&self, instance: &InstanceShape, wanted: Count) -> Result<u32, String> {
        let except = match wanted {
            Count::Number(number) => return Ok(number),
            Count::CpusBut(except) => except,
        };
        let text = wanted.in_words();
        let cpus = match self.facts.cpus.get(&instance.name) {
            Some(Ok(cpus)) => cpus,
            told => {
                let reason = told.and_then(|told| told.as_ref().err());
                let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
                return Err(format!(
                    "how many CPUs it has is not known{reason}: write a number instead of \"{text}\", or have `mgmtctl config expand --cpus {}=NUMBER` \
                     make a configuration of the file",
                    shown(&instance.name)
                ));
            }
        };
        let number = u32::try_from(cpus.count()).unwrap_or(u32::MAX);
        let workers = number.checked_sub(except).filter(|workers| *workers > 0);
        workers.ok_or_else(|| {
            format!(
                "\"{text}\" leaves no worker: it has {}, {}",
                counted(cpus.count(), "CPU"),
                cpus.in_words()
            )
        })
    }

    /// More CPUs are asked for than there are.
    pub(super) fn refuse_absent_cpus(
        &mut self,
        what: &str,
        instance: &InstanceShape,
        line: usize,
        used: &[u32],
    ) {
        let Some(Ok(there)) = self.facts.cpus.get(&instance.name) else {
            return;
        };
        let absent = there.lacking(used);
        if !absent.is_empty() {
            self.problems.add(line, without(what, &absent, there));
        }
    }

    fn group(&mut self, group: &Group<'a>) {
        if self.config.nodes.len() + group.count as usize > NODES_MAX {
            let line = group.instance.line;
            return self.problems.add(
                line,
                format!("a cluster may have {NODES_MAX} nodes, and here there are more"),
            );
        }
        let said = group.levels.iter().find_map(|(_, level)| level.name.as_ref());
        let usual = NAMES.iter().find(|(role, _)| *role == group.role);
        let usual = usual.map_or("", |(_, name)| name);
        let usual = if group.capture.is_some() {
            NAME_OF_CAPTURE
        } else {
            usual
        };
        let (pattern, line) = said.map_or((usual, group.instance.line), |at| (&at.value, at.line));
        if group.count > 1 && !tells_apart(pattern) {
            let what = of(group.instance, group.capture);
            return self.problems.add(
                line,
                format!(
                    "{what}: {} would be the name of {} nodes: it needs ${{index}}",
                    shown(pattern),
                    group.count
                ),
            );
        }
        for index in 1..=group.count {
            if let Err((line, reason)) = self.node(group, (pattern, line), index) {
                let what = of(group.instance, group.capture);
                // The next ones would have the same.
                return self.problems.add(line, format!("{what}: {reason}"));
            }
        }
    }

    fn refuse_unknown_nodes(&mut self) {
        for (name, level) in &self.file.nodes {
            if self.names.contains_key(name) || self.problems.is_full() {
                continue;
            }
            let meant = meant(name, self.names.keys().map(String::as_str));
            self.problems
                .add(level.line, format!("there is no node {}{meant}", shown(name)));
        }
    }
}

/// The captures of these shapes by their names, each once, those of the template first.
fn captures<'a>(shapes: &[&'a Shape]) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    let all = shapes.iter().rev().flat_map(|shape| &shape.captures);
    let names = all.map(|(name, _)| name.as_str());
    names.filter(|name| seen.insert(*name)).collect()
}

/// The line where something is said of workers on an instance of these shapes, or of one of its captures.
fn says_of_workers(shapes: &[&Shape], capture: Option<&str>) -> Option<usize> {
    if let Some(name) = capture {
        return shapes
            .iter()
            .find_map(|shape| shape.capture(name))
            .map(|level| level.line);
    }
    let of_workers = shapes
        .iter()
        .flat_map(|shape| [Some(&shape.plain), shape.roles.get(&ClusterRole::Worker)]);
    of_workers.flatten().find_map(|level| {
        let cpus = level.cpus.as_ref().map(|at| at.line);
        cpus.or(level.interface.as_ref().map(|at| at.line))
    })
}

/// What something is said of.
fn of(instance: &InstanceShape, capture: Option<&str>) -> String {
    let name = shown(&instance.name);
    match capture {
        Some(capture) => format!("instance {name}, capture {}", shown(capture)),
        None => format!("instance {name}"),
    }
}

fn without(what: &str, absent: &[u32], there: &Cpus) -> String {
    let is = if absent.len() == 1 {
        "is no CPU"
    } else {
        "are no CPUs"
    };
    let absent = in_ranges(absent.iter().copied());
    format!(
        "{what}: there {is} {absent}: the instance has {}",
        there.in_words()
    )
}
