//! What a configuration must fulfil to be staged (`controller/main.zeek`, `config_validate`).
//!
//! Not checked, as in Zeek: metrics ports, the WebSocket port, the agents' default port, options but that for the backend, scripts,
//! interfaces, empty names, how many managers there are.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::{Excerpt, Port, ZeekString, is_hostile};
use mgmt_api::{ClusterRole, Configuration, Node};

use super::{peers::INSTANCE_NAME_BYTES_MAX, settings::Settings};

/// How many instances a configuration may have.
const INSTANCES_MAX: usize = 10_000;

/// How many nodes.
const NODES_MAX: usize = 50_000;

/// How many bytes are shown of a name that is too long.
const SHOWN_MAX: usize = 64;

/// Why a configuration cannot be staged, in Zeek's words, sorted by their bytes, and what this project adds; nothing if it can.
pub(super) fn validate(config: &Configuration, settings: &Settings) -> Vec<ZeekString> {
    // Nothing else of so much is looked at: others wait meanwhile, and what is said of it would be as long.
    let mut errors = [too_many(config), long_names(config)].concat();
    errors.sort();
    if !errors.is_empty() {
        return errors;
    }
    let mut errors = [
        unreadable_names(config),
        repeated_names(
            "instances",
            config.instances.iter().map(|instance| &instance.name),
        ),
        repeated_names("nodes", config.nodes.iter().map(|node| &node.name)),
        colliding_names(config),
        undeclared_instances(config),
        conflicts_with_agent_ports(config),
        conflicts_with_controller_port(config, settings.broker_port),
        repeated_node_ports(config),
        missing_broker_ports(config, settings.auto_assign_broker_ports),
        contradictory_backends(config),
    ]
    .concat();
    errors.sort();
    errors
}

/// DIFFERENCE(readable-names): names are kept with every event, and an agent of such a name is refused.
fn long_names(config: &Configuration) -> Vec<ZeekString> {
    let instances = config.instances.iter().map(|instance| &instance.name);
    let nodes = config.nodes.iter().flat_map(|node| [&node.name, &node.instance]);
    let long = instances
        .chain(nodes)
        .filter(|name| name.len() > INSTANCE_NAME_BYTES_MAX);
    let errors = long.collect::<BTreeSet<_>>().into_iter().map(|name| {
        let name = name.excerpt(SHOWN_MAX);
        format!("{name:?} is too long: names of instances and nodes may have {INSTANCE_NAME_BYTES_MAX} bytes")
            .into()
    });
    errors.collect()
}

/// DIFFERENCE(readable-names): names are in logs, in tables and on terminals.
fn unreadable_names(config: &Configuration) -> Vec<ZeekString> {
    let instances = config
        .instances
        .iter()
        .map(|instance| ("instance", &instance.name));
    let nodes = config.nodes.iter().map(|node| ("node", &node.name));
    let unreadable = instances
        .chain(nodes)
        .filter(|(_, name)| name.to_str_lossy().chars().any(is_hostile));
    let errors = unreadable.map(|(what, name)| {
        format!(
            "{what} {:?} has characters in its name that cannot be shown",
            Excerpt::new(name.as_bytes())
        )
        .into()
    });
    errors.collect()
}

fn too_many(config: &Configuration) -> Vec<ZeekString> {
    let counts = [
        ("instances", config.instances.len(), INSTANCES_MAX),
        ("nodes", config.nodes.len(), NODES_MAX),
    ];
    let exceeded = counts.into_iter().filter(|(_, count, max)| count > max);
    let errors = exceeded
        .map(|(what, count, max)| format!("{count} {what} are too many: a cluster may have {max}").into());
    errors.collect()
}

/// Whether a node of this role listens for Broker connections of other nodes.
pub(super) const fn needs_broker_port(role: ClusterRole) -> bool {
    matches!(
        role,
        ClusterRole::Manager | ClusterRole::Logger | ClusterRole::Proxy
    )
}

/// Records that are identical in every field are one element of the set, and go unnoticed.
fn repeated_names<'a>(what: &str, names: impl Iterator<Item = &'a ZeekString>) -> Vec<ZeekString> {
    let repeated = repeated(names).into_iter();
    let errors = repeated.map(|name| text(&[b"multiple ", what.as_bytes(), b" named '", name, b"'"]));
    errors.collect()
}

