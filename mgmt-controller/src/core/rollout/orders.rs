//! What operators want of roll-outs: how one begins and ends.

use std::{collections::BTreeSet, sync::Arc};

use broker_codec::data::{Address, ZeekString};
use mgmt_api::{
    Configuration, Level, Principal, ResultRecord,
    operator::{
        Expected, NotDone, NotDoneKind, RolloutOptions, RolloutOrder, RolloutState, check_note, counted,
        plan::splits,
    },
};

use super::{Rollout, StoredRollout, check};
use crate::core::{
    cluster::Cluster,
    configurations::{Changes, RolloutChange},
    deployment::Deployment,
    operators::answer,
    pending::{AfterWrite, Key, Pending},
    progress::reason_of,
    turn::Turn,
};

impl Cluster {
    /// What is staged is to be rolled out. The operator is answered when it has begun.
    pub(in crate::core) fn roll_out(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        options: RolloutOptions,
        expected: Option<&Expected>,
    ) {
        match self.rollable(turn, &options, expected) {
            Ok(deployment) => {
                self.prepare_rollout(turn, principal, options, deployment);
                answer(turn, id, self.told_of_rollout(turn));
            }
            Err(refusal) => answer(turn, id, Err(refusal)),
        }
    }

    /// The deployment by which agents look whether they could run what is staged, if it can be rolled out.
    fn rollable(
        &self,
        turn: &mut Turn<'_>,
        options: &RolloutOptions,
        expected: Option<&Expected>,
    ) -> Result<Deployment, NotDone> {
        options.note.as_deref().map_or(Ok(()), check_note)?;
        self.deployable(turn, expected)?;
        let conflict = |reason: String| NotDone::new(NotDoneKind::Conflict, reason);
        let (Some(ready), Some(deployed)) = (&self.configurations.ready, &self.configurations.deployed)
        else {
            let reason = "nothing is deployed: there is nothing to go back to, so deploy it";
            return Err(conflict(reason.into()));
        };
        if ready.id == deployed.id {
            return Err(conflict(format!(
                "configuration {} is deployed already",
                ready.id
            )));
        }
        check(options, ready).map_err(|reason| NotDone::new(NotDoneKind::Invalid, reason))?;
        let key = Key::Internal(turn.ids.next_id());
        let mut deployment = Deployment::new(key, Arc::clone(ready), turn.now, true);
        deployment.look_ahead(&self.members, Some(deployed));
        keep_hosts(&mut deployment.config, deployed);
        let reasons = splits(deployed, &deployment.config);
        if reasons.is_empty() {
            return Ok(deployment);
        }
        Err(NotDone {
            errors: reasons,
            ..conflict(
                "this change concerns the whole cluster, and cannot be tried on one instance: deploy it"
                    .into(),
            )
        })
    }

    fn prepare_rollout(
        &mut self,
        turn: &mut Turn<'_>,
        principal: &Principal,
        options: RolloutOptions,
        deployment: Deployment,
    ) {
        let Some(deployed) = self.configurations.deployed.clone() else {
            return;
        };
        let stored = StoredRollout {
            id: deployment.key.reqid().clone(),
            asked_by: principal.to_string(),
            begun: turn.unix_seconds(turn.now),
            options,
            state: RolloutState::Preparing,
            reasons: Vec::new(),
            changed: BTreeSet::new(),
            proven: BTreeSet::new(),
            whole: BTreeSet::new(),
            deployed: deployed.id.clone(),
            configuration: Arc::clone(&deployment.config),
        };
        let id = stored.id.clone();
        self.rollout = Some(Rollout::new(stored, &deployed));
        self.tell_rollout(
            turn,
            Level::Info,
            &format!("begins, as {principal} wants: agents look whether they could run it"),
        );
        let gathered_by = Deployment::gathered_by(turn.now, &self.settings);
        self.await_until(gathered_by, Key::Internal(id), Pending::Deployment);
        self.members.gather(turn, &deployment.config);
        self.deployment = Some(deployment);
        self.progress(turn);
    }

    /// Whether agents look whether they could run what is to be rolled out.
    pub(in crate::core) fn prepares_rollout(&self) -> bool {
        let state = self.rollout.as_ref().map(|rollout| rollout.stored.state);
        state == Some(RolloutState::Preparing)
    }

