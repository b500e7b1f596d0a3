//! Whether the steps of a roll-out go well: what agents answer, and what happens meanwhile.

use std::{collections::BTreeSet, time::Duration};

use broker_codec::data::ZeekString;
use mgmt_api::{
    Level, NodeStatus, ResultRecord, State,
    link::from_json,
    log::some_of,
    operator::{AgentStatus, NodeReport, OnFailure, OnLost, RolloutState},
};

use super::{Phase, Rollout, Way, complaint, samples};
use crate::core::{
    asking::{Answered, Told},
    cluster::Cluster,
    deployment::DEPLOYMENT_FIFTHS,
    pending::{Key, Pending},
    progress::reason_of,
    turn::Turn,
};

impl Cluster {
    /// An agent has told how its nodes are, or will not.
    pub(in crate::core) fn step_told(&mut self, turn: &mut Turn<'_>, told: Vec<(ZeekString, Told)>) {
        for (name, told) in told {
            let Some(step) = self.step_of(&name) else {
                continue;
            };
            let nodes = reports(told);
            match step.phase {
                Phase::Sampling => {
                    step.before = nodes
                        .map(|nodes| samples(&step.nodes, &nodes))
                        .unwrap_or_default();
                    if let (Some(rollout), Some(deployed)) =
                        (&mut self.rollout, &self.configurations.deployed)
                    {
                        rollout.begin(&name, deployed);
                        rollout.is_dirty = true;
                    }
                }
                Phase::Judged => self.judge(turn, &name, nodes),
                _ => {}
            }
        }
        self.roll(turn);
    }

    fn judge(&mut self, turn: &mut Turn<'_>, name: &ZeekString, nodes: Result<Vec<NodeReport>, String>) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let Some(step) = rollout.steps.get(name) else {
            return;
        };
        let watch = rollout.stored.options.watch;
        let wrong = match nodes {
            Ok(nodes) => complaint(&step.nodes, &step.before, &nodes, watch),
            Err(reason) => Some(format!("its agent does not say how its nodes are: {reason}")),
        };
        if let Some(wrong) = wrong {
            return self.step_failed(turn, name, &wrong);
        }
        let nodes: Vec<ZeekString> = step.nodes.iter().cloned().collect();
        rollout.end_step(name);
        rollout.is_dirty = true;
        let message = format!("has changed {} on instance {name}: they do well", some_of(&nodes));
        self.tell_rollout(turn, Level::Info, &message);
    }

    /// Whether an agent was asked under this id for a roll-out.
    pub(in crate::core) fn awaits_step(&self, name: &ZeekString, reqid: &ZeekString) -> bool {
        let step = self.rollout.as_ref().and_then(|rollout| rollout.steps.get(name));
        step.is_some_and(|step| matches!(&step.phase, Phase::Asked(id) if id == reqid))
    }

    /// It has carried out what it was given, or has not.
    pub(in crate::core) fn step_answered(
        &mut self,
        turn: &mut Turn<'_>,
        name: &ZeekString,
        reqid: &ZeekString,
        results: &[ResultRecord],
    ) {
        let way = self.rollout_way();
        let Some(step) = self.step_of(name) else {
            return;
        };
        let failure = failure(&step.nodes, results);
        self.requests.remove(&Key::Internal(reqid.clone()));
        if results.iter().all(|result| result.success)
            && let Some(config) = self.given(name).or_else(|| self.configurations.deployed.clone())
        {
            self.members.peers.has_deployed(name, &config);
        }
        match (way, failure) {
            (Some(Way::Forth), None) => self.watch(turn, name),
            (Some(Way::Forth), Some(reason)) => self.step_failed(turn, name, &reason),
            (_, failure) => {
                if let Some(rollout) = &mut self.rollout {
                    let reason = failure.map(|reason| format!("instance {name}: {reason}"));
                    rollout.stored.reasons.extend(reason);
                    rollout.end_step(name);
                    rollout.is_dirty = true;
                }
            }
        }
        self.roll(turn);
    }

    fn watch(&mut self, turn: &mut Turn<'_>, name: &ZeekString) {
        let reqid = turn.ids.next_id();
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let watch = Duration::from_secs(rollout.stored.options.watch);
        if let Some(step) = rollout.steps.get_mut(name) {
            step.phase = Phase::Watched(reqid.clone());
        }
        self.await_until(
            turn.now + watch,
            Key::Internal(reqid),
            Pending::Step(name.clone()),
        );
    }

    /// The time of a step is up: its agent has not answered, or its nodes were watched for long enough.
    pub(in crate::core) fn step_due(&mut self, turn: &mut Turn<'_>, reqid: &ZeekString, name: &ZeekString) {
        let within = self.settings.fifths(DEPLOYMENT_FIFTHS).as_secs();
        let way = self.rollout_way();
        let Some(step) = self.step_of(name) else {
            return;
        };
        match &step.phase {
            Phase::Watched(id) if id == reqid => {
                step.phase = Phase::Judged;
                self.ask_how_nodes_are(turn, name);
            }
            Phase::Asked(id) if id == reqid => {
                let reason = format!("its agent has not answered within {within} s");
                if way == Some(Way::Back) {
                    if let Some(rollout) = &mut self.rollout {
                        rollout.stored.reasons.push(format!("instance {name}: {reason}"));
                        rollout.end_step(name);
                        rollout.is_dirty = true;
                    }
                } else {
                    self.step_failed(turn, name, &reason);
                }
                self.roll(turn);
            }
            _ => {}
        }
    }

    /// A node's state has changed.
    pub(in crate::core) fn step_heard(
        &mut self,
        turn: &mut Turn<'_>,
        name: &ZeekString,
        node: &ZeekString,
        new: State,
    ) {
        let Some(step) = self.step_of(name) else {
            return;
        };
        let is_watched = matches!(step.phase, Phase::Watched(_) | Phase::Judged) && step.nodes.contains(node);
        if is_watched && matches!(new, State::Crashed | State::Failed) {
            self.step_failed(turn, name, &format!("node {node} is {new}"));
            self.roll(turn);
        }
    }

    /// The agent of an instance is gone.
    pub(in crate::core) fn step_lost(&mut self, turn: &mut Turn<'_>, name: &ZeekString, reason: &str) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let (on_lost, way) = (rollout.stored.options.on_lost, rollout.way());
        let Some(step) = rollout.steps.get_mut(name) else {
            return;
        };
        if step.phase == Phase::Sampling {
            rollout.steps.remove(name);
            return;
        }
        match (way, on_lost) {
            // On the way back it is looked at whether it is there.
            (Way::Back, _) => rollout.end_step(name),
            (Way::Forth, OnLost::Wait) => {
                step.phase = Phase::Due;
                let message = format!("waits for instance {name}, whose agent is lost: {reason}");
                self.tell_rollout(turn, Level::Warning, &message);
            }
            (Way::Forth, on_lost) => {
                let on_failure = match on_lost {
                    OnLost::Rollback => OnFailure::Rollback,
                    OnLost::Stop | OnLost::Wait => OnFailure::Stop,
                };
                self.fails(turn, name, &format!("its agent is lost: {reason}"), on_failure);
            }
        }
        self.roll(turn);
    }

    fn step_failed(&mut self, turn: &mut Turn<'_>, name: &ZeekString, reason: &str) {
        if let Some(rollout) = &self.rollout {
            let on_failure = rollout.stored.options.on_failure;
            self.fails(turn, name, reason, on_failure);
        }
    }

    fn fails(&mut self, turn: &mut Turn<'_>, name: &ZeekString, reason: &str, on_failure: OnFailure) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let reason = format!("instance {name}: {reason}");
        let what = match on_failure {
            OnFailure::Rollback => {
                rollout.turn_back(Some(reason.clone()));
                "goes back"
            }
            OnFailure::Stop => {
                rollout.stop(name, reason.clone());
                "stops, until it is resumed or aborted"
            }
        };
        rollout.is_dirty = true;
        self.tell_rollout(turn, Level::Warning, &format!("{what}: {reason}"));
    }
}

