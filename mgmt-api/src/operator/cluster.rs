//! What operators ask of a cluster, by its controller.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use utoipa::ToSchema;

use super::{
    agent::{HttpAddress, NodeReport},
    configuration::{ConfigurationFile, Expected, Station},
    deployment::NewDeployment,
    request::{NodeName, Selection},
    rollout::{RolloutOptions, RolloutOrder},
};

/// What an operator asks of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ClusterRequest {
    /// How it is, against how it is to be: [`ClusterStatus`].
    Status,
    /// What a node last wrote: [`Outputs`](super::agent::Outputs).
    Outputs(NodeName),
    /// What has become of a node: [`NodeHistory`](super::history::NodeHistory).
    History(NodeName),
    /// Nodes are to stop, and stay so until they are started: [`Changed`](super::request::Changed).
    Stop(Selection),
    /// Nodes that were stopped are to start: [`Changed`](super::request::Changed).
    Start(Selection),
    /// Nodes are to be restarted: [`Changed`](super::request::Changed).
    Restart(Selection),
    /// What it is to be: [`ConfigurationFile`].
    Configuration(Station),
    /// What the next deployment is to take: [`Staged`](super::configuration::Staged).
    Stage {
        configuration: ConfigurationFile,
        /// Without, it is refused.
        expected: Option<Expected>,
    },
    /// What is staged is to be deployed: the [`Deployment`](super::deployment::Deployment) has begun then.
    Deploy {
        /// Without, it is refused, unless a plan says more.
        expected: Option<Expected>,
        #[serde(default)]
        new: NewDeployment,
    },
    /// What is staged is to be rolled out: the [`Rollout`](super::rollout::Rollout) has begun then.
    RollOut {
        options: RolloutOptions,
        /// Without, it is refused.
        expected: Option<Expected>,
    },
    /// The [`Rollout`](super::rollout::Rollout) that is under way, or the last one.
    Rollout,
    /// The one that is under way is to go on otherwise: likewise.
    OrderRollout(RolloutOrder),
    /// What a deployment of this would do: a [`Plan`](super::plan::Plan).
    Plan(ConfigurationFile),
    /// The latest [`Deployments`](super::deployment::Deployments).
    Deployments,
    /// The [`Deployment`](super::deployment::Deployment) of this id.
    Deployment(String),
    /// The [`Revisions`](super::revision::Revisions) that there are.
    Revisions,
    /// The [`Revision`](super::revision::Revision) of this number, with its configuration.
    Revision(String),
    /// The value of an identifier of Zeek's in a node, or in all: [`Values`].
    Variable { id: String, node: Option<String> },
    /// The cluster is to go, with what is staged in it; refused while something is deployed: nothing [`Changed`](super::request::Changed).
    Remove,
}

/// The clusters that a controller has; `default` first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Clusters {
    pub clusters: Vec<ClusterSummary>,
}

/// A cluster in numbers, as far as they are known without asking its agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ClusterSummary {
    pub cluster: String,
    /// The id of the deployed configuration, if there is one.
    pub deployed: Option<String>,
    /// How many instances the deployed configuration has, and how many of them are connected.
    pub instances: usize,
    pub connected: usize,
    /// How many nodes are to run, how many of them are known to, and of how many that is not known: agents of Zeek's tell of changes only.
    pub nodes: usize,
    pub running: usize,
    pub unknown: usize,
}

/// The value of an identifier of Zeek's in each node that was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Values {
    pub values: Vec<NodeValue>,
}

/// The value in a node, or why it cannot be told; in none, if that is of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NodeValue {
    pub instance: Option<String>,
    pub node: Option<String>,
    /// As Zeek's `to_json` writes it.
    pub value: Option<String>,
    pub error: Option<String>,
}

/// How a cluster is, against how it is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ClusterStatus {
    pub cluster: String,
    /// The id of the deployed configuration, if there is one.
    pub deployed: Option<String>,
    /// When it was deployed, as RFC 3339 has it; not known of one that was deployed by an earlier controller.
    pub deployed_at: Option<String>,
    /// Whether another one is staged.
    pub is_another_staged: bool,
    /// What an operator should mend of the controller itself.
    pub warnings: Vec<String>,
    /// Those of the deployed configuration, and those that are connected besides, in the order of their names.
    pub instances: Vec<InstanceReport>,
}

/// How an instance is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct InstanceReport {
    pub instance: String,
    /// Whether it belongs to the deployed configuration.
    pub is_deployed: bool,
    /// Whether its agent is connected.
    pub is_connected: bool,
    /// Where its agent is, or was last seen.
    pub address: Option<String>,
    /// For how long it has been connected, or away, in seconds; not known of one that was never there.
    pub seconds: Option<u64>,
    /// What is said of the agent if it is ours: its release.
    pub agent: Option<String>,
    /// What keeps its nodes, likewise.
    pub supervise: Option<String>,
    /// The id of the configuration that it runs, likewise.
    pub configuration: Option<String>,
    /// By how much its clock is ahead of the controller's, in milliseconds; likewise.
    pub clock_ahead: Option<i64>,
    /// Where it answers by HTTP over TCP, likewise, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAddress>,
    /// The CPUs of its host that it may use, by their numbers, as in `0-7,16`; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// That its agent obeys another controller, if it does.
    pub refusal: Option<String>,
    /// Why its nodes' states are not known, if they are not.
    pub trouble: Option<String>,
    /// What an operator should mend there, besides nodes.
    pub warnings: Vec<String>,
    /// Those of the deployed configuration, and those that it has besides.
    pub nodes: Vec<NodeReport>,
}
