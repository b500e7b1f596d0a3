//! What nodes under our own supervision tell of themselves, and what it means when they do not any more.
//!
//! A process that is stopped, or in an endless loop of a script, looks well from outside: only its heartbeats are missing. It is told to be
//! wedged, once, and told to be back; it is never ended for that.

use broker_codec::{
    Elapsed,
    data::{Set, ZeekString},
};
use mgmt_api::{MESSAGE_BYTES_MAX, NodeLinkRequest, State, log::some_of};

use super::{
    action::{Action, Turn},
    agent::Agent,
    lives::{Life, LifeSign},
    nodes::OwnNode,
};

impl Agent {
    pub(super) fn sign_of_life(&mut self, turn: &mut Turn, node: &ZeekString, sign: LifeSign) {
        if let LifeSign::CannotWrite(reason) = &sign {
            self.tell_cannot_write(turn, node, reason);
        }
        let is_hello = matches!(sign, LifeSign::Hello { .. });
        let silence = self.lives.hear(turn.now, node, sign);
        if is_hello {
            self.tell_mixed(turn);
        }
        let Some(silence) = silence else {
            return;
        };
        let Some(own) = self
            .nodes
            .get_mut(node)
            .filter(|own| own.node.state == State::Unknown)
        else {
            return;
        };
        own.trouble = None;
        own.is_missed = false;
        let is_known = own.before_loss.is_none();
        if !is_known {
            own.before_loss = Some(State::Running);
        }
        let message = format!(
            "node {node} is no more wedged: it has a heartbeat again, after {}",
            Elapsed(silence)
        );
        self.inform(turn, message, node.clone());
        if is_known {
            self.set_state(turn, node, State::Running);
        }
    }

    /// A logger looks well from outside while what it gets is lost.
    fn tell_cannot_write(&mut self, turn: &mut Turn, node: &ZeekString, reason: &ZeekString) {
        let reason = reason.excerpt(MESSAGE_BYTES_MAX);
        let message = format!(
            "node {node} runs on and does not write all of its logs any more: {reason}; mend that, and restart the node"
        );
        self.does_not_react(turn, node, &message);
    }

    /// Tells when nodes of this host are of different Zeeks, as when some of them were started again after an upgrade.
    fn tell_mixed(&mut self, turn: &mut Turn) {
        let versions = self.lives.versions();
        let told = (versions.len() > 1).then(|| {
            let which = versions
                .into_iter()
                .map(|(version, nodes)| format!("{version} ({})", some_of(nodes)));
            let which: Vec<String> = which.collect();
            format!(
                "nodes of this host are of different Zeeks: {}; restart all nodes to have one Zeek in the cluster",
                which.join(", ")
            )
        });
        if let Some(message) = told.clone().filter(|_| told != self.told_mixed) {
            self.warn(turn, message, "");
        }
        self.told_mixed = told;
    }

    /// Tells which nodes have not been heard for too long, and has those read their traces that have waited for too long.
    pub(super) fn tell_overdue(&mut self, turn: &mut Turn) {
        for (node, life) in self.lives.overdue(turn.now) {
            if !self.has_node(&node) {
                self.lives.retain(&node, |_| false);
            } else if life.is_held() {
                read_on(turn, node, &life);
            } else if life.owes_hello {
                self.tell_mute(turn, &node, &life);
            } else {
                self.tell_wedged(turn, &node, &life);
            }
        }
    }

    /// Tells that a node which was started has never connected. It may be on its way yet.
    fn tell_mute(&mut self, turn: &mut Turn, node: &ZeekString, life: &Life) {
        let is_on_its_way =
            |own: &&OwnNode| own.pid == life.pid && matches!(own.node.state, State::Pending | State::Crashed);
        let Some(pid) = self.nodes.get(node).filter(is_on_its_way).and_then(|own| own.pid) else {
            return;
        };
        let message = format!(
            "node {node} runs since {} and has not said hello: its process, PID {pid}, may be in an endless loop of a script, or cannot reach \
             the agent; it is not ended for that",
            Elapsed(life.limit())
        );
        self.state_not_known(turn, node, &message);
    }

    fn tell_wedged(&mut self, turn: &mut Turn, node: &ZeekString, life: &Life) {
        let pid = life.pid.or_else(|| self.nodes.get(node)?.pid);
        let pid = pid.map(|pid| format!(", PID {pid},")).unwrap_or_default();
        let silence = Elapsed(life.limit());
        let message = format!(
            "node {node} is wedged: no heartbeat for {silence}, its process{pid} may be stopped or be in an endless loop; it is not ended for \
             that"
        );
        if self.does_not_react(turn, node, &message) {
            self.lives.told_wedged(node);
        }
    }
}

fn read_on(turn: &mut Turn, node: ZeekString, life: &Life) {
    turn.warning(format!(
        "node {node} has waited {} for its cluster and reads its trace without; logs may be lost that no logger is there for",
        Elapsed(life.limit())
    ));
    let only: Set<ZeekString> = [node].into_iter().collect();
    turn.push(Action::AskLinked(NodeLinkRequest::ReadOn { only }));
}
