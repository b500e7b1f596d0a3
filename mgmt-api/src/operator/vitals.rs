//! What a daemon's core knows of itself and its part of the world, without asking anything: for monitoring.

use serde::{Deserialize, Serialize};

use super::{agent::Heartbeat, plain};
use crate::enums::State;

/// How a daemon is, as its core sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vitals {
    /// What keeps the daemon from being ready: each says what happened, to which instance or node, and why.
    pub failing: Vec<String>,
    /// A controller's clusters.
    pub clusters: Vec<ClusterVitals>,
    /// The nodes of deployed configurations.
    pub nodes: Vec<NodeVitals>,
}

/// How a cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterVitals {
    pub cluster: String,
    /// When its configuration was deployed, in seconds since 1970; not known of one that was deployed by an earlier controller.
    pub deployed_at: Option<u64>,
    /// The instances of its configuration, and whether they are connected.
    pub instances: Vec<(String, bool)>,
    /// How many agents are connected.
    pub agents: usize,
}

/// How a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeVitals {
    /// None that an agent knows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    pub instance: String,
    pub node: String,
    #[serde(with = "plain")]
    pub state: State,
    /// Whether it runs; none if it is not to, and if that is not known.
    pub is_running: Option<bool>,
    /// How often a process of it was started, as an agent says; or told to be up, as a controller hears.
    pub starts: u64,
    /// How often it ended by itself, or could not be started.
    pub crashes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
}
