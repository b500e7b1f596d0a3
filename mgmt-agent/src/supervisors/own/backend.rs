//! By what the nodes of a cluster talk to each other: Broker or ZeroMQ.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use broker_codec::data::ZeekString;
use mgmt_api::{CLUSTER_BACKEND, ClusterRole, backend};

use super::layout::{Cluster, port};
use crate::core::{ClusterNode, NodeSpec, order::ZEROMQ as ZEROMQ_SCRIPT};

/// The first Zeek whose nodes load their backend, and have ZeroMQ unless told otherwise.
const BY_SCRIPT: (u32, u32) = (8, 1);
/// The first that has ZeroMQ, and the first that encrypts it.
const ZEROMQ: (u32, u32) = (7, 1);
const CURVE: (u32, u32) = (8, 2);

/// For how long one that has read a trace waits for loggers to take what it has for them, in milliseconds.
const TRACE_LINGER_MS: u32 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Broker,
    /// Where the manager forwards what the others say to all.
    ZeroMq {
        xpub: SocketAddr,
        xsub: SocketAddr,
    },
}

impl Backend {
    /// What the manager's option says; else ZeroMQ where that is Zeek's own choice, all nodes are on one host, and it has the ports that it
    /// needs; else Broker.
    pub(super) fn of(spec: &NodeSpec, cluster: &Cluster<'_>) -> Result<Self, String> {
        match &spec.cluster_backend {
            Some(said) if *said == backend::BROKER => Ok(Self::Broker),
            Some(said) if *said == backend::ZEROMQ => {
                is_possible(spec, cluster)?;
                Self::zeromq(cluster)
            }
            Some(other) => Err(format!(
                "the manager's option {CLUSTER_BACKEND} is {other}: broker or zeromq is needed"
            )),
            None if cluster.release >= BY_SCRIPT && cluster.is_local => {
                Ok(Self::zeromq(cluster).unwrap_or(Self::Broker))
            }
            None => Ok(Self::Broker),
        }
    }

    /// Fails if a port is lacking.
    fn zeromq(cluster: &Cluster<'_>) -> Result<Self, String> {
        let without_port = |(_, node): &(&ZeekString, &ClusterNode)| {
            (node.role == ClusterRole::Manager || cluster.is_logger(node)) && port(node).is_none()
        };
        if let Some((name, _)) = cluster.nodes.iter().find(without_port) {
            return Err(format!(
                "{name} has no port: with ZeroMQ manager and loggers need one"
            ));
        }
        let (_, manager) = cluster
            .manager()
            .ok_or("ZeroMQ needs a manager, and the cluster has none")?;
        let address = cluster.address(manager);
        let [first, second] = forwarding_ports(cluster, manager)?;
        Ok(Self::ZeroMq {
            xpub: (address, first).into(),
            xsub: (address, second).into(),
        })
    }

    /// The script that makes it the backend, if one is needed. From 7.1 to 8.0 the package of ZeroMQ alone connects to nothing.
    pub(super) fn script(self, release: (u32, u32)) -> Option<&'static str> {
        match (self, release >= BY_SCRIPT) {
            (Self::Broker, false) => None,
            (Self::Broker, true) => Some("policy/frameworks/cluster/backend/broker"),
            (Self::ZeroMq { .. }, false) => Some("policy/frameworks/cluster/backend/zeromq/connect"),
            (Self::ZeroMq { .. }, true) => Some(ZEROMQ_SCRIPT),
        }
    }

    /// The options that it needs, as `name=value`. What a node connects to is called by the node's own socket: its XPUB to the
    /// manager's XSUB. They are the same in all releases, and take a manager of any name, unlike 9.0's
    /// `policy/misc/zeromq-multi-host-auto-setup`.
    ///
    /// A trace is read as fast as Zeek can, and what of its logs a logger does not take as fast is lost beyond a limit: not so for
    /// `reads_trace`.
    pub(super) fn options(self, cluster: &Cluster<'_>, node: &ClusterNode, reads_trace: bool) -> Vec<String> {
        let Self::ZeroMq { xpub, xsub } = self else {
            return Vec::new();
        };
        let endpoint = |name: &str, at| format!("Cluster::Backend::ZeroMQ::{name}=tcp://{at}");
        let mut options = vec![
            endpoint("connect_xpub_endpoint", xsub),
            endpoint("connect_xsub_endpoint", xpub),
        ];
        if node.role == ClusterRole::Manager {
            options.push(endpoint("listen_xpub_endpoint", xpub));
            options.push(endpoint("listen_xsub_endpoint", xsub));
        }
        if reads_trace {
            options.push("Cluster::Backend::ZeroMQ::log_sndhwm=0".to_owned());
            options.push(format!("Cluster::Backend::ZeroMQ::linger_ms={TRACE_LINGER_MS}"));
        }
        // The default differs from release to release.
        if cluster.nodes.values().any(|node| cluster.address(node).is_ipv6()) {
            options.push("Cluster::Backend::ZeroMQ::ipv6=T".to_owned());
        }
        options
    }

    /// Fails if a node would listen where the manager forwards.
    pub(super) fn check(self, cluster: &Cluster<'_>, node: &ClusterNode) -> Result<(), String> {
        let Self::ZeroMq { xpub, xsub } = self else {
            return Ok(());
        };
        let address = cluster.address(node);
        let metrics = cluster
            .metrics_port(node)
            .map(|port| (address, port.number).into());
        if metrics == Some(xpub) || metrics == Some(xsub) {
            return Err(
                "its metrics port is one at which the manager forwards for ZeroMQ: choose another".into(),
            );
        }
        Ok(())
    }

    /// Where a node listens, but for metrics. With Broker every node that has a port does, at `listen`, if that is an address.
    pub(super) fn listeners(
        self,
        cluster: &Cluster<'_>,
        node: &ClusterNode,
        listen: Option<IpAddr>,
    ) -> Vec<SocketAddr> {
        let Self::ZeroMq { xpub, xsub } = self else {
            return listen.zip(port(node)).map(SocketAddr::from).into_iter().collect();
        };
        let mut listeners = Vec::new();
        if node.role == ClusterRole::Manager {
            listeners.extend([xpub, xsub]);
        }
        if cluster.is_logger(node) {
            listeners.extend(port(node).map(|port| SocketAddr::from((cluster.address(node), port))));
        }
        listeners
    }
}

