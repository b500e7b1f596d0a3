//! Deployments, as operators follow them.

use serde::{Deserialize, Serialize};
use strum::Display;
use utoipa::ToSchema;

/// What a deployment is asked for with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewDeployment {
    /// The id of the plan that it is to carry out; without, what is staged is deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Why, for those who look at the [revisions](super::revision::Revisions) later: one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub note: Option<String>,
}

/// The deployments that clients and operators have asked for lately: the one that is under way first, then the others, the last one first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Deployments {
    pub deployments: Vec<DeploymentSummary>,
}

/// A deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Deployment {
    #[serde(flatten)]
    pub summary: DeploymentSummary,
    /// Those of its configuration, in the order of their names.
    pub instances: Vec<InstanceProgress>,
}

/// A deployment in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DeploymentSummary {
    /// The id of its request, as the management log has it.
    pub id: String,
    pub state: DeploymentState,
    /// The id of the configuration.
    pub configuration: String,
    /// Who has asked for it.
    pub asked_by: String,
    /// RFC 3339, in UTC.
    pub begun: String,
    /// Likewise.
    pub ended: Option<String>,
    /// Whether its configuration is the deployed one, or was: what has failed since then does not change that.
    pub is_accepted: bool,
    /// The number of its configuration among the [revisions](super::revision::Revisions), if it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// Why it has failed, as far as that is of no instance.
    pub errors: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Display, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum DeploymentState {
    Running,
    /// All nodes are up.
    Done,
    Failed,
    /// As a later release may call it.
    #[default]
    #[serde(other)]
    Unknown,
}

/// How far a deployment is on an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct InstanceProgress {
    pub instance: String,
    pub state: Progress,
    /// Why it has failed, as far as that is of no node.
    pub reason: Option<String>,
    /// Those of the configuration, in the order of their names.
    pub nodes: Vec<NodeProgress>,
}

/// How far a deployment is with a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NodeProgress {
    pub node: String,
    pub state: Progress,
    /// Why it has failed.
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Display, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Progress {
    /// Its agent is not there yet.
    Waiting,
    /// Its agent is there, and has not been asked.
    Ready,
    /// Its agent looks whether nodes can run.
    Checking,
    /// Its agent has got the configuration, and has not answered.
    Starting,
    Up,
    Failed,
    /// The deployment has failed before anything was changed.
    Unchanged,
    /// As a later release may call it.
    #[default]
    #[serde(other)]
    Unknown,
}
