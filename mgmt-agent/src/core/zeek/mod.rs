//! The Supervisor of a `zeek -j` process, reached by `SupervisorControl` events over Broker
//! (`base/frameworks/supervisor/control.zeek`).
//!
//! A machine of the same form as the agent: commands and what comes from the Supervisor go in, events and reports come
//! out. It has three jobs of its own: it brings records into the layout of the Supervisor's Zeek, it notices a
//! Supervisor that does not answer, and has it ended if its process is ours, and it writes what Zeek's agent writes into
//! its log about all this.

mod ends;
#[cfg(test)]
mod tests;
mod watch;

use std::{collections::VecDeque, time::Duration};

use broker_codec::{
    Data, Elapsed,
    data::{DataErrorKind, ZeekString},
    zeek::Event,
};
use mgmt_api::{
    Level, Now, RequestTable, SupervisorLayout, SupervisorMessage, SupervisorRequest, SupervisorResponse,
    supervisor::LayoutError, topics,
};
use serde::{Deserialize, Serialize};

pub use self::watch::QUESTIONS;
use self::{
    ends::NodeEnd,
    watch::{Due, Watch},
};
use super::supervision::{Command, Report};

/// What an operator can choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `SupervisorControl::topic_prefix`
    pub topic: ZeekString,
    /// How long the Supervisor may take to answer. Shorter than the agent's requests may take, so that their answers
    /// can say why they failed.
    pub answer_timeout: Duration,
    /// How long a Supervisor whose process is ours may be silent. After each quarter of that time it is asked something,
    /// and at the end it is ended, to be started again. `None`: for ever.
    pub patience: Option<Duration>,
    /// The layout of the Zeek that is installed, by `zeek --version`: counts while the Supervisor has not shown its own.
    /// May change, see [`Input::Installed`].
    pub installed: Option<SupervisorLayout>,
    /// The layout that is configured: counts if the other two are not known.
    pub configured: Option<SupervisorLayout>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            topic: topics::SUPERVISOR.into(),
            answer_timeout: Duration::from_secs(4),
            patience: Some(Duration::from_secs(60)),
            installed: None,
            configured: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
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
    /// The Zeek that is installed now has this layout, if that is known.
    Installed(Option<SupervisorLayout>),
    Command(Command),
    /// An event from the Supervisor, on any topic. Those of other peers do not get here.
    Event(Event),
    /// Time has passed; due at [`ZeekSupervisor::deadline`].
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Write a line into the management log.
    Log {
        level: Level,
        message: String,
    },
    Publish {
        topic: ZeekString,
        event: Event,
    },
    Report(Report),
    /// End the Supervisor's process, which is ours, and start it again.
    EndProcess {
        /// How long it has been silent.
        silence: Duration,
    },
}

/// The Supervisor, as the agent sees it.
#[derive(Debug)]
pub struct ZeekSupervisor {
    settings: Settings,
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
    /// How many questions there have been of our own, which no request is behind.
    questions: u64,
    now: Now,
}

/// A peering with the Supervisor. After the next one it may be another Zeek.
#[derive(Debug, Default)]
struct Connection {
    /// What its reports have shown.
    layout: Option<SupervisorLayout>,
    /// Whether it has ever answered.
    answers: bool,
}

impl ZeekSupervisor {
    /// One that is not connected.
    pub fn new(settings: Settings) -> Self {
        Self {
            watch: Watch::new(settings.patience),
            settings,
            connection: None,
            awaited: RequestTable::new(),
            given_up: VecDeque::new(),
            is_silent: false,
            is_being_ended: false,
            questions: 0,
            now: Now::START,
        }
    }

