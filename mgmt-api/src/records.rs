//! Records, with Zeek's field names, in Zeek's field order: the order is the wire format.
//!
//! A field that is `&optional` or has a `&default` in Zeek may be missing at the end of a record, and `none` in a field
//! with a `&default` stands for the default, as reading such a field in Zeek yields it.

use std::{collections::BTreeMap, fmt};

use broker_codec::{
    Data,
    data::{Address, Port, Set, ZeekString},
};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use crate::{
    enums::{ClusterRole, Role, State},
    log::MESSAGE_BYTES_MAX,
};

/// A Zeek configuration option and its value (`Management::Option`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct OptionRecord {
    #[schema(value_type = String)]
    pub name: ZeekString,
    #[schema(value_type = String)]
    pub value: ZeekString,
}

/// A Zeek instance: a host, or one of several on a host, that an agent looks after (`Management::Instance`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    pub name: ZeekString,
    /// The host's address; [`Address::UNSPECIFIED_V4`] where it is not known yet.
    pub host: Address,
    /// The agent's port, where the controller is to connect to the agent rather than the reverse.
    #[serde(default)]
    pub listen_port: Option<Port>,
}

impl Instance {
    /// An instance whose agent connects to the controller, from wherever it is.
    pub fn new(name: impl Into<ZeekString>) -> Self {
        Self {
            name: name.into(),
            host: Address::UNSPECIFIED_V4,
            listen_port: None,
        }
    }
}

/// A cluster node: one Zeek process (`Management::Node`).
///
/// Read with 10 elements (Zeek before 7.0, zeek-client before 1.4) or 11, written with 11.
///
/// DIFFERENCE(short-nodes): Zeek 7.0 and later refuse those with 10.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Node {
    /// The node's name, unique in the cluster.
    pub name: ZeekString,
    /// The name of the instance that runs it.
    pub instance: ZeekString,
    /// Its role in the cluster.
    pub role: ClusterRole,
    /// The state it is meant to be in.
    pub state: State,
    /// Its Broker port.
    #[serde(default)]
    pub p: Option<Port>,
    /// Zeek scripts to load in addition.
    #[serde(default)]
    pub scripts: Option<Vec<ZeekString>>,
    /// Zeek options to set. Zeek's agent ignores them.
    #[serde(default)]
    pub options: Option<Set<OptionRecord>>,
    /// The network interface to sniff.
    #[serde(default)]
    pub interface: Option<ZeekString>,
    /// The CPU to pin the process to. Zeek's type is `int`; the `count` of zeek-client 1.2 and 1.3 is read too.
    #[serde(default, deserialize_with = "int_or_count")]
    pub cpu_affinity: Option<i64>,
    /// Environment variables to set.
    #[serde(default, deserialize_with = "none_as_default")]
    pub env: BTreeMap<ZeekString, ZeekString>,
    /// The port for its metrics.
    #[serde(default)]
    pub metrics_port: Option<Port>,
}

impl Node {
    /// A node that is to run, with nothing else said about it.
    pub fn new(name: impl Into<ZeekString>, instance: impl Into<ZeekString>, role: ClusterRole) -> Self {
        Self {
            name: name.into(),
            instance: instance.into(),
            role,
            state: State::Running,
            ..Self::default()
        }
    }
}

/// A cluster: which instances there are and which nodes run on them (`Management::Configuration`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// What tells configurations apart, chosen by the client. Zeek's default is a fresh id; here it is empty, and the
    /// controller fills it in.
    #[serde(default, deserialize_with = "none_as_default")]
    pub id: ZeekString,
    #[serde(default, deserialize_with = "none_as_default")]
    pub instances: Set<Instance>,
    #[serde(default, deserialize_with = "none_as_default")]
    pub nodes: Set<Node>,
}

impl Configuration {
    /// A cluster of these instances and nodes.
    pub fn new(
        id: impl Into<ZeekString>,
        instances: impl IntoIterator<Item = Instance>,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Self {
        Self {
            id: id.into(),
            instances: instances.into_iter().collect(),
            nodes: nodes.into_iter().collect(),
        }
    }
}

/// What an agent knows of one process (`Management::NodeStatus`).
///
/// Read with 6 elements (Zeek before 7.0) or 7, written with 7.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeStatus {
    pub node: ZeekString,
    pub state: State,
    /// What it is to the Management framework.
    #[serde(default, deserialize_with = "none_as_default")]
    pub mgmt_role: Role,
    /// What it is to the cluster.
    #[serde(default, deserialize_with = "none_as_default")]
    pub cluster_role: ClusterRole,
    /// Its process id, while it runs.
    #[serde(default)]
    pub pid: Option<i64>,
    /// Its Broker port.
    #[serde(default)]
    pub p: Option<Port>,
    /// The port for its metrics.
    #[serde(default)]
    pub metrics_port: Option<Port>,
}

