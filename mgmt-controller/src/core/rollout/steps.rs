//! A roll-out goes on: its steps are asked for, watched and judged.

use std::{collections::BTreeSet, sync::Arc};

use broker_codec::data::ZeekString;
use mgmt_api::{
    AgentRequest, Configuration, Level, LinkMessage, OperatorRequest, State,
    link::{TRIAL, Trial, to_json},
    log::{nodes_named, some_of},
    operator::RolloutState,
};

use super::{Phase, Step, Way};
use crate::core::{
    action::Outgoing,
    asking::{Asking, Wanted},
    cluster::Cluster,
    configurations::{Changes, RolloutChange},
    deployment::DEPLOYMENT_FIFTHS,
    fanout::Fanout,
    membership::say,
    operators::ask,
    pending::{AfterWrite, Key, Pending},
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
                self.tell_rollout(
                    turn,
                    Level::Error,
                    &format!("stops: {reason}; resume or abort it"),
                );
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
        let due: Vec<ZeekString> = due
            .filter(|name| self.members.instances.ready.contains(name))
            .collect();
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
        self.tell_rollout(turn, Level::Info, &format!("{verb} {nodes} on instance {name}"));
        self.announce_trial(turn, name);
        let instances = vec![name.clone()];
        let fanout = self
            .members
            .ask(turn, instances, Vec::new(), |reqid, _| AgentRequest::Deploy {
                reqid,
                config: Arc::clone(&config),
                force: false,
            });
        let Some(reqid) = fanout.asked_under(name) else {
            return;
        };
        let deadline = turn.now + self.settings.fifths(DEPLOYMENT_FIFTHS);
        self.await_until(
            deadline,
            Key::Internal(reqid.clone()),
            Pending::Step(name.clone()),
        );
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
        let Some(config) = rollout
            .given(name)
            .filter(|_| !rollout.stored.whole.contains(name))
        else {
            return;
        };
        let configuration = config.id.clone();
        if let (Some(agent), Ok(json)) = (self.members.peers.agent(name), to_json(&Trial { configuration })) {
            let reqid = turn.ids.next_id();
            rollout.announced.insert(reqid.clone());
            let kind = TRIAL.into();
            say(
                turn,
                agent.peer,
                Outgoing::Link(LinkMessage::Request { reqid, kind, json }),
            );
        }
    }

    /// An agent has heard that what it gets is on trial. Returns whether it was told so.
    pub(in crate::core) fn trial_heard(&mut self, reqid: &ZeekString) -> bool {
        let rollout = self.rollout.as_mut();
        rollout.is_some_and(|rollout| rollout.announced.remove(reqid))
    }

    pub(super) fn step_of(&mut self, name: &ZeekString) -> Option<&mut Step> {
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
                let away: Vec<_> = away
                    .into_iter()
                    .filter(|name| !ready.contains(*name))
                    .cloned()
                    .collect();
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
            rollout
                .steps
                .insert(name.clone(), Step::new(nodes, Phase::Sampling));
            match way {
                Way::Forth => self.ask_how_nodes_are(turn, &name),
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
    pub(super) fn ask_how_nodes_are(&mut self, turn: &mut Turn<'_>, name: &ZeekString) {
        let mut fanout = Fanout::default();
        let reqid = turn.ids.next_id();
        fanout.ask(reqid.clone(), name.clone());
        let agent = self.members.peers.agent(name).map(|agent| agent.peer);
        match agent.filter(|peer| self.members.peers.features_of(*peer).is_operated) {
            Some(peer) => ask(turn, peer, reqid, &OperatorRequest::Status),
            None => self.members.send(turn, name, AgentRequest::GetNodes { reqid }),
        }
        let (id, wanted) = (None, Wanted::Step);
        self.await_told(turn, Asking { id, wanted, fanout });
    }
}
