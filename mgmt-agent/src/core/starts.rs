//! Which start of a process is which.
//!
//! The Supervisor reports every start by name and process id and does not say what it is due to: to a command of the running
//! configuration, to one of an earlier configuration, or to the end of the process before. It carries commands out in their order,
//! and answers each before it acts on it. So the starts that it owes are kept in that order, by the node's name, across
//! configurations.

use std::collections::{BTreeMap, VecDeque};

use broker_codec::data::ZeekString;

/// How many starts may be owed. When there are more, those of earlier configurations are forgotten.
const STARTS_MAX: usize = 8192;

/// The starts that the Supervisor owes.
#[derive(Debug, Default)]
pub(super) struct Starts {
    owed: BTreeMap<ZeekString, VecDeque<Start>>,
}

#[derive(Debug)]
struct Start {
    command: ZeekString,
    /// Whether the Supervisor has said that it will do it. Before that, any start it reports is another one.
    answered: bool,
    /// Whether the configuration has been replaced since.
    former: bool,
}

/// What a reported start is due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A command of the running configuration.
    Command,
    /// A command of an earlier configuration; or the process before has ended, and this one is about to be replaced.
    Former,
    /// The end of the process before.
    End,
}

impl Starts {
    /// The Supervisor is being told to start a node, by this command.
    pub(super) fn expect(&mut self, node: ZeekString, command: ZeekString) {
        if self.owed.values().map(VecDeque::len).sum::<usize>() >= STARTS_MAX {
            self.retain(|start| !start.former);
        }
        self.owed.entry(node).or_default().push_back(Start {
            command,
            answered: false,
            former: false,
        });
    }

    /// The Supervisor will carry a command out. Returns the node, if the command is of the running configuration. Earlier commands
    /// for that node that it has not answered are lost.
    pub(super) fn answered(&mut self, command: &ZeekString) -> Option<ZeekString> {
        let (node, starts) = self
            .owed
            .iter_mut()
            .find(|(_, starts)| starts.iter().any(|start| start.command == *command))?;
        let mut before = true;
        starts.retain_mut(|start| {
            if start.command == *command {
                start.answered = true;
                before = false;
            }
            start.answered || !before
        });
        let current = starts
            .iter()
            .any(|start| start.command == *command && !start.former);
        current.then(|| node.clone())
    }

    /// The Supervisor will not carry a command out. Returns whether that concerns the running configuration.
    pub(super) fn refused(&mut self, command: &ZeekString) -> bool {
        let concerns = self.concerns(command);
        self.retain(|start| start.command != *command);
        concerns
    }

    /// Whether a command is one of the running configuration whose start is owed.
    pub(super) fn concerns(&self, command: &ZeekString) -> bool {
        let mut starts = self.owed.values().flatten();
        starts.any(|start| start.command == *command && !start.former)
    }

    /// Whether the running configuration is owed a start of this node.
    pub(super) fn owes(&self, node: &ZeekString) -> bool {
        let starts = self.owed.get(node);
        starts.is_some_and(|starts| starts.iter().any(|start| !start.former))
    }

    /// The Supervisor reports a start of this node.
    pub(super) fn reported(&mut self, node: &ZeekString) -> Cause {
        let Some(starts) = self.owed.get_mut(node) else {
            return Cause::End;
        };
        if starts.front().is_some_and(|start| !start.answered) {
            return Cause::Former;
        }
        let start = starts.pop_front();
        if starts.is_empty() {
            self.owed.remove(node);
        }
        match start {
            Some(Start { former: false, .. }) => Cause::Command,
            Some(_) => Cause::Former,
            None => Cause::End,
        }
    }

    /// What starts nodes itself reports a start of this node: it knows what is to end, and does not start what a later command has replaced.
    pub(super) fn reported_by_us(&mut self, node: &ZeekString, is_to_end: bool) -> Cause {
        if is_to_end {
            return Cause::Former;
        }
        self.owed.remove(node);
        Cause::Command
    }

    /// The running configuration is replaced. What is owed to it will be reported all the same.
    pub(super) fn configuration_replaced(&mut self) {
        for start in self.owed.values_mut().flatten() {
            start.former = true;
        }
    }

    /// The Supervisor is lost, and with it what it would report.
    pub(super) fn clear(&mut self) {
        self.owed.clear();
    }

    fn retain(&mut self, keep: impl Fn(&Start) -> bool) {
        self.owed.retain(|_, starts| {
            starts.retain(&keep);
            !starts.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(commands: &[&str]) -> Starts {
        let mut starts = Starts::default();
        for command in commands {
            starts.expect("n".into(), (*command).into());
        }
        starts
    }

    fn causes(starts: &mut Starts, count: usize) -> Vec<Cause> {
        (0..count).map(|_| starts.reported(&"n".into())).collect()
    }

    #[test]
    fn a_start_before_the_answer_is_of_an_earlier_process() {
        let mut starts = starts(&["1"]);
        assert_eq!(causes(&mut starts, 2), [Cause::Former; 2]);
        assert_eq!(starts.answered(&"1".into()), Some("n".into()));
        assert_eq!(causes(&mut starts, 2), [Cause::Command, Cause::End]);
    }

    #[test]
    fn starts_of_an_earlier_configuration_come_first() {
        let mut starts = starts(&["1"]);
        starts.answered(&"1".into());
        starts.configuration_replaced();
        assert!(!starts.owes(&"n".into()));
        starts.expect("n".into(), "2".into());
        starts.answered(&"2".into());
        assert_eq!(
            causes(&mut starts, 3),
            [Cause::Former, Cause::Command, Cause::End]
        );
    }

    #[test]
    fn what_is_not_answered_before_a_later_command_is_lost() {
        let mut starts = starts(&["1", "2"]);
        starts.answered(&"2".into());
        assert!(!starts.refused(&"1".into()));
        assert_eq!(causes(&mut starts, 2), [Cause::Command, Cause::End]);
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut starts = Starts::default();
        for number in 0..2 * STARTS_MAX {
            starts.expect(number.to_string().into(), number.to_string().into());
            starts.configuration_replaced();
        }
        assert!(starts.owed.len() <= STARTS_MAX);
    }
}
