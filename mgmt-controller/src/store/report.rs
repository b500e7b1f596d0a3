//! What operators are told of a store.

use mgmt_api::{Configuration, ControllerId, operator::text};
use serde::Serialize;

use crate::core::{Configurations, Slot};

/// What is in a store, without what may be secret.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    pub path: String,
    pub bytes: u64,
    /// The release of Broker whose format it has. None in an empty file.
    pub broker_version: Option<String>,
    /// The tables, Broker's and ours.
    pub tables: Vec<String>,
    /// By what agents know the controller, if it has started on this store.
    #[serde(flatten)]
    pub controller: Option<ControllerId>,
    /// `default` first.
    pub clusters: Vec<ClusterReport>,
    /// How many values could not be read once and were replaced; they are kept beside.
    pub set_aside: i64,
    /// What SQLite or Broker's schema has against it: no controller can use it then.
    pub faults: Vec<String>,
    /// Values that no controller can read.
    pub unreadable: Vec<String>,
}

/// What is stored of a cluster.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterReport {
    pub cluster: String,
    pub staged: Option<SlotReport>,
    pub ready: Option<SlotReport>,
    pub deployed: Option<SlotReport>,
    /// How many instances it has dropped that may not know.
    pub dropped: usize,
    /// How many revisions are kept.
    pub revisions: usize,
}

/// A configuration in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct SlotReport {
    pub id: String,
    pub instances: usize,
    pub nodes: usize,
}

impl From<&Configuration> for SlotReport {
    fn from(configuration: &Configuration) -> Self {
        Self {
            id: text(&configuration.id),
            instances: configuration.instances.len(),
            nodes: configuration.nodes.len(),
        }
    }
}

impl ClusterReport {
    pub(super) fn new(cluster: String, configurations: &Configurations) -> Self {
        let slot = |slot| configurations.get(slot).map(SlotReport::from);
        Self {
            cluster,
            staged: slot(Slot::Staged),
            ready: slot(Slot::Ready),
            deployed: slot(Slot::Deployed),
            dropped: configurations.dismissed.len(),
            revisions: configurations.revisions.len(),
        }
    }
}
