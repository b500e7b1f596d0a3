//! What agents tell of their nodes, for operators: a change of a node's state and the reason for it are one line.
//!
//! The framework's API has an event for each (`notify_change` has no text, `notify_error` and `notify_log` no state), so an agent cannot send
//! one. Either may come first, and a crash's reason waits for what the node wrote (250 ms, our agent's `OUTPUT_WAIT`). So what may have its
//! other half to come is held back for [`HOLD`]. Zeek's agent tells neither.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use broker_codec::data::ZeekString;
use mgmt_api::{AgentMessage, Level, MESSAGE_BYTES_MAX, State};

/// How long half a line waits for its other half.
const HOLD: Duration = Duration::from_secs(2);

/// So many nodes have something held back; beyond that it is told at once.
const HELD_MAX: usize = 4096;

/// What is told of nodes soon.
#[derive(Debug, Default)]
pub(super) struct NodeNews {
    held: BTreeMap<(ZeekString, ZeekString), (Instant, Half)>,
    /// What has just happened to a whole instance, which is why its nodes are unknown.
    troubles: BTreeMap<ZeekString, (Instant, ZeekString)>,
}

/// Half of what there is to say about a node.
#[derive(Debug)]
enum Half {
    Change { old: State, new: State },
    Reason { level: Level, msg: String },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) text: String,
}

impl NodeNews {
    /// Takes news in. What can be told now is returned.
    pub(super) fn take(&mut self, news: &AgentMessage, now: Instant) -> Vec<Line> {
        let (instance, node, half) = match news {
            AgentMessage::Change {
                instance,
                n,
                old,
                new,
                ..
            } => (instance, &n.name, Half::Change { old: *old, new: *new }),
            AgentMessage::Error { instance, msg, node } => (instance, node, reason(Level::Warning, msg)),
            // It is told with the end of the connection.
            _ if news.is_farewell() => return Vec::new(),
            AgentMessage::Log { instance, msg, node } => (instance, node, reason(Level::Info, msg)),
            _ => return Vec::new(),
        };
        if let AgentMessage::Error { msg, .. } = news
            && node.is_empty()
        {
            self.troubles.insert(instance.clone(), (now + HOLD, msg.clone()));
        }
        let key = (instance.clone(), node.clone());
        if let Half::Change {
            new: State::Unknown, ..
        } = &half
            && let Some((until, msg)) = self.troubles.get(instance)
            && now < *until
        {
            return vec![half.joined(reason(Level::Warning, msg), &key)];
        }
        let mut lines = Vec::new();
        match (self.held.remove(&key), half) {
            (Some((_, before)), half) if before.belongs_to(&half) => {
                lines.push(before.joined(half, &key));
            }
            (before, half) => {
                lines.extend(before.map(|(_, before)| before.line(&key)));
                if !node.is_empty() && half.is_half() && self.held.len() < HELD_MAX {
                    self.held.insert(key, (now + HOLD, half));
                } else {
                    lines.push(half.line(&key));
                }
            }
        }
        lines
    }

    /// When something has been held back for long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.values().map(|(due, _)| *due).min()
    }

    /// What was held back until now, or everything.
    pub(super) fn overdue(&mut self, now: Option<Instant>) -> Vec<Line> {
        self.troubles
            .retain(|_, (until, _)| now.is_some_and(|now| now < *until));
        let held = std::mem::take(&mut self.held).into_iter();
        let is_due = |(due, _): &(Instant, Half)| now.is_none_or(|now| *due <= now);
        let (overdue, held): (Vec<_>, Vec<_>) = held.partition(|(_, half)| is_due(half));
        self.held = held.into_iter().collect();
        let lines = overdue.into_iter().map(|(key, (_, half))| half.line(&key));
        lines.collect()
    }
}

impl Half {
    /// Whether its other half may come. Nothing has to be explained about a node that has started or was stopped.
    const fn is_half(&self) -> bool {
        match self {
            Self::Change { new, .. } => is_trouble(*new),
            Self::Reason { .. } => true,
        }
    }

    const fn belongs_to(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Change { .. }, Self::Reason { .. }) | (Self::Reason { .. }, Self::Change { .. })
        )
    }

    fn joined(self, other: Self, key: &(ZeekString, ZeekString)) -> Line {
        let (change, reason) = match self {
            Self::Change { .. } => (self, other),
            Self::Reason { .. } => (other, self),
        };
        let mut line = change.line(key);
        if let Self::Reason { level, msg } = reason {
            let about_node = format!("node {} ", key.1);
            let why = msg.strip_prefix(&about_node).unwrap_or(&msg);
            line.text = format!("{}: {why}", line.text);
            if level == Level::Warning {
                line.level = level;
            }
        }
        line
    }

    fn line(self, (instance, node): &(ZeekString, ZeekString)) -> Line {
        match self {
            Self::Change { old, new } => Line {
                level: if is_trouble(new) {
                    Level::Warning
                } else {
                    Level::Info
                },
                text: format!("{instance}: {node} {old} -> {new}"),
            },
            Self::Reason { level, msg } => Line {
                level,
                text: if node.is_empty() || msg.contains(&node.to_string()) {
                    format!("{instance}: {msg}")
                } else {
                    format!("{instance}: {node}: {msg}")
                },
            },
        }
    }
}

