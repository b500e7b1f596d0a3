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
mod news;
mod node;
mod options;
mod stages;

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::Now;

use self::node::{Intent, Node};
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

    /// Whether it is not known which nodes run.
    pub const fn is_looking(&self) -> bool {
        !self.is_ready
    }

    /// Whether no process of any node is left.
    pub fn has_no_process(&self) -> bool {
        self.nodes.values().all(|node| !node.has_process())
    }

    fn command(&mut self, turn: &mut Turn, reports: &mut Vec<Report>, command: Command) -> Report {
        self.is_unsettled = true;
        let id = command.id().clone();
        if !self.is_ready {
            let reason = "it is not known yet which nodes run".into();
            return Report::Failed { id, reason };
        }
        match command {
            Command::Status { id } => {
                let status = self.status(turn.now);
                Report::Status { id, status }
            }
            Command::Create { id, node } => {
                let outcome = self.create(&node, &id);
                Report::Created { id, outcome }
            }
            Command::Relayout { id, node } => {
                let outcome = self.relayout(&node);
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
                        self.forget(turn, reports, &node);
                        true
                    }
                };
                Report::Destroyed { id, existed }
            }
        }
    }

    fn status(&self, now: Now) -> Processes {
        // One that is to end is never taken for one that may run on.
        let runs_on = |node: &Node| node.intent != Intent::End && self.knows_us(node);
        let shown = |(name, node): (&ZeekString, &Node)| {
            let supervised = Supervised {
                pid: node.pid,
                age: node.age(now),
                management: None,
                node: node.launch.spec.cluster.get(name).cloned(),
                spec: runs_on(node).then(|| Box::new(node.launch.spec.clone())),
            };
            (name.clone(), supervised)
        };
        self.nodes.iter().map(shown).collect()
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
                self.nodes
                    .insert(launch.node().clone(), Node::new(launch, self.settings.policy));
            }
        }
        Ok(())
    }

    /// A node that runs is to know of other workers, if that is all that has changed. It is told before that is written down: what stands in
    /// its directory is what it knows, whenever this agent ends.
    fn relayout(&mut self, spec: &NodeSpec) -> Result<(), ZeekString> {
        let running = self.nodes.get_mut(&spec.name);
        let told = running.filter(|node| fate(&node.launch.spec, spec) == Fate::Told);
        let Some(node) = told else {
            return Ok(());
        };
        // All but that is as the node was started: its Zeek may be another one than that on disk.
        let Launch { spec, layout, .. } = launch(spec, &self.settings, &node.launch.token)?;
        let mut launch = node.launch.clone();
        (launch.spec, launch.layout) = (spec, layout);
        self.share(&mut launch);
        if let Some(node) = self.nodes.get_mut(launch.node()) {
            node.launch = launch;
            node.is_outdated = true;
            node.is_unwritten = true;
        }
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

    /// A node has ended, and is not to run any more.
    fn forget(&mut self, turn: &mut Turn, reports: &mut Vec<Report>, name: &ZeekString) {
        self.nodes.remove(name);
        let node = name.clone();
        turn.push(Action::Nodes(Order::Forget { node: node.clone() }));
        reports.push(Report::Gone { node });
    }
}

impl Supervisor for OwnSupervisor {
    type News = News;

    fn step(&mut self, turn: &mut Turn, input: Input<News>) -> Vec<Report> {
        let mut reports = Vec::new();
        match input {
            Input::Command(command) => {
                let report = self.command(turn, &mut reports, command);
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
                self.tick(turn, &mut reports);
                self.settle(turn, &mut reports);
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
        let told = self.nodes.values().any(|node| node.is_unwritten);
        let told = self.workers_wait.filter(|until| told && *until > self.now);
        [own, told, self.stage_due(self.now)].into_iter().flatten().min()
    }
}
