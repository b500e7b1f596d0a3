//! By what the nodes of a cluster talk to each other: a reserved option of the manager, which stands for all nodes. Zeek's records have
//! no place for it.

use broker_codec::data::ZeekString;

use crate::{ClusterRole, Configuration, Instance, Node, OptionRecord};

/// The option of the manager that says it: [`BROKER`] or [`ZEROMQ`].
pub const CLUSTER_BACKEND: &str = "mgmt.cluster_backend";

pub const BROKER: &str = "broker";
pub const ZEROMQ: &str = "zeromq";

impl Configuration {
    /// What its managers say: the first in the order of names that says something.
    pub fn cluster_backend(&self) -> Option<&ZeekString> {
        let managers = self.nodes.iter().filter(|node| node.role == ClusterRole::Manager);
        let chosen = managers.flat_map(|node| said(node).map(|value| (&node.name, value)));
        chosen.min().map(|(_, value)| value)
    }

    /// How its managers contradict each other, if they do: nodes of one cluster can only talk by the same.
    pub fn cluster_backend_contradiction(&self) -> Option<String> {
        let managers = self.nodes.iter().filter(|node| node.role == ClusterRole::Manager);
        let mut all: Vec<(&ZeekString, Option<&ZeekString>)> = Vec::new();
        for node in managers {
            all.extend(said(node).map(|value| (&node.name, Some(value))));
            if said(node).next().is_none() {
                all.push((&node.name, None));
            }
        }
        all.sort();
        let (first, one) = all.first()?;
        let (second, other) = all.iter().find(|(_, other)| other != one)?;
        let shown = |value: Option<&ZeekString>| value.map_or("none".to_owned(), ToString::to_string);
        Some(format!(
            "contradictory option {CLUSTER_BACKEND}: manager '{first}' has {}, manager '{second}' has {}; give all managers the same",
            shown(*one),
            shown(*other)
        ))
    }

    /// Has its managers say it. Returns whether there is one.
    pub fn set_cluster_backend(&mut self, backend: &ZeekString) -> bool {
        let nodes = std::mem::take(&mut self.nodes);
        let option = OptionRecord {
            name: CLUSTER_BACKEND.into(),
            value: backend.clone(),
        };
        let saying = |mut node: Node| {
            if node.role == ClusterRole::Manager {
                let options = node.options.take().unwrap_or_default();
                let others = options.iter().filter(|other| other.name != CLUSTER_BACKEND);
                node.options = Some(others.chain([&option]).cloned().collect());
            }
            node
        };
        self.nodes = nodes.into_iter().map(saying).collect();
        self.nodes.iter().any(|node| node.role == ClusterRole::Manager)
    }

    /// Whether all of its nodes are on one host.
    pub fn is_on_one_host(&self) -> bool {
        let of_node = |instance: &&Instance| self.nodes.iter().any(|node| node.instance == instance.name);
        let mut hosts = self
            .instances
            .iter()
            .filter(of_node)
            .map(|instance| instance.host);
        let first = hosts.next();
        hosts.all(|host| Some(host) == first)
    }
}

/// What a node's option says. There may be several of the name.
fn said(node: &Node) -> impl Iterator<Item = &ZeekString> {
    let options = node.options.iter().flat_map(|options| options.iter());
    options
        .filter(|option| option.name == CLUSTER_BACKEND)
        .map(|option| &option.value)
}