const fn is_trouble(state: State) -> bool {
    matches!(state, State::Crashed | State::Failed | State::Unknown)
}

fn reason(level: Level, msg: &ZeekString) -> Half {
    let msg = msg.excerpt(MESSAGE_BYTES_MAX).to_string();
    Half::Reason { level, msg }
}

#[cfg(test)]
mod tests {

    use mgmt_api::{ClusterRole, Node};

    use super::*;

    fn change(old: State, new: State) -> AgentMessage {
        AgentMessage::Change {
            instance: "sensor1".into(),
            n: Node {
                state: new,
                ..Node::new("worker-1", "sensor1", ClusterRole::Worker)
            },
            old,
            new,
        }
    }

    fn error(msg: &str) -> AgentMessage {
        AgentMessage::Error {
            instance: "sensor1".into(),
            msg: msg.into(),
            node: "worker-1".into(),
        }
    }

    fn log(msg: &str) -> AgentMessage {
        AgentMessage::Log {
            instance: "sensor1".into(),
            msg: msg.into(),
            node: "worker-1".into(),
        }
    }

    /// What is told of these at once, and what later.
    fn told(messages: &[AgentMessage]) -> (Vec<String>, Vec<String>) {
        let (mut news, now) = (NodeNews::default(), Instant::now());
        let shown = |lines: Vec<Line>| {
            let shown = |line: Line| format!("{} {}", line.level, line.text);
            lines.into_iter().map(shown).collect::<Vec<_>>()
        };
        let at_once = messages
            .iter()
            .flat_map(|message| news.take(message, now))
            .collect();
        assert!(news.overdue(Some(now)).is_empty());
        assert!(news.due().is_none_or(|due| due == now + HOLD));
        (shown(at_once), shown(news.overdue(Some(now + HOLD))))
    }

    #[test]
    fn a_change_and_its_reason_are_one_line_whichever_comes_first() {
        let crashed = change(State::Running, State::Crashed);
        let why = error("node worker-1 ended: signal 9 (SIGKILL); restart 1");
        let line =
            "WARNING sensor1: worker-1 RUNNING -> CRASHED: ended: signal 9 (SIGKILL); restart 1".to_owned();
        for messages in [[crashed.clone(), why.clone()], [why, crashed]] {
            assert_eq!(told(&messages), (vec![line.clone()], vec![]));
        }
        let back = [
            log("node worker-1 is up again"),
            change(State::Crashed, State::Running),
        ];
        let line = "INFO sensor1: worker-1 CRASHED -> RUNNING: is up again".to_owned();
        assert_eq!(told(&back), (vec![line], vec![]));
    }

    #[test]
    fn what_has_no_other_half_is_told_alone() {
        let started = [change(State::Pending, State::Running)];
        let line = "INFO sensor1: worker-1 PENDING -> RUNNING".to_owned();
        assert_eq!(told(&started), (vec![line], vec![]));
        let unexplained = [change(State::Running, State::Unknown)];
        let line = "WARNING sensor1: worker-1 RUNNING -> UNKNOWN".to_owned();
        assert_eq!(told(&unexplained), (vec![], vec![line]));
        let twice = [log("last output: one"), log("last output: two")];
        let line = |number| format!("INFO sensor1: worker-1: last output: {number}");
        assert_eq!(told(&twice), (vec![line("one")], vec![line("two")]));
    }

    #[test]
    fn the_loss_of_a_supervisor_is_the_reason_why_its_nodes_are_unknown() {
        let lost = AgentMessage::Error {
            instance: "sensor1".into(),
            msg: "lost the Supervisor: connection closed".into(),
            node: ZeekString::default(),
        };
        let unknown = change(State::Running, State::Unknown);
        let lines = [
            "WARNING sensor1: lost the Supervisor: connection closed",
            "WARNING sensor1: worker-1 RUNNING -> UNKNOWN: lost the Supervisor: connection closed",
        ];
        assert_eq!(
            told(&[lost, unknown]),
            (lines.map(str::to_owned).to_vec(), vec![])
        );
    }
}
