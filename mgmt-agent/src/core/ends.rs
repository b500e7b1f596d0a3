//! What becomes of nodes whose Supervisor says all about it, as ours does: ends, waits, and what an administrator does.

use std::time::Duration;

use broker_codec::{Elapsed, data::ZeekString};
use mgmt_api::{NodeOutputs, State};

use super::{action::Turn, agent::Agent, crash::last_line, nodes::OwnNode};

impl Agent {
    /// A node has ended by itself, or could not be started; it is started again after a time.
    ///
    /// One that has failed is tried again every few minutes. That is told once as long as it ends in the same way.
    pub(super) fn node_crashed(
        &mut self,
        turn: &mut Turn,
        name: &ZeekString,
        how: &str,
        outputs: NodeOutputs,
        again_in: Duration,
        has_failed: bool,
    ) {
        self.lives.retain(name, |_| false);
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        own.restarts += 1;
        self.tallies.entry(name.clone()).or_default().crashes += 1;
        let pid = own.pid.take();
        own.is_missed = true;
        let what = format!("{how}{}", last_line(&outputs));
        // To a tenth of a second.
        let again = Elapsed(Duration::from_secs_f64(
            (again_in.as_secs_f64() * 10.0).round() / 10.0,
        ));
        let count = own.restarts;
        let message = if has_failed {
            format!(
                "node {name} has failed, it ended {count} times: {what}; it is tried again in {again}, and so on"
            )
        } else {
            format!("node {name} ended: {what}; it is started again in {again}")
        };
        let is_news = own.told_end.replace(what.clone()).as_deref() != Some(&*what);
        own.trouble = Some(message.clone());
        let is_first_failure = has_failed && own.node.state != State::Failed;
        if is_news || is_first_failure || !has_failed {
            turn.warning(message.clone());
            self.tell_error(turn, message.clone(), name.clone());
        }
        let state = if has_failed { State::Failed } else { State::Crashed };
        self.histories.add(turn.now, name, state, pid);
        self.histories.explain(name, &what);
        self.histories.wrote(name, &outputs);
        self.node_exited(turn, name, outputs);
        self.set_state(turn, name, state);
        if has_failed {
            if let Some(deployment) = &mut self.deployment {
                deployment.node_failed(name, message);
            }
            self.finish_deployment(turn);
        }
    }

    /// A node is started as soon as something is there that it needs.
    pub(super) fn node_waits(&mut self, turn: &mut Turn, name: &ZeekString, what: &str) {
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        let message = format!("node {name} waits: {what}");
        own.trouble = Some(message.clone());
        own.is_missed = true;
        self.warn(turn, message, name.clone());
        self.set_state(turn, name, State::Pending);
        self.histories.explain(name, what);
    }

    /// A node has read its trace file.
    pub(super) fn node_done(&mut self, turn: &mut Turn, name: &ZeekString) {
        self.lives.retain(name, |_| false);
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        own.pid = None;
        self.stopped.insert(name.clone());
        self.done.insert(name.clone());
        self.remember(turn);
        let message = format!("node {name} has read its trace file and is done");
        self.inform(turn, message.clone(), name.clone());
        self.now_stopped(turn, name);
        self.histories.explain(name, &message);
    }

    /// An administrator has stopped a node, or has started one again, by other means than ours.
    pub(super) fn node_administered(&mut self, turn: &mut Turn, name: &ZeekString, runs: bool) {
        if !self.nodes.contains_key(name) {
            return;
        }
        let message = if runs {
            self.stopped.remove(name);
            self.done.remove(name);
            format!("node {name} was started again by an administrator")
        } else {
            self.stopped.insert(name.clone());
            format!("node {name} was stopped by an administrator, it stays stopped until it is started again")
        };
        self.remember(turn);
        self.inform(turn, message.clone(), name.clone());
        if runs {
            self.set_state(turn, name, State::Pending);
            self.histories.explain(name, &message);
            self.recover(turn);
        } else {
            self.now_stopped(turn, name);
            self.histories.explain(name, &message);
        }
    }

    /// A node has ended because it was to.
    pub(super) fn now_stopped(&mut self, turn: &mut Turn, name: &ZeekString) {
        self.lives.retain(name, |_| false);
        if let Some(own) = self.nodes.get_mut(name) {
            *own = OwnNode::new(own.node.clone(), false);
        }
        self.set_state(turn, name, State::Stopped);
        self.node_came_up(turn, name);
    }
}
