use std::{collections::BTreeMap, fs, path::PathBuf};

use broker_codec::data::{Port, Protocol, ZeekString};
use mgmt_api::{ClusterEndpoint, ClusterRole, NodeConfig, SupervisorLayout};
use serde_json::{Map, Value, json};

use crate::{Release, path};

/// Where a node writes its Broker endpoint ID, in its directory, for others on the host: they do not talk to each other.
const ID_FILE: &str = ".stand-in-broker-id";

/// The values of global identifiers that a node knows.
pub(crate) struct Values {
    config: NodeConfig,
    release: Release,
}

impl Values {
    pub(crate) const fn new(config: NodeConfig, release: Release) -> Self {
        Self { config, release }
    }

    pub(crate) const fn name(&self) -> &ZeekString {
        &self.config.name
    }

    pub(crate) fn is_agent(&self) -> bool {
        self.config.env.contains_key(&b"ZEEK_MANAGEMENT_NODE"[..])
    }

    /// The trace that it reads.
    pub(crate) const fn trace(&self) -> Option<&ZeekString> {
        self.config.pcap_file.as_ref()
    }

    /// Lets the other nodes of the host know our id.
    pub(crate) fn publish_id(&self, id: &str) {
        if let Some(directory) = &self.config.directory {
            // Without it others show us without an id.
            let _ = fs::write(path(directory).join(ID_FILE), id);
        }
    }

    /// The other nodes of this host that have been there: as with Broker, not those of its own kind.
    pub(crate) fn others(&self) -> Vec<ZeekString> {
        let role = self.config.cluster.get(self.name()).map(|own| own.role);
        let others = self
            .config
            .cluster
            .iter()
            .filter(|(_, other)| Some(other.role) != role);
        let names = others.map(|(name, _)| name);
        names.filter(|name| self.id_of(name).is_some()).cloned().collect()
    }

    /// The cluster's nodes as this one knows them.
    pub(crate) const fn layout(&mut self) -> &mut BTreeMap<ZeekString, ClusterEndpoint> {
        &mut self.config.cluster
    }

    /// A value as `to_json` writes it; or why there is none (`get_id_value` in `node/main.zeek`).
    pub(crate) fn get(&self, id: &ZeekString) -> Result<String, &'static str> {
        let role = self.config.cluster.get(self.name()).map(|endpoint| endpoint.role);
        let value = match id.as_bytes() {
            b"bits_per_uid" => json!(96),
            b"Cluster::node" => json!(self.name().to_string()),
            b"Cluster::nodes" => self.cluster(),
            b"Log::default_rotation_interval" if role == Some(ClusterRole::Logger) => json!("1.0 hr"),
            b"Log::default_rotation_interval" => json!("1.0 day"),
            // A type has no value.
            b"connection" => return Err("no ID value"),
            _ => return Err("unknown id"),
        };
        Ok(value.to_string())
    }

    fn cluster(&self) -> Value {
        let manager = self
            .config
            .cluster
            .iter()
            .find(|(_, endpoint)| endpoint.role == ClusterRole::Manager)
            .map(|(name, _)| name.to_string());
        let entry = |(name, endpoint)| {
            (
                ZeekString::to_string(name),
                self.entry(name, endpoint, manager.as_deref()),
            )
        };
        Value::Object(self.config.cluster.iter().map(entry).collect())
    }

    /// A `Cluster::Node`.
    fn entry(&self, name: &ZeekString, endpoint: &ClusterEndpoint, manager: Option<&str>) -> Value {
        let layout = self.release.layout;
        let mut entry = Map::new();
        let role = match endpoint.role {
            ClusterRole::None => "NODE",
            ClusterRole::Logger => "LOGGER",
            ClusterRole::Manager => "MANAGER",
            ClusterRole::Proxy => "PROXY",
            ClusterRole::Worker => "WORKER",
        };
        entry.insert("node_type".into(), json!(format!("Cluster::{role}")));
        entry.insert("ip".into(), json!(endpoint.host.to_string()));
        entry.insert("zone_id".into(), json!(""));
        let mut p = port(endpoint.p);
        if layout < SupervisorLayout::V7_0 {
            p["proto"] = json!("tcp");
            if let Some(interface) = &endpoint.interface {
                entry.insert("interface".into(), json!(interface.to_string()));
            }
        } else if let Some(metrics_port) = endpoint.metrics_port {
            entry.insert("metrics_port".into(), port(metrics_port));
        }
        entry.insert("p".into(), p);
        if let Some(manager) = manager.filter(|_| endpoint.role != ClusterRole::Manager) {
            entry.insert("manager".into(), json!(manager));
        }
        if name != self.name()
            && let Some(id) = self.id_of(name)
        {
            entry.insert("id".into(), json!(id));
        }
        Value::Object(entry)
    }

    /// The Broker endpoint ID of another node, if it is one of this host.
    fn id_of(&self, name: &ZeekString) -> Option<String> {
        let own = path(self.config.directory.as_ref()?);
        let others: PathBuf = own.parent()?.join(path(name)).join(ID_FILE);
        fs::read_to_string(others).ok()
    }
}

fn port(port: Port) -> Value {
    let proto = match port.protocol {
        Protocol::Unknown => "unknown",
        known => known.name(),
    };
    json!({ "port": port.number, "proto": proto })
}
