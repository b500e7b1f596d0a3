//! What the agent knows from one life to the next: which controller it obeys, and what should run. The latter only for nodes that no Supervisor of
//! Zeek's keeps: those of Zeek's end with it, and are deployed by a controller.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use broker_codec::{Elapsed, data::ZeekString};
use mgmt_api::{Configuration, Now, State, log::some_of};

use super::{
    action::{Action, Turn},
    agent::{Agent, Purpose},
    deploy::report,
    desired::{Desired, Restoring},
    node_spec::{self, Cluster},
    nodes::OwnNode,
    settings::Supervise,
    supervision::{Command, NodeSpec, Processes},
};

/// How long after its start the agent waits for a controller, before it starts nodes of the configuration that it remembers.
const CONTROLLER_WAIT: Duration = Duration::from_secs(30);

/// How long after a failed attempt the agent tries again to write down what should run.
const WRITES_AGAIN: Duration = Duration::from_secs(10);

impl Agent {
    /// Takes up what an earlier agent has left. Comes before everything else.
    pub fn recall(&mut self, desired: Desired) {
        let Desired {
            config,
            stopped,
            done,
            controller,
            ..
        } = desired;
        self.controllers.remembered = controller;
        // A Supervisor of Zeek's has nodes of its own, which a controller deploys.
        let Some(config) = config.filter(|_| self.settings.supervise != Supervise::Zeek) else {
            return;
        };
        self.stopped = stopped;
        self.done = done;
        for node in &config.nodes {
            if node.instance == self.settings.name {
                let mut own = OwnNode::new(node.clone(), false);
                own.node.state = if self.stopped.contains(&node.name) {
                    State::Stopped
                } else {
                    State::Pending
                };
                self.nodes.insert(node.name.clone(), own);
            }
        }
        self.set_configuration(config);
        self.restoring = Some(Restoring::Due);
    }

    /// This is the running configuration from now on.
    pub(super) fn set_configuration(&mut self, config: Configuration) {
        // One that is wrong is not deployed.
        self.cluster = Arc::new(node_spec::cluster(&config).unwrap_or_default());
        let is_ours = |name: &ZeekString| {
            let mut nodes = config.nodes.iter();
            nodes.any(|node| node.name == *name && node.instance == self.settings.name)
        };
        self.tallies.retain(|name, _| is_ours(name));
        self.histories.retain(is_ours);
        self.config = Some(config);
    }

    /// Has what should run written down.
    pub(super) fn remember(&mut self, turn: &mut Turn) {
        if self.keeps_nodes() {
            self.write_down(turn);
        }
    }

    /// Whether no Supervisor of Zeek's keeps the nodes.
    pub(super) fn keeps_nodes(&self) -> bool {
        self.settings.supervise != Supervise::Zeek
    }

    /// Has all that the agent remembers written down. Of nodes that a Supervisor of Zeek's keeps it remembers nothing.
    pub(super) fn write_down(&mut self, turn: &mut Turn) {
        self.remember_due = None;
        let confirmed = self.trials.confirmed(self.config.as_ref());
        let desired = Desired {
            supervise: self.settings.supervise,
            config: confirmed.filter(|_| self.keeps_nodes()).cloned(),
            stopped: self.stopped.clone(),
            done: self.done.clone(),
            controller: self.controllers.remembered.clone(),
        };
        self.writes += 1;
        turn.push(Action::Remember(desired));
    }

    /// What should run was written down, or could not be.
    pub(super) fn remembered(&mut self, turn: &mut Turn, outcome: Result<(), String>) {
        self.answer_held(turn, outcome.as_ref().err());
        match outcome {
            Ok(()) => {
                if std::mem::take(&mut self.is_forgetful) {
                    turn.info("what should run on this host is written down again".into());
                }
            }
            Err(reason) => {
                self.remember_due = Some(turn.now + WRITES_AGAIN);
                if !std::mem::replace(&mut self.is_forgetful, true) {
                    let message = format!(
                        "cannot write down what should run on this host: {reason}; nodes run on, but a restart of the agent goes back to what \
                         was deployed before"
                    );
                    self.raise(turn, message, "");
                }
            }
        }
    }

