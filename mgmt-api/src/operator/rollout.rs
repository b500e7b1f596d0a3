//! Roll-outs: a configuration is tried on one sensor after another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};
use utoipa::ToSchema;

use super::plain;
use crate::enums::ClusterRole;

/// For how long nodes are watched at most, in seconds.
pub const WATCH_MAX: u64 = 60 * 60;

/// How a configuration is rolled out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutOptions {
    /// The instances that are changed first, one stage for all of their nodes.
    pub canary: Vec<String>,
    /// On how many instances nodes are changed at a time.
    pub max_parallel: u32,
    /// How many nodes of a role may be down at a time, by the roles: those that are changed, and those that do not run for another reason.
    /// Without, as many as instances have that are changed at a time.
    pub max_unavailable: BTreeMap<String, u32>,
    /// For how long nodes are watched after they are up, in seconds: at most an hour.
    pub watch: u64,
    /// What happens when a node does not come up, crashes, or does worse than before.
    pub on_failure: OnFailure,
    /// What happens when an agent is lost while nodes of its instance are changed.
    pub on_lost: OnLost,
    /// Why, for those who look at the [revisions](super::revision::Revisions) later: one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub note: Option<String>,
}

impl Default for RolloutOptions {
    fn default() -> Self {
        Self {
            canary: Vec::new(),
            max_parallel: 1,
            max_unavailable: BTreeMap::new(),
            watch: 30,
            on_failure: OnFailure::Rollback,
            on_lost: OnLost::Wait,
            note: None,
        }
    }
}

/// What happens to a roll-out when a node fails.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Display, EnumString, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum OnFailure {
    /// All nodes that were changed go back to what is deployed.
    #[default]
    Rollback,
    /// Nothing more is changed until an operator decides.
    Stop,
}

/// What happens to a roll-out when an agent is lost.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Display, EnumString, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum OnLost {
    /// It goes on with this instance when its agent is back.
    #[default]
    Wait,
    Stop,
    Rollback,
}

/// What an operator wants of the roll-out that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum RolloutOrder {
    /// What is being changed is finished, and nothing else begun.
    Pause,
    /// It goes on.
    Resume,
    /// All nodes that were changed go back.
    Abort,
}

/// A roll-out: the one that is under way, or the last one since the controller was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Rollout {
    pub id: String,
    pub state: RolloutState,
    /// The id of the configuration that is rolled out.
    pub configuration: String,
    /// The id of the one that is deployed meanwhile.
    pub deployed: Option<String>,
    /// Who has asked for it.
    pub asked_by: String,
    /// RFC 3339, in UTC.
    pub begun: String,
    /// Likewise.
    pub ended: Option<String>,
    pub options: RolloutOptions,
    /// Why it is not running, has failed, or went back.
    pub reasons: Vec<String>,
    /// What it waits for.
    pub waits_for: Vec<String>,
    /// In their order: `canary`, then one for each role.
    pub stages: Vec<RolloutStage>,
}

/// What is changed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RolloutStage {
    pub stage: String,
    /// The nodes that it changes, in the order in which it does.
    pub nodes: Vec<RolledNode>,
}

/// How far a roll-out is with a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RolledNode {
    pub node: String,
    pub instance: String,
    #[serde(with = "plain")]
    #[schema(schema_with = plain::words::<ClusterRole>)]
    pub role: ClusterRole,
    pub state: RolledState,
}

#[derive(
    Clone, Copy, Debug, Default, Display, PartialEq, Eq, VariantNames, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum RolledState {
    /// As it is deployed.
    #[default]
    Before,
    /// It is being restarted.
    Changing,
    /// It is up, and watched.
    Watched,
    /// It was watched, and did well.
    Changed,
    /// As a later release may call it.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, Display, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum RolloutState {
    /// Agents look whether their hosts could run it. Nothing is changed.
    Preparing,
    Running,
    /// An operator has paused it.
    Paused,
    /// Something has failed: an operator decides.
    Stopped,
    /// What was changed goes back.
    RollingBack,
    /// All nodes were changed: it becomes the deployed configuration.
    Finishing,
    /// It is the deployed configuration.
    Done,
    /// All is as it was.
    RolledBack,
    /// It could not begin, and nothing was changed.
    Failed,
    /// As a later release may call it.
    #[default]
    #[serde(other)]
    Unknown,
}

impl RolloutState {
    /// Whether nothing more comes of it.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Failed)
    }
}
