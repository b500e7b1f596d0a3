//! The Supervisor of a `zeek -j` process, reached by `SupervisorControl` events over Broker
//! (`base/frameworks/supervisor/control.zeek`).
//!
//! A machine of the same form as the agent: commands and what comes from the Supervisor go in, events and reports come
//! out. It has three jobs of its own: it brings records into the layout of the Supervisor's Zeek, it notices a
//! Supervisor that does not answer, and has it ended if its process is ours, and it writes what Zeek's agent writes into
//! its log about all this.

mod ends;
mod records;
mod version;
mod watch;

use std::collections::VecDeque;

use broker_codec::{
    Data, Elapsed,
    data::{DataError, DataErrorKind, ZeekString},
    zeek::Event,
};
use mgmt_api::{
    Now, RequestTable, SupervisorLayout, SupervisorMessage, SupervisorRequest, SupervisorResponse,
};
use serde::{Deserialize, Serialize};

use self::watch::{Due, Watch};
use super::{Input, Supervisor};
use crate::core::{Action, Command, Report, To, Turn, ZeekSettings};

/// What happens to a Supervisor of Zeek's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// The peering with the Supervisor is up.
    Connected,
    Disconnected {
        reason: String,
    },
    /// Its process, which is ours, was started.
    ProcessStarted,
    /// Its process, which was ours, has ended or could not be started.
    ProcessEnded {
        reason: String,
    },
    /// What the installed Zeek says that it is: the answer to [`Action::AskVersion`].
    Version(Option<String>),
    /// An event from the Supervisor, on any topic. Those of other peers do not get here.
    Event(Event),
}

/// The Supervisor, as the agent sees it.
#[derive(Debug)]
pub struct ZeekSupervisor {
    settings: ZeekSettings,
    connection: Option<Connection>,
    /// The commands that the Supervisor has not answered, by id.
    awaited: RequestTable<ZeekString, &'static str>,
    /// The latest commands that it had not answered in time. It may answer yet.
    given_up: VecDeque<ZeekString>,
    /// Whether it has said nothing since the last of these.
    is_silent: bool,
    watch: Watch,
    /// Whether its process is being ended, because it does not answer.
    is_being_ended: bool,
    /// How many probes there have been.
    probes: u64,
}

/// A peering with the Supervisor. After the next one it may be another Zeek.
#[derive(Debug, Default)]
struct Connection {
    /// Whether the agent knows of it. It does when the installed Zeek has said which one it is now.
    is_known: bool,
    /// What its reports have shown.
    layout: Option<SupervisorLayout>,
    /// Whether it has ever answered.
    answers: bool,
}

impl ZeekSupervisor {
    /// One that is not connected.
    pub fn new(settings: ZeekSettings) -> Self {
        Self {
            watch: Watch::new(settings.supervisor_timeout),
            settings,
            connection: None,
            awaited: RequestTable::new(),
            given_up: VecDeque::new(),
            is_silent: false,
            is_being_ended: false,
            probes: 0,
        }
    }

    fn news(&mut self, turn: &mut Turn, reports: &mut Vec<Report>, news: News) {
        match news {
            // By one that is about to end.
            News::Connected if self.is_being_ended => {}
            News::Connected => self.connected(turn, reports),
            News::Disconnected { reason } => self.disconnected(reports, reason),
            News::ProcessStarted => {
                self.is_being_ended = false;
                self.watch.started(turn.now);
            }
            News::ProcessEnded { reason } => {
                self.is_being_ended = false;
                self.watch.ended();
                self.lost(reports, Report::Lost { reason });
            }
            News::Version(version) => self.version(turn, reports, version),
            News::Event(event) => self.event(turn, reports, event),
        }
    }

    /// A Supervisor has connected. It may be of another Zeek than the one before, and what it wants its records to look like shows
    /// late: the installed Zeek is asked first, where there is one.
    fn connected(&mut self, turn: &mut Turn, reports: &mut Vec<Report>) {
        self.disconnected(reports, "connected anew".into());
        let is_known = !self.settings.asks_version;
        self.connection = Some(Connection {
            is_known,
            ..Connection::default()
        });
        if is_known {
            reports.push(Report::Ready);
        } else {
            turn.push(Action::AskVersion);
        }
    }