impl Rollout {
    /// Nothing more is begun.
    fn stop(&mut self, name: &ZeekString, reason: String) {
        self.stored.state = RolloutState::Stopped;
        self.stored.reasons.push(reason);
        self.steps.remove(name);
    }
}

/// How an agent says that its nodes are.
fn reports(told: Told) -> Result<Vec<NodeReport>, String> {
    match told {
        Ok(Answered::Json { json, .. }) => from_json::<AgentStatus>(&json)
            .map(|status| status.nodes)
            .map_err(|error| error.to_string()),
        Ok(Answered::Nodes(nodes)) => Ok(nodes.iter().map(report).collect()),
        Err(refusal) => Err(refusal.reason.to_string()),
    }
}

fn report(node: &NodeStatus) -> NodeReport {
    NodeReport {
        node: mgmt_api::operator::text(&node.node),
        state: node.state,
        ..NodeReport::default()
    }
}

/// What has failed of a step, if something has: nodes of it, or all of it.
fn failure(nodes: &BTreeSet<ZeekString>, results: &[ResultRecord]) -> Option<String> {
    let of_nodes = results.iter().filter(|result| result.node.is_some());
    let of_step = |result: &&ResultRecord| result.node.as_ref().is_some_and(|node| nodes.contains(node));
    let failed = of_nodes.clone().filter(of_step).find(|result| !result.success);
    if let Some(result) = failed {
        let node = result.node.clone().unwrap_or_default();
        return Some(format!("node {node}: {}", reason_of(result, None)));
    }
    if of_nodes.clone().any(|result| of_step(&result)) {
        return None;
    }
    let failed = results.iter().find(|result| !result.success);
    failed.map(|result| reason_of(result, None))
}
