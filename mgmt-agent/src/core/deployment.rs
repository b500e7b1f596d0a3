use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::{Address, ZeekString};
use mgmt_api::{Configuration, Instance};

/// A configuration on its way to the Supervisor.
#[derive(Debug)]
pub(super) enum Deployment {
    /// Waits for the Supervisor's status, under this command.
    Waiting { command: ZeekString, goal: Goal },
    /// The nodes of this request have been handed to the Supervisor.
    Starting {
        reqid: ZeekString,
        /// The nodes that have not said hello.
        awaited: BTreeSet<ZeekString>,
        /// The nodes that will not, and why, unless their output says so.
        failed: BTreeMap<ZeekString, Option<String>>,
    },
}

/// What a deployment is for.
#[derive(Debug)]
pub(super) enum Goal {
    /// To run this configuration, for the request of this id.
    Run {
        reqid: ZeekString,
        config: Configuration,
        /// Whether the agent goes back to the one before when it is started again.
        on_trial: bool,
    },
    /// To see whether the running configuration runs, for the request of this id.
    Confirm { reqid: ZeekString },
    /// To end all nodes.
    StandBy,
}

impl Deployment {
    /// The configuration that waits to be handed on.
    pub(super) const fn upcoming(&self) -> Option<&Configuration> {
        match self {
            Self::Waiting {
                goal: Goal::Run { config, .. },
                ..
            } => Some(config),
            _ => None,
        }
    }

    pub(super) const fn reqid(&self) -> Option<&ZeekString> {
        match self {
            Self::Waiting {
                goal: Goal::Run { reqid, .. } | Goal::Confirm { reqid },
                ..
            }
            | Self::Starting { reqid, .. } => Some(reqid),
            Self::Waiting { .. } => None,
        }
    }

    /// A node will not come up, for this reason.
    pub(super) fn node_failed(&mut self, name: &ZeekString, error: String) {
        if let Self::Starting { awaited, failed, .. } = self
            && awaited.remove(name)
        {
            failed.insert(name.clone(), Some(error));
        }
    }

    /// A node has said hello.
    pub(super) fn node_came_up(&mut self, name: &ZeekString) {
        if let Self::Starting { awaited, failed, .. } = self {
            awaited.remove(name);
            failed.remove(name);
        }
    }

    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Starting { awaited, .. } if awaited.is_empty())
    }
}

/// Whether two configurations run the same nodes.
///
/// DIFFERENCE(same-id): a configuration that differs from the current one in more than hosts that were open is another one, even
/// under the same id. Zeek's agent compares ids only, and answers that it runs what it does not.
pub(super) fn is_same(current: &Configuration, new: &Configuration) -> bool {
    let same_place = |(current, new): (&Instance, &Instance)| {
        let was_open = current.host == Address::UNSPECIFIED_V4;
        let host = if was_open { current.host } else { new.host };
        *current == Instance { host, ..new.clone() }
    };
    current.id == new.id
        && current.nodes == new.nodes
        && current.instances.len() == new.instances.len()
        && current.instances.iter().zip(&new.instances).all(same_place)
}