    /// The installed Zeek has said which one it is, or has not: then it may be about to be replaced.
    fn version(&mut self, turn: &mut Turn, reports: &mut Vec<Report>, version: Option<String>) {
        if version.is_some() && version != self.settings.version {
            let before = std::mem::replace(&mut self.settings.version, version);
            version::tell_change(turn, before.as_deref(), self.settings.version.as_deref());
        }
        if let Some(connection) = self.connection.as_mut().filter(|known| !known.is_known) {
            connection.is_known = true;
            reports.push(Report::Ready);
        }
    }

    fn disconnected(&mut self, reports: &mut Vec<Report>, reason: String) {
        // If the agent does not know that it is connected, there is nothing to tell.
        if self
            .connection
            .take()
            .is_some_and(|connection| connection.is_known)
        {
            self.lost(reports, Report::Lost { reason });
        }
    }

    /// Ends all that is under way; the report says why.
    fn lost(&mut self, reports: &mut Vec<Report>, report: Report) {
        self.connection = None;
        self.awaited = RequestTable::new();
        self.given_up.clear();
        self.is_silent = false;
        reports.push(report);
    }

    /// Sees to it that a Supervisor of ours answers. What it is asked for that reason is in no log.
    fn look_after(&mut self, turn: &mut Turn, reports: &mut Vec<Report>) {
        match self.watch.due(turn.now, self.connection.is_some()) {
            None => {}
            Some(Due::HealthProbe) => {
                self.probes += 1;
                let request = SupervisorRequest::Status {
                    reqid: format!("{PROBE}-{}", self.probes).into(),
                    // There is none of that name, so the answer is short.
                    node: PROBE.into(),
                };
                if let Ok(event) = Event::of(&request) {
                    self.publish(turn, event);
                }
            }
            Some(Due::End(silence)) => {
                let silence_shown = Elapsed(silence);
                let what = match &self.connection {
                    Some(Connection { answers: true, .. }) => {
                        format!("it has not answered for {silence_shown}")
                    }
                    Some(_) => format!("it has not answered for {silence_shown}{DEAF}"),
                    None => format!("its process runs, but has not been connected for {silence_shown}"),
                };
                let reason = format!("{what}; it is ended and started again");
                self.is_being_ended = true;
                self.lost(reports, Report::Unresponsive { reason });
                turn.push(Action::EndSupervisor { silence });
            }
        }
    }

    fn publish(&self, turn: &mut Turn, event: Event) {
        turn.push(Action::Publish {
            to: To::ALL,
            topic: self.settings.topic.clone(),
            event,
        });
    }

    fn command(&mut self, turn: &mut Turn, reports: &mut Vec<Report>, command: Command) {
        let id = command.id().clone();
        match self.request(command) {
            Ok((event, name, message)) => {
                let deadline = turn.now + self.settings.answer_timeout;
                let inserted = self.awaited.insert(id, deadline, name);
                debug_assert!(inserted.is_ok(), "every command has an id of its own");
                turn.info(message);
                self.publish(turn, event);
            }
            Err(reason) => reports.push(Report::Failed { id, reason }),
        }
    }

    /// The event for a command, in the Supervisor's layout, and the line for the log; or why there is none.
    fn request(&self, command: Command) -> Result<(Event, &'static str, String), String> {
        let Some(connection) = &self.connection else {
            return Err("not connected to the Supervisor".into());
        };
        let request = records::request(command);
        let node = match request.node() {
            name if name.is_empty() => "<all>".into(),
            name => name.to_string(),
        };
        let name = request.event_name();
        let message = format!("tx {name} {} {node}", request.reqid());
        let event = Event::of(&request).map_err(|error| error.to_string())?;
        let event = match request {
            SupervisorRequest::Create { .. } => self
                .layout(connection)
                .ok_or(LAYOUT_UNKNOWN)?
                .write(event)
                .map_err(|error| error.to_string())?,
            _ => event,
        };
        Ok((event, name, message))
    }

    /// The layout of the Supervisor's records. Never guessed: in a wrong one it would take one field for another.
    fn layout(&self, connection: &Connection) -> Option<SupervisorLayout> {
        let installed = self.settings.version.as_deref();
        connection
            .layout
            .or_else(|| installed.and_then(SupervisorLayout::of_version))
            .or(self.settings.configured)
    }

