//! Transcripts: text files that say what the agent does when something happens to it.
//!
//! ```text
//! # A comment. Blank lines are kept as well.
//! settings {"connecting": false}           before the first input: what differs from `settings()`
//! > started                                an input; broker ID and process id are always the same
//! > supervisor Ready                       a report, its fields as JSON
//! > supervisor Created {"id": "#2", "outcome": {"Ok": null}}
//! > status #1 a=99:AGENT manager=100       the report `Status`: nodes with process ids, as they were created, or for
//! >                                        `:AGENT` and `:CONTROLLER` as Zeek creates those
//! > peer 127.0.0.1:2150                    a peering
//! > deploy_request {"reqid": "r1"}         a request; lines that begin with `>  ` continue it
//! > ours deploy_request {...}             a request of a controller of this project
//! > to TOPIC deploy_request {...}          a request on another topic than the agent's
//! > notify_node_hello {"node": "manager"}  what a node tells
//! > directory failed /d permission denied  a directory could not be created
//! > program {"path": ...}                  what the program is like that Supervisors are started from
//! > +4.5s                                  time passes, then a tick
//! > stopping                               the end
//! < INFO rx ...                            expected actions: a log line,
//! < mkdir /d                               a directory,
//! < supervise Status {"id": "#1"}          a command,
//! < archive DIRECTORY COMMAND              an archiver run, and its log line,
//! < publish TOPIC EVENT {...}              an event
//! < deadline 5s                            after time has passed: when the next tick is due
//! ```
//!
//! Records are JSON objects with Zeek's field names, without fields that are not set. Event names lack their module.
//! The agent's own ids are `#1`, `#2`, ... `UPDATE_EXPECT=1 cargo test` rewrites the expected lines.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::PathBuf, time::Duration};

use broker_codec::data::ZeekString;
use mgmt_agent::core::{Action, Agent, Command, Input, Outgoing, Report, Settings};
use mgmt_api::{NodeConfig, Now, SequentialIds, SupervisedNode, SupervisorStatus};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// One test for each transcript, and one that none is forgotten.
macro_rules! transcripts {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                $crate::transcript::check(stringify!($name));
            }
        )*

        #[test]
        fn every_transcript_is_checked() {
            assert_eq!($crate::transcript::files(), [$(stringify!($name)),*]);
        }
    };
}
pub(crate) use transcripts;

/// Runs a transcript and compares.
pub(crate) fn check(name: &str) {
    let path = directory().join(format!("{name}.txt"));
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let actual = run(&expected);
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, actual).unwrap();
    } else {
        assert!(actual == expected, "{}", difference(name, &expected, &actual));
    }
}

/// The names of all transcripts, sorted.
pub(crate) fn files() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    names.sort();
    names
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/core/transcripts")
}

fn difference(name: &str, expected: &str, actual: &str) -> String {
    let line = std::iter::zip(expected.lines(), actual.lines())
        .take_while(|(expected, actual)| expected == actual)
        .count();
    format!(
        "{name}.txt differs from line {} on, the agent did this:\n{}",
        line + 1,
        actual.lines().skip(line).collect::<Vec<_>>().join("\n")
    )
}

/// The settings of agent `a`.
pub(crate) fn settings() -> Settings {
    Settings {
        name: "a".into(),
        state_dir: "/state".into(),
        ..Settings::default()
    }
}

/// The start of every agent here.
pub(crate) fn started() -> Input {
    Input::Started {
        broker_id: "3a53339e-9528-56fa-9dce-a25ad55f88a3".into(),
        pid: 99,
        clock: Duration::from_secs(50_531),
    }
}

/// The transcript with the actions that the agent really took.
fn run(text: &str) -> String {
    let mut run = Run {
        settings: settings(),
        agent: None,
        now: Now::START,
        created: BTreeMap::new(),
    };
    let mut out = String::new();
    let mut lines = text.lines().filter(|line| !line.starts_with('<')).peekable();
    while let Some(line) = lines.next() {
        writeln!(out, "{line}").unwrap();
        let mut input = line.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(">  ")) {
            writeln!(out, "{more}").unwrap();
            input.push_str(&more[1..]);
        }
        if let Some(input) = input.strip_prefix("> ") {
            run.input(input, &mut out);
        } else if let Some(settings) = input.strip_prefix("settings ") {
            run.settings(settings);
        } else {
            assert!(
                input.is_empty() || input.starts_with('#'),
                "cannot read {input:?}"
            );
        }
    }
    out
}

struct Run {
    settings: Settings,
    agent: Option<Agent>,
    now: Now,
    /// What the Supervisor was told to create.
    created: BTreeMap<ZeekString, NodeConfig>,
}

impl Run {
    fn settings(&mut self, changes: &str) {
        let mut settings = serde_json::to_value(&self.settings).unwrap();
        for (name, value) in json::<serde_json::Map<_, _>>(changes) {
            let setting = settings
                .get_mut(&name)
                .unwrap_or_else(|| panic!("there is no setting {name}"));
            *setting = value;
        }
        self.settings = serde_json::from_value(settings).unwrap();
    }