impl NodeStatus {
    /// The status of a process that is none of the framework's, nor known to be of the cluster.
    pub fn new(node: impl Into<ZeekString>, state: State) -> Self {
        Self {
            node: node.into(),
            state,
            ..Self::default()
        }
    }
}

/// The outcome of a request or of a part of it (`Management::Result`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResultRecord {
    /// The id of the request that this answers: the client's, or one that controller or agent made for their own
    /// part of the work.
    pub reqid: ZeekString,
    /// Whether it succeeded.
    #[serde(default = "success_by_default", deserialize_with = "none_as_success")]
    pub success: bool,
    /// The instance that this is about.
    #[serde(default)]
    pub instance: Option<ZeekString>,
    /// What was asked for: Zeek's `any`.
    #[serde(default)]
    pub data: Option<Data>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<ZeekString>,
    /// The node that this is about.
    #[serde(default)]
    pub node: Option<ZeekString>,
}

impl ResultRecord {
    /// A success, with nothing else in it.
    pub const fn success(reqid: ZeekString) -> Self {
        Self {
            reqid,
            success: true,
            instance: None,
            data: None,
            error: None,
            node: None,
        }
    }

    /// A failure and its reason, with nothing else in it.
    pub fn failure(reqid: ZeekString, error: impl Into<ZeekString>) -> Self {
        Self {
            success: false,
            error: Some(error.into()),
            ..Self::success(reqid)
        }
    }
}

/// As Zeek writes results into its logs (`types.zeek`, `result_to_string`).
impl fmt::Display for ResultRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.success, &self.error) {
            (true, _) => f.write_str("success")?,
            (false, Some(error)) => write!(f, "error ({})", error.excerpt(MESSAGE_BYTES_MAX))?,
            (false, None) => f.write_str("error")?,
        }
        let details = [
            ("reqid", Some(&self.reqid).filter(|reqid| !reqid.is_empty())),
            ("instance", self.instance.as_ref()),
            ("node", self.node.as_ref().filter(|node| !node.is_empty())),
        ];
        let mut separator = " (";
        for (name, value) in details {
            if let Some(value) = value {
                write!(f, "{separator}{name} {value}")?;
                separator = ", ";
            }
        }
        if separator == ", " {
            f.write_str(")")
        } else {
            Ok(())
        }
    }
}

/// What a node wrote before it ended (`Management::NodeOutputs`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeOutputs {
    /// The last lines of its standard output.
    pub stdout: ZeekString,
    /// The last lines of its standard error.
    pub stderr: ZeekString,
}

impl NodeOutputs {
    /// The last line that is not empty, on standard error if there is one.
    pub fn last_line(&self) -> Option<&[u8]> {
        [&self.stderr, &self.stdout].into_iter().find_map(|output| {
            let mut lines = output.rsplit(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            lines.find(|line| !line.is_empty())
        })
    }
}

/// The name of an event: serde's for the variant. No variant is without one.
pub(crate) fn event_name(event: &impl Serialize) -> &'static str {
    serde_variant::to_variant_name(event).unwrap_or_default()
}

/// Reads a field that has a `&default` in Zeek.
pub(crate) fn none_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn none_as_success<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::deserialize(deserializer).map(|success| success.unwrap_or_else(success_by_default))
}

const fn success_by_default() -> bool {
    true
}

/// Reads an optional `int` that old clients send as `count`.
fn int_or_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    // Journals and transcripts have one sort of number.
    if deserializer.is_human_readable() {
        return Option::deserialize(deserializer);
    }
    match Option::deserialize(deserializer)? {
        None | Some(Data::None) => Ok(None),
        Some(Data::Integer(int)) => Ok(Some(int)),
        Some(Data::Count(count)) => i64::try_from(count)
            .map(Some)
            .map_err(|_| de::Error::custom(format_args!("count {count} does not fit an integer"))),
        Some(other) => Err(de::Error::custom(format_args!(
            "expected integer or count, found {}",
            other.kind()
        ))),
    }
}
