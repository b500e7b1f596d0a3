//! A configuration as JSON: the form that zeek-client's `get-config --as-json` prints.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    num::NonZeroU16,
};

use broker_codec::data::{Address, Port, Set, ZeekString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::plain;
use crate::{
    enums::{ClusterRole, State},
    records::{Configuration, Instance, Node, OptionRecord},
};

/// Which of a cluster's configurations is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Station {
    /// The one that the next deployment takes, as it was given.
    Staged,
    /// The one that is deployed, with what the controller has filled in.
    Deployed,
}

/// What an operator takes to be deployed. A change that rests on that is refused if it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// `If-None-Match: *`
    Nothing,
    /// `If-Match`: the [entity tag](entity_tag) of a configuration.
    Tag(String),
}

impl Expected {
    /// That this configuration is deployed, or none.
    pub fn of(deployed: Option<&ZeekString>) -> Self {
        deployed.map_or(Self::Nothing, |id| Self::Tag(entity_tag(id)))
    }
}

/// A configuration. It is read as strictly as it is meant: a field that is not known is an error, where an answer is read, too, since what is not
/// understood can neither be compared nor be given back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationFile {
    /// What tells configurations apart. One that is staged gets a new one, whatever stands here: two that differ have different ones.
    #[serde(default)]
    #[schema(value_type = String)]
    pub id: ZeekString,
    #[serde(default)]
    pub instances: Vec<InstanceEntry>,
    #[serde(default)]
    pub nodes: Vec<NodeEntry>,
}

/// An instance of a [`ConfigurationFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceEntry {
    /// The host's address, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub host: Option<Address>,
    #[schema(value_type = String)]
    pub name: ZeekString,
    /// The agent's TCP port, if the controller connects to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>, minimum = 1)]
    pub port: Option<NonZeroU16>,
}

/// A node of a [`ConfigurationFile`]. What is `null` or missing is left to the controller or to Zeek.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeEntry {
    #[serde(default)]
    pub cpu_affinity: Option<i64>,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub env: BTreeMap<ZeekString, ZeekString>,
    #[schema(value_type = String)]
    pub instance: ZeekString,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub interface: Option<ZeekString>,
    /// TCP.
    #[serde(default)]
    #[schema(value_type = Option<u16>, minimum = 1)]
    pub metrics_port: Option<NonZeroU16>,
    #[schema(value_type = String)]
    pub name: ZeekString,
    #[serde(default)]
    #[schema(value_type = Option<Vec<OptionRecord>>)]
    pub options: Option<Set<OptionRecord>>,
    /// TCP.
    #[serde(default)]
    #[schema(value_type = Option<u16>, minimum = 1)]
    pub port: Option<NonZeroU16>,
    /// As in `WORKER`; it is read in any case.
    #[serde(serialize_with = "capitals", deserialize_with = "any_case")]
    #[schema(value_type = String)]
    pub role: ClusterRole,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub scripts: Option<Vec<ZeekString>>,
}

/// A configuration that was staged, by its new id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Staged {
    pub id: String,
}

impl From<&Configuration> for ConfigurationFile {
    fn from(config: &Configuration) -> Self {
        let instance = |instance: &Instance| InstanceEntry {
            host: Some(instance.host).filter(|host| *host != Address::UNSPECIFIED_V4),
            name: instance.name.clone(),
            port: instance.listen_port.and_then(number),
        };
        let node = |node: &Node| NodeEntry {
            cpu_affinity: node.cpu_affinity,
            env: node.env.clone(),
            instance: node.instance.clone(),
            interface: node.interface.clone(),
            metrics_port: node.metrics_port.and_then(number),
            name: node.name.clone(),
            options: node.options.clone(),
            port: node.p.and_then(number),
            role: node.role,
            scripts: node.scripts.clone(),
        };
        Self {
            id: config.id.clone(),
            instances: config.instances.iter().map(instance).collect(),
            nodes: config.nodes.iter().map(node).collect(),
        }
    }
}

