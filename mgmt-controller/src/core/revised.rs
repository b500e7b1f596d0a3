//! When a cluster records a revision, and what operators are told of revisions.

use std::sync::Arc;

use broker_codec::data::{Address, Excerpt, ZeekString};
use mgmt_api::{
    Configuration,
    operator::{NotDone, NotDoneKind, Revision as Told, Revisions as AllTold, text, written},
};

use super::{
    action::Action,
    cluster::Cluster,
    deployment::Deployment,
    input::RecallId,
    operators::answer,
    pending::Recall,
    revisions::{Recorded, Revision},
    turn::Turn,
};

/// How many configurations of revisions are fetched at a time, in all clusters: each may be long.
pub const RECALLS_MAX: usize = 16;

impl Cluster {
    /// What is recorded when this configuration takes the place of the deployed one: nothing if the controller hands out again by itself, or
    /// has only filled in hosts.
    pub(super) fn recorded(&self, turn: &Turn<'_>, config: &Arc<Configuration>) -> Recorded {
        let deployed = self.configurations.deployed.as_ref();
        let is_new = self.deployment.as_ref().is_some_and(Deployment::is_new);
        if !is_new || deployed.is_some_and(|deployed| differ_in_hosts_only(deployed, config)) {
            return Recorded::default();
        }
        let origin = self.deployments.origin(turn);
        self.configurations.revisions.record(deployed, config, origin)
    }

    pub(super) fn told_of_revisions(&self) -> Result<ZeekString, NotDone> {
        let configurations = &self.configurations;
        let deployed = configurations.deployed_revision().map(|revision| revision.number);
        let told = |revision: &Revision| revision.summary(Some(revision.number) == deployed);
        written(&AllTold {
            deployed: configurations.deployed.as_ref().map(|config| text(&config.id)),
            deployed_revision: deployed,
            revisions: configurations.revisions.iter().rev().map(told).collect(),
        })
    }

    /// Has the configuration of a revision fetched, for an operator.
    pub(super) fn recall(&mut self, turn: &mut Turn<'_>, id: u64, number: &str) {
        let revisions = &self.configurations.revisions;
        let Some(revision) = number.parse().ok().and_then(|number| revisions.get(number)) else {
            return answer(turn, id, Err(self.no_revision(number)));
        };
        if turn.common.recalls.len() >= RECALLS_MAX {
            let reason = "too many revisions are being read from the store: try again";
            return answer(turn, id, Err(NotDone::new(NotDoneKind::Unavailable, reason)));
        }
        let deployed = self.configurations.deployed_revision();
        let summary = revision.summary(deployed == Some(revision));
        let recall = turn.common.recalls.begin(self.name());
        turn.push(Action::Recall {
            recall,
            cluster: self.name().clone(),
            number: revision.number,
        });
        self.recalls.insert(
            recall,
            Recall {
                id,
                revision: summary,
            },
        );
    }

    /// The store has fetched the configuration of a revision, or cannot.
    pub(super) fn recalled(
        &mut self,
        turn: &mut Turn<'_>,
        recall: RecallId,
        outcome: Result<Arc<Configuration>, String>,
    ) {
        let Some(Recall { id, revision }) = self.recalls.remove(&recall) else {
            return;
        };
        let told = match outcome {
            Ok(config) => written(&Told {
                summary: revision,
                content: (&*config).into(),
            }),
            Err(error) => {
                let reason = format!("revision {} cannot be read: {error}", revision.revision);
                Err(NotDone::new(NotDoneKind::Unavailable, reason))
            }
        };
        answer(turn, id, told);
    }

    fn no_revision(&self, number: &str) -> NotDone {
        let mut revisions = self.configurations.revisions.iter();
        let number = Excerpt::new(number.as_bytes());
        let reason = match (revisions.next(), revisions.next_back()) {
            (None, _) => format!("there is no revision {number}: nothing has been deployed under a number"),
            (Some(only), None) => format!("there is no revision {number}: there is {}", only.number),
            (Some(first), Some(last)) => {
                format!(
                    "there is no revision {number}: those that are kept are {} to {}",
                    first.number, last.number
                )
            }
        };
        NotDone::new(NotDoneKind::Unknown, reason)
    }
}

/// Whether a configuration is the deployed one, of which hosts may have become known since.
fn differ_in_hosts_only(deployed: &Configuration, config: &Configuration) -> bool {
    let is_open = |host: &Address| *host == Address::UNSPECIFIED_V4;
    let mut pairs = deployed.instances.iter().zip(&config.instances);
    deployed.id == config.id
        && deployed.nodes == config.nodes
        && deployed.instances.len() == config.instances.len()
        && pairs.all(|(one, other)| {
            let same_host = one.host == other.host || is_open(&one.host) || is_open(&other.host);
            one.name == other.name && one.listen_port == other.listen_port && same_host
        })
}
