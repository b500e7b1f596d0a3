//! What has happened, as operators follow it.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};
use utoipa::ToSchema;

use super::plain;
use crate::{enums::State, log::Level};

/// Something has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Event {
    /// When, as RFC 3339 has it.
    pub time: String,
    pub cluster: String,
    /// What it is about.
    #[serde(with = "plain")]
    #[schema(schema_with = plain::words::<EventKind>)]
    pub kind: EventKind,
    pub level: Level,
    /// The instance that it is about, or that the node is on.
    pub instance: Option<String>,
    pub node: Option<String>,
    /// What the node's state is now, if it has changed.
    #[serde(
        serialize_with = "plain::serialize_option",
        deserialize_with = "plain::deserialize_option"
    )]
    #[schema(schema_with = plain::words_or_null::<State>)]
    pub state: Option<State>,
    /// The id of the deployment that it is about.
    pub deployment: Option<String>,
    /// In words, on one line.
    pub message: String,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Display, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum EventKind {
    /// The cluster as a whole, or its configurations.
    #[default]
    Cluster,
    /// An instance has come, or gone.
    Instance,
    /// A node has another state, or something is said of it.
    Node,
    /// A deployment has begun, or ended.
    Deployment,
}

/// That events are missing before what comes next: the controller was restarted, or so much has happened that it does not remember them.
/// It is the event `reset` of the stream, and how a cluster is has to be asked again.
pub const RESET: &str = "reset";
