//! This instance's nodes and their states.

use std::time::Duration;

use broker_codec::{Elapsed, data::ZeekString};
use mgmt_api::{AgentMessage, Node, NodeOutputs, Now, State};

use super::{
    action::{Action, Turn},
    agent::Agent,
    crash::Crash,
    starts::Cause,
};

/// The shortest time that Zeek's Supervisor lets pass between two starts of a node by itself is a second (`Supervisor.cc`, `Stem::Revive`).
/// Of two that are reported within
/// this time, the first was of a process that was about to be replaced.
const REVIVAL_MIN: Duration = Duration::from_millis(500);

/// A node of the running configuration.
///
/// ```text
///   (created)     --> PENDING --hello--> RUNNING     STOPPED: destroyed, on its way out of the table
///   refused       --> FAILED                         UNKNOWN: the Supervisor cannot be reached, or the node is silent
///   started again, unasked --> CRASHED --hello--> RUNNING
///   restarted     --> PENDING
/// ```
///
/// DIFFERENCE(node-states): Zeek's agent knows PENDING and RUNNING only; a node that crashes stays RUNNING. It declares
/// `notify_change` and `notify_log` and never sends them (Q-29).
#[derive(Clone, Debug)]
pub(super) struct OwnNode {
    /// As configured; its state is the real one.
    pub(super) node: Node,
    /// Whether there was a process of that name before, which may have been started once more before its end.
    replaces: bool,
    /// The process id, as last heard.
    pub(super) pid: Option<i64>,
    /// When the Supervisor was told to start it.
    pub(super) since: Now,
    /// When it was last started.
    started: Option<Now>,
    /// How often it has ended by itself since the Supervisor was told to start it.
    pub(super) restarts: u64,
    /// How a process of it has ended, and which.
    pub(super) ended: Option<(i64, String)>,
    /// An end that has not been told yet.
    pub(super) crash: Option<Crash>,
    /// What it wrote before its latest crash.
    pub(super) outputs: Option<NodeOutputs>,
    /// Why it does not run, if that is known.
    pub(super) trouble: Option<String>,
    /// Whether a deployment was answered before it came up.
    pub(super) is_slow: bool,
    /// Whether there was a warning about it, and it has not come up since.
    pub(super) is_missed: bool,
    /// Its state when the Supervisor was lost.
    before_loss: Option<State>,
}

impl OwnNode {
    /// A node that the Supervisor has not been told to start.
    pub(super) const fn new(node: Node, replaces: bool) -> Self {
        Self {
            node,
            replaces,
            pid: None,
            since: Now::START,
            started: None,
            restarts: 0,
            ended: None,
            crash: None,
            outputs: None,
            trouble: None,
            is_slow: false,
            is_missed: false,
            before_loss: None,
        }
    }

    /// Why it does not run, if it does not: for an answer that does not wait for it.
    pub(super) fn why_not_running(&self) -> Option<String> {
        let Node { name, state, .. } = &self.node;
        match state {
            State::Running => None,
            _ => Some(match &self.trouble {
                Some(trouble) => trouble.clone(),
                None => format!("node {name} is {state}"),
            }),
        }
    }

    /// The Supervisor is being told to start it.
    ///
    /// DIFFERENCE(node-outputs): what it wrote before counts no more. Zeek's agent keeps it, and may report it for a
    /// later failure (Q-28).
    fn start_due(&mut self, now: Now) {
        *self = Self {
            since: now,
            pid: self.pid,
            is_missed: self.is_missed,
            ..Self::new(self.node.clone(), self.replaces || self.pid.is_some())
        };
    }

    /// Whether a start is too close to the one before for the process to have ended by itself meanwhile.
    fn is_replaced(&self, now: Now) -> bool {
        self.replaces
            && self.node.state == State::Pending
            && self.restarts == 0
            && self.started.is_some_and(|started| now - started < REVIVAL_MIN)
    }
}

impl Agent {
    /// The state changes to PENDING, because the Supervisor is being told to start the node.
    pub(super) fn start_due(&mut self, turn: &mut Turn, name: &ZeekString, command: ZeekString) {
        self.tell_crash(turn, name);
        self.starts.expect(name.clone(), command);
        if let Some(own) = self.nodes.get_mut(name) {
            own.start_due(turn.now);
        }
        self.set_state(turn, name, State::Pending);
    }

    /// The Supervisor will start a node after all, although it had not answered in time.
    pub(super) fn start_comes_late(&mut self, turn: &mut Turn, command: &ZeekString) {
        if let Some(name) = self.starts.answered(command) {
            turn.info(format!(
                "node {name} is started after all, the Supervisor answers late"
            ));
            if let Some(own) = self.nodes.get_mut(&name) {
                own.start_due(turn.now);
            }
            self.set_state(turn, &name, State::Pending);
        }
    }

    /// Why a node that a deployment waits for has not come up, if its output cannot tell.
    pub(super) fn what_it_lacks(&self, now: Now, name: &ZeekString) -> Option<String> {
        let own = self.nodes.get(name)?;
        if self.starts.owes(name) {
            return Some(format!(
                "the Supervisor has not started node {name} yet, it may be waiting for an earlier one to end"
            ));
        }
        let pid = own.pid.filter(|_| own.node.state == State::Pending)?;
        let waited = Elapsed(now - own.since);
        let needed = match &self.settings.supervisor_env {
            Some(variables) => {
                format!("; to find it, it needs a Supervisor with {variables} in its environment")
            }
            None => String::new(),
        };
        Some(format!(
            "node {name} is still starting after {waited}, it has not connected to the agent; when it does, the agent's log says so\
             {needed}, PID {pid}"
        ))
    }

