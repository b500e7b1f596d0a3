//! Ports for the nodes that have none (`controller/main.zeek`, `config_assign_broker_ports`,
//! `config_assign_metrics_ports`).
//!
//! Ports count by number here, for all protocols.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use broker_codec::data::{Address, Port, ZeekString};
use mgmt_api::{ClusterRole, Configuration, Node};

use super::validate::needs_broker_port;

/// A node needs a port and there is none left.
///
/// DIFFERENCE(ports-run-out): Zeek counts on beyond 65535.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no {usage} port left for node '{node}': all from {start} to {}/tcp are taken",
    u16::MAX
)]
pub(super) struct NoPortLeft {
    usage: &'static str,
    node: ZeekString,
    start: Port,
}

/// A kind of ports that nodes are given.
struct Range {
    usage: &'static str,
    /// The first of them.
    start: Port,
    needs: fn(&Node) -> bool,
    of: fn(&Node) -> Option<Port>,
    give: fn(&mut Node, Port),
}

/// Gives a Broker port to every manager, logger and proxy that has none: one ascending sequence for the whole
/// configuration, in the order of instance, role and name.
///
/// Ports of agents and nodes are left out wherever they are used, those of the controller and defaults are not.
///
/// DIFFERENCE(given-metrics-ports): given metrics ports are left out as well. Zeek takes no notice of them here,
/// and two listeners of one host may end up with the same port.
pub(super) fn assign_broker_ports(
    config: &mut Configuration,
    deployed: Option<&Configuration>,
    start: Port,
) -> Result<(), NoPortLeft> {
    let range = Range {
        usage: "Broker",
        start,
        needs: |node| node.p.is_none() && needs_broker_port(node.role),
        of: |node| node.p,
        give: |node, port| node.p = Some(port),
    };
    assign(config, deployed, &range, |_| Address::UNSPECIFIED_V4)
}

/// Gives a metrics port to every node that has none: one ascending sequence per host, in the order of instance, role
/// and name. Instances whose host is not known yet, nor from the deployed configuration, count as one host. Runs after [`assign_broker_ports`].
///
/// DIFFERENCE(agents-on-one-host): every agent's port is left out. Zeek remembers only one agent per host.
pub(super) fn assign_metrics_ports(
    config: &mut Configuration,
    deployed: Option<&Configuration>,
    start: Port,
) -> Result<(), NoPortLeft> {
    let known = |config: &Configuration| {
        let instances = config.instances.iter();
        let known = instances.filter(|instance| instance.host != Address::UNSPECIFIED_V4);
        known
            .map(|instance| (instance.name.clone(), instance.host))
            .collect::<Vec<_>>()
    };
    // Of one that is away now.
    let earlier = deployed.into_iter().flat_map(known);
    let hosts: BTreeMap<ZeekString, Address> = earlier.chain(known(config)).collect();
    let range = Range {
        usage: "metrics",
        start,
        needs: |node| node.metrics_port.is_none() && role_order(node.role).is_some(),
        of: |node| node.metrics_port,
        give: |node, port| node.metrics_port = Some(port),
    };
    assign(config, deployed, &range, |instance| {
        hosts.get(instance).copied().unwrap_or(Address::UNSPECIFIED_V4)
    })
}

/// Gives a port to every node that needs one, in their order (`config_nodes_compare`), each once on its host. Port 0 is none.
///
/// DIFFERENCE(kept-ports): a node has the port that it has in the deployed configuration, if that is free and of the range, and nodes are started by
/// our agents. In Zeek a node more or less moves the ports of those behind it; here that would restart them, and for some of them the whole cluster.
fn assign(
    config: &mut Configuration,
    deployed: Option<&Configuration>,
    range: &Range,
    host_of: impl Fn(&ZeekString) -> Address,
) -> Result<(), NoPortLeft> {
    let agents = config.instances.iter();
    let agents = agents.filter_map(|instance| Some((host_of(&instance.name), instance.listen_port?.number)));
    let given = config.nodes.iter().flat_map(|node| {
        let ports = [node.p, node.metrics_port].into_iter().flatten();
        ports.map(|port| (host_of(&node.instance), port.number))
    });
    let mut taken: BTreeSet<(Address, u16)> = agents.chain(given).collect();
    let mut nodes: Vec<Node> = config.nodes.iter().cloned().collect();
    nodes.sort_by(|a, b| {
        let key = |node: &Node| role_order(node.role);
        (&a.instance, key(a), &a.name).cmp(&(&b.instance, key(b), &b.name))
    });
    keep(&mut nodes, deployed, range, &host_of, &mut taken);
    let mut candidates_of: BTreeMap<Address, RangeInclusive<u16>> = BTreeMap::new();
    for node in nodes.iter_mut().filter(|node| (range.needs)(node)) {
        let host = host_of(&node.instance);
        let candidates = candidates_of
            .entry(host)
            .or_insert(range.start.number.max(1)..=u16::MAX);
        let number = candidates.find(|number| !taken.contains(&(host, *number)));
        let number = number.ok_or_else(|| NoPortLeft {
            usage: range.usage,
            node: node.name.clone(),
            start: range.start,
        })?;
        (range.give)(node, Port::tcp(number));
    }
    config.nodes = nodes.into_iter().collect();
    Ok(())
}

/// Gives nodes the ports that they have in the deployed configuration.
fn keep(
    nodes: &mut [Node],
    deployed: Option<&Configuration>,
    range: &Range,
    host_of: impl Fn(&ZeekString) -> Address,
    taken: &mut BTreeSet<(Address, u16)>,
) {
    let deployed = deployed.into_iter().flat_map(|config| &config.nodes);
    let deployed: BTreeMap<(&ZeekString, &ZeekString), Port> = deployed
        .filter_map(|node| Some(((&node.instance, &node.name), (range.of)(node)?)))
        .collect();
    for node in nodes.iter_mut().filter(|node| (range.needs)(node)) {
        let Some(port) = deployed.get(&(&node.instance, &node.name)) else {
            continue;
        };
        if port.number >= range.start.number.max(1) && taken.insert((host_of(&node.instance), port.number)) {
            (range.give)(node, Port::tcp(port.number));
        }
    }
}

/// The order of the roles that can have ports.
const fn role_order(role: ClusterRole) -> Option<u8> {
    match role {
        ClusterRole::Manager => Some(0),
        ClusterRole::Logger => Some(1),
        ClusterRole::Proxy => Some(2),
        ClusterRole::Worker => Some(3),
        ClusterRole::None => None,
    }
}
