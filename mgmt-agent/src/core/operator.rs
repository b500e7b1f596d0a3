//! What operators stop and start: it is remembered, and holds until they say otherwise.

use broker_codec::data::ZeekString;
use mgmt_api::{
    Level,
    link::{Changed, Selection},
    log::some_of,
};

use super::{
    action::Turn,
    agent::{Agent, Purpose},
    deploy::report,
    settings::Supervise,
    supervision::Command,
};

impl Agent {
    /// Ends nodes, which stay away until they are started: also when the agent or the host is restarted, or the same is deployed again.
    pub(super) fn stop_nodes(&mut self, turn: &mut Turn, which: &Selection) -> Result<Changed, String> {
        let mut nodes = self.selected(which)?;
        nodes.retain(|name| self.stopped.insert(name.clone()));
        for name in &nodes {
            let (id, node) = (self.ids.next_id(), name.clone());
            self.tell_crash(turn, name);
            let has_process = self.nodes.get(name).is_some_and(|own| own.pid.is_some());
            self.order(turn, Purpose::End, Command::Destroy { id, node });
            if has_process {
                // It is STOPPED when that has ended.
                self.lives.retain(name, |_| false);
                self.node_came_up(turn, name);
            } else {
                self.now_stopped(turn, name);
            }
        }
        Ok(self.changed(turn, "stops", nodes))
    }

    /// Starts nodes that were stopped.
    pub(super) fn start_nodes(&mut self, turn: &mut Turn, which: &Selection) -> Result<Changed, String> {
        let mut nodes = self.selected(which)?;
        nodes.retain(|name| self.stopped.remove(name));
        self.done.retain(|name| !nodes.contains(name));
        for name in &nodes {
            self.create(turn, name);
        }
        Ok(self.changed(turn, "starts", nodes))
    }

    fn changed(&mut self, turn: &mut Turn, what: &str, nodes: Vec<ZeekString>) -> Changed {
        if !nodes.is_empty() {
            self.remember(turn);
            report(
                turn,
                Level::Info,
                format!("{what} {}, as an operator wants", some_of(&nodes)),
            );
        }
        Changed { nodes }
    }

    /// The nodes that are meant, or why none can be.
    fn selected(&self, which: &Selection) -> Result<Vec<ZeekString>, String> {
        if self.settings.supervise == Supervise::Zeek {
            return Err(
                "a Supervisor of Zeek's keeps the nodes of this agent, and would start them again".into(),
            );
        }
        if let Some(reason) = &self.unavailable {
            return Err(reason.clone());
        }
        if let Some(unknown) = which.nodes.iter().find(|name| !self.nodes.contains_key(*name)) {
            return Err(format!("this agent has no node {unknown}"));
        }
        let is_meant = |name: &ZeekString, role| {
            (which.nodes.is_empty() || which.nodes.contains(name))
                && which.role.is_none_or(|meant| meant == role)
        };
        let meant = self
            .nodes
            .iter()
            .filter(|(name, own)| is_meant(name, own.node.role));
        Ok(meant.map(|(name, _)| name.clone()).collect())
    }
}