    /// They can.
    pub(in crate::core) fn begin_rollout(&mut self, turn: &mut Turn<'_>) {
        let (Some(deployment), Some(deployed)) =
            (self.deployment.take(), self.configurations.deployed.clone())
        else {
            return;
        };
        let comes_late = deployment.again;
        self.requests.remove(&deployment.key);
        let left = self.members.disband(turn);
        self.all_lost(turn, left);
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let mut stored = rollout.stored.clone();
        stored.configuration = deployment.config;
        keep_hosts(&mut stored.configuration, &deployed);
        stored.state = RolloutState::Running;
        let takes_no_trial = |name: &ZeekString| {
            let agent = self.members.peers.agent(name);
            agent.is_none_or(|agent| !self.members.peers.features_of(agent.peer).tries)
        };
        let names = deployed.instances.iter().map(|instance| &instance.name);
        stored.whole = names.filter(|name| takes_no_trial(name)).cloned().collect();
        *rollout = Rollout::new(stored, &deployed);
        rollout.is_dirty = true;
        let mut never: Vec<String> = rollout.never().into_iter().collect();
        never.extend(splits(&deployed, &rollout.stored.configuration));
        if !never.is_empty() {
            rollout.is_dirty = false;
            return self.rollout_ended(turn, RolloutState::Failed, never);
        }
        let nodes = counted(rollout.units().count(), "node");
        let names: BTreeSet<&ZeekString> = rollout.units().map(|unit| &unit.instance).collect();
        let whole = names
            .into_iter()
            .filter(|name| rollout.stored.whole.contains(*name));
        let whole: Vec<ZeekString> = whole.cloned().collect();
        self.tell_rollout(turn, Level::Info, &format!("changes {nodes}"));
        for name in whole {
            self.tell_rollout(
                turn,
                Level::Info,
                &format!(
                    "instance {name} is changed as a whole, and keeps what it has when it is started again: its agent is Zeek's, or older than this controller"
                ));
        }
        if comes_late {
            self.check_instances_ready(turn);
        }
        self.roll(turn);
    }

    /// A deployment of the roll-out's has failed before it was accepted: agents cannot run it, or it cannot be made the deployed one.
    pub(in crate::core) fn rollout_not_accepted(&mut self, turn: &mut Turn<'_>, results: &[ResultRecord]) {
        let failed = results
            .iter()
            .filter(|result| !result.success && result.node.is_none());
        let reasons: Vec<String> = failed.map(|result| reason_of(result, None)).collect();
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        match rollout.stored.state {
            RolloutState::Preparing => self.rollout_ended(turn, RolloutState::Failed, reasons),
            RolloutState::Finishing => {
                rollout.stored.state = RolloutState::Stopped;
                let reason = reasons.first().cloned().unwrap_or_default();
                rollout.stored.reasons = reasons;
                rollout.is_dirty = true;
                let message = format!(
                    "all nodes are changed, but it cannot be made the deployed one: {reason}; resume or abort it"
                );
                self.tell_rollout(turn, Level::Warning, &message);
            }
            _ => {}
        }
    }

    /// An operator wants it to go on otherwise.
    pub(in crate::core) fn order_rollout(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        order: RolloutOrder,
    ) {
        let ordered = self.ordered(turn, principal, order);
        let told = ordered.and_then(|()| self.told_of_rollout(turn));
        answer(turn, id, told);
        self.roll(turn);
    }

    fn ordered(
        &mut self,
        turn: &mut Turn<'_>,
        principal: &Principal,
        order: RolloutOrder,
    ) -> Result<(), NotDone> {
        use RolloutState::{Paused, Preparing, RollingBack, Running, Stopped};

        let Some(rollout) = &mut self.rollout else {
            return Err(NotDone::new(NotDoneKind::Conflict, "no roll-out is under way"));
        };
        let state = rollout.stored.state;
        match (order, state) {
            (RolloutOrder::Pause, Running) => rollout.stored.state = Paused,
            (RolloutOrder::Resume, Paused | Stopped) => {
                rollout.stored.state = Running;
                rollout.stored.reasons.clear();
            }
            (RolloutOrder::Abort, Running | Paused | Stopped) => rollout.turn_back(None),
            (RolloutOrder::Abort, Preparing) => {
                let reqid = rollout.stored.id.clone();
                let error = format!("aborted, as {principal} wants");
                self.fail_deployment(turn, vec![ResultRecord::failure(reqid, error)]);
                return Ok(());
            }
            // It may wait for nodes that will not come up.
            (RolloutOrder::Abort, RollingBack) => rollout.stored.options.max_unavailable.clear(),
            (RolloutOrder::Pause, Paused) | (RolloutOrder::Resume, Running) => return Ok(()),
            _ => {
                let reason = format!("the roll-out is {state}: it cannot {order} now");
                return Err(NotDone::new(NotDoneKind::Conflict, reason));
            }
        }
        rollout.is_dirty = true;
        let message = match order {
            RolloutOrder::Pause => format!("pauses, as {principal} wants: what is being changed is finished"),
            RolloutOrder::Resume => format!("goes on, as {principal} wants"),
            RolloutOrder::Abort => format!("goes back, as {principal} wants"),
        };
        self.tell_rollout(turn, Level::Info, &message);
        Ok(())
    }

