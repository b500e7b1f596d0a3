//! What changes the states of nodes, and what controllers are told of it.

use broker_codec::{Elapsed, data::ZeekString};
use mgmt_api::{AgentMessage, Node, Now, State};

use super::{
    action::{Action, Turn},
    agent::{Agent, Purpose},
    node_spec,
    nodes::{Crash, OwnNode},
    settings::Supervise,
    starts::Cause,
    supervision::{Command, Supervised},
};

impl Agent {
    /// The state changes to PENDING, because the Supervisor is being told to start the node.
    pub(super) fn start_due(&mut self, turn: &mut Turn, name: &ZeekString, command: ZeekString) {
        self.tell_crash(turn, name);
        self.lives.retain(name, |_| false);
        self.starts.expect(name.clone(), command);
        if let Some(own) = self.nodes.get_mut(name) {
            own.start_due(turn.now);
        }
        self.set_state(turn, name, State::Pending);
    }

    /// Has the Supervisor start a node of the running configuration.
    pub(super) fn create(&mut self, turn: &mut Turn, name: &ZeekString) {
        if self.is_ending {
            return;
        }
        let (Some(own), Some(config)) = (self.nodes.get(name), &self.config) else {
            return;
        };
        let node = match node_spec::node_spec(config, &self.cluster, &own.node, &self.settings) {
            Ok(node) => node,
            Err(reason) => {
                self.will_not_start(turn, name, &reason);
                return;
            }
        };
        // What starts the nodes itself creates their directories.
        if self.settings.supervise == Supervise::Zeek {
            let path = node.directory.clone();
            turn.push(Action::MakeDirectory { path });
        }
        let id = self.ids.next_id();
        self.start_due(turn, name, id.clone());
        let node = Box::new(node);
        self.order(turn, Purpose::Create(name.clone()), Command::Create { id, node });
    }

    /// The Supervisor does not start a node, or has not answered. That may be about an earlier configuration.
    pub(super) fn not_created(&mut self, turn: &mut Turn, name: &ZeekString, concerns: bool, reason: &str) {
        if concerns {
            self.will_not_start(turn, name, reason);
        } else {
            self.raise(turn, create_error(name, reason), name.clone());
        }
    }

    /// A node of the running configuration cannot be started.
    ///
    /// DIFFERENCE(refused-node): the deployment does not wait for it, and its answer says why. With Zeek's agent it
    /// times out.
    fn will_not_start(&mut self, turn: &mut Turn, name: &ZeekString, reason: &str) {
        let error = create_error(name, reason);
        self.start_failed(turn, name, State::Failed, &error);
        self.raise(turn, error.clone(), name.clone());
        if let Some(deployment) = &mut self.deployment {
            deployment.node_failed(name, error);
        }
        self.finish_deployment(turn);
    }

