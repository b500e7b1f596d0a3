//! This instance's nodes and their states.

use std::collections::VecDeque;

use broker_codec::data::ZeekString;
use mgmt_api::{AgentMessage, Node, NodeOutputs, State};

use super::{agent::Agent, turn::Turn};

/// How much of a crashed node's output `notify_log` carries, in bytes: the end.
pub const OUTPUT_BYTES_MAX: usize = 2048;

/// A node of the running configuration.
///
/// ```text
///   (created)     --> PENDING --hello--> RUNNING     STOPPED: destroyed, on its way out of the table
///   refused       --> FAILED                         UNKNOWN: the Supervisor cannot be reached
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
    /// The process id, as last heard.
    pub(super) pid: Option<i64>,
    /// The commands to start it that the Supervisor has not reported a start for. Any other start follows a crash.
    starts_due: VecDeque<ZeekString>,
    /// Whether the latest start followed a crash. Only then is output of an earlier life of interest.
    crashed: bool,
    /// What it wrote before its latest crash.
    pub(super) outputs: Option<NodeOutputs>,
    /// Its state when the Supervisor was lost.
    before_loss: Option<State>,
}

impl OwnNode {
    /// A node that nobody was told to start.
    pub(super) const fn new(node: Node) -> Self {
        Self {
            node,
            pid: None,
            starts_due: VecDeque::new(),
            crashed: false,
            outputs: None,
            before_loss: None,
        }
    }

    /// Why it has not said hello, if that can be told and the node cannot tell it by its output.
    pub(super) fn what_it_lacks(&self) -> Option<String> {
        let name = &self.node.name;
        if !self.starts_due.is_empty() {
            return Some(format!(
                "the Supervisor has not started node {name} yet, it may be waiting for an earlier one to end"
            ));
        }
        let pid = self.pid.filter(|_| self.node.state == State::Pending)?;
        Some(format!(
            "node {name} runs, PID {pid}, but has not connected to the agent"
        ))
    }

    /// The Supervisor is being told to start it.
    ///
    /// DIFFERENCE(node-outputs): what it wrote before counts no more. Zeek's agent keeps it, and may report it for a
    /// later failure (Q-28).
    fn start_due(&mut self, command: ZeekString) {
        self.starts_due.push_back(command);
        self.crashed = false;
        self.outputs = None;
        self.before_loss = None;
    }
}

impl Agent {
    /// The state changes to PENDING, because the Supervisor is being told to start the node.
    pub(super) fn start_due(&mut self, turn: &mut Turn, name: &ZeekString, command: ZeekString) {
        if let Some(own) = self.nodes.get_mut(name) {
            own.start_due(command);
        }
        self.set_state(turn, name, State::Pending);
    }

    /// The Supervisor will not start the node after all. Returns whether that concerns the node as it is: the command may
    /// be of an earlier deployment, for another node of its name.
    pub(super) fn start_refused(
        &mut self,
        turn: &mut Turn,
        name: &ZeekString,
        command: &ZeekString,
        state: State,
    ) -> bool {
        let Some(own) = self.nodes.get_mut(name) else {
            return false;
        };
        let Some(index) = own.starts_due.iter().position(|due| due == command) else {
            return false;
        };
        own.starts_due.remove(index);
        self.set_state(turn, name, state);
        true
    }

    /// A node has connected, and has found its agent.
    pub(super) fn node_hello(&mut self, turn: &mut Turn, name: &ZeekString) {
        turn.info(format!("rx Management::Node::API::notify_node_hello {name}"));
        if let Some(own) = self.nodes.get_mut(name) {
            own.before_loss = None;
            self.set_state(turn, name, State::Running);
            self.node_came_up(turn, name);
        }
    }

    /// A node was started, as it was to be or because it had ended.
    pub(super) fn node_started(&mut self, turn: &mut Turn, name: &ZeekString, pid: u64) {
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(pid) = i64::try_from(pid).ok().filter(|pid| *pid > 0) else {
            // The Supervisor tries again and again, without a pause.
            if own.node.state != State::Failed {
                let message = format!("the Supervisor cannot start a process for node {name}");
                self.set_state(turn, name, State::Failed);
                self.raise(turn, message, name.clone());
            }
            return;
        };
        own.pid = Some(pid);
        if own.starts_due.pop_front().is_some() {
            if own.node.state == State::Failed {
                self.set_state(turn, name, State::Pending);
            }
            return;
        }
        own.crashed = true;
        self.set_state(turn, name, State::Crashed);
        let message = format!("node {name} ended by itself and was started again, PID {pid}");
        self.raise(turn, message, name.clone());
    }

    /// What a node wrote before its latest start.
    pub(super) fn node_exited(&mut self, turn: &mut Turn, name: &ZeekString, outputs: NodeOutputs) {
        let Some(own) = self.nodes.get_mut(name).filter(|own| own.crashed) else {
            return;
        };
        let output = if outputs.stderr.is_empty() {
            &outputs.stdout
        } else {
            &outputs.stderr
        };
        let msg = [b"last output: ", tail(output, OUTPUT_BYTES_MAX)].concat();
        own.outputs = Some(outputs);
        self.note(turn, msg.into(), name.clone());
    }

    /// The Supervisor cannot say any more how the nodes are.
    pub(super) fn nodes_unknown(&mut self, turn: &mut Turn) {
        let names: Vec<ZeekString> = self.nodes.keys().cloned().collect();
        for name in names {
            if let Some(own) = self.nodes.get_mut(&name) {
                own.before_loss.get_or_insert(own.node.state);
                own.starts_due.clear();
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
        self.tell(
            turn,
            AgentMessage::Change {
                instance: self.settings.name.clone(),
                n,
                old,
                new,
            },
        );
    }

    /// Tells controllers something about a node.
    pub(super) fn note(&self, turn: &mut Turn, msg: ZeekString, node: ZeekString) {
        self.tell(
            turn,
            AgentMessage::Log {
                instance: self.settings.name.clone(),
                msg,
                node,
            },
        );
    }
}

fn tail(bytes: &[u8], len: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(len)..]
}
