//! From the nodes of a configuration to what the Supervisor needs in order to start them.

use std::{collections::BTreeMap, sync::Arc};

use broker_codec::data::{Address, Port, ZeekString};
use mgmt_api::{Configuration, Node};
use serde::{Deserialize, Serialize};

use super::{
    settings::{Settings, Supervise},
    supervision::{ClusterNode, NodeSpec},
};

/// What a node needs of its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// With what its configuration says of it alone: without its cluster, and the script that every node gets.
    pub spec: NodeSpec,
    /// Where it is to listen.
    pub ports: Vec<Port>,
    /// Whether it runs already: then it has the space that it needs.
    #[serde(default)]
    pub runs: bool,
}

/// A cluster's nodes, by name.
pub(super) type Cluster = BTreeMap<ZeekString, ClusterNode>;

/// The whole cluster, as each of its nodes needs to know it; or what is wrong with the configuration.
///
/// DIFFERENCE(undeclared-instance): Zeek's agent fails in a script error and does not answer. Zeek's controller does not
/// let such a configuration through.
pub(super) fn cluster(config: &Configuration) -> Result<Cluster, String> {
    let hosts: BTreeMap<&ZeekString, Address> = config
        .instances
        .iter()
        .map(|instance| (&instance.name, instance.host))
        .collect();
    config
        .nodes
        .iter()
        .map(|node| {
            let host = *hosts.get(&node.instance).ok_or_else(|| {
                let Node { name, instance, .. } = node;
                format!("node '{name}' has undeclared instance name '{instance}'")
            })?;
            let place = ClusterNode {
                role: node.role,
                host,
                p: node.p,
                interface: node.interface.clone(),
                metrics_port: node.metrics_port,
            };
            Ok((node.name.clone(), place))
        })
        .collect()
}

/// Likewise, where nodes may be started as a configuration says that no Supervisor of Zeek's would understand.
pub(super) fn checked_cluster(config: &Configuration, supervise: Supervise) -> Result<Cluster, String> {
    let contradiction = config.cluster_backend_contradiction();
    match contradiction.filter(|_| supervise != Supervise::Zeek) {
        Some(contradiction) => Err(contradiction),
        None => cluster(config),
    }
}

/// How a node of a configuration is to be started in its cluster, or why it cannot be. `Node.state` means nothing to Zeek's agent.
pub(super) fn node_spec(
    config: &Configuration,
    cluster: &Arc<Cluster>,
    node: &Node,
    settings: &Settings,
) -> Result<NodeSpec, String> {
    let mut spec = of_node(node, directory(&settings.state_dir, &node.name)?);
    // Where nodes are started without it, what starts them has a script of its own.
    if settings.supervise == Supervise::Zeek {
        spec.scripts.push(settings.node_script.clone());
    }
    let own = std::mem::replace(&mut spec.env, settings.node_env.clone());
    spec.env.extend(own);
    spec.cluster = Arc::clone(cluster);
    spec.cluster_backend = config.cluster_backend().cloned();
    Ok(spec)
}

/// What a node's configuration says of it alone.
fn of_node(node: &Node, directory: ZeekString) -> NodeSpec {
    let options = node.options.iter().flat_map(|options| options.iter());
    let options = options
        .map(|option| (option.name.clone(), option.value.clone()))
        .collect();
    NodeSpec {
        name: node.name.clone(),
        interface: node.interface.clone(),
        directory,
        scripts: node.scripts.clone().unwrap_or_default(),
        env: node.env.clone(),
        cpu_affinity: node.cpu_affinity,
        options,
        cluster_backend: None,
        cluster: Arc::default(),
    }
}

/// What of a node can be looked at before it is started.
pub(super) fn candidate(node: &Node, directory: ZeekString) -> Candidate {
    Candidate {
        spec: of_node(node, directory),
        ports: [node.p, node.metrics_port].into_iter().flatten().collect(),
        runs: false,
    }
}

/// The working directory of a node: `<state>/nodes/<name>`; or why there is none.
///
/// DIFFERENCE(node-directory): Zeek's agent takes any name, `../../etc` as well. A name that Zeek's Supervisor does not
/// take, because it is empty or has spaces, is left to that.
pub(super) fn directory(state_dir: &ZeekString, node: &ZeekString) -> Result<ZeekString, String> {
    let elsewhere = [b".".as_slice(), b".."].contains(&node.as_bytes());
    if elsewhere || node.iter().any(|byte| b"/\0".contains(byte)) {
        return Err("its name cannot be that of a directory".into());
    }
    Ok(below(&below(state_dir, b"nodes"), node))
}

fn below(directory: &[u8], name: &[u8]) -> ZeekString {
    let separator: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, separator, name].concat().into()
}
