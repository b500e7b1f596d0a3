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

/// Gives a Broker port to every manager, logger and proxy that has none: one ascending sequence for the whole
/// configuration, in the order of instance, role and name.
///
/// Ports of agents and nodes are left out wherever they are used, those of the controller and defaults are not.
pub(super) fn assign_broker_ports(config: &mut Configuration, start: Port) -> Result<(), NoPortLeft> {
    let agents = config
        .instances
        .iter()
        .filter_map(|instance| instance.listen_port);
    // DIFFERENCE(given-metrics-ports): given metrics ports are left out as well. Zeek takes no notice of them here,
    // and two listeners of one host may end up with the same port.
    let nodes = config
        .nodes
        .iter()
        .flat_map(|node| [node.p, node.metrics_port])
        .flatten();
    let taken: BTreeSet<u16> = agents.chain(nodes).map(|port| port.number).collect();
    let mut candidates = candidates(start);
    assign(config, |node| {
        if node.p.is_some() || !needs_broker_port(node.role) {
            return Ok(());
        }
        let number = candidates
            .find(|number| !taken.contains(number))
            .ok_or_else(|| NoPortLeft {
                usage: "Broker",
                node: node.name.clone(),
                start,
            })?;
        node.p = Some(Port::tcp(number));
        Ok(())
    })
}

/// Gives a metrics port to every node that has none: one ascending sequence per host, in the order of instance, role
/// and name. Instances whose host is not known yet count as one host. Runs after [`assign_broker_ports`].
pub(super) fn assign_metrics_ports(config: &mut Configuration, start: Port) -> Result<(), NoPortLeft> {
    let hosts: BTreeMap<ZeekString, Address> = config
        .instances
        .iter()
        .map(|instance| (instance.name.clone(), instance.host))
        .collect();
    let host_of = |node: &Node| {
        hosts
            .get(&node.instance)
            .copied()
            .unwrap_or(Address::UNSPECIFIED_V4)
    };
    // DIFFERENCE(agents-on-one-host): every agent's port is left out. Zeek remembers only one agent per host.
    let agents = config
        .instances
        .iter()
        .filter_map(|instance| Some((instance.host, instance.listen_port?.number)));
    let nodes = config.nodes.iter().flat_map(|node| {
        let ports = [node.p, node.metrics_port];
        ports
            .into_iter()
            .flatten()
            .map(move |port| (host_of(node), port.number))
    });
    let taken: BTreeSet<(Address, u16)> = agents.chain(nodes).collect();
    let mut candidates_of: BTreeMap<Address, RangeInclusive<u16>> = BTreeMap::new();
    assign(config, |node| {
        if node.metrics_port.is_some() || role_order(node.role).is_none() {
            return Ok(());
        }
        let host = host_of(node);
        let number = candidates_of
            .entry(host)
            .or_insert_with(|| candidates(start))
            .find(|number| !taken.contains(&(host, *number)))
            .ok_or_else(|| NoPortLeft {
                usage: "metrics",
                node: node.name.clone(),
                start,
            })?;
        node.metrics_port = Some(Port::tcp(number));
        Ok(())
    })
}

/// The port numbers to hand out, each once. Port 0 is none.
fn candidates(start: Port) -> RangeInclusive<u16> {
    start.number.max(1)..=u16::MAX
}

/// Visits the nodes in the order in which they get ports (`config_nodes_compare`).
fn assign(
    config: &mut Configuration,
    visit: impl FnMut(&mut Node) -> Result<(), NoPortLeft>,
) -> Result<(), NoPortLeft> {
    let mut nodes: Vec<Node> = config.nodes.iter().cloned().collect();
    nodes.sort_by(|a, b| {
        let key = |node: &Node| role_order(node.role);
        (&a.instance, key(a), &a.name).cmp(&(&b.instance, key(b), &b.name))
    });
    nodes.iter_mut().try_for_each(visit)?;
    config.nodes = nodes.into_iter().collect();
    Ok(())
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
