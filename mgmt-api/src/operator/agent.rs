//! What operators ask of an agent.

use broker_codec::data::ZeekString;
use serde::{Deserialize, Serialize};

use super::plain;
use crate::{
    enums::{ClusterRole, State},
    link::{LinkError, from_json, to_json},
    records::NodeOutputs,
};

/// The kinds of requests, which are the features of an agent that answers them.
pub const STATUS: &str = "status";
pub const OUTPUTS: &str = "outputs";
pub const STOP: &str = "stop";
pub const START: &str = "start";

/// What a control socket is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub program: Program,
    /// The daemon's name; an agent's is that of its instance.
    pub name: String,
    /// The daemon's release, as `0.1.0`.
    pub version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    Controller,
    Agent,
}

/// What an operator asks of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorRequest {
    /// How the agent and its nodes are: [`AgentStatus`].
    Status,
    /// What a node last wrote: [`Outputs`].
    Outputs(NodeName),
    /// Nodes are to stop, and stay so until they are started: [`Changed`].
    Stop(Selection),
    /// Nodes that were stopped are to start: [`Changed`].
    Start(Selection),
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeName {
    pub node: ZeekString,
}

/// Which nodes of an agent are meant: all, of these names and of this role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// None for any.
    #[serde(default)]
    pub nodes: Vec<ZeekString>,
    #[serde(
        default,
        serialize_with = "plain::serialize_option",
        deserialize_with = "plain::deserialize_option"
    )]
    pub role: Option<ClusterRole>,
}

/// The answer to [`OperatorRequest::Stop`] and [`OperatorRequest::Start`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The nodes that were not as they are to be now.
    pub nodes: Vec<ZeekString>,
}

/// How an agent and its nodes are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentStatus {
    pub instance: String,
    /// The agent's release, as `0.1.0`.
    pub version: String,
    pub pid: i64,
    /// For how long the agent has run, in seconds.
    pub uptime: u64,
    /// What keeps its nodes: `systemd`, `native` or `zeek`.
    pub supervise: String,
    /// The id of the configuration that it runs, if it was given one.
    pub configuration: Option<String>,
    /// Why it cannot tell how its nodes are, if it cannot.
    pub trouble: Option<String>,
    /// In the order of their names.
    pub nodes: Vec<NodeReport>,
}

/// How a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    pub node: String,
    #[serde(with = "plain")]
    pub role: ClusterRole,
    #[serde(with = "plain")]
    pub state: State,
    pub pid: Option<i64>,
    /// For how long its process has run, in seconds. Not known of one that an earlier agent has started.
    pub uptime: Option<u64>,
    /// How often it has ended by itself since it was told to start.
    pub restarts: u64,
    /// The Zeek that it is, if it has said so.
    pub zeek: Option<String>,
    /// Whether an operator has stopped it.
    pub stopped_by_operator: bool,
    /// Why it does not run, if that is known.
    pub reason: Option<String>,
    /// What its latest heartbeat said, under our own supervision.
    pub heartbeat: Option<Heartbeat>,
}

/// What a node's latest heartbeat said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outputs {
    pub stdout: String,
    pub stderr: String,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotDone {
    #[serde(default)]
    pub kind: NotDoneKind,
    pub reason: ZeekString,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotDoneKind {
    /// The request cannot be read.
    Malformed,
    /// There is no such node or instance.
    Unknown,
    /// It cannot be done as things are; trying again does not help.
    Conflict,
    /// It cannot be done now.
    #[default]
    #[serde(other)]
    Unavailable,
}

impl OperatorRequest {
    /// The request of this kind, or none if there is no such kind.
    pub fn read(kind: &ZeekString, json: &ZeekString) -> Option<Result<Self, LinkError>> {
        Some(match kind.as_bytes() {
            b"status" => Ok(Self::Status),
            b"outputs" => from_json(json).map(Self::Outputs),
            b"stop" => from_json(json).map(Self::Stop),
            b"start" => from_json(json).map(Self::Start),
            _ => return None,
        })
    }
}

/// An answer, as JSON.
pub fn written(answer: &impl Serialize) -> Result<ZeekString, NotDone> {
    to_json(answer).map_err(|error| NotDone::new(NotDoneKind::Unavailable, error.to_string()))
}

impl From<&NodeOutputs> for Outputs {
    fn from(outputs: &NodeOutputs) -> Self {
        let text = |bytes: &ZeekString| String::from_utf8_lossy(bytes).into_owned();
        Self {
            stdout: text(&outputs.stdout),
            stderr: text(&outputs.stderr),
        }
    }
}

impl NotDone {
    pub fn new(kind: NotDoneKind, reason: impl Into<ZeekString>) -> Self {
        let reason = reason.into();
        Self { kind, reason }
    }
}
