//! The archival of logs that nodes have rotated, and the agent's end, which comes with a last one.

use broker_codec::data::ZeekString;
use mgmt_api::{AGENT_STOPPED, Level, Now};

use super::{
    action::{Action, Turn},
    agent::Agent,
    settings::Supervise,
};

impl Agent {
    pub(super) fn schedule_archival(&mut self, now: Now) {
        let interval = self.settings.archival.as_ref().map(|archival| archival.interval);
        self.archival_due = interval
            .filter(|interval| !interval.is_zero())
            .map(|interval| now + interval);
    }

    pub(super) fn archive(&mut self, turn: &mut Turn) {
        if let Some(archival) = &self.settings.archival {
            turn.push(Action::RunArchiver {
                directory: archival.directory.clone(),
                command: archival.command.clone(),
                message: format!("triggering log archival via '{}'", archival.command),
            });
        }
        self.schedule_archival(turn.now);
    }

    /// Zeek fires timers that are left when it ends, and with them a last archival.
    pub(super) fn stopping(&mut self, turn: &mut Turn, without_nodes: bool) {
        let nodes = match (self.nodes.is_empty(), without_nodes) {
            (true, _) => "",
            (false, true) => ", its nodes have ended",
            (false, false) => ", its nodes run on",
        };
        if self.settings.supervise != Supervise::Zeek && !nodes.is_empty() {
            let message = format!("the agent ends{nodes}");
            turn.push(Action::Report {
                level: Level::Info,
                message,
            });
        }
        self.note(
            turn,
            format!("{AGENT_STOPPED}{nodes}").into(),
            ZeekString::default(),
        );
        if self.archival_due.is_some() {
            self.archive(turn);
            self.archival_due = None;
        }
    }
}
