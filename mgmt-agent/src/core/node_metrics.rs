//! Where nodes listen for Prometheus.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mgmt_api::release;

use super::{agent::Agent, nodes::OwnNode, settings::Supervise, supervision::is_on_one_host};

/// The first Zeek of which each node has a port for metrics.
const FIRST: (u32, u32) = (7, 0);

impl Agent {
    /// Where a node listens when it runs, if it does. In a cluster on one host that is out of reach for others.
    pub(super) fn metrics_of(&self, own: &OwnNode) -> Option<SocketAddr> {
        let port = own.node.metrics_port.map(|port| port.number)?;
        let zeek = self
            .life_of(&own.node.name, own)
            .and_then(|life| life.version.as_ref());
        let release = zeek.and_then(|version| release(&format!("version {version}")));
        if port == 0 || release.is_some_and(|release| release < FIRST) {
            return None;
        }
        let address: IpAddr = if self.settings.supervise == Supervise::Zeek {
            Ipv4Addr::UNSPECIFIED.into()
        } else if is_on_one_host(&self.cluster) {
            Ipv4Addr::LOCALHOST.into()
        } else {
            self.cluster.get(&own.node.name)?.host.into()
        };
        Some((address, port).into())
    }
}
