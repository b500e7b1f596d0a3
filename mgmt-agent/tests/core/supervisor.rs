//! Transcripts of the machine between the agent and Zeek's Supervisor.
//!
//! ```text
//! settings {"supervisor_timeout": null}  before the first input: what differs from the defaults
//! > Connected                            news, its fields as JSON
//! > command Status {"id": "1"}           a command of the agent's
//! > event NAME {...}                     an event of the Supervisor's; as a list of values if it is of no API
//! > +4.5s                                time passes, then a tick
//! < report Ready                         what the agent is told,
//! < INFO tx ...                          a log line,
//! < report INFO ...                      or one for operators only,
//! < publish TOPIC EVENT {...}            a request; that to create a node as a list of values,
//! < ask which Zeek is installed
//! < end the Supervisor, silent for 8 s
//! < deadline 5s                          after time has passed: when the next tick is due
//! ```

use std::fmt::Write as _;

use broker_codec::zeek::Event;
use mgmt_agent::{
    core::{Action, Turn, ZeekSettings},
    supervisors::{
        Input, Supervisor,
        zeek::{News, ZeekSupervisor},
    },
};
use mgmt_api::{
    AgentMessage, AgentRequest, LinkMessage, NodeMessage, NodeRequest, Now, SupervisorMessage,
    SupervisorRequest, SupervisorResponse,
};
use serde::de::DeserializeOwned;
use testkit::transcript::{self, Machine, json, name_and_fields, time_passes, variant};

#[derive(Default)]
pub(crate) struct Run {
    settings: ZeekSettings,
    supervisor: Option<ZeekSupervisor>,
    now: Now,
}

impl Machine for Run {
    fn prepare(&mut self, line: &str) {
        self.supervisor = None;
        let changes = line.strip_prefix("settings ").expect("settings");
        self.settings = ZeekSettings::default();
        transcript::change(&mut self.settings, changes);
    }

    fn input(&mut self, text: &str, out: &mut String) {
        let input = self.parse(text);
        let tick = input == Input::Tick;
        let supervisor = self
            .supervisor
            .get_or_insert_with(|| ZeekSupervisor::new(self.settings.clone()));
        let mut turn = Turn::new(self.now);
        let reports = supervisor.step(&mut turn, input);
        for action in turn.into_actions() {
            print(&action, out);
        }
        for report in reports {
            // Those without fields are a name only.
            if let serde_json::Value::String(name) = serde_json::to_value(&report).unwrap() {
                writeln!(out, "< report {name}").unwrap();
            } else {
                let (name, fields) = name_and_fields(&report);
                writeln!(out, "< report {name} {fields}").unwrap();
            }
        }
        if let (true, Some(deadline)) = (tick, supervisor.deadline()) {
            writeln!(out, "< deadline {deadline}").unwrap();
        }
    }
}

impl Run {
    fn parse(&mut self, text: &str) -> Input<News> {
        if let Some(time) = time_passes(text) {
            self.now = self.now + time;
            return Input::Tick;
        }
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (name, fields) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "command" => Input::Command(variant(name, fields)),
            "event" => Input::News(News::Event(event(name, fields))),
            news => Input::News(variant(news, rest)),
        }
    }
}

/// An event of one of the APIs, by the names of its fields, or any event by its values.
pub(crate) fn event(name: &str, fields: &str) -> Event {
    if fields.starts_with('[') {
        return Event {
            name: name.into(),
            args: json(fields),
            metadata: None,
        };
    }
    let module = name.rsplit_once("::").unwrap().0;
    match module {
        "Management::Agent::API" => Event::of(&variant::<AgentRequest>(name, fields)),
        "MgmtLink" => Event::of(&variant::<LinkMessage>(name, fields)),
        "Management::Node::API" => Event::of(&variant::<NodeMessage>(name, fields)),
        "Management::Supervisor::API" => Event::of(&variant::<SupervisorMessage>(name, fields)),
        _ if name.ends_with("_request") => Event::of(&variant::<SupervisorRequest>(name, fields)),
        _ => Event::of(&variant::<SupervisorResponse>(name, fields)),
    }
    .unwrap()
}

/// An event that the agent sends. The layout of a node that is to be created is that of the Supervisor's Zeek.
pub(crate) fn shown(event: &Event) -> String {
    fn parsed<E: DeserializeOwned + serde::Serialize>(event: &Event) -> Option<String> {
        let (name, fields) = name_and_fields(&event.clone().parse::<E>().ok()?);
        Some(format!("{name} {fields}"))
    }
    let creates = event.name.ends_with(b"::create_request");
    let request = || parsed::<SupervisorRequest>(event).filter(|_| !creates);
    let known = parsed::<AgentMessage>(event).or_else(|| parsed::<NodeRequest>(event));
    known
        .or_else(request)
        .unwrap_or_else(|| format!("{} {}", event.name, transcript::value(&event.args)))
}

pub(crate) fn print(action: &Action, out: &mut String) {
    match action {
        Action::Log {
            level,
            message,
            reqid,
        } => {
            let about = reqid.as_ref().map(|id| format!("({id}) ")).unwrap_or_default();
            writeln!(out, "< {level} {about}{message}")
        }
        Action::Report { level, message } => writeln!(out, "< report {level} {message}"),
        Action::Publish { to, topic, event } => {
            let to = to.one().map(|peer| format!("{} ", transcript::letter(peer)));
            writeln!(
                out,
                "< publish {}{topic} {}",
                to.unwrap_or_default(),
                shown(event)
            )
        }
        Action::AskVersion => writeln!(out, "< ask which Zeek is installed"),
        Action::EndSupervisor { silence } => {
            writeln!(
                out,
                "< end the Supervisor, silent for {} s",
                silence.as_secs_f64()
            )
        }
        Action::MakeDirectory { path } => writeln!(out, "< mkdir {path}"),
        Action::Refuse { reason, .. } => writeln!(out, "< refused {reason}"),
        other => panic!("{other:?}"),
    }
    .unwrap();
}