    fn event(&mut self, turn: &mut Turn, reports: &mut Vec<Report>, event: Event) {
        if let Ok(SupervisorMessage::NodeExit { node, outputs }) = event.clone().parse() {
            self.watch.heard(turn.now);
            turn.info(format!("rx Management::Supervisor::API::notify_node_exit {node}"));
            reports.push(Report::NodeExited { node, outputs });
            return;
        }
        if ends::is_line(&event) {
            reports.extend(ends::of(&event));
            return;
        }
        let Some(connection) = &mut self.connection else {
            return;
        };
        let name = event.name.to_string();
        let id = match event.args.first() {
            Some(Data::String(id)) => Some(id.clone()),
            _ => None,
        };
        let shown = SupervisorLayout::of_status(&event);
        if let Ok(Some(layout)) = shown {
            connection.layout = Some(layout);
        }
        let layout = connection.layout.unwrap_or(SupervisorLayout::V7_0);
        let read = shown
            .and_then(|_| layout.read_response(event))
            .map_err(|error| error.to_string());
        let response = read.and_then(|event| match event.parse() {
            Ok(response) => Ok(Some(response)),
            // Requests of other agents: each subscriber of the topic gets them.
            Err(DataError {
                kind: DataErrorKind::UnknownEvent(_),
                ..
            }) => Ok(None),
            Err(error) => Err(error.to_string()),
        });
        match response {
            Ok(None) => {}
            Ok(Some(response)) => {
                connection.answers = true;
                self.watch.heard(turn.now);
                if std::mem::take(&mut self.is_silent) {
                    reports.push(Report::Heard);
                }
                if !id.is_some_and(|id| id.starts_with(PROBE.as_bytes())) {
                    self.response(turn, reports, response);
                }
            }
            Err(error) => {
                let reason = format!("cannot read {name} of the Supervisor: {error}");
                match id.filter(|id| self.awaited.remove(id).is_some()) {
                    Some(id) => reports.push(Report::Failed { id, reason }),
                    None => turn.warning(reason),
                }
            }
        }
    }

    fn response(&mut self, turn: &mut Turn, reports: &mut Vec<Report>, response: SupervisorResponse) {
        let (answer, report) = records::report(response);
        let Some((id, line)) = answer else {
            return reports.push(report);
        };
        turn.info(line);
        if self.awaited.remove(&id).is_some() {
            reports.push(report);
            return;
        }
        // Other late answers, and answers to other agents of the Supervisor, are only logged.
        let starts = matches!(
            report,
            Report::Created { outcome: Ok(()), .. } | Report::Restarted { existed: true, .. }
        );
        if let Some(index) = self.given_up.iter().position(|given_up| *given_up == id)
            && starts
        {
            self.given_up.remove(index);
            reports.push(Report::Late { id });
        }
    }

    /// Gives up on what has not been answered in time.
    fn expire(&mut self, now: Now, reports: &mut Vec<Report>) {
        while let Some((id, name)) = self.awaited.pop_expired(now) {
            let answers = self
                .connection
                .as_ref()
                .is_some_and(|connection| connection.answers);
            let limit = Elapsed(self.settings.answer_timeout);
            let deaf = if answers { "" } else { DEAF };
            let reason = format!("the Supervisor has not answered {name} within {limit}{deaf}");
            if self.given_up.len() == GIVEN_UP_MAX {
                self.given_up.pop_front();
            }
            self.given_up.push_back(id.clone());
            if !std::mem::replace(&mut self.is_silent, true) {
                let reason = reason.clone();
                reports.push(Report::Silent { reason });
            }
            reports.push(Report::Failed { id, reason });
        }
    }
}

impl Supervisor for ZeekSupervisor {
    type News = News;

    fn step(&mut self, turn: &mut Turn, input: Input<News>) -> Vec<Report> {
        let mut reports = Vec::new();
        self.expire(turn.now, &mut reports);
        match input {
            Input::Command(command) => self.command(turn, &mut reports, command),
            Input::News(news) => self.news(turn, &mut reports, news),
            Input::Up(_) | Input::Tick => {}
        }
        self.look_after(turn, &mut reports);
        reports
    }

    fn deadline(&self) -> Option<Now> {
        let watch = self.watch.deadline(self.connection.is_some());
        [self.awaited.deadline(), watch].into_iter().flatten().min()
    }
}

/// How many commands that were not answered in time are remembered: those of a deployment of the largest size.
const GIVEN_UP_MAX: usize = 4096;

/// In the ids of probes, and the node that they ask for.
pub const PROBE: &str = "mgmt-agent-probe";

/// The likely reason why a Supervisor has never answered.
const DEAF: &str = ", although it is connected: from Zeek 8.1 on it answers only if it loads \
                    policy/frameworks/cluster/backend/broker";

const LAYOUT_UNKNOWN: &str = "cannot tell which Zeek the Supervisor is: it has no nodes to show, no installed Zeek tells \
                              its version, and none is configured";
