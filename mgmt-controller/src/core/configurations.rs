use std::{collections::BTreeSet, fmt, sync::Arc};

use mgmt_api::{Configuration, Instance};
use serde::{Deserialize, Serialize};

use super::{
    cluster_name::ClusterName,
    revisions::{Recorded, Revision, Revisions},
    rollout::StoredRollout,
};

/// The stations of a configuration (`Management::Controller::Runtime::ConfigState`). The serde names are the keys in
/// Zeek's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// As the client sent it.
    #[serde(rename = "Management::Controller::Runtime::STAGED")]
    Staged,
    /// The staged one, with hosts and ports filled in.
    #[serde(rename = "Management::Controller::Runtime::READY")]
    Ready,
    /// The ready one at the time of the last deployment.
    #[serde(rename = "Management::Controller::Runtime::DEPLOYED")]
    Deployed,
}

impl Slot {
    pub const ALL: [Self; 3] = [Self::Staged, Self::Ready, Self::Deployed];
}

/// The name without its module: `STAGED`.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Staged => "STAGED",
            Self::Ready => "READY",
            Self::Deployed => "DEPLOYED",
        })
    }
}

/// The durable state: at most one configuration per slot (`g_configs`), and what Zeek has no place for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configurations {
    /// See [`Slot::Staged`].
    #[serde(default)]
    pub staged: Option<Arc<Configuration>>,
    /// See [`Slot::Ready`].
    #[serde(default)]
    pub ready: Option<Arc<Configuration>>,
    /// See [`Slot::Deployed`].
    #[serde(default)]
    pub deployed: Option<Arc<Configuration>>,
    /// The instances that had been dropped when the deployed configuration was stored, and had not said that they stand by. Their names
    /// differ.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dismissed: BTreeSet<Instance>,
    /// The roll-out that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<StoredRollout>>,
    /// What has been deployed, without the configurations.
    #[serde(default, skip_serializing_if = "Revisions::is_empty")]
    pub revisions: Revisions,
}

/// What is to become durable, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// The cluster that they are of, if it is not `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterName>,
    /// Whether all that is stored of the cluster goes first. Never of `default`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_removal: bool,
    pub entries: Vec<(Slot, Arc<Configuration>)>,
    /// What takes the place of [`Configurations::dismissed`], if that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dismissed: Option<BTreeSet<Instance>>,
    /// How it is with the roll-out, if that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutChange>,
    /// The revisions that come and go.
    #[serde(default, skip_serializing_if = "Recorded::is_empty")]
    pub recorded: Recorded,
}

/// What becomes of the roll-out that is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RolloutChange {
    UnderWay(Box<StoredRollout>),
    Ended,
}

impl Configurations {
    pub fn apply(&mut self, changes: Changes) {
        if changes.is_removal {
            *self = Self::default();
        }
        for (slot, config) in changes.entries {
            self.set(slot, config);
        }
        if let Some(dismissed) = changes.dismissed {
            self.dismissed = dismissed;
        }
        match changes.rollout {
            Some(RolloutChange::UnderWay(rollout)) => self.rollout = Some(rollout),
            Some(RolloutChange::Ended) => self.rollout = None,
            None => {}
        }
        self.revisions.apply(changes.recorded);
    }

    /// The revision that is deployed, if what is deployed has a number.
    pub fn deployed_revision(&self) -> Option<&Revision> {
        self.revisions.of(self.deployed.as_deref()?)
    }

    pub fn get(&self, slot: Slot) -> Option<&Configuration> {
        match slot {
            Slot::Staged => self.staged.as_deref(),
            Slot::Ready => self.ready.as_deref(),
            Slot::Deployed => self.deployed.as_deref(),
        }
    }

    /// Puts a configuration into a slot.
    pub fn set(&mut self, slot: Slot, configuration: Arc<Configuration>) {
        *match slot {
            Slot::Staged => &mut self.staged,
            Slot::Ready => &mut self.ready,
            Slot::Deployed => &mut self.deployed,
        } = Some(configuration);
    }
}
