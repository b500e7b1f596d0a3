//! The text of `cluster-layout.zeek`, by which a node knows its cluster.
//!
//! `base/frameworks/cluster/__load__.zeek` loads it, before most else: it may only set what the cluster framework and `base/init-bare.zeek` have.
//! `global_hash_seed` is of the latter, in every Zeek from 6.0 on.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
};

use broker_codec::data::{Port, ZeekString};
use mgmt_api::ClusterRole;

use crate::core::{ClusterNode, is_on_one_host, writes_logs};

/// A cluster as nodes see it that are of one release of Zeek.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster<'a> {
    pub(super) nodes: &'a BTreeMap<ZeekString, ClusterNode>,
    /// The release's first two numbers.
    pub(super) release: (u32, u32),
    /// Whether all nodes are on one host.
    pub(super) is_local: bool,
}

impl<'a> Cluster<'a> {
    /// Fails if some nodes could not be reached by others.
    pub(super) fn new(
        nodes: &'a BTreeMap<ZeekString, ClusterNode>,
        release: (u32, u32),
    ) -> Result<Self, String> {
        let is_local = is_on_one_host(nodes);
        let is_anywhere = |node: &ClusterNode| IpAddr::from(node.host).is_unspecified();
        if !is_local && let Some((name, node)) = nodes.iter().find(|(_, node)| is_anywhere(node)) {
            let host = IpAddr::from(node.host);
            return Err(format!(
                "the cluster is on several hosts, and the address of {name} is {host}, where the others cannot reach it: give its \
                 instance an address"
            ));
        }
        Ok(Self {
            nodes,
            release,
            is_local,
        })
    }

    /// Where a node listens, and others reach it. What is on one host only is out of reach for others.
    pub(super) fn address(&self, node: &ClusterNode) -> IpAddr {
        if self.is_local {
            Ipv4Addr::LOCALHOST.into()
        } else {
            node.host.into()
        }
    }

    /// The manager: the first in the order of names, should there be several.
    pub(super) fn manager(&self) -> Option<(&'a ZeekString, &'a ClusterNode)> {
        let mut nodes = self.nodes.iter();
        nodes.find(|(_, node)| node.role == ClusterRole::Manager)
    }

    fn has_logger(&self) -> bool {
        self.nodes.values().any(|node| node.role == ClusterRole::Logger)
    }

    /// Whether a node writes the logs of others: a manager does where there is no logger.
    pub(super) fn is_logger(&self, node: &ClusterNode) -> bool {
        writes_logs(self.nodes, node)
    }

    /// The port for metrics, where Zeek has one for each node: from 7.0 on.
    pub(super) fn metrics_port(&self, node: &ClusterNode) -> Option<Port> {
        node.metrics_port
            .filter(|port| port.number != 0 && self.release >= (7, 0))
    }

    /// The content of the file: the same on all hosts where Zeek is of the same release.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("# Written by mgmt-agent whenever it starts the node.\n");
        if self.has_logger() {
            text += "redef Cluster::manager_is_logger = F;\n";
        }
        text += "redef Cluster::nodes = {\n";
        for (name, node) in self.nodes {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\t[{}] = [{}],", quoted(name), self.fields(node).join(", "));
        }
        text += "};\n";
        // Probabilistic data structures of different nodes can be merged only if all have the same seed. It is made of what the cluster
        // cannot change without all nodes being started anew, so that a node may join or change while the others run on; an id of the
        // configuration would be another one each time.
        if let Some((name, manager)) = self.manager() {
            let (address, port) = (self.address(manager), port(manager).unwrap_or_default());
            let seed = [name.as_bytes(), format!(" {address} {port}").as_bytes()].concat();
            let _ = writeln!(text, "redef global_hash_seed = {};", quoted(&seed));
        }
        text
    }

    /// `Cluster::Node`. A field that a Zeek does not have is an error there: `interface` has gone with 7.1, and was deprecated in 7.0.
    fn fields(&self, node: &ClusterNode) -> Vec<String> {
        let mut fields = vec![
            format!("$node_type=Cluster::{}", role(node.role)),
            format!("$ip={}", literal(self.address(node))),
        ];
        fields.extend(port(node).map(|port| format!("$p={port}/tcp")));
        let interface = node.interface.as_ref().filter(|_| self.release < (7, 0));
        fields.extend(interface.map(|interface| format!("$interface={}", quoted(interface))));
        if node.role != ClusterRole::Manager {
            let manager = self.manager();
            fields.extend(manager.map(|(manager, _)| format!("$manager={}", quoted(manager))));
        }
        let metrics = self.metrics_port(node);
        fields.extend(metrics.map(|port| format!("$metrics_port={}/tcp", port.number)));
        fields
    }
}

/// The port of a node that has one: 0 is none.
pub(super) fn port(node: &ClusterNode) -> Option<u16> {
    node.p.map(|port| port.number).filter(|number| *number != 0)
}

const fn role(role: ClusterRole) -> &'static str {
    match role {
        ClusterRole::None => "NONE",
        ClusterRole::Logger => "LOGGER",
        ClusterRole::Manager => "MANAGER",
        ClusterRole::Proxy => "PROXY",
        ClusterRole::Worker => "WORKER",
    }
}

/// An address as it stands in a script, and in front of a port.
pub(super) fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A string literal of these bytes.
fn quoted(bytes: &[u8]) -> String {
    let mut literal = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => literal.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => literal.push(char::from(*byte)),
            _ => {
                let _ = write!(literal, "\\x{byte:02x}");
            }
        }
    }
    literal.push('"');
    literal
}