    fn input(&mut self, text: &str, out: &mut String) {
        let input = self.parse(text);
        let tick = input == Input::Tick;
        let now = self.now;
        let agent = self
            .agent
            .get_or_insert_with(|| Agent::new(self.settings.clone(), Box::new(SequentialIds::default())));
        for action in agent.step(now, input) {
            if let Action::Supervise(Command::Create { node, .. }) = &action {
                self.created.insert(node.name.clone(), (**node).clone());
            }
            print(&action, out);
        }
        if let (true, Some(deadline)) = (tick, agent.deadline()) {
            writeln!(out, "< deadline {deadline}").unwrap();
        }
    }

    fn parse(&mut self, text: &str) -> Input {
        if let Some(seconds) = text.strip_prefix('+') {
            let seconds = seconds.strip_suffix('s').expect("a duration in seconds");
            self.now = self.now + Duration::from_secs_f64(seconds.parse().unwrap());
            return Input::Tick;
        }
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "started" => started(),
            "stopping" => Input::Stopping { without_nodes: false },
            "supervisor" => Input::Supervisor(report(rest)),
            "status" => Input::Supervisor(self.status(rest)),
            "peer" => Input::PeerAdded { peer: rest.into() },
            "program" => Input::Program(json(rest)),
            "directory" => {
                let rest = rest.strip_prefix("failed ").unwrap();
                let (path, reason) = rest.split_once(' ').unwrap();
                Input::DirectoryFailed {
                    path: path.into(),
                    reason: reason.into(),
                }
            }
            "notify_node_hello" | "node_dispatch_response" => {
                Input::Node(json(&format!("{{\"Management::Node::API::{word}\": {rest}}}")))
            }
            "to" => {
                let (topic, rest) = rest.split_once(' ').unwrap();
                request(topic, rest, false)
            }
            _ => {
                let topic = format!("{}/{}", self.settings.topic_prefix, self.settings.name);
                let of_ours = word == "ours";
                request(&topic, if of_ours { rest } else { text }, of_ours)
            }
        }
    }

    fn status(&self, text: &str) -> Report {
        let mut words = text.split(' ');
        let id = words.next().unwrap().into();
        let nodes = words
            .map(|word| {
                let (name, pid) = word.split_once('=').unwrap();
                let (pid, role) = pid.split_once(':').unwrap_or((pid, ""));
                let name: ZeekString = name.into();
                let mut node = self.created.get(&name).cloned().unwrap_or_default();
                node.name = name.clone();
                if !role.is_empty() {
                    node.env.insert("ZEEK_MANAGEMENT_NODE".into(), role.into());
                }
                let pid = Some(pid.parse().unwrap());
                (name, SupervisedNode { node, pid })
            })
            .collect();
        let status = SupervisorStatus { nodes };
        Report::Status { id, status }
    }
}

fn request(topic: &str, text: &str, of_ours: bool) -> Input {
    let (event, fields) = text.split_once(' ').unwrap();
    Input::Request {
        topic: topic.into(),
        request: json(&format!("{{\"Management::Agent::API::{event}\": {fields}}}")),
        of_ours,
    }
}

fn report(text: &str) -> Report {
    match text.split_once(' ') {
        None => json(&format!("\"{text}\"")),
        Some((name, fields)) => json(&format!("{{\"{name}\": {fields}}}")),
    }
}

fn print(action: &Action, out: &mut String) {
    match action {
        Action::Log { level, message, .. } => writeln!(out, "< {level} {message}"),
        Action::Report { level, message } => writeln!(out, "< report {level} {message}"),
        Action::MakeDirectory { path } => writeln!(out, "< mkdir {path}"),
        Action::Supervise(command) => {
            let (name, fields) = only_entry(command);
            writeln!(out, "< supervise {name} {fields}")
        }
        Action::RunArchiver {
            directory,
            command,
            message,
        } => writeln!(out, "< archive {directory} {command}\n<   INFO {message}"),
        Action::Publish { topic, event } => {
            let (name, fields) = match event {
                Outgoing::Agent(message) => only_entry(message),
                Outgoing::Node(request) => only_entry(request),
            };
            let name = name.rsplit("::").next().unwrap();
            writeln!(out, "< publish {topic} {name} {fields}")
        }
    }
    .unwrap();
}

/// What serde makes of an enum's variant with fields: its name, and the fields.
fn only_entry(event: &impl Serialize) -> (String, Value) {
    let mut value = serde_json::to_value(event).unwrap();
    remove_unset(&mut value);
    match value {
        Value::Object(entries) if entries.len() == 1 => entries.into_iter().next().unwrap(),
        other => panic!("{other} is not an event"),
    }
}

fn remove_unset(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(remove_unset),
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_unset);
        }
        _ => {}
    }
}

fn json<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}
