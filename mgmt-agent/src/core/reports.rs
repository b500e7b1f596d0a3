//! What the Supervisor tells, and what is left when it has been away.

use broker_codec::data::ZeekString;
use mgmt_api::MESSAGE_BYTES_MAX;

use super::{
    action::Turn,
    agent::{Agent, NEVER_CONNECTED, Purpose},
    deployment::{Deployment, Goal},
    desired::Restoring,
    pending::Kind,
    settings::Supervise,
    supervision::{Processes, Report},
};

const BACK: &str = "the Supervisor is back";
const OWN_BACK: &str = "nodes can be started, ended and looked at again";

impl Agent {
    pub(super) fn report(&mut self, turn: &mut Turn, report: Report) {
        match report {
            Report::Silent { reason } => self.silence = Some(reason),
            Report::Heard => self.silence = None,
            Report::Ready => {
                let before = self.unavailable.take();
                self.silence = None;
                self.say_hello(turn);
                if before.is_some_and(|reason| reason != NEVER_CONNECTED) {
                    let back = match self.settings.supervise {
                        Supervise::Zeek => BACK,
                        Supervise::Systemd | Supervise::Native => OWN_BACK,
                    };
                    self.inform(turn, back.into(), "");
                }
                self.recover(turn);
            }
            Report::Lost { reason } => self.supervisor_lost(turn, &reason),
            Report::Unresponsive { reason } => self.supervisor_unresponsive(turn, &reason),
            Report::Status { id, status } => match self.ended(&id) {
                Some(Purpose::Deploy) => self.apply(turn, &status),
                Some(Purpose::Recover) => self.recovered(turn, &status),
                Some(Purpose::Restore) => self.restore(turn, &status),
                Some(Purpose::Plan) => self.planned(turn, &status),
                Some(Purpose::GetNodes(reqid)) => self.got_status(turn, reqid, &status),
                _ => {}
            },
            Report::Created { id, outcome } => {
                let purpose = self.ended(&id);
                match (purpose, outcome) {
                    (Some(Purpose::Create(node)), Err(reason)) => {
                        let concerns = self.starts.refused(&id);
                        // Zeek ends some of its reasons with a newline.
                        let reason = ZeekString::from(reason.trim_ascii_end());
                        let reason = reason.excerpt(MESSAGE_BYTES_MAX).to_string();
                        self.not_created(turn, &node, concerns, &reason);
                    }
                    (Some(_), Ok(())) => {
                        self.starts.answered(&id);
                    }
                    _ => {}
                }
            }
            Report::Restarted { id, existed } => match self.ended(&id) {
                Some(Purpose::Restart { reqid, node }) => {
                    self.restarted(turn, &reqid, &id, node, existed);
                }
                Some(Purpose::Renew) if existed => drop(self.starts.answered(&id)),
                _ => {}
            },
            Report::Destroyed { id, existed } => {
                if let (Some(Purpose::Destroy(node)), false) = (self.ended(&id), existed) {
                    self.raise(turn, format!("failed to destroy node {node}, {id}"), node);
                }
            }
            Report::Gone { node } => self.node_gone(turn, &node),
            Report::Failed { id, reason } => {
                if let Some(purpose) = self.ended(&id) {
                    self.command_failed(turn, &id, purpose, &reason);
                }
            }
            Report::Late { id } => self.start_comes_late(turn, &id),
            Report::NodeEnded { node, pid, how } => self.node_ended(&node, pid, how),
            Report::NodeStarted { node, pid, is_to_end } => self.node_started(turn, &node, pid, is_to_end),
            Report::NotStarted { node } => self.process_refused(turn, &node),
            Report::NodeExited { node, outputs } => self.node_exited(turn, &node, outputs),
            Report::Crashed {
                node,
                how,
                outputs,
                again_in,
                has_failed,
            } => self.node_crashed(turn, &node, &how, outputs, again_in, has_failed),
            Report::Waits { node, what } => self.node_waits(turn, &node, &what),
            Report::Done { node } => self.node_done(turn, &node),
            Report::Administered { node, runs } => self.node_administered(turn, &node, runs),
            Report::Installed { version, problem } => self.installed(turn, version, problem),
        }
    }

