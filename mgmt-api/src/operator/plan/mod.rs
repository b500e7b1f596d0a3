//! What a deployment would do: [`Plan`].

mod make;
mod since;
mod splits;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    diff::{Change, Field},
    plain,
};
use crate::enums::ClusterRole;

pub use make::{Heard, Nodes, make};
pub use since::since;
pub use splits::splits;

/// What a deployment of a configuration would do, as things were when the plan was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Plan {
    /// By what it is deployed: a hash of all that went into it.
    pub id: String,
    /// The id of the configuration that is deployed, if one is.
    pub deployed: Option<String>,
    /// Whether a deployment would change anything.
    pub has_changes: bool,
    /// Why it concerns the whole cluster; none if it can be tried on one instance.
    pub whole_cluster: Vec<String>,
    /// Those of the new configuration, and those that it drops, in the order of their names.
    pub instances: Vec<InstancePlan>,
    /// Likewise, in the order of their names, with what runs besides.
    pub nodes: Vec<NodePlan>,
    /// The groups of workers that share the packets of an interface whose flows are dealt anew.
    pub groups: Vec<GroupPlan>,
}

/// What a deployment would do on an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct InstancePlan {
    pub instance: String,
    /// In what it differs from what is deployed, if it does.
    pub change: Option<Change>,
    /// Why it is not known what would become of its nodes.
    pub unknown: Option<String>,
    /// What there is to know about how its agent deploys.
    pub note: Option<String>,
    /// Why nodes could not run there: nothing is deployed then.
    pub problems: Vec<NodeProblem>,
}

/// Why a node could not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NodeProblem {
    pub node: String,
    pub reason: String,
}

/// What a deployment would do to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NodePlan {
    pub node: String,
    /// Where it is to run, or is to stop.
    pub instance: String,
    #[serde(serialize_with = "plain::serialize", deserialize_with = "plain::deserialize")]
    #[schema(schema_with = plain::words::<ClusterRole>)]
    pub role: ClusterRole,
    pub step: Step,
    /// Where it runs now, if it is to move.
    pub from: Option<String>,
    /// Whether it is told of workers that have come.
    pub is_told: bool,
    /// Whether that is only what the configurations say, as its agent has not said.
    pub is_guess: bool,
    /// In what its configuration differs.
    pub fields: Vec<Field>,
    /// Why it needs a restart.
    pub reason: Option<String>,
    /// How long its process took at its last start until it was up, in milliseconds, if its agent has seen that.
    pub start_millis: Option<u64>,
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It is new.
    Create,
    /// It does not run.
    Start,
    Restart,
    /// It ends on one instance and starts on another one.
    Move,
    /// It ends for good.
    Stop,
    /// It runs on.
    Keep,
    /// An operator has stopped it, or it has done its work, and it stays so.
    StayStopped,
    /// As a later release may call it.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Step {
    /// Whether anything is done to the node.
    pub const fn is_change(self) -> bool {
        !matches!(self, Self::Keep | Self::StayStopped)
    }
}

/// In words: `node a restarts`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "is new",
            Self::Start => "starts",
            Self::Restart => "restarts",
            Self::Move => "moves",
            Self::Stop => "stops",
            Self::Keep => "runs on",
            Self::StayStopped => "stays stopped",
            Self::Unknown => "is not known",
        })
    }
}

/// Workers of an instance that share the packets of an interface: the kernel deals flows to those that run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GroupPlan {
    pub instance: String,
    pub interface: String,
    /// How many run now, and are to run.
    pub before: usize,
    pub after: usize,
    /// How many of them restart.
    pub restart: usize,
}

/// What becomes of its flows, in a line.
impl fmt::Display for GroupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instance,
            interface,
            before,
            after,
            restart,
        } = self;
        let group = format!("{interface} on {instance}");
        match (*before, *after, *restart) {
            (1, 1, 1) => write!(
                f,
                "the only worker of {group} restarts: nothing is captured there until it is back"
            ),
            (before, after, restart) if restart == before && after == before => write!(
                f,
                "all {before} workers of {group} restart: nothing is captured there until the first of them is back"
            ),
            (before, after, restart) if before == after => write!(
                f,
                "{restart} of {before} workers of {group} restart: about half of its flows or more go to other workers until they are back"
            ),
            (before, after, restart) => {
                write!(f, "{group} has {after} workers, and had {before}")?;
                if restart > 0 {
                    write!(f, ", of which {restart} restart")?;
                }
                f.write_str(": about half of its flows or more go to other workers")
            }
        }
    }
}
