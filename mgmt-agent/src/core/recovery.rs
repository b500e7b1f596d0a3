//! What is left when the Supervisor has been away.

use broker_codec::data::ZeekString;
use mgmt_api::SupervisorStatus;

use super::{
    action::Turn,
    agent::{Agent, Purpose},
    deploy::{Deployment, Goal},
    requests::Kind,
};

const BACK: &str = "the Supervisor is back";

impl Agent {
    /// The Supervisor cannot be reached any more.
    pub(super) fn supervisor_lost(&mut self, turn: &mut Turn, reason: &str) {
        let reason = format!("lost the Supervisor: {reason}");
        if self.unavailable.replace(reason.clone()).is_some() {
            return;
        }
        self.raise(turn, reason.clone(), ZeekString::default());
        self.nodes_unknown(turn);
        for (id, ordered) in std::mem::take(&mut self.commands) {
            match ordered.purpose {
                Purpose::Deploy => self.abandon_deployment(turn, &reason),
                Purpose::GetNodes(reqid) => {
                    if self.end(Kind::GetNodes, &reqid) {
                        self.respond_without_status(turn, reqid, &reason);
                    }
                }
                Purpose::Restart { reqid, node } => self.not_restarted(turn, &reqid, &id, node, &reason),
                // Whether it was done shows when the Supervisor is back.
                Purpose::Create(_) | Purpose::Destroy(_) | Purpose::Recover => {}
            }
        }
    }

    /// The Supervisor runs but does not answer, and is started again. That is news even if it could not be reached before.
    pub(super) fn supervisor_given_up(&mut self, turn: &mut Turn, reason: &str) {
        let was_there = self.unavailable.is_none();
        self.supervisor_lost(turn, reason);
        if !was_there {
            self.raise(
                turn,
                format!("the Supervisor hangs: {reason}"),
                ZeekString::default(),
            );
        }
    }

    /// The Supervisor that was lost has connected.
    pub(super) fn supervisor_is_back(&self, turn: &mut Turn) {
        turn.info(BACK.into());
        self.note(turn, BACK.into(), ZeekString::default());
    }

    /// The Supervisor can be reached again: are the nodes still there, or are they to go?
    pub(super) fn recover(&mut self, turn: &mut Turn) {
        if self.stand_by_due {
            self.begin(turn, Goal::StandBy);
        } else if !self.nodes.is_empty() {
            self.ask_status(turn, Purpose::Recover);
        }
    }

    /// The Supervisor's nodes after it has been away.
    ///
    /// DIFFERENCE(supervisor-recovery): nodes that it has not got any more are started again. Zeek's agent ends and begins
    /// with its Supervisor, and waits for a controller to deploy.
    pub(super) fn recovered(&mut self, turn: &mut Turn, status: &SupervisorStatus) {
        if !matches!(self.deployment, Some(Deployment::Waiting { .. })) {
            self.compare(turn, status);
        }
    }

    /// Compares the Supervisor's nodes with those that are to run, and has it start what it lacks.
    pub(super) fn compare(&mut self, turn: &mut Turn, status: &SupervisorStatus) {
        let names: Vec<ZeekString> = self.nodes.keys().cloned().collect();
        for name in names {
            if let Some(found) = status.nodes.get(&name) {
                self.node_found(turn, &name, found.pid);
            } else {
                let message = format!("the Supervisor has lost node {name}, starting it again");
                turn.warning(message.clone());
                self.note(turn, message.into(), name.clone());
                if let Some(own) = self.nodes.get_mut(&name) {
                    own.is_missed = true;
                }
                self.create(turn, &name);
            }
        }
    }
}
