//! Our own supervision: nodes without `zeek -j` and without Zeek's management scripts. What decides is here, without processes; what
//! starts and ends them gets an [`Order`] and tells [`News`].
//!
//! ```text
//!   Agent --Command--> OwnSupervisor --Order--> systemd, or children of the agent
//!         <--Report---               <--News---
//! ```
//!
//! Nodes start and stop by stages ([`node`]). A stage begins when all nodes of the one before are up, or had their time; nothing that
//! was told to start does while others end, unless that takes long. A node that ends by itself is started again, whatever the others do.
//!
//! DIFFERENCE(own-supervision): Zeek's Supervisor has neither stages nor a limit of its delays, and keeps nothing when it ends.

mod backend;
mod device;
mod hot;
mod launch;
mod layout;
mod node;
mod options;

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::{NodeOutputs, Now};
use supervise::process::{Effect, Event};

use self::node::{Intent, Node, WORKERS};
pub use self::{
    device::device,
    launch::{check_name, launch, rehearsal, release_of},
    options::cpus,
};
use super::{Input, Supervisor};
pub use crate::core::order::{End, Launch, Limits, Needs, News, Order};
use crate::core::{
    Action, Command, Fate, LaunchSettings, NodeSpec, Processes, Report, Supervised, Turn, fate,
};

/// What keeps nodes without a Supervisor of Zeek's.
#[derive(Debug)]
pub struct OwnSupervisor {
    settings: LaunchSettings,
    nodes: BTreeMap<ZeekString, Node>,
    /// Whether it is known which nodes run.
    is_ready: bool,
    /// Nodes that were found since that is being looked at.
    found: BTreeMap<ZeekString, Node>,
    /// What has happened may mean that it is another node's turn.
    is_unsettled: bool,
    /// Until when no worker is started, as others are told of new ones.
    workers_wait: Option<Now>,
    /// The time of the last turn.
    now: Now,
}

impl OwnSupervisor {
    /// One that does not know yet which nodes run.
    pub const fn new(settings: LaunchSettings) -> Self {
        Self {
            settings,
            nodes: BTreeMap::new(),
            is_ready: false,
            found: BTreeMap::new(),
            is_unsettled: false,
            workers_wait: None,
            now: Now::START,
        }
    }

    /// What a node has to show for itself when it says hello. One that is to end is not heard any more: it is not the one that takes its
    /// place.
    pub fn token_of(&self, node: &ZeekString) -> Option<&ZeekString> {
        let known = self.nodes.get(node);
        let known = known.filter(|node| matches!(node.intent, Intent::Start | Intent::Run));
        known.map(|node| &node.launch.token)
    }

    /// Whether no process of any node is left.
    pub fn has_no_process(&self) -> bool {
        self.nodes.values().all(|node| !node.has_process())
    }

    fn command(&mut self, turn: &mut Turn, command: Command) -> Report {
        self.is_unsettled = true;
        let id = command.id().clone();
        if !self.is_ready {
            let reason = "it is not known yet which nodes run".into();
            return Report::Failed { id, reason };
        }
        match command {
            Command::Status { id } => {
                let status = self.status();
                Report::Status { id, status }
            }
            Command::Create { id, node } => {
                let outcome = self.create(&node, &id);
                Report::Created { id, outcome }
            }
            Command::Relayout { id, node } => {
                let outcome = self.relayout(turn, &node);
                Report::Created { id, outcome }
            }
            Command::Restart { id, node } => {
                let wanted = self
                    .nodes
                    .get_mut(&node)
                    .filter(|node| node.intent != Intent::End);
                let existed = wanted.is_some();
                if let Some(node) = wanted {
                    // By the settings of today: the node may have been taken over, or Zeek be another one.
                    let launch = launch(node.wanted(), &self.settings, &id);
                    node.restart(launch.ok().map(Box::new));
                }
                Report::Restarted { id, existed }
            }
            Command::Destroy { id, node } => {
                let existed = match self.nodes.get_mut(&node) {
                    None => false,
                    Some(running) if running.has_process() => {
                        running.intent = Intent::End;
                        true
                    }
                    Some(_) => {
                        self.forget(turn, &node);
                        true
                    }
                };
                Report::Destroyed { id, existed }
            }
        }
    }

    fn status(&self) -> Processes {
        let is_wanted = |(_, node): &(&ZeekString, &Node)| node.intent != Intent::End;
        let shown = |(name, node): (&ZeekString, &Node)| {
            let supervised = Supervised {
                pid: node.pid,
                management: None,
                node: node.launch.spec.cluster.get(name).cloned(),
                spec: Some(Box::new(node.launch.spec.clone())).filter(|_| self.knows_us(node)),
            };
            (name.clone(), supervised)
        };
        self.nodes.iter().filter(is_wanted).map(shown).collect()
    }

