//! Whose turn it is: nodes stop and start by stages, in the orders of [`Node::stop_stage`] and [`Node::start_stage`].

use broker_codec::{Elapsed, data::ZeekString};
use mgmt_api::{Now, log::some_of};
use supervise::process::{Effect, Event};

use super::{
    Launch, News, Order, OwnSupervisor, hot,
    launch::launch,
    node::{Intent, Node, WORKERS},
};
use crate::core::{Action, Report, Turn};

impl OwnSupervisor {
    /// Has nodes stop and start whose turn it is.
    pub(super) fn settle(&mut self, turn: &mut Turn, reports: &mut Vec<Report>) {
        self.is_unsettled = false;
        if !self.is_ready {
            return;
        }
        if let Some(until) = hot::tell(turn, &mut self.nodes) {
            self.workers_wait = Some(until);
        }
        self.write_down(turn);
        let nodes = self.nodes.values();
        let stopping = nodes.filter(|node| node.is_to_stop() || node.is_stopping());
        if let Some(stage) = stopping.map(Node::stop_stage).min() {
            for name in self.names(|node| node.is_to_stop() && node.stop_stage() == stage) {
                let node = self.nodes.get_mut(&name);
                let effect = node.and_then(|node| node.stop(turn.now));
                self.carry_out(turn, reports, &name, effect);
            }
        }
        if self.delays_starts(turn.now) {
            return;
        }
        let starting = self.nodes.values().filter(|node| node.intent == Intent::Start);
        let Some(stage) = starting.map(Node::start_stage).min() else {
            return;
        };
        let is_held_up = self
            .nodes
            .values()
            .any(|node| node.start_stage() < stage && node.holds_up(turn.now).is_some());
        let waits = stage == WORKERS && self.workers_wait.is_some_and(|until| until > turn.now);
        if is_held_up || waits {
            return;
        }
        let starting = self.names(|node| node.intent == Intent::Start && node.start_stage() == stage);
        let waited_for = self
            .nodes
            .iter_mut()
            .filter_map(|(name, node)| Some((name, node.take_why_awaited(stage)?)));
        let waited_for: Vec<ZeekString> = waited_for
            .map(|(name, why)| format!("{name} {why}").into())
            .collect();
        if !waited_for.is_empty() {
            turn.warning(format!(
                "starts {} after {}, all the same: {}",
                some_of(&starting),
                Elapsed(self.settings.policy.stage_timeout),
                some_of(&waited_for)
            ));
        }
        for name in starting {
            let node = self.nodes.get_mut(&name);
            let effect = node.and_then(|node| node.start(turn.now));
            self.carry_out(turn, reports, &name, effect);
        }
    }

    /// Whether nodes that are to start wait for others to stop. One that does not end in time holds back only those that stop after it.
    fn delays_starts(&self, now: Now) -> bool {
        let is_overdue = |node: &Node| node.is_stopping() && node.delays_starts(now).is_none();
        let is_held_back = self.nodes.values().any(is_overdue);
        let mut nodes = self.nodes.values();
        nodes.any(|node| node.delays_starts(now).is_some() || (node.is_to_stop() && !is_held_back))
    }

    /// Has written down which workers nodes know, when they have been told of them: who hears it has done so by then.
    fn write_down(&mut self, turn: &mut Turn) {
        if self.workers_wait.is_some_and(|until| until > turn.now) {
            return;
        }
        for node in self.nodes.values_mut() {
            if node.is_unwritten && node.knows == node.launch.spec.cluster {
                node.is_unwritten = false;
                let launch = node.launch.clone();
                turn.push(Action::Nodes(Order::Rewrite { launch }));
            }
        }
    }

    /// Has every node do what is due by itself.
    pub(super) fn tick(&mut self, turn: &mut Turn, reports: &mut Vec<Report>) {
        let now = turn.now;
        for name in self.names(|node| node.deadline().is_some_and(|due| due <= now)) {
            let node = self.nodes.get_mut(&name);
            let effect = node.and_then(|node| node.step(now, Event::Tick));
            self.carry_out(turn, reports, &name, effect);
        }
    }

    /// When the next stage may begin, though not all of this one are up.
    pub(super) fn stage_due(&self, now: Now) -> Option<Now> {
        let waits = self.nodes.values().any(|node| node.intent == Intent::Start);
        let nodes = self.nodes.values();
        let ends = nodes.filter_map(|node| node.holds_up(now).or_else(|| node.delays_starts(now)));
        let wait = self.workers_wait.filter(|until| *until > now);
        ends.chain(wait).min().filter(|_| waits)
    }

    fn names(&self, which: impl Fn(&Node) -> bool) -> Vec<ZeekString> {
        let chosen = self.nodes.iter().filter(|(_, node)| which(node));
        chosen.map(|(name, _)| name.clone()).collect()
    }

    fn carry_out(
        &mut self,
        turn: &mut Turn,
        reports: &mut Vec<Report>,
        name: &ZeekString,
        effect: Option<Effect>,
    ) {
        let node = name.clone();
        let order = match effect {
            None => return,
            Some(Effect::Spawn) => match self.renewed(name) {
                Ok(launch) => Order::Start { launch },
                Err(reason) => return self.news(turn, reports, News::NotStarted { node, reason }),
            },
            Some(Effect::Terminate) => Order::Terminate { node },
            Some(Effect::Kill) => {
                turn.warning(format!(
                    "node {name} does not end when it is told to, it is killed"
                ));
                Order::Kill { node }
            }
        };
        turn.push(Action::Nodes(order));
    }

    /// What a node is started with now. Zeek may be another one than when that was made, and with it the backend that is Zeek's own choice:
    /// while others of the cluster run, a node has theirs.
    fn renewed(&mut self, name: &ZeekString) -> Result<Box<Launch>, String> {
        let unknown = || format!("{name} is no node");
        let node = self.nodes.get(name).ok_or_else(unknown)?;
        let mut others = self
            .nodes
            .values()
            .filter(|other| other.intent == Intent::Run && other.pid.is_some());
        let theirs = others.next().map(|other| other.launch.backend());
        let is_alike = |launch: &Launch| {
            launch.spec.cluster_backend.is_some() || theirs.is_none_or(|theirs| theirs == launch.backend())
        };
        if !node.is_outdated && is_alike(&node.launch) {
            return Ok(node.launch.clone());
        }
        let (mut spec, token) = (node.launch.spec.clone(), node.launch.token.clone());
        let mut renewed = launch(&spec, &self.settings, &token)?;
        if !is_alike(&renewed) {
            spec.cluster_backend = theirs.map(ZeekString::from);
            renewed = launch(&spec, &self.settings, &token)?;
            renewed.spec.cluster_backend = None;
        }
        self.share(&mut renewed);
        let renewed = Box::new(renewed);
        if let Some(node) = self.nodes.get_mut(name) {
            node.launch.clone_from(&renewed);
            node.is_outdated = false;
        }
        Ok(renewed)
    }
}
