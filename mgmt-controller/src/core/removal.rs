//! A cluster is removed.

use mgmt_api::{
    Level, Principal,
    operator::{Changed, NotDone, NotDoneKind, written},
};

use super::{
    cluster::Cluster,
    configurations::Changes,
    operators::answer,
    pending::AfterWrite,
    turn::{About, Turn},
};

impl Cluster {
    /// Whether it has nothing that agents run.
    pub(super) fn removable(&self) -> Result<(), NotDone> {
        let conflict = |reason: String| Err(NotDone::new(NotDoneKind::Conflict, reason));
        let name = self.name();
        if name.is_default() {
            return conflict(
                "cluster default is always there: deploy an empty configuration to empty it".into(),
            );
        }
        if let Some(deployed) = &self.configurations.deployed
            && !deployed.instances.is_empty()
        {
            let id = &deployed.id;
            return conflict(format!(
                "configuration {id} is deployed in cluster {name}: deploy an empty configuration in it first, then delete it"
            ));
        }
        if let Some(reason) = self.rolls_out() {
            return conflict(reason);
        }
        if self.deployment.is_some() || !self.writes.is_empty() {
            return conflict(format!(
                "a configuration of cluster {name} is being deployed or stored: wait until that has ended, then try again"
            ));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, turn: &mut Turn<'_>, id: u64, principal: &Principal) {
        turn.report(
            Level::Info,
            About::Cluster,
            format!("is deleted, as {principal} wants"),
        );
        let changes = Changes {
            is_removal: true,
            ..Changes::default()
        };
        self.write(turn, changes, AfterWrite::AnswerRemoval { id });
    }

    /// The second half: what was stored of it is gone, or cannot be removed.
    pub(super) fn removed(&self, turn: &mut Turn<'_>, id: u64, outcome: Result<(), String>) {
        let outcome = match outcome {
            Ok(()) => written(&Changed::default()),
            Err(error) => {
                let reason = format!("cluster {} cannot be deleted: {error}", self.name());
                Err(NotDone::new(NotDoneKind::Unavailable, reason))
            }
        };
        answer(turn, id, outcome);
    }

    /// Has the dropped instances stored that have come from another cluster.
    pub(super) fn store_dismissed(&mut self, turn: &mut Turn<'_>) {
        let dismissed = self.members.instances.dismissed.values().cloned();
        let changes = Changes {
            dismissed: Some(dismissed.collect()),
            ..Changes::default()
        };
        self.write(turn, changes, AfterWrite::Nothing);
    }
}