    /// Takes one input in and returns everything that has to happen because of it, in this order.
    ///
    /// Commands that have not been answered at `now` fail first, before any input. A `now` before that of an earlier
    /// call counts as that one.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        self.now = self.now.max(now);
        let mut actions = Vec::new();
        self.expire(&mut actions);
        match input {
            // By one that is about to end.
            Input::Connected if self.is_being_ended => {}
            Input::Connected => {
                self.disconnected(&mut actions, "connected anew".into());
                self.connection = Some(Connection::default());
                actions.push(Action::Report(Report::Ready));
            }
            Input::Disconnected { reason } => self.disconnected(&mut actions, reason),
            Input::ProcessStarted => {
                self.is_being_ended = false;
                self.watch.started(self.now);
            }
            Input::ProcessEnded { reason } => {
                self.is_being_ended = false;
                self.watch.ended();
                self.lost(&mut actions, Report::Lost { reason });
            }
            Input::Installed(layout) => self.settings.installed = layout,
            Input::Command(command) => self.command(&mut actions, command),
            Input::Event(event) => self.event(&mut actions, event),
            Input::Tick => {}
        }
        self.look_after(&mut actions);
        actions
    }

    /// Whether its process is ours, and runs as far as we have heard.
    pub const fn is_ours(&self) -> bool {
        self.watch.is_on()
    }

    /// When [`Input::Tick`] is due. Later than the `now` of the last call.
    pub fn deadline(&self) -> Option<Now> {
        let watch = self.watch.deadline(self.connection.is_some());
        [self.awaited.deadline(), watch].into_iter().flatten().min()
    }

    fn disconnected(&mut self, actions: &mut Vec<Action>, reason: String) {
        // If it is not connected, this has been told.
        if self.connection.is_some() {
            self.lost(actions, Report::Lost { reason });
        }
    }

    /// Ends all that is under way; the report says why.
    fn lost(&mut self, actions: &mut Vec<Action>, report: Report) {
        self.connection = None;
        self.awaited = RequestTable::new();
        self.given_up.clear();
        self.is_silent = false;
        actions.push(Action::Report(report));
    }

    /// Sees to it that a Supervisor of ours answers. What it is asked for that reason is in no log.
    fn look_after(&mut self, actions: &mut Vec<Action>) {
        match self.watch.due(self.now, self.connection.is_some()) {
            None => {}
            Some(Due::Question) => {
                self.questions += 1;
                let request = SupervisorRequest::Status {
                    reqid: format!("{QUESTION}-{}", self.questions).into(),
                    // There is none of that name, so the answer is short.
                    node: QUESTION.into(),
                };
                if let Ok(event) = Event::of(&request) {
                    actions.push(Action::Publish {
                        topic: self.settings.topic.clone(),
                        event,
                    });
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
                self.lost(actions, Report::GivenUp { reason });
                actions.push(Action::EndProcess { silence });
            }
        }
    }

    fn command(&mut self, actions: &mut Vec<Action>, command: Command) {
        let id = command.id().clone();
        match self.request(command) {
            Ok((event, name, message)) => {
                let deadline = self.now + self.settings.answer_timeout;
                let inserted = self.awaited.insert(id, deadline, name);
                debug_assert!(inserted.is_ok(), "every command has an id of its own");
                log(actions, message);
                actions.push(Action::Publish {
                    topic: self.settings.topic.clone(),
                    event,
                });
            }
            Err(reason) => actions.push(failed(id, reason)),
        }
    }

    /// The event for a command, in the Supervisor's layout, and the line for the log; or why there is none.
    fn request(&self, command: Command) -> Result<(Event, &'static str, String), String> {
        let Some(connection) = &self.connection else {
            return Err("not connected to the Supervisor".into());
        };
        let request = match command {
            Command::Status { id } => SupervisorRequest::Status {
                reqid: id,
                node: ZeekString::default(),
            },
            Command::Create { id, node } => SupervisorRequest::Create { reqid: id, node },
            Command::Restart { id, node } => SupervisorRequest::Restart { reqid: id, node },
            Command::Destroy { id, node } => SupervisorRequest::Destroy { reqid: id, node },
        };
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
        connection
            .layout
            .or(self.settings.installed)
            .or(self.settings.configured)
    }

    fn event(&mut self, actions: &mut Vec<Action>, event: Event) {
        if let Ok(SupervisorMessage::NodeExit { node, outputs }) = event.parse() {
            self.watch.heard(self.now);
            log(
                actions,
                format!("rx Management::Supervisor::API::notify_node_exit {node}"),
            );
            actions.push(Action::Report(Report::NodeExited { node, outputs }));
            return;
        }
        if ends::is_line(&event) {
            if let Some(NodeEnd { node, pid, how }) = ends::of(&event) {
                actions.push(Action::Report(Report::NodeEnded { node, pid, how }));
            }
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
        let response = shown
            .and_then(|_| layout.read_response(event))
            .map_err(Unreadable::Layout)
            .and_then(|event| event.parse().map_err(Unreadable::Data));
        match response {
            Ok(response) => {
                connection.answers = true;
                self.watch.heard(self.now);
                if std::mem::take(&mut self.is_silent) {
                    actions.push(Action::Report(Report::Heard));
                }
                if !id.is_some_and(|id| id.starts_with(QUESTION.as_bytes())) {
                    self.response(actions, response);
                }
            }
            // Requests of others: everybody who subscribes to the topic gets them.
            Err(Unreadable::Data(error)) if matches!(error.kind, DataErrorKind::UnknownEvent(_)) => {}
            Err(error) => {
                let reason = format!("cannot read {name} of the Supervisor: {error}");
                match id.filter(|id| self.awaited.remove(id).is_some()) {
                    Some(id) => actions.push(failed(id, reason)),
                    None => actions.push(Action::Log {
                        level: Level::Warning,
                        message: reason,
                    }),
                }
            }
        }
    }

    fn response(&mut self, actions: &mut Vec<Action>, response: SupervisorResponse) {
        let (id, message, report) = match response {
            SupervisorResponse::Status { reqid, result } => (
                reqid.clone(),
                format!("rx SupervisorControl::status_response {reqid}"),
                Report::Status {
                    id: reqid,
                    status: result,
                },
            ),
            SupervisorResponse::Create { reqid, result } => (
                reqid.clone(),
                format!("rx SupervisorControl::create_response {reqid} {result}"),
                Report::Created {
                    id: reqid,
                    outcome: if result.is_empty() { Ok(()) } else { Err(result) },
                },
            ),
            SupervisorResponse::Restart { reqid, result } => (
                reqid.clone(),
                format!(
                    "rx SupervisorControl::restart_response {reqid} {}",
                    letter(result)
                ),
                Report::Restarted {
                    id: reqid,
                    existed: result,
                },
            ),
            SupervisorResponse::Destroy { reqid, result } => (
                reqid.clone(),
                format!(
                    "rx SupervisorControl::destroy_response {reqid} {}",
                    letter(result)
                ),
                Report::Destroyed {
                    id: reqid,
                    existed: result,
                },
            ),
            SupervisorResponse::NodeStatus { node, pid } => {
                actions.push(Action::Report(Report::NodeStarted { node, pid }));
                return;
            }
        };
        log(actions, message);
        if self.awaited.remove(&id).is_some() {
            actions.push(Action::Report(report));
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
            actions.push(Action::Report(Report::Late { id }));
        }
    }

    /// Gives up on what has not been answered in time.
    fn expire(&mut self, actions: &mut Vec<Action>) {
        while let Some((id, name)) = self.awaited.pop_expired(self.now) {
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
                actions.push(Action::Report(Report::Silent { reason }));
            }
            actions.push(failed(id, reason));
        }
    }
}

/// How many commands that were not answered in time are remembered: those of a deployment of the largest size.
const GIVEN_UP_MAX: usize = 4096;

/// In the ids of questions that only the answer matters of, and the node that they are about.
const QUESTION: &str = "mgmt-agent-question";

/// The likely reason why a Supervisor has never answered.
const DEAF: &str = ", although it is connected: from Zeek 8.1 on it answers only if it loads \
                    policy/frameworks/cluster/backend/broker";

const LAYOUT_UNKNOWN: &str = "cannot tell which Zeek the Supervisor is: it has no nodes to show, no installed Zeek tells \
                              its version, and none is configured";

/// Why an event of the Supervisor's cannot be read.
enum Unreadable {
    Layout(LayoutError),
    Data(broker_codec::data::DataError),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Layout(error) => error.fmt(f),
            Self::Data(error) => error.fmt(f),
        }
    }
}

fn failed(id: ZeekString, reason: String) -> Action {
    Action::Report(Report::Failed { id, reason })
}

fn log(actions: &mut Vec<Action>, message: String) {
    actions.push(Action::Log {
        level: Level::Info,
        message,
    });
}

/// As Zeek prints a `bool`.
const fn letter(value: bool) -> char {
    if value { 'T' } else { 'F' }
}