fn colliding_names(config: &Configuration) -> Vec<ZeekString> {
    let instances = instance_names(config);
    let nodes: BTreeSet<_> = config.nodes.iter().map(|node| &node.name).collect();
    let both: Vec<_> = instances.intersection(&nodes).copied().collect();
    if both.is_empty() {
        return Vec::new();
    }
    vec![text(&[b"node and instance names collide: ", &joined(&both)])]
}

fn undeclared_instances(config: &Configuration) -> Vec<ZeekString> {
    let instances = instance_names(config);
    config
        .nodes
        .iter()
        .filter(|node| !instances.contains(&node.instance))
        .map(|node| {
            text(&[
                b"node '",
                &node.name,
                b"' has undeclared instance name '",
                &node.instance,
                b"'",
            ])
        })
        .collect()
}

fn conflicts_with_agent_ports(config: &Configuration) -> Vec<ZeekString> {
    let agents: BTreeSet<_> = config
        .instances
        .iter()
        .filter_map(|instance| Some((&instance.name, instance.listen_port?)))
        .collect();
    nodes_with_port(config)
        .filter(|(node, port)| agents.contains(&(&node.instance, *port)))
        .map(|(node, port)| {
            text(&[
                b"node '",
                &node.name,
                b"' port ",
                port.in_zeek().as_bytes(),
                b" conflicts with agent port on instance '",
                &node.instance,
                b"'",
            ])
        })
        .collect()
}

/// On any instance: whether controller and node share a host is not known.
fn conflicts_with_controller_port(config: &Configuration, controller: Option<Port>) -> Vec<ZeekString> {
    nodes_with_port(config)
        .filter(|(_, port)| Some(*port) == controller)
        .map(|(node, port)| {
            text(&[
                b"node '",
                &node.name,
                b"' port ",
                port.in_zeek().as_bytes(),
                b" conflicts with controller port",
            ])
        })
        .collect()
}

fn repeated_node_ports(config: &Configuration) -> Vec<ZeekString> {
    repeated(nodes_with_port(config).map(|(node, port)| (&node.instance, port)))
        .into_iter()
        .map(|(instance, port)| {
            text(&[
                b"multiple nodes on instance '",
                instance,
                b"' using port ",
                port.in_zeek().as_bytes(),
            ])
        })
        .collect()
}

fn missing_broker_ports(config: &Configuration, auto_assign: bool) -> Vec<ZeekString> {
    if auto_assign {
        return Vec::new();
    }
    let mut lacking: Vec<_> = config
        .nodes
        .iter()
        .filter(|node| needs_broker_port(node.role) && node.p.is_none())
        .map(|node| &node.name)
        .collect();
    if lacking.is_empty() {
        return Vec::new();
    }
    lacking.sort();
    vec![text(&[
        b"Broker port auto-assignment disabled but nodes ",
        &joined(&lacking),
        b" lack ports",
    ])]
}

/// DIFFERENCE(backend-contradicted): Zeek knows no such option, and lets any through.
fn contradictory_backends(config: &Configuration) -> Vec<ZeekString> {
    config
        .cluster_backend_contradiction()
        .into_iter()
        .map(ZeekString::from)
        .collect()
}

fn instance_names(config: &Configuration) -> BTreeSet<&ZeekString> {
    config.instances.iter().map(|instance| &instance.name).collect()
}

fn nodes_with_port(config: &Configuration) -> impl Iterator<Item = (&Node, Port)> {
    config.nodes.iter().filter_map(|node| Some((node, node.p?)))
}

/// Those that come more than once, once each.
fn repeated<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_insert(0u32) += 1;
    }
    counts
        .into_iter()
        .filter_map(|(item, count)| (count > 1).then_some(item))
        .collect()
}

fn joined(names: &[&ZeekString]) -> Vec<u8> {
    names
        .iter()
        .map(|name| name.as_bytes())
        .collect::<Vec<_>>()
        .join(&b", "[..])
}

fn text(parts: &[&[u8]]) -> ZeekString {
    parts.concat().into()
}
