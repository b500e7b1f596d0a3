//! What is told of a node that has ended by itself.

use broker_codec::data::{Excerpt, ZeekString};
use mgmt_api::{NodeOutputs, Now};

use super::{action::Turn, agent::Agent, nodes::OwnNode};

/// How much of a crashed node's output `notify_log` carries, in bytes: the end.
pub const OUTPUT_BYTES_MAX: usize = 2048;

/// How much of a node's last line stands in the message about its end, in bytes.
const LINE_BYTES_MAX: usize = 256;

impl Agent {
    /// A process of a node has ended, says the Supervisor. That another one was started comes later.
    pub(super) fn node_ended(&mut self, name: &ZeekString, pid: i64, how: String) {
        self.lives
            .retain(name, |heard| heard.is_some_and(|heard| heard != pid));
        if let Some(own) = self.nodes.get_mut(name) {
            own.ended = Some((pid, how));
        }
    }

    /// What a node wrote before its latest start. That of an earlier life, before a start that was asked for, does not count.
    pub(super) fn node_exited(&mut self, turn: &mut Turn, name: &ZeekString, outputs: NodeOutputs) {
        let Some(own) = self.nodes.get_mut(name).filter(|own| own.restarts > 0) else {
            return;
        };
        let output = if outputs.stderr.is_empty() {
            &outputs.stdout
        } else {
            &outputs.stderr
        };
        // The message about the end quotes the last line. If that is all, there is nothing to add.
        let is_told = own.crash.is_some() || own.pid.is_none();
        let is_quoted = is_told
            && outputs
                .last_line()
                .is_some_and(|line| line.len() <= LINE_BYTES_MAX && output.trim_ascii() == line);
        if output.trim_ascii().is_empty() {
            own.outputs = Some(outputs);
            return self.tell_crash(turn, name);
        }
        let tail = &output[output.len().saturating_sub(OUTPUT_BYTES_MAX)..];
        let msg = ZeekString::from([b"last output: ", tail].concat());
        let is_told = own.told_output.replace(msg.clone()).as_ref() == Some(&msg);
        own.outputs = Some(outputs);
        self.tell_crash(turn, name);
        if !is_quoted && !is_told {
            self.note(turn, msg, name.clone());
        }
    }

    /// When the next message about an end is due.
    pub(super) fn crash_deadline(&self) -> Option<Now> {
        let crashes = self.nodes.values().filter_map(|own| own.crash.as_ref());
        crashes.map(|crash| crash.due).min()
    }

    /// Tells the ends that have waited long enough.
    pub(super) fn tell_due_crashes(&mut self, turn: &mut Turn) {
        let is_due = |own: &OwnNode| own.crash.as_ref().is_some_and(|crash| crash.due <= turn.now);
        let due: Vec<ZeekString> = self
            .nodes
            .iter()
            .filter(|(_, own)| is_due(own))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.tell_crash(turn, &name);
        }
    }

    /// Tells the end of a node that has not been told yet, if there is one.
    pub(super) fn tell_crash(&mut self, turn: &mut Turn, name: &ZeekString) {
        let Some(own) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(crash) = own.crash.take() else {
            return;
        };
        let how = crash.how.unwrap_or_else(|| "cause unknown".into());
        let line = own.outputs.as_ref().map(last_line).unwrap_or_default();
        let at = |now: Now| self.clock + now.since_start();
        let since = at(own.since).told_at(at(turn.now));
        let (restarts, pid) = (own.restarts, own.pid.unwrap_or_default());
        let message = format!("node {name} ended: {how}{line}; restart {restarts} since {since}, PID {pid}");
        own.trouble = Some(message.clone());
        own.is_missed = true;
        self.histories.explain(name, &format!("{how}{line}"));
        if let Some(outputs) = &own.outputs {
            self.histories.wrote(name, outputs);
        }
        turn.warning(message.clone());
        self.tell_error(turn, message, name.clone());
    }
}

/// What follows on how a node has ended: its last line, if it wrote one.
pub(super) fn last_line(outputs: &NodeOutputs) -> String {
    let line = outputs.last_line().map(|line| {
        let line = Excerpt::new(line).at_most(LINE_BYTES_MAX);
        format!(", last line: {line}")
    });
    line.unwrap_or_default()
}
