//! How the agent and its nodes are, as far as that is known without asking.

use broker_codec::data::ZeekString;
use mgmt_api::{
    Now, State,
    operator::{NodeVitals, Vitals, text},
};

use super::{
    agent::Agent,
    nodes::{OwnNode, Tally},
    operator::FORGETFUL,
};

impl Agent {
    pub(super) fn vitals(&self, now: Now) -> Vitals {
        let trouble = self.unavailable.as_ref().or(self.silence.as_ref());
        let mut failing = Vec::from_iter(self.lacks_controller());
        if self.controllers.obeyed.is_none() {
            failing.extend(self.controllers.refusals());
        }
        failing.extend(trouble.cloned());
        // Without what keeps them, nothing is known of any.
        if trouble.is_none() {
            let missing = self.nodes.iter().filter(|(name, own)| self.is_missing(name, own));
            failing.extend(missing.map(|(name, own)| {
                let reason = own.why_down().map(|reason| format!(": {reason}"));
                format!("node {name} is {}{}", own.node.state, reason.unwrap_or_default())
            }));
        }
        failing.extend(self.is_forgetful.then(|| FORGETFUL.to_owned()));
        failing.extend(self.lost.clone());
        failing.extend(self.homeless());
        let nodes = self.nodes.iter();
        Vitals {
            failing,
            nodes: nodes
                .map(|(name, own)| self.node_vitals(now, name, own))
                .collect(),
            ..Vitals::default()
        }
    }

    /// That no controller is connected, if none is.
    pub(super) fn lacks_controller(&self) -> Option<String> {
        let since = (self.clock + self.without_controller?.since_start()).to_rfc3339();
        Some(format!(
            "no controller is connected, since {since}: look at the controller, and at this agent's setting controller"
        ))
    }

    /// Whether a node does not run and should.
    fn is_missing(&self, name: &ZeekString, own: &OwnNode) -> bool {
        own.node.state != State::Running && !self.stopped.contains(name)
    }

    fn node_vitals(&self, now: Now, name: &ZeekString, own: &OwnNode) -> NodeVitals {
        let Tally { starts, crashes } = self.tallies.get(name).copied().unwrap_or_default();
        let is_to_run = self.unavailable.is_none() && !self.stopped.contains(name);
        NodeVitals {
            instance: text(&self.settings.name),
            node: text(name),
            state: own.node.state,
            is_running: is_to_run.then_some(own.node.state == State::Running),
            starts,
            crashes,
            heartbeat: self.heartbeat_of(now, name, own),
            ..NodeVitals::default()
        }
    }
}
