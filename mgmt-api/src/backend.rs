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
        let chosen = self.nodes.iter().filter_map(|node| {
            let mut options = node.options.iter().flat_map(|options| options.iter());
            let option = options.find(|option| option.name == CLUSTER_BACKEND)?;
            Some((&node.name, &option.value)).filter(|_| node.role == ClusterRole::Manager)
        });
        chosen.min().map(|(_, value)| value)
    }

    /// Has its managers say it. Returns whether there is one.
    pub fn set_cluster_backend(&mut self, backend: &ZeekString) -> bool {
        let nodes = std::mem::take(&mut self.nodes);
        let option = OptionRecord {
            name: CLUSTER_BACKEND.into(),
            value: backend.clone(),
        };
        let said = |mut node: Node| {
            if node.role == ClusterRole::Manager {
                let options = node.options.take().unwrap_or_default();
                let others = options.iter().filter(|other| other.name != CLUSTER_BACKEND);
                node.options = Some(others.chain([&option]).cloned().collect());
            }
            node
        };
        self.nodes = nodes.into_iter().map(said).collect();
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
