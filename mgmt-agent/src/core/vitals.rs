//! How the agent and its nodes are, as far as that is known without asking.

use broker_codec::data::ZeekString;
use mgmt_api::{State, operator::Vitals};

use super::{agent::Agent, nodes::OwnNode, operator::FORGETFUL};

impl Agent {
    pub(super) fn vitals(&self) -> Vitals {
        let trouble = self.unavailable.as_ref().or(self.silence.as_ref());
        let mut failing = Vec::from_iter(trouble.cloned());
        // Without what keeps them, nothing is known of any.
        if trouble.is_none() {
            failing.extend(
                self.nodes
                    .iter()
                    .filter_map(|(name, own)| self.is_missing(name, own)),
            );
        }
        failing.extend(self.is_forgetful.then(|| FORGETFUL.to_owned()));
        Vitals { failing }
    }

    /// That a node does not run and should, and why, if that is so.
    fn is_missing(&self, name: &ZeekString, own: &OwnNode) -> Option<String> {
        let state = own.node.state;
        if state == State::Running || self.stopped.contains(name) {
            return None;
        }
        let reason = own.why_down().map(|reason| format!(": {reason}"));
        Some(format!("node {name} is {state}{}", reason.unwrap_or_default()))
    }
}