    /// All nodes are changed: it becomes the deployed configuration.
    pub(super) fn finish_rollout(&mut self, turn: &mut Turn<'_>) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        rollout.stored.state = RolloutState::Finishing;
        let config = Arc::clone(&rollout.stored.configuration);
        let asked_by = rollout.stored.asked_by.clone();
        let note = rollout.stored.options.note.clone();
        self.tell_rollout(
            turn,
            Level::Info,
            "has changed all nodes: it becomes the deployed configuration",
        );
        let reqid = turn.ids.next_id();
        self.deployments.note(&reqid, note);
        self.deployments.begin_of(turn, &config, reqid.clone(), asked_by);
        let key = Key::Internal(reqid);
        let gathered_by = Deployment::gathered_by(turn.now, &self.settings);
        self.await_until(gathered_by, key.clone(), Pending::Deployment);
        self.members.gather(turn, &config);
        self.deployment = Some(Deployment::new(key, config, turn.now, true));
        self.progress(turn);
    }

    /// Whether the configuration of a roll-out is about to become the deployed one.
    pub(in crate::core) fn finishes_rollout(&self) -> bool {
        let state = self.rollout.as_ref().map(|rollout| rollout.stored.state);
        state == Some(RolloutState::Finishing)
    }

    /// It is.
    pub(in crate::core) fn rollout_done(&mut self, turn: &mut Turn<'_>) {
        if self.finishes_rollout() {
            self.tell_rollout(turn, Level::Info, "is done");
            self.end_told(turn, RolloutState::Done);
        }
    }

    /// At start: a roll-out that an earlier controller has left goes on, if what is deployed is what was then.
    pub(in crate::core) fn take_up_rollout(&mut self, turn: &mut Turn<'_>) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let deployed = self.configurations.deployed.as_ref();
        if deployed.is_some_and(|deployed| deployed.id == rollout.stored.deployed) {
            rollout.is_stored = true;
            let state = rollout.stored.state;
            self.tell_rollout(turn, Level::Info, &format!("is taken up: it is {state}"));
            return;
        }
        let reason = "another configuration is deployed than when it began";
        self.tell_rollout(turn, Level::Warning, &format!("is given up: {reason}"));
        self.rollout = None;
        self.end_stored(turn);
    }

    /// Nothing more comes of it.
    pub(super) fn rollout_ended(&mut self, turn: &mut Turn<'_>, state: RolloutState, reasons: Vec<String>) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        rollout.stored.reasons.extend(reasons);
        let reasons = rollout.stored.reasons.join("; ");
        let was_stored = rollout.is_stored;
        let (level, message) = match state {
            RolloutState::Failed => (
                Level::Warning,
                format!("has failed, and nothing was changed: {reasons}"),
            ),
            _ if reasons.is_empty() => (Level::Info, "has gone back: all is as it was".to_owned()),
            _ => (Level::Warning, format!("has gone back: {reasons}")),
        };
        self.tell_rollout(turn, level, &message);
        self.end_told(turn, state);
        if was_stored {
            self.end_stored(turn);
        }
    }

    pub(super) fn end_stored(&mut self, turn: &mut Turn<'_>) {
        let changes = Changes {
            rollout: Some(RolloutChange::Ended),
            ..Changes::default()
        };
        self.write(turn, changes, AfterWrite::Nothing);
    }
}

/// Hosts that are open in a configuration are as they are deployed: an agent that connects to us from elsewhere is no other instance.
fn keep_hosts(config: &mut Arc<Configuration>, deployed: &Configuration) {
    let mut instances = config.instances.clone();
    instances = instances
        .into_iter()
        .map(|mut instance| {
            let mut known = deployed.instances.iter();
            if instance.host == Address::UNSPECIFIED_V4
                && let Some(known) = known.find(|known| known.name == instance.name)
            {
                instance.host = known.host;
            }
            instance
        })
        .collect();
    if instances != config.instances {
        Arc::make_mut(config).instances = instances;
    }
}
