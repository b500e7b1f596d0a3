//! What happens to nodes, and what the agent is told of it.

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::NodeOutputs;

use super::{
    End, News, Order, OwnSupervisor,
    launch::release_of,
    node::{Intent, Node},
};
use crate::core::{Action, Report, Turn};

impl OwnSupervisor {
    pub(super) fn news(&mut self, turn: &mut Turn, reports: &mut Vec<Report>, news: News) {
        self.is_unsettled = true;
        match news {
            News::Found { mut launch, pid, age } => {
                if launch.agent != self.settings.agent_name {
                    return;
                }
                self.share(&mut launch);
                let node = Node::found(launch, self.settings.policy, turn.now, (pid, age));
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
                    let is_to_end = known.is_to_stop();
                    reports.push(Report::NodeStarted { node, pid, is_to_end });
                }
            }
            News::Lacks { node, what } => {
                let known = self.still_wanted(turn, reports, &node);
                if known.is_some_and(|known| known.waits_for(turn.now, &what)) {
                    reports.push(Report::Waits { node, what });
                }
            }
            News::NotStarted { node, reason } => {
                if let Some(known) = self.still_wanted(turn, reports, &node) {
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
            News::Version(version) => self.installed(reports, version),
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
        let (ended, left): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.nodes)
            .into_iter()
            .partition(|(_, node)| node.has_process());
        let gone = ended
            .into_iter()
            .filter(|(name, node)| node.intent == Intent::End && !found.contains_key(name));
        reports.extend(gone.map(|(node, _)| Report::Gone { node }));
        self.nodes = left;
        self.nodes.extend(found);
        self.is_ready = true;
        reports.push(Report::Ready);
    }

    /// A node whose process was not started, unless it is not to be any more.
    fn still_wanted(
        &mut self,
        turn: &mut Turn,
        reports: &mut Vec<Report>,
        name: &ZeekString,
    ) -> Option<&mut Node> {
        if self.nodes.get(name)?.intent == Intent::End {
            self.forget(turn, reports, name);
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
            Intent::End => self.forget(turn, reports, &name),
            Intent::Restart(launch) => node.start_anew(launch),
            Intent::Run if end.is_success() && node.launch.is_of_trace() => {
                self.forget(turn, reports, &name);
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

    /// Another program is there from which nodes are started. All that start from now on are started as it takes it.
    fn installed(&mut self, reports: &mut Vec<Report>, version: Option<String>) {
        if version.is_some() {
            self.settings.version.clone_from(&version);
            for node in self.nodes.values_mut().chain(self.found.values_mut()) {
                node.is_outdated = true;
            }
        }
        let problem = release_of(&self.settings).err();
        reports.push(Report::Installed { version, problem });
    }

    /// An administrator has stopped a node, or started one that was stopped.
    fn administered(&mut self, reports: &mut Vec<Report>, name: ZeekString, runs: bool) {
        if !runs {
            self.nodes.remove(&name);
        }
        reports.push(Report::Administered { node: name, runs });
    }
}