    /// A node has connected, and has found its agent.
    pub(super) fn node_hello(&mut self, turn: &mut Turn, name: &ZeekString) {
        turn.info(format!("rx Management::Node::API::notify_node_hello {name}"));
        self.tell_crash(turn, name);
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        own.before_loss = None;
        own.trouble = None;
        let is_missed = std::mem::take(&mut own.is_missed);
        let took = Elapsed(turn.now - own.since);
        let message = if std::mem::take(&mut own.is_slow) {
            Some(format!("node {name} has come up after {took}"))
        } else if is_missed || matches!(own.node.state, State::Crashed | State::Unknown | State::Failed) {
            Some(format!("node {name} is up again"))
        } else {
            None
        };
        if let Some(message) = message {
            turn.info(message.clone());
            self.note(turn, message.into(), name.clone());
        }
        self.set_state(turn, name, State::Running);
        self.node_came_up(turn, name);
    }

    /// A node that runs does not answer its agent any more. The peering has ended: it is told to be up again when it has connected
    /// anew. One that is being restarted, or has ended, is silent for that reason.
    pub(super) fn node_silent(&mut self, turn: &mut Turn, name: &ZeekString, reason: &str) {
        let running = self
            .nodes
            .get_mut(name)
            .filter(|own| own.node.state == State::Running);
        let Some(own) = running else {
            return;
        };
        let pid = own.pid.map(|pid| format!(", PID {pid},")).unwrap_or_default();
        let message = format!("node {name} is silent: {reason}; its process{pid} may be stopped or hang");
        own.trouble = Some(message.clone());
        own.is_missed = true;
        turn.warning(message.clone());
        self.note(turn, message.clone().into(), name.clone());
        self.set_state(turn, name, State::Unknown);
        self.node_does_not_answer(turn, name, &message);
    }

    /// A node was started, as it was to be or because it had ended.
    pub(super) fn node_started(&mut self, turn: &mut Turn, name: &ZeekString, pid: u64) {
        let Some(pid) = i64::try_from(pid).ok().filter(|pid| *pid > 0) else {
            self.process_refused(turn, name);
            return;
        };
        let cause = self.starts.reported(name);
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        if cause == Cause::Former {
            turn.debug(format!(
                "node {name} of an earlier configuration was started, PID {pid}"
            ));
            return;
        }
        let before = own.pid.replace(pid);
        let is_replaced = own.is_replaced(turn.now);
        own.started = Some(turn.now);
        if cause == Cause::Command || is_replaced {
            own.ended = None;
            if own.node.state == State::Failed {
                self.set_state(turn, name, State::Pending);
            }
            return;
        }
        own.restarts += 1;
        own.outputs = None;
        let how = own.ended.take().filter(|(ended, _)| Some(*ended) == before);
        own.crash = Some(Crash::new(turn.now, how.map(|(_, how)| how)));
        self.set_state(turn, name, State::Crashed);
    }

    /// The Supervisor cannot start a process for a node. It tries again and again, without a pause.
    fn process_refused(&mut self, turn: &mut Turn, name: &ZeekString) {
        let Some(own) = self
            .nodes
            .get_mut(name)
            .filter(|own| own.node.state != State::Failed)
        else {
            return;
        };
        let message = format!("the Supervisor cannot start a process for node {name}");
        own.trouble = Some(message.clone());
        own.is_missed = true;
        self.set_state(turn, name, State::Failed);
        self.raise(turn, message, name.clone());
    }

    /// The Supervisor cannot say any more how the nodes are.
    pub(super) fn nodes_unknown(&mut self, turn: &mut Turn) {
        self.starts.clear();
        let names: Vec<ZeekString> = self.nodes.keys().cloned().collect();
        for name in names {
            self.tell_crash(turn, &name);
            if let Some(own) = self.nodes.get_mut(&name) {
                own.before_loss.get_or_insert(own.node.state);
            }
            self.set_state(turn, &name, State::Unknown);
        }
    }

    /// The Supervisor says that it has this node, with this process. If it could not be reached before, that tells the
    /// node's state.
    pub(super) fn node_found(&mut self, turn: &mut Turn, name: &ZeekString, pid: Option<i64>) {
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        let same = own.pid.is_none() || own.pid == pid;
        own.pid = pid;
        if let Some(before) = own.before_loss.take() {
            let state = if same { before } else { State::Crashed };
            self.set_state(turn, name, state);
        }
    }

    /// Changes a node's state and says so.
    pub(super) fn set_state(&mut self, turn: &mut Turn, name: &ZeekString, new: State) {
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        let old = std::mem::replace(&mut own.node.state, new);
        if old == new {
            return;
        }
        let n = own.node.clone();
        turn.debug(format!("node {name} was {old} and is {new}"));
        turn.push(Action::Tell(AgentMessage::Change {
            instance: self.settings.name.clone(),
            n,
            old,
            new,
        }));
    }

    /// Tells controllers something about a node.
    pub(super) fn note(&self, turn: &mut Turn, msg: ZeekString, node: ZeekString) {
        turn.push(Action::Tell(AgentMessage::Log {
            instance: self.settings.name.clone(),
            msg,
            node,
        }));
    }
}
