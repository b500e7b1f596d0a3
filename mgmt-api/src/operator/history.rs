//! What has become of a node.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    agent::{NodeReport, Outputs},
    plain,
};
use crate::enums::State;

/// What has become of a node, as its agent remembers it since the agent was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NodeHistory {
    pub instance: String,
    /// How it is now.
    pub now: NodeReport,
    /// Why nothing else is known, where that is so.
    pub trouble: Option<String>,
    /// How many changes there were before the first of these.
    pub forgotten: u64,
    /// What has changed, the oldest first.
    pub moments: Vec<Moment>,
}

/// A node got another state, or its process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Moment {
    /// When, by the clock of its host, as RFC 3339 has it.
    pub time: String,
    /// How it was from then on.
    #[serde(with = "plain")]
    #[schema(schema_with = plain::words::<State>)]
    pub state: State,
    /// Its process: the one that runs, or that has ended.
    pub pid: Option<i64>,
    /// Why, if that is known.
    pub reason: Option<String>,
    /// What the process last wrote, if it has ended and that is still remembered.
    pub outputs: Option<Outputs>,
}