    /// Whether a node that was taken over looks for this agent where it is now.
    fn knows_us(&self, node: &Node) -> bool {
        let is_told = |name: &str, value: String| {
            let told = node.launch.environment.get(name.as_bytes());
            told.is_none_or(|told| *told == *value)
        };
        is_told("MGMT_NODE_AGENT", self.settings.agent_address.to_string())
            && is_told("MGMT_NODE_PORT", format!("{}/tcp", self.settings.agent_port))
    }

    /// A node is to run as this says, in place of the one of that name.
    fn create(&mut self, spec: &NodeSpec, id: &ZeekString) -> Result<(), ZeekString> {
        // The id of a command of the agent's leaves the agent nowhere else.
        let mut launch = Box::new(launch(spec, &self.settings, id)?);
        self.share(&mut launch);
        match self.nodes.get_mut(launch.node()) {
            Some(node) if node.has_process() => node.intent = Intent::Restart(Some(launch)),
            _ => {
                self.nodes.insert(launch.node().clone(), Node::new(launch));
            }
        }
        Ok(())
    }

    /// A node that runs is to know of other workers, if that is all that has changed.
    fn relayout(&mut self, turn: &mut Turn, spec: &NodeSpec) -> Result<(), ZeekString> {
        let running = self.nodes.get_mut(&spec.name);
        let told = running.filter(|node| fate(&node.launch.spec, spec) == Fate::Told);
        let Some(node) = told else {
            return Ok(());
        };
        let mut launch = Box::new(launch(spec, &self.settings, &node.launch.token)?);
        self.share(&mut launch);
        if let Some(node) = self.nodes.get_mut(&spec.name) {
            node.launch.clone_from(&launch);
        }
        turn.push(Action::Nodes(Order::Rewrite { launch }));
        Ok(())
    }

    /// Has what is the same for all nodes of a cluster once in memory.
    fn share(&self, launch: &mut Launch) {
        let nodes = self.nodes.values().chain(self.found.values());
        let mut launches = nodes.flat_map(Node::launches);
        if let Some(same) = launches.find(|other| other.spec.cluster == launch.spec.cluster) {
            launch.share_with(same);
        }
    }

    fn forget(&mut self, turn: &mut Turn, name: &ZeekString) {
        self.nodes.remove(name);
        let node = name.clone();
        turn.push(Action::Nodes(Order::Forget { node }));
    }

    fn news(&mut self, turn: &mut Turn, reports: &mut Vec<Report>, news: News) {
        self.is_unsettled = true;
        match news {
            News::Found { mut launch, pid, age } => {
                if launch.agent != self.settings.agent_name {
                    return;
                }
                self.share(&mut launch);
                let node = Node::found(launch, turn.now, pid);
                turn.info(format!(
                    "node {} runs since {} s, PID {pid}",
                    node.launch.node(),
                    age.as_secs()
                ));
                let all = if self.is_ready {
                    &mut self.nodes
                } else {
                    &mut self.found
                };
                all.insert(node.launch.node().clone(), node);
            }
            News::Looked => self.looked(reports),
            News::Started { node, pid } => {
                if let Some(known) = self.nodes.get_mut(&node) {
                    known.was_started(turn.now, pid);
                    reports.push(Report::NodeStarted { node, pid });
                }
            }
            News::Lacks { node, what } => {
                let known = self.still_wanted(turn, &node);
                if known.is_some_and(|known| known.waits_for(turn.now, &what)) {
                    reports.push(Report::Waits { node, what });
                }
            }
            News::NotStarted { node, reason } => {
                if let Some(known) = self.still_wanted(turn, &node) {
                    let again_in = known.not_started(turn.now);
                    let has_failed = known.has_failed();
                    let outputs = NodeOutputs::default();
                    let how = format!("not started: {reason}");
                    reports.push(Report::Crashed {
                        node,
                        how,
                        outputs,
                        again_in,
                        has_failed,
                    });
                }
            }
            News::Ended {
                node, end, outputs, ..
            } => self.ended(turn, reports, node, end, outputs),
            News::Administered { node, runs } => self.administered(reports, node, runs),
            News::Unavailable { reason } => {
                self.is_ready = false;
                reports.push(Report::Lost { reason });
            }
            News::Available => turn.push(Action::Nodes(Order::Look)),
        }
    }

    /// All nodes that run have been found. Those that ran before, and do not now, have ended meanwhile.
    fn looked(&mut self, reports: &mut Vec<Report>) {
        let mut found = std::mem::take(&mut self.found);
        for (name, node) in &mut found {
            if let Some(before) = self.nodes.get(name) {
                node.intent = before.intent.clone();
            }
        }
        self.nodes.retain(|_, node| !node.has_process());
        self.nodes.extend(found);
        self.is_ready = true;
        reports.push(Report::Ready);
    }

