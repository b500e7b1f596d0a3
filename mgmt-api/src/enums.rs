//! Enums, by their fully qualified wire names.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

/// What a Management process is (`Management::Role`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Not one of the framework's processes, or not known.
    #[default]
    #[serde(rename = "Management::NONE")]
    None,
    #[serde(rename = "Management::AGENT")]
    Agent,
    #[serde(rename = "Management::CONTROLLER")]
    Controller,
    /// A cluster node. Declared, never sent by Zeek.
    #[serde(rename = "Management::NODE")]
    Node,
}

/// The state of a cluster node (`Management::State`), shown without its module: `RUNNING`. Zeek's agent produces only the first two.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Display,
    EnumString,
    VariantNames,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "UPPERCASE")]
pub enum State {
    /// Started, not heard of yet.
    #[serde(rename = "Management::PENDING")]
    Pending,
    /// Running and checked in.
    #[serde(rename = "Management::RUNNING")]
    Running,
    /// Ended on purpose.
    #[serde(rename = "Management::STOPPED")]
    Stopped,
    /// Cannot be started.
    #[serde(rename = "Management::FAILED")]
    Failed,
    /// Ended by itself.
    #[serde(rename = "Management::CRASHED")]
    Crashed,
    #[default]
    #[serde(rename = "Management::UNKNOWN")]
    Unknown,
}

/// What a Zeek process does in its cluster (`Supervisor::ClusterRole`), shown as a plain word: `worker`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Display,
    EnumString,
    VariantNames,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "lowercase")]
pub enum ClusterRole {
    /// No part of a cluster.
    #[default]
    #[serde(rename = "Supervisor::NONE")]
    None,
    /// Writes logs.
    #[serde(rename = "Supervisor::LOGGER")]
    Logger,
    /// Coordinates the cluster.
    #[serde(rename = "Supervisor::MANAGER")]
    Manager,
    /// Relays and stores state.
    #[serde(rename = "Supervisor::PROXY")]
    Proxy,
    /// Analyses packets.
    #[serde(rename = "Supervisor::WORKER")]
    Worker,
}
