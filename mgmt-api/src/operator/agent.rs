//! What operators ask of an agent.

use std::net::SocketAddr;

use broker_codec::data::ZeekString;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use utoipa::ToSchema;

use super::{
    plain,
    request::{HISTORY, NodeName, OUTPUTS, START, STATUS, STOP, Selection, text},
};
use crate::{
    controller_id::ControllerId,
    enums::{ClusterRole, State},
    link::{LinkError, from_json, to_json},
    records::NodeOutputs,
};

/// What an operator asks of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum OperatorRequest {
    /// How the agent and its nodes are: [`AgentStatus`].
    Status,
    /// What a node last wrote: [`Outputs`].
    Outputs(NodeName),
    /// What has become of a node: [`NodeHistory`](super::history::NodeHistory).
    History(NodeName),
    /// Nodes are to stop, and stay so until they are started: [`Changed`](super::request::Changed).
    Stop(Selection),
    /// Nodes that were stopped are to start: likewise.
    Start(Selection),
    /// The controller that the agent refuses is to be obeyed: [`Adopted`]. Only at the agent itself: no controller may ask for that.
    Adopt,
}

impl OperatorRequest {
    /// The request of this kind, or none if there is no such kind.
    pub fn read(kind: &ZeekString, json: &ZeekString) -> Option<Result<Self, LinkError>> {
        Some(match kind {
            _ if *kind == *STATUS => Ok(Self::Status),
            _ if *kind == *OUTPUTS => from_json(json).map(Self::Outputs),
            _ if *kind == *HISTORY => from_json(json).map(Self::History),
            _ if *kind == *STOP => from_json(json).map(Self::Stop),
            _ if *kind == *START => from_json(json).map(Self::Start),
            _ => return None,
        })
    }

    /// Its kind, and the rest as JSON.
    pub fn write(&self) -> Result<(&'static str, ZeekString), LinkError> {
        Ok(match self {
            Self::Status => (STATUS, to_json(&())?),
            Self::Outputs(node) => (OUTPUTS, to_json(node)?),
            Self::History(node) => (HISTORY, to_json(node)?),
            Self::Stop(which) => (STOP, to_json(which)?),
            Self::Start(which) => (START, to_json(which)?),
            Self::Adopt => ("adopt", to_json(&())?),
        })
    }
}

/// Which controller an agent obeys from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Adopted {
    /// None for the next one that connects.
    pub controller: Option<ControllerId>,
}

/// How an agent and its nodes are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AgentStatus {
    pub instance: String,
    /// The agent's release, as `0.1.0`.
    pub version: String,
    pub pid: i64,
    /// For how long the agent has run, in seconds.
    pub uptime: u64,
    /// When it said this, by the clock of its host, in milliseconds since 1970.
    pub clock: Option<u64>,
    /// What keeps its nodes: `systemd`, `native` or `zeek`.
    pub supervise: String,
    /// The id of the configuration that it runs, if it was given one.
    pub configuration: Option<String>,
    /// Whether it goes back to the one before when it is started again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub on_trial: bool,
    /// Where it answers by HTTP over TCP, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAddress>,
    /// The CPUs of its host that it may use, by their numbers, as in `0-7,16`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Why it cannot tell how its nodes are, if it cannot.
    pub trouble: Option<String>,
    /// What an operator should mend, besides nodes.
    pub warnings: Vec<String>,
    /// In the order of their names.
    pub nodes: Vec<NodeReport>,
}

/// Where a daemon answers by HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HttpAddress {
    /// Where it listens: not specified is on all addresses of its host.
    #[schema(value_type = String)]
    pub address: SocketAddr,
    pub is_tls: bool,
}

/// How a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NodeReport {
    pub node: String,
    #[serde(with = "plain")]
    #[schema(schema_with = plain::words::<ClusterRole>)]
    pub role: ClusterRole,
    #[serde(with = "plain")]
    #[schema(schema_with = plain::words::<State>)]
    pub state: State,
    pub pid: Option<i64>,
    /// For how long its process has run, in seconds. Not known of one that an earlier agent has started under a Supervisor of Zeek's.
    pub uptime: Option<u64>,
    /// How often it has ended by itself since it was told to start.
    pub restarts: u64,
    /// The Zeek that it is, if it has said so.
    pub zeek: Option<String>,
    /// The Zeek that is installed, if the node's process was started before that was.
    pub zeek_installed: Option<String>,
    /// Where it listens for other nodes, and for what reads its metrics.
    pub port: Option<u16>,
    pub metrics_port: Option<u16>,
    /// Whether an operator has stopped it.
    pub stopped_by_operator: bool,
    /// Why it does not run, if that is known.
    pub reason: Option<String>,
    /// Where it listens for Prometheus, if it does: not specified is on all addresses of its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub metrics: Option<SocketAddr>,
    /// What its latest heartbeat said, under our own supervision.
    pub heartbeat: Option<Heartbeat>,
}

/// What a node's latest heartbeat said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Heartbeat {
    /// How long ago it was sent, in seconds.
    pub age: u64,
    /// Packets that Zeek has received,
    pub received: u64,
    /// and that the system reports as dropped.
    pub dropped: u64,
    /// The other nodes that it is connected with.
    pub peers: Vec<String>,
}

/// The last lines that a node wrote; the latest run's, as far as it wrote anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Outputs {
    pub stdout: String,
    pub stderr: String,
}

impl From<&NodeOutputs> for Outputs {
    fn from(outputs: &NodeOutputs) -> Self {
        Self {
            stdout: text(&outputs.stdout),
            stderr: text(&outputs.stderr),
        }
    }
}