    /// A node is not started as it was to be.
    pub(super) fn start_failed(&mut self, turn: &mut Turn, name: &ZeekString, state: State, trouble: &str) {
        self.set_state(turn, name, state);
        if let Some(own) = self.nodes.get_mut(name) {
            own.trouble = Some(trouble.to_owned());
            self.histories.explain(name, trouble);
        }
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
        if let (true, Some(trouble)) = (self.starts.owes(name), &own.trouble) {
            return Some(trouble.clone());
        }
        if self.starts.owes(name) && self.settings.supervise != Supervise::Zeek {
            return Some(format!(
                "node {name} has not been started yet: its former process or others have to end before, or others to come up"
            ));
        }
        if self.starts.owes(name) {
            return Some(format!(
                "the Supervisor has not started node {name} yet, it may be waiting for an earlier one to end"
            ));
        }
        if own.node.state == State::Unknown {
            return own.trouble.clone();
        }
        if own.pid.is_none() && self.settings.supervise != Supervise::Zeek {
            return own.trouble.clone();
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
        // What former processes wrote says nothing of this one.
        own.outputs = None;
        let is_missed = std::mem::take(&mut own.is_missed);
        let is_first = |started: &Now| own.last_up.is_none_or(|up| up < *started);
        if let Some(started) = own.started.filter(is_first) {
            own.took = Some(turn.now - started);
        }
        let again = if own.last_up.replace(turn.now).is_some() {
            " again"
        } else {
            ""
        };
        let took = Elapsed(turn.now - own.since);
        let message = if std::mem::take(&mut own.is_slow) {
            Some(format!("node {name} has come up after {took}"))
        } else if is_missed || matches!(own.node.state, State::Crashed | State::Unknown | State::Failed) {
            Some(format!("node {name} is up{again}"))
        } else {
            None
        };
        if let Some(message) = message {
            self.inform(turn, message, name.clone());
        }
        self.set_state(turn, name, State::Running);
        self.node_came_up(turn, name);
    }

    /// A node that runs does not answer its agent any more. The peering has ended: it is told to be up again when it has connected
    /// anew. One that is being restarted, or has ended, is silent for that reason.
    pub(super) fn node_silent(&mut self, turn: &mut Turn, name: &ZeekString, reason: &str) {
        let pid = self.nodes.get(name).and_then(|own| own.pid);
        let pid = pid.map(|pid| format!(", PID {pid},")).unwrap_or_default();
        let message = format!("node {name} is silent: {reason}; its process{pid} may be stopped or hang");
        self.does_not_react(turn, name, &message);
    }

    /// A node runs and does not react, so its state is not known. Returns whether it was taken to be up: else that is no news.
    pub(super) fn does_not_react(&mut self, turn: &mut Turn, name: &ZeekString, message: &str) -> bool {
        let is_up = |own: &OwnNode| own.node.state == State::Running || own.is_taken_over();
        let is_news = self.nodes.get(name).is_some_and(is_up);
        if is_news {
            self.state_not_known(turn, name, message);
        }
        is_news
    }

    /// A node runs, and for this reason its state is not known.
    pub(super) fn state_not_known(&mut self, turn: &mut Turn, name: &ZeekString, message: &str) {
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        own.trouble = Some(message.to_owned());
        own.is_missed = true;
        self.warn(turn, message.to_owned(), name.clone());
        self.set_state(turn, name, State::Unknown);
        self.histories.explain(name, message);
        self.node_does_not_answer(turn, name, message);
    }

    /// A node was started, as it was to be or because it had ended.
    pub(super) fn node_started(&mut self, turn: &mut Turn, name: &ZeekString, pid: i64, is_to_end: bool) {
        let cause = match self.settings.supervise {
            Supervise::Zeek => self.starts.reported(name),
            Supervise::Systemd | Supervise::Native => self.starts.reported_by_us(name, is_to_end),
        };
        self.lives.retain(name, |heard| heard == Some(pid));
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        if cause == Cause::Former {
            turn.debug(format!(
                "node {name} of an earlier configuration was started, PID {pid}"
            ));
            return;
        }
        if self.settings.supervise != Supervise::Zeek {
            self.lives.expect_hello(turn.now, name, pid);
        }
        let tally = self.tallies.entry(name.clone()).or_default();
        tally.starts += 1;
        let before = own.pid.replace(pid);
        let is_replaced = own.is_replaced(turn.now);
        own.started = Some(turn.now);
        // The end was told when it came.
        if before.is_none() && own.restarts > 0 {
            return;
        }
        if cause == Cause::Command || is_replaced {
            own.ended = None;
            if own.node.state == State::Failed {
                self.set_state(turn, name, State::Pending);
            }
            return;
        }
        own.restarts += 1;
        tally.crashes += 1;
        own.outputs = None;
        let how = own.ended.take().filter(|(ended, _)| Some(*ended) == before);
        own.crash = Some(Crash::new(turn.now, how.map(|(_, how)| how)));
        self.histories.add(turn.now, name, State::Crashed, before);
        self.set_state(turn, name, State::Crashed);
    }

    /// The Supervisor cannot start a process for a node. It tries again and again, without a pause.
    pub(super) fn process_refused(&mut self, turn: &mut Turn, name: &ZeekString) {
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
        self.histories.explain(name, &message);
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
            if let Some(reason) = &self.unavailable {
                self.histories.explain(&name, reason);
            }
        }
    }

    /// The Supervisor says that it has this node, with this process. If it could not be reached before, that tells the
    /// node's state.
    pub(super) fn node_found(&mut self, turn: &mut Turn, name: &ZeekString, found: &Supervised) {
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        let same = own.pid.is_none() || own.pid == found.pid;
        own.pid = found.pid;
        own.found = found.age.map(|age| (turn.now, age));
        if let Some(before) = own.before_loss.take() {
            let state = if same { before } else { State::Crashed };
            self.set_state(turn, name, state);
        }
    }

    /// Changes a node's state and says so.
    pub(super) fn set_state(&mut self, turn: &mut Turn, name: &ZeekString, new: State) {
        if let Some(own) = self.nodes.get_mut(name) {
            if own.node.state != new {
                self.histories.changed(turn.now, name, new, own.pid);
            }
            change(turn, &self.settings.name, &mut own.node, new);
        }
    }

    /// A node that was to end has no process any more.
    pub(super) fn node_gone(&mut self, turn: &mut Turn, name: &ZeekString) {
        if let Some(mut own) = self.leaving.remove(name) {
            change(turn, &self.settings.name, &mut own.node, State::Stopped);
        } else if self.stopped.contains(name) {
            self.now_stopped(turn, name);
        }
    }

    /// Logs a warning, and tells controllers, which log it as well; about a node, if one is named.
    pub(super) fn warn(&self, turn: &mut Turn, message: String, node: impl Into<ZeekString>) {
        turn.warning(message.clone());
        self.note(turn, message.into(), node.into());
    }

    /// Likewise what is no warning.
    pub(super) fn inform(&self, turn: &mut Turn, message: String, node: impl Into<ZeekString>) {
        turn.info(message.clone());
        self.note(turn, message.into(), node.into());
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

fn change(turn: &mut Turn, instance: &ZeekString, node: &mut Node, new: State) {
    let old = std::mem::replace(&mut node.state, new);
    if old == new {
        return;
    }
    turn.debug(format!("node {} was {old} and is {new}", node.name));
    turn.push(Action::Tell(AgentMessage::Change {
        instance: instance.clone(),
        n: node.clone(),
        old,
        new,
    }));
}

fn create_error(name: &ZeekString, reason: &str) -> String {
    format!("failed to create node {name}: {reason}")
}