    /// The Supervisor did not do what it was told, and does not say why.
    ///
    /// DIFFERENCE(silent-supervisor): the controller hears why. With Zeek's agent requests time out, `get_nodes` has no
    /// answer at all, and a deployment reports success for the nodes of the one before.
    fn command_failed(&mut self, turn: &mut Turn, id: &ZeekString, purpose: Purpose, reason: &str) {
        match purpose {
            Purpose::Deploy => {
                self.raise(turn, format!("cannot deploy: {reason}"), "");
                self.abandon_deployment(turn, reason);
            }
            Purpose::Recover | Purpose::Restore => {
                let message = format!("cannot see which nodes are left: {reason}");
                self.raise(turn, message, "");
            }
            Purpose::Plan => self.not_planned(turn, reason),
            Purpose::GetNodes(reqid) => {
                self.raise(turn, format!("cannot see the nodes: {reason}"), "");
                if self.end(Kind::GetNodes, &reqid) {
                    self.respond_without_status(turn, reqid, reason);
                }
            }
            Purpose::Create(node) => {
                let concerns = self.starts.concerns(id);
                self.not_created(turn, &node, concerns, reason);
            }
            Purpose::Relayout(node) => {
                let message = format!("node {node} does not learn of other workers: {reason}");
                self.raise(turn, message, node);
            }
            Purpose::Restart { reqid, node } => self.not_restarted(turn, &reqid, id, node, reason),
            Purpose::End | Purpose::Renew => {}
            Purpose::Destroy(node) => {
                self.raise(
                    turn,
                    format!("failed to destroy node {node}, {id}: {reason}"),
                    node,
                );
            }
        }
    }

    /// The Supervisor cannot be reached any more.
    fn supervisor_lost(&mut self, turn: &mut Turn, reason: &str) {
        let is_own = self.settings.supervise != Supervise::Zeek;
        let reason = if is_own {
            format!("nodes cannot be started, ended or looked at: {reason}")
        } else {
            format!("lost the Supervisor: {reason}")
        };
        if let Some(before) = self.unavailable.replace(reason.clone()) {
            // Why its process ended is often known only after the connection is lost; that it cannot be started again is news, too.
            if before != reason && (is_own || before != NEVER_CONNECTED) {
                self.raise(turn, reason, "");
            }
            return;
        }
        self.raise(turn, reason.clone(), "");
        self.nodes_unknown(turn);
        for (id, ordered) in std::mem::take(&mut self.commands) {
            match ordered.purpose {
                Purpose::Deploy => self.abandon_deployment(turn, &reason),
                Purpose::Plan => self.not_planned(turn, &reason),
                Purpose::GetNodes(reqid) => {
                    if self.end(Kind::GetNodes, &reqid) {
                        self.respond_without_status(turn, reqid, &reason);
                    }
                }
                Purpose::Restart { reqid, node } => self.not_restarted(turn, &reqid, &id, node, &reason),
                // Whether it was done shows when the Supervisor is back.
                Purpose::Create(_)
                | Purpose::Relayout(_)
                | Purpose::Destroy(_)
                | Purpose::Recover
                | Purpose::Restore
                | Purpose::End
                | Purpose::Renew => {}
            }
        }
    }

    /// The Supervisor runs but does not answer, and is started again. That is news even if it has never connected.
    fn supervisor_unresponsive(&mut self, turn: &mut Turn, reason: &str) {
        let has_connected = self.unavailable.as_deref() != Some(NEVER_CONNECTED);
        self.supervisor_lost(turn, reason);
        if !has_connected {
            self.raise(turn, format!("the Supervisor hangs: {reason}"), "");
        }
    }

    /// The Supervisor can be reached again: are the nodes still there, or are they to go?
    pub(super) fn recover(&mut self, turn: &mut Turn) {
        if self.restoring == Some(Restoring::Due) {
            self.ask_status(turn, Purpose::Restore);
        } else if self.stand_by_due {
            self.begin(turn, Goal::StandBy);
        } else if !self.nodes.is_empty() {
            self.ask_status(turn, Purpose::Recover);
        }
    }

    /// The Supervisor's nodes after it has been away.
    ///
    /// DIFFERENCE(supervisor-recovery): nodes that it has not got any more are started again. Zeek's agent ends and begins
    /// with its Supervisor, and waits for a controller to deploy.
    pub(super) fn recovered(&mut self, turn: &mut Turn, status: &Processes) {
        if !self.deployment.as_ref().is_some_and(Deployment::is_waiting) {
            self.compare(turn, status);
        }
    }

    /// Compares the Supervisor's nodes with those that are to run, and has it start what it lacks.
    pub(super) fn compare(&mut self, turn: &mut Turn, status: &Processes) {
        let names = self.nodes.keys().filter(|name| !self.stopped.contains(*name));
        let names: Vec<ZeekString> = names.cloned().collect();
        let is_restoring = self.restoring.take().is_some();
        for name in names {
            if is_restoring && !status.contains_key(&name) {
                self.create(turn, &name);
            } else if let Some(found) = status.get(&name) {
                self.node_found(turn, &name, found);
            } else {
                let message = format!("the Supervisor has lost node {name}, starting it again");
                self.warn(turn, message, name.clone());
                if let Some(own) = self.nodes.get_mut(&name) {
                    own.is_missed = true;
                }
                self.create(turn, &name);
            }
        }
    }
}