impl ConfigurationFile {
    /// As Zeek's records have it, under another id.
    pub fn into_configuration(self, id: ZeekString) -> Configuration {
        let instance = |entry: InstanceEntry| Instance {
            name: entry.name,
            host: entry.host.unwrap_or(Address::UNSPECIFIED_V4),
            listen_port: entry.port.map(port),
        };
        let node = |entry: NodeEntry| Node {
            name: entry.name,
            instance: entry.instance,
            role: entry.role,
            state: State::Running,
            p: entry.port.map(port),
            scripts: entry.scripts,
            options: entry.options,
            interface: entry.interface,
            cpu_affinity: entry.cpu_affinity,
            env: entry.env,
            metrics_port: entry.metrics_port.map(port),
        };
        Configuration::new(
            id,
            self.instances.into_iter().map(instance),
            self.nodes.into_iter().map(node),
        )
    }
}

fn number(port: Port) -> Option<NonZeroU16> {
    NonZeroU16::new(port.number)
}

fn port(number: NonZeroU16) -> Port {
    Port::tcp(number.get())
}

fn capitals<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string().to_uppercase())
}

fn any_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ClusterRole, D::Error> {
    plain::parse(&String::deserialize(deserializer)?.to_lowercase())
}

/// The id of a configuration as a strong entity tag (RFC 9110, 8.8.3): in quotes; a byte that may not stand there, and `%`, as `%` and two
/// hexadecimal digits.
pub fn entity_tag(id: &ZeekString) -> String {
    let mut tag = String::from("\"");
    for byte in id.as_bytes() {
        match byte {
            b'"' | b'%' | ..=0x20 | 0x7f.. => {
                let _ = write!(tag, "%{byte:02X}");
            }
            plain => tag.push(char::from(*plain)),
        }
    }
    tag.push('"');
    tag
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What zeek-client 1.5.0 prints for a configuration with something in every field but the options, which it cannot print.
    const PRINTED: &str = r#"{"id": "c1", "instances": [{"name": "sensor1"}, {"host": "10.0.0.12", "name": "sensor2", "port": 2151}],
        "nodes": [{"cpu_affinity": 3, "env": {"A": "b c"}, "instance": "sensor1", "interface": "eth1", "metrics_port": 9001,
        "name": "worker-1", "options": null, "port": 2200, "role": "WORKER", "scripts": ["a", "b"]}]}"#;

    #[test]
    fn a_configuration_is_the_json_that_zeek_client_prints_and_comes_back_as_it_was() {
        let file: ConfigurationFile = serde_json::from_str(PRINTED).unwrap();
        let expected: Value = serde_json::from_str(PRINTED).unwrap();
        assert_eq!(serde_json::to_value(&file).unwrap(), expected);
        let config = file.clone().into_configuration("c1".into());
        assert_eq!(ConfigurationFile::from(&config), file);
        assert!(config.nodes.iter().all(|node| node.state == State::Running));
    }

    #[test]
    fn what_is_left_out_is_left_open_and_what_is_not_known_is_an_error() {
        let least = json!({"nodes": [{"name": "w", "instance": "i", "role": "worker"}]});
        let file: ConfigurationFile = serde_json::from_value(least).unwrap();
        let config = file.into_configuration("c1".into());
        assert_eq!(
            config,
            Configuration::new("c1", [], [Node::new("w", "i", ClusterRole::Worker)])
        );

        let with = |key: &str, value: Value| {
            let mut node = json!({"name": "w", "instance": "i", "role": "worker"});
            node[key] = value;
            serde_json::from_value::<NodeEntry>(node).unwrap_err().to_string()
        };
        assert!(with("colour", json!("red")).starts_with("unknown field `colour`"));
        assert!(with("port", json!(0)).contains("nonzero"));
        assert_eq!(with("role", json!("cook")), "no such word: cook");
    }

    #[test]
    fn an_id_of_any_bytes_is_a_tag_and_each_another_one() {
        let tag = |id: &[u8]| entity_tag(&id.into());
        assert_eq!(tag(b"7c24-b18d"), r#""7c24-b18d""#);
        assert_eq!(tag(b"a\"%\n \xff"), r#""a%22%25%0A%20%FF""#);
        assert_ne!(tag(b"%22"), tag(b"\""));
    }
}