    /// A node whose process was not started, unless it is not to be any more.
    fn still_wanted(&mut self, turn: &mut Turn, name: &ZeekString) -> Option<&mut Node> {
        if self.nodes.get(name)?.intent == Intent::End {
            self.nodes.get_mut(name)?.stopped();
            self.forget(turn, name);
            return None;
        }
        let node = self.nodes.get_mut(name)?;
        if let Intent::Restart(launch) = std::mem::replace(&mut node.intent, Intent::Run) {
            node.start_anew(launch);
            return None;
        }
        Some(node)
    }

    fn ended(
        &mut self,
        turn: &mut Turn,
        reports: &mut Vec<Report>,
        name: ZeekString,
        end: End,
        outputs: NodeOutputs,
    ) {
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        match std::mem::replace(&mut node.intent, Intent::Run) {
            Intent::End => self.forget(turn, &name),
            Intent::Restart(launch) => node.start_anew(launch),
            Intent::Run if end.is_success() && node.launch.is_of_trace() => {
                self.forget(turn, &name);
                reports.push(Report::Done { node: name });
            }
            Intent::Start | Intent::Run => {
                let again_in = node.ended(turn.now);
                let has_failed = node.has_failed();
                reports.push(Report::Crashed {
                    node: name,
                    how: end.to_string(),
                    outputs,
                    again_in,
                    has_failed,
                });
            }
        }
    }

    /// An administrator has stopped a node, or started one that was stopped.
    fn administered(&mut self, reports: &mut Vec<Report>, name: ZeekString, runs: bool) {
        if !runs {
            self.nodes.remove(&name);
        }
        reports.push(Report::Administered { node: name, runs });
    }

    /// Has nodes stop and start whose turn it is.
    fn settle(&mut self, turn: &mut Turn) {
        self.is_unsettled = false;
        if !self.is_ready {
            return;
        }
        if let Some(until) = hot::tell(turn, &mut self.nodes) {
            self.workers_wait = Some(until);
        }
        let nodes = self.nodes.values();
        let stopping = nodes.filter(|node| node.is_to_stop() || node.is_stopping());
        if let Some(stage) = stopping.map(Node::stop_stage).min() {
            for node in self.nodes.values_mut() {
                if node.is_to_stop() && node.stop_stage() == stage {
                    let effect = node.stop(turn.now);
                    carry_out(turn, node, effect);
                }
            }
        }
        let mut nodes = self.nodes.values();
        if nodes.any(|node| node.is_to_stop() || node.delays_starts(turn.now).is_some()) {
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
        for node in self.nodes.values_mut() {
            if node.intent == Intent::Start && node.start_stage() == stage {
                let effect = node.start(turn.now);
                carry_out(turn, node, effect);
            }
        }
    }

    /// Has every node do what is due by itself.
    fn tick(&mut self, turn: &mut Turn) {
        for node in self.nodes.values_mut() {
            if node.deadline().is_some_and(|due| due <= turn.now) {
                let effect = node.step(turn.now, Event::Tick);
                carry_out(turn, node, effect);
            }
        }
    }

    /// When the next stage may begin, though not all of this one are up.
    fn stage_due(&self, now: Now) -> Option<Now> {
        let waits = self.nodes.values().any(|node| node.intent == Intent::Start);
        let nodes = self.nodes.values();
        let ends = nodes.filter_map(|node| node.holds_up(now).or_else(|| node.delays_starts(now)));
        let wait = self.workers_wait.filter(|until| *until > now);
        ends.chain(wait).min().filter(|_| waits)
    }
}

impl Supervisor for OwnSupervisor {
    type News = News;

    fn step(&mut self, turn: &mut Turn, input: Input<News>) -> Vec<Report> {
        let mut reports = Vec::new();
        match input {
            Input::Command(command) => {
                let report = self.command(turn, command);
                reports.push(report);
            }
            Input::News(news) => self.news(turn, &mut reports, news),
            Input::Up(node) => {
                if let Some(node) = self.nodes.get_mut(&node) {
                    node.is_up = true;
                    self.is_unsettled = true;
                }
            }
            // Now that all commands of this moment are known.
            Input::Tick => {
                self.tick(turn);
                self.settle(turn);
            }
        }
        self.now = turn.now;
        reports
    }

    fn deadline(&self) -> Option<Now> {
        if self.is_unsettled {
            return Some(self.now);
        }
        let own = self.nodes.values().filter_map(Node::deadline).min();
        [own, self.stage_due(self.now)].into_iter().flatten().min()
    }
}

fn carry_out(turn: &mut Turn, node: &Node, effect: Option<Effect>) {
    let name = node.launch.node().clone();
    let order = match effect {
        None => return,
        Some(Effect::Spawn) => Order::Start {
            launch: node.launch.clone(),
        },
        Some(Effect::Terminate) => Order::Terminate { node: name },
        Some(Effect::Kill) => {
            turn.warning(format!(
                "node {name} does not end when it is told to, it is killed"
            ));
            Order::Kill { node: name }
        }
    };
    turn.push(Action::Nodes(order));
}