    /// What was in the agent's directory is gone.
    pub(super) fn directory_lost(&mut self, turn: &mut Turn, directory: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.lost = None;
                let message =
                    format!("what was in the agent's directory {directory} is gone, and is written again");
                self.raise(turn, message, "");
                if self.controllers.remembered.is_some() {
                    self.write_down(turn);
                } else {
                    self.remember(turn);
                }
            }
            Err(reason) => {
                let message = format!(
                    "the agent's directory {directory} is gone, and cannot be made again: {reason}; nodes run on, and it is tried again every few seconds"
                );
                self.lost = Some(message.clone());
                self.raise(turn, message, "");
            }
        }
    }

    /// These nodes, and no others, work in directories that are gone.
    pub(super) fn are_homeless(&mut self, turn: &mut Turn, nodes: BTreeSet<ZeekString>) {
        let before = std::mem::replace(&mut self.homeless, nodes);
        let has_more = !self.homeless.is_subset(&before);
        if let Some(warning) = self.homeless().filter(|_| has_more) {
            self.raise(turn, warning, "");
        }
    }

    /// That nodes work in directories that are gone, if some do.
    pub(super) fn homeless(&self) -> Option<String> {
        let ours = self.homeless.iter().filter(|name| self.has_node(name));
        let names: Vec<ZeekString> = ours.cloned().collect();
        (!names.is_empty()).then(|| {
            let names = some_of(&names);
            format!(
                "the directories of {names} are gone: what these nodes write is lost until they are restarted"
            )
        })
    }

    /// Nodes that have done their work have more to do if they are configured in another way now.
    pub(super) fn not_done(&mut self, config: &Configuration) {
        let others = self.with_more_to_do(config);
        self.done.retain(|name| !others.contains(name));
        self.stopped.retain(|name| !others.contains(name));
    }

    /// Those of them.
    pub(super) fn with_more_to_do(&self, config: &Configuration) -> BTreeSet<ZeekString> {
        let before = self.config.as_ref().map(|config| &config.nodes);
        let is_same = |name: &ZeekString| {
            let of_name = |nodes: &[mgmt_api::Node]| nodes.iter().find(|node| node.name == *name).cloned();
            before.is_some_and(|before| of_name(before) == of_name(&config.nodes))
        };
        self.done.iter().filter(|name| !is_same(name)).cloned().collect()
    }

    /// All nodes end, until there is another agent.
    pub(super) fn end_nodes(&mut self, turn: &mut Turn) {
        self.is_ending = true;
        let names: Vec<ZeekString> = self.nodes.keys().cloned().collect();
        for name in &names {
            self.destroy(turn, Purpose::End, name);
        }
    }

    /// It is known which nodes run after the agent has started: equal ones are kept.
    ///
    /// DIFFERENCE(nodes-outlive-the-agent): Zeek's agent is a process of the Supervisor of its nodes, and ends with them.
    pub(super) fn restore(&mut self, turn: &mut Turn, status: &Processes) {
        let Some(config) = self.config.clone() else {
            return;
        };
        let mut fates = self.fates(status, Some(&config), &self.stopped);
        fates.configured(self.nodes.keys().filter(|name| !self.stopped.contains(*name)));
        for (name, supervised) in status.iter().filter(|(name, _)| fates.keeps(name)) {
            self.node_found(turn, name, supervised);
            self.lives.expect(turn.now, name, supervised.pid);
        }
        self.relayout(turn, &config, fates.told());
        for name in fates.ended() {
            self.destroy(turn, Purpose::Destroy(name.clone()), &name);
        }
        let (starting, due) = self.when_to_start(turn.now, &config);
        self.restoring = fates.missing().next().map(|_| due);
        let parts = fates.in_words(&starting);
        if !parts.is_empty() {
            let line = format!("configuration {}, as deployed before: {parts}", config.id);
            report(turn, mgmt_api::Level::Info, line);
        }
        for (name, _) in fates.restarted() {
            self.create(turn, name);
        }
        self.restore_due(turn);
    }

    /// When nodes are started that do not run, in words with `@` for them.
    fn when_to_start(&self, now: Now, config: &Configuration) -> (String, Restoring) {
        let is_alone = config
            .nodes
            .iter()
            .all(|node| node.instance == self.settings.name);
        if is_alone {
            return ("starts @".into(), Restoring::At(now));
        }
        if !self.settings.start_without_controller {
            return (
                "waits for a controller to start @".into(),
                Restoring::ByController,
            );
        }
        let wait = Elapsed(CONTROLLER_WAIT);
        let what = format!("starts @ in {wait}, unless a controller deploys before");
        (what, Restoring::At(now + CONTROLLER_WAIT))
    }

    /// Starts nodes that do not run and should, if it is time.
    pub(super) fn restore_due(&mut self, turn: &mut Turn) {
        if !matches!(self.restoring, Some(Restoring::At(due)) if due <= turn.now) {
            return;
        }
        self.restoring = None;
        let is_missing =
            |(_, own): &(&ZeekString, &OwnNode)| own.pid.is_none() && own.node.state != State::Stopped;
        let missing: Vec<ZeekString> = self
            .nodes
            .iter()
            .filter(is_missing)
            .map(|(name, _)| name.clone())
            .collect();
        for name in missing {
            self.create(turn, &name);
        }
    }

    /// Has nodes that run on learn of the workers of a configuration. Those of a Supervisor of Zeek's cannot.
    pub(super) fn relayout(&mut self, turn: &mut Turn, config: &Configuration, names: &[ZeekString]) {
        if self.settings.supervise == Supervise::Zeek {
            return;
        }
        let cluster = Arc::new(node_spec::cluster(config).unwrap_or_default());
        for name in names {
            if let Some(node) = self.wanted_spec(config, &cluster, name, &self.stopped) {
                let (id, node) = (self.ids.next_id(), Box::new(node));
                let purpose = Purpose::Relayout(name.clone());
                self.order(turn, purpose, Command::Relayout { id, node });
            }
        }
    }

    /// How a node of this instance is to run by a configuration, unless it is not to, or is one of those that stay stopped.
    pub(super) fn wanted_spec(
        &self,
        config: &Configuration,
        cluster: &Arc<Cluster>,
        name: &ZeekString,
        stopped: &BTreeSet<ZeekString>,
    ) -> Option<NodeSpec> {
        let of_ours = |node: &&mgmt_api::Node| node.name == *name && node.instance == self.settings.name;
        let node = config.nodes.iter().find(of_ours)?;
        if stopped.contains(name) {
            return None;
        }
        node_spec::node_spec(config, cluster, node, &self.settings).ok()
    }
}
