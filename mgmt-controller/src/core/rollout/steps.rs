//! A roll-out goes on: its steps are asked for, watched and judged.

use std::{collections::BTreeSet, sync::Arc};

use broker_codec::data::ZeekString;
use mgmt_api::{
    AgentRequest, Configuration, Level, LinkMessage, NodeStatus, OperatorRequest, ResultRecord, State,
    link::{TRIAL, Trial, from_json, to_json},
    log::{nodes_named, some_of},
    operator::{AgentStatus, NodeReport, OnFailure, OnLost, RolloutState},
};
use std::time::Duration;

use super::{Phase, Rollout, Step, Way, complaint, samples};
use crate::core::{
    action::Outgoing,
    asking::{Answered, Asking, Told, Wanted},
    cluster::Cluster,
    configurations::{Changes, RolloutChange},
    deployment::DEPLOYMENT_FIFTHS,
    fanout::Fanout,
    membership::say,
    operators::ask,
    pending::{AfterWrite, Key, Pending},
    progress::reason_of,
    settings::AbsentInstances,
    turn::Turn,
};

impl Cluster {
    /// Goes on with the roll-out, as far as it can.
    pub(in crate::core) fn roll(&mut self, turn: &mut Turn<'_>) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let is_moving = !matches!(
            rollout.stored.state,
            RolloutState::Preparing | RolloutState::Finishing
        );
        if self.deployment.is_some() || rollout.is_writing || !is_moving {
            return;
        }
        if rollout.is_dirty {
            rollout.is_dirty = false;
            rollout.is_writing = true;
            rollout.is_stored = true;
            let changes = Changes {
                rollout: Some(RolloutChange::UnderWay(Box::new(rollout.stored.clone()))),
                ..Changes::default()
            };
            self.write(turn, changes, AfterWrite::Roll);
            return;
        }
        if rollout.stored.state == RolloutState::Stopped {
            return;
        }
        self.ask_due_steps(turn);
        self.begin_steps(turn);
    }

    /// How it is with the roll-out is stored, or cannot be.
    pub(in crate::core) fn rollout_stored(&mut self, turn: &mut Turn<'_>, outcome: Result<(), String>) {
        if let Some(rollout) = &mut self.rollout {
            rollout.is_writing = false;
            if let Err(error) = outcome {
                rollout.stored.state = RolloutState::Stopped;
                let reason = format!("cannot store how far it is: {error}");
                rollout.stored.reasons.push(reason.clone());
                rollout.is_dirty = false;
                self.tell_rollout(turn, Level::Error, format!("stops: {reason}; resume or abort it"));
            }
        }
        self.roll(turn);
    }

    fn ask_due_steps(&mut self, turn: &mut Turn<'_>) {
        let Some(rollout) = &self.rollout else {
            return;
        };
        let due = rollout.steps.iter().filter(|(_, step)| step.phase == Phase::Due);
        let due = due.map(|(name, _)| name.clone());
        let due: Vec<ZeekString> = due.filter(|name| self.members.instances.ready.contains(name)).collect();
        for name in due {
            self.ask_step(turn, &name);
        }
    }

    /// Gives an instance what it is to run now.
    fn ask_step(&mut self, turn: &mut Turn<'_>, name: &ZeekString) {
        let config = self.given(name).or_else(|| self.configurations.deployed.clone());
        let (Some(config), Some(rollout)) = (config, &self.rollout) else {
            return;
        };
        let nodes = rollout.steps.get(name).map(|step| step.nodes.clone());
        let nodes: Vec<ZeekString> = nodes.into_iter().flatten().collect();
        let (verb, nodes) = match rollout.way() {
            Way::Forth => ("changes", some_of(&nodes)),
            Way::Back => ("takes back", some_of(&nodes)),
        };
        self.tell_rollout(turn, Level::Info, format!("{verb} {nodes} on instance {name}"));
        self.announce_trial(turn, name);
        let instances = vec![name.clone()];
        let fanout = self.members.ask(turn, instances, Vec::new(), |reqid, _| AgentRequest::Deploy {
            reqid,
            config: Arc::clone(&config),
            force: false,
        });
        let Some(reqid) = fanout.asked_under(name) else {
            return;
        };
        let deadline = turn.now + self.settings.fifths(DEPLOYMENT_FIFTHS);
        self.await_until(deadline, Key::Internal(reqid.clone()), Pending::Step(name.clone()));
        if let Some(step) = self.step_of(name) {
            step.phase = Phase::Asked(reqid);
        }
    }

    /// What an instance is to run, if a roll-out has it run something else than what is deployed.
    pub(in crate::core) fn given(&self, name: &ZeekString) -> Option<Arc<Configuration>> {
        self.rollout.as_ref()?.given(name).cloned()
    }

    /// Tells an agent of ours that what it gets next is on trial, if it is.
    pub(in crate::core) fn announce_trial(&mut self, turn: &mut Turn<'_>, name: &ZeekString) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let Some(config) = rollout.given(name).filter(|_| !rollout.stored.whole.contains(name)) else {
            return;
        };
        let configuration = config.id.clone();
        if let (Some(agent), Ok(json)) = (self.members.peers.agent(name), to_json(&Trial { configuration })) {
            let reqid = turn.ids.next_id();
            rollout.announced.insert(reqid.clone());
            let kind = TRIAL.into();
            say(turn, agent.peer, Outgoing::Link(LinkMessage::Request { reqid, kind, json }));
        }
    }

    /// An agent has heard that what it gets is on trial. Returns whether it was told so.
    pub(in crate::core) fn trial_heard(&mut self, reqid: &ZeekString) -> bool {
        let rollout = self.rollout.as_mut();
        rollout.is_some_and(|rollout| rollout.announced.remove(reqid))
    }

    fn step_of(&mut self, name: &ZeekString) -> Option<&mut Step> {
        self.rollout.as_mut()?.steps.get_mut(name)
    }

    fn begin_steps(&mut self, turn: &mut Turn<'_>) {
        let Some(deployed) = self.configurations.deployed.clone() else {
            return;
        };
        loop {
            let down = self.down(&deployed);
            let Some(rollout) = &mut self.rollout else {
                return;
            };
            if rollout.is_through() {
                return self.rollout_through(turn);
            }
            let (state, way) = (rollout.stored.state, rollout.way());
            if !matches!(state, RolloutState::Running | RolloutState::RollingBack) {
                return;
            }
            let ready = &self.members.instances.ready;
            if way == Way::Back {
                let away: BTreeSet<_> = rollout.units().map(|unit| &unit.instance).collect();
                let away: Vec<_> = away.into_iter().filter(|name| !ready.contains(*name)).cloned().collect();
                for name in away {
                    if rollout.goes_back_later(&name) {
                        rollout.is_dirty = true;
                        let reason = format!("instance {name} is away, and goes back when its agent returns");
                        rollout.stored.reasons.push(reason);
                    }
                }
            }
            let next = rollout.next_step(|name| ready.contains(name), &down, &deployed);
            let Some((name, nodes)) = next else {
                break;
            };
            rollout.steps.insert(name.clone(), Step::new(nodes, Phase::Sampling));
            match way {
                Way::Forth => self.ask_how_nodes_are(turn, name),
                Way::Back => {
                    rollout.begin(&name, &deployed);
                    rollout.is_dirty = true;
                }
            }
        }
        if self.rollout.as_ref().is_some_and(|rollout| rollout.is_dirty) {
            self.roll(turn);
        }
    }

    fn rollout_through(&mut self, turn: &mut Turn<'_>) {
        match self.rollout_way() {
            Some(Way::Back) => self.rollout_ended(turn, RolloutState::RolledBack, Vec::new()),
            Some(Way::Forth) => {
                let state = self.rollout.as_ref().map(|rollout| rollout.stored.state);
                let are_there = self.members.instances.all_ready()
                    || self.settings.absent_instances == AbsentInstances::Skip;
                if state == Some(RolloutState::Running) && are_there {
                    self.finish_rollout(turn);
                }
            }
            None => {}
        }
    }

    /// The nodes of which it is known that they do not run, and those of instances that are away.
    fn down(&self, deployed: &Configuration) -> BTreeSet<ZeekString> {
        let is_down = |node: &&mgmt_api::Node| {
            let state = self.heard.of(&node.instance, &node.name).state;
            !self.members.instances.ready.contains(&node.instance)
                || state.is_some_and(|state| state != State::Running)
        };
        let down = deployed.nodes.iter().filter(is_down);
        down.map(|node| node.name.clone()).collect()
    }

    /// What it waits for, in words.
    pub(super) fn rollout_waits_for(&self, turn: &Turn<'_>) -> Vec<String> {
        let (Some(rollout), Some(deployed)) = (&self.rollout, &self.configurations.deployed) else {
            return Vec::new();
        };
        if let Some(deployment) = &self.deployment {
            return vec![deployment.still_pending(turn, &self.members, &self.settings)];
        }
        let missing = self.members.instances.wanted_missing();
        let mut all: Vec<String> = missing.map(|name| self.members.absence(turn, name)).collect();
        let down = self.down(deployed);
        let others = rollout.kept_waiting_by(&down, deployed);
        if !others.is_empty() && rollout.steps.is_empty() {
            all.push(format!("down: {}", nodes_named(&others)));
        }
        all
    }

    /// Asks an agent how its nodes are.
    fn ask_how_nodes_are(&mut self, turn: &mut Turn<'_>, name: ZeekString) {
        let mut fanout = Fanout::default();
        let reqid = turn.ids.next_id();
        fanout.ask(reqid.clone(), name.clone());
        let agent = self.members.peers.agent(&name).map(|agent| agent.peer);
        match agent.filter(|peer| self.members.peers.features_of(*peer).is_operated) {
            Some(peer) => ask(turn, peer, reqid, &OperatorRequest::Status),
            None => self.members.send(turn, &name, AgentRequest::GetNodes { reqid }),
        }
        let (id, wanted) = (None, Wanted::Step);
        self.await_told(turn, Asking { id, wanted, fanout });
    }

    /// An agent has told how its nodes are, or will not.
    pub(in crate::core) fn step_told(&mut self, turn: &mut Turn<'_>, told: Vec<(ZeekString, Told)>) {
        for (name, told) in told {
            let Some(step) = self.step_of(&name) else {
                continue;
            };
            let nodes = reports(told);
            match step.phase {
                Phase::Sampling => {
                    step.before = nodes.map(|nodes| samples(&step.nodes, &nodes)).unwrap_or_default();
                    if let (Some(rollout), Some(deployed)) = (&mut self.rollout, &self.configurations.deployed) {
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
        self.tell_rollout(turn, Level::Info, message);
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
        self.await_until(turn.now + watch, Key::Internal(reqid), Pending::Step(name.clone()));
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
                self.ask_how_nodes_are(turn, name.clone());
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
    pub(in crate::core) fn step_heard(&mut self, turn: &mut Turn<'_>, name: &ZeekString, node: &ZeekString, new: State) {
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
                self.tell_rollout(turn, Level::Warning, message);
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
        self.tell_rollout(turn, Level::Warning, format!("{what}: {reason}"));
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
