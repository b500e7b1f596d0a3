//! Configurations in TOML: instances by their shape, from which the nodes are made. docs/configurations.md has all keys.
//!
//! ```text
//! [template.sensor]                  a shape that several instances have
//! interface = "af_packet::eth1"
//! workers = 8
//! cpus = "2-9"
//!
//! [instance.sensor1]                 an instance
//! template = "sensor"
//! ```
//!
//! A file is [read](read()) as what it says, and [expanded](TomlFile::expand) with [`Facts`] that it does not have: to what addresses host names resolve, and which
//! CPUs instances have. Both are pure: the same text and facts give the same configuration. [`crate::facts`] gathers them.
//!
//! | module | what |
//! |---|---|
//! | [`cpus`] | numbers of CPUs, and of workers by them |
//! | [`expand`] | the nodes of a file |
//! | [`fanout`] | fan-out groups of `AF_PACKET` |
//! | [`names`] | names by a pattern, and what name was meant |
//! | [`node`] | one node, of all that is said of it |
//! | [`problems`] | what is wrong with a file |
//! | [`mod@read`] | the keys of a file |
//! | [`values`] | the values of keys |

mod cpus;
mod expand;
mod fanout;
mod names;
mod node;
mod problems;
mod read;
#[cfg(test)]
mod tests;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
};

use broker_codec::data::Address;
use mgmt_api::ClusterRole;

use self::{cpus::Count, problems::At};
pub(crate) use self::{
    cpus::{Cpus, given},
    read::{looks_like_toml, read},
};

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct TomlFile {
    defaults: Shape,
    templates: BTreeMap<String, Shape>,
    /// In the order of the file.
    instances: Vec<InstanceShape>,
    /// What is said of single nodes.
    nodes: BTreeMap<String, Level>,
}

/// An instance, as far as it does not have a template's shape.
#[derive(Debug)]
struct InstanceShape {
    name: String,
    line: usize,
    /// An address or the name of a host.
    host: Option<At<String>>,
    template: Option<At<String>>,
    /// Its port is the agent's.
    shape: Shape,
}

/// What runs on an instance, as far as it is said.
#[derive(Debug, Default)]
struct Shape {
    plain: Level,
    roles: BTreeMap<ClusterRole, Level>,
    /// By name, in the order of the file.
    captures: Vec<(String, Level)>,
    has_manager: Option<bool>,
    loggers: Option<u32>,
    proxies: Option<u32>,
}

/// What is said of nodes in one place of a file.
#[derive(Debug, Default)]
struct Level {
    line: usize,
    env: BTreeMap<String, String>,
    /// Zeek's, and those of the agent's that have keys of their own here.
    options: BTreeMap<String, At<String>>,
    scripts: Option<Vec<String>>,
    interface: Option<At<String>>,
    /// In the order of the file.
    cpus: Option<At<Vec<u32>>>,
    workers: Option<At<Count>>,
    /// The pattern of names.
    name: Option<At<String>>,
    port: Option<NonZeroU16>,
    metrics_port: Option<NonZeroU16>,
}

/// What a file does not say of itself.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The addresses of hosts by their names, or why there is none.
    pub(crate) addresses: BTreeMap<String, Result<Address, String>>,
    /// The CPUs of instances by their names, or why they are not known.
    pub(crate) cpus: BTreeMap<String, Result<Cpus, String>>,
}

impl TomlFile {
    pub(crate) fn has_instance(&self, name: &str) -> bool {
        self.instances.iter().any(|instance| instance.name == name)
    }

    /// The instances with names of hosts instead of addresses, and these.
    pub(crate) fn host_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.instances.iter().filter_map(|instance| {
            let host = instance.host.as_ref()?.value.as_str();
            host.parse::<Address>()
                .is_err()
                .then_some((&*instance.name, host))
        })
    }

    /// The instances whose number of workers follows from that of their CPUs.
    pub(crate) fn that_count_cpus(&self) -> BTreeSet<&str> {
        self.instances_that(&|level| matches!(&level.workers, Some(workers) if workers.value.is_by_cpus()))
    }

    /// Those, and the ones that name CPUs.
    pub(crate) fn that_use_cpus(&self) -> BTreeSet<&str> {
        let name_some = self.instances_that(&|level| level.cpus.is_some());
        let by_nodes = self.nodes.values().any(|level| level.cpus.is_some());
        let by_nodes = self.instances.iter().filter(|_| by_nodes);
        let by_nodes = by_nodes.map(|instance| instance.name.as_str());
        by_nodes.chain(name_some).chain(self.that_count_cpus()).collect()
    }

    /// The instances to which something is said for which this holds.
    fn instances_that(&self, holds: &dyn Fn(&Level) -> bool) -> BTreeSet<&str> {
        let by_default = self.defaults.levels().any(holds);
        let do_so = |instance: &&InstanceShape| {
            let template = self.template(instance).map(|(_, shape)| shape);
            by_default
                || template
                    .into_iter()
                    .chain([&instance.shape])
                    .any(|shape| shape.levels().any(holds))
        };
        self.instances
            .iter()
            .filter(do_so)
            .map(|instance| instance.name.as_str())
            .collect()
    }

    /// The template of an instance, if there is one of that name.
    fn template(&self, instance: &InstanceShape) -> Option<(&String, &Shape)> {
        self.templates.get_key_value(&instance.template.as_ref()?.value)
    }
}

impl Shape {
    fn levels(&self) -> impl Iterator<Item = &Level> {
        let captures = self.captures.iter().map(|(_, level)| level);
        [&self.plain]
            .into_iter()
            .chain(self.roles.values())
            .chain(captures)
    }

    fn capture(&self, name: &str) -> Option<&Level> {
        let (_, level) = self.captures.iter().find(|(own, _)| own == name)?;
        Some(level)
    }
}