/// Whether the cluster's Zeek can have ZeroMQ as its hosts need it.
fn is_possible(spec: &NodeSpec, cluster: &Cluster<'_>) -> Result<(), String> {
    let (major, minor) = cluster.release;
    let needs = |(major, minor): (u32, u32)| format!("Zeek {major}.{minor} or later is needed");
    if cluster.release < ZEROMQ {
        return Err(format!(
            "Zeek {major}.{minor} has no ZeroMQ: {}, or {CLUSTER_BACKEND}=broker",
            needs(ZEROMQ)
        ));
    }
    if cluster.is_local {
        return Ok(());
    }
    if cluster.release < CURVE {
        return Err(format!(
            "the cluster is on several hosts, and ZeroMQ of Zeek {major}.{minor} is not encrypted: {}, or {CLUSTER_BACKEND}=broker",
            needs(CURVE)
        ));
    }
    let own = spec.cluster.get(&spec.name);
    let is_server = own.is_some_and(|own| own.role == ClusterRole::Manager || cluster.is_logger(own));
    let keys = [
        "SERVER_PUBLICKEY",
        "CLIENT_PUBLICKEY",
        "CLIENT_SECRETKEY",
        "SERVER_SECRETKEY",
    ];
    let keys = &keys[..if is_server { 4 } else { 3 }];
    let names = keys
        .iter()
        .map(|key| format!("ZEEK_CLUSTER_BACKEND_ZEROMQ_CURVE_{key}"));
    let is_lacking = |name: &String| spec.env.get(name.as_bytes()).is_none_or(|key| key.is_empty());
    let lacking: Vec<String> = names.filter(is_lacking).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the cluster is on several hosts, and ZeroMQ without keys is not encrypted: set {} in its environment, or {CLUSTER_BACKEND}=broker",
        lacking.join(", ")
    ))
}

/// The ports at which the manager forwards: the first two, counted from its own, that no node of the cluster has but workers, which may come
/// and go while it runs. Its own is free, unless it writes the logs. Clusters that share a host have managers with different ports, and so have
/// other ones here, if there is room for one more between the ports of the one cluster and those of the next.
fn forwarding_ports(cluster: &Cluster<'_>, manager: &ClusterNode) -> Result<[u16; 2], String> {
    let own = port(manager).unwrap_or(u16::MAX);
    let listens = |node: &&ClusterNode| node.role != ClusterRole::Manager || cluster.is_logger(node);
    let nodes = cluster.nodes.values();
    let nodes = nodes.filter(|node| node.role != ClusterRole::Worker);
    let taken: BTreeSet<u16> = nodes
        .clone()
        .filter(listens)
        .filter_map(port)
        .chain(nodes.filter_map(|node| Some(node.metrics_port?.number)))
        .collect();
    let mut free = (own..=u16::MAX).filter(|number| !taken.contains(number));
    match (free.next(), free.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(format!(
            "ZeroMQ needs two more ports from {own} on, the manager's, and none is left: choose a lower one"
        )),
    }
}
