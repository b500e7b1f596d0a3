//! Transcripts: text files that say what the controller does when something happens to it.
//!
//! ```text
//! # A comment. Blank lines are kept as well.
//! settings {"auto_assign_broker_ports": false}     before the first input: what differs from Zeek's defaults
//! restored {"deployed": {...}}                     before the first input: the configurations in the store
//! > started                                        an input; with Zeek's default listeners
//! > started {"broker_id": "id", ...}               or with others
//! > persisted 1                                    write 1 is durable
//! > persisted 1 no space left on device            write 1 failed
//! > +9.5s                                          time passes, then a tick
//! > peer a at 10.0.0.1:40000                       a native peer connects to us,
//! > peer a dialled 10.0.0.1:2151                   or we to it
//! > lost a connection reset by peer                the connection ends
//! > hello a host1                                  it says that it is the agent of this instance
//! > agent a host1 deploy_response {...}            any other event of agents, on the topic of this instance
//! > stopping                                       the end
//! > deploy_request {"reqid": "r1"}                 a request; lines that begin with `>  ` continue it
//! < INFO rx ...                                    expected actions: a log line,
//! < report WARNING instance ...                    a line on standard error only
//! < persist 1                                      a write: slot, configuration, then its instances and nodes
//! <   STAGED {"id": "c1"}
//! <     instance {...}
//! <     node {...}
//! <   dismissed [{...}]                            the dropped instances that are to be remembered, if these change
//! < publish TOPIC EVENT {...}                      an event,
//! < send a TOPIC EVENT {...}                       one for this peer only,
//! < show TOPIC EVENT {...}                         one for WebSocket clients only
//! < connect 10.0.0.1:2151/tcp
//! < disconnect 10.0.0.1:2151/tcp
//! < close a: REASON                                the connection to this peer is ended
//! < deadline 10s                                   after time has passed: when the next tick is due
//! ```
//!
//! Records are JSON objects with Zeek's field names, without fields that are not set. Event names lack their module,
//! which is `Management::Controller::API` for requests and `Management::Agent::API` for agents. The controller's own ids
//! are `#1`, `#2`, ... Peers have names of one letter.
//! `UPDATE_EXPECT=1 cargo test` rewrites the expected lines.

use std::{env, fmt::Write as _, fs, path::PathBuf, time::Duration};

use broker_codec::{EndpointId, data::Port};
use mgmt_api::{AgentMessage, ClientRequest, Configuration, Now, SequentialIds, WallClock, topics};
use mgmt_controller::core::{
    Action, Audience, Configurations, Controller, Input, Listener, Outgoing, Settings, WriteId,
};
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

pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/core/transcripts")
}

fn difference(name: &str, expected: &str, actual: &str) -> String {
    let line = std::iter::zip(expected.lines(), actual.lines())
        .take_while(|(expected, actual)| expected == actual)
        .count();
    format!(
        "{name}.txt differs from line {} on, the controller did this:\n{}",
        line + 1,
        actual.lines().skip(line).collect::<Vec<_>>().join("\n")
    )
}

/// The transcript with the actions that the controller really took.
fn run(text: &str) -> String {
    let mut run = Run::default();
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
        } else if let Some(restored) = input.strip_prefix("restored ") {
            run.restored = json(restored);
        } else {
            assert!(
                input.is_empty() || input.starts_with('#'),
                "cannot read {input:?}"
            );
        }
    }
    out
}

#[derive(Default)]
struct Run {
    settings: Settings,
    restored: Configurations,
    controller: Option<Controller>,
    now: Now,
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
        let controller = self.controller.get_or_insert_with(|| {
            let ids = Box::new(SequentialIds::default());
            Controller::new(self.settings.clone(), self.restored.clone(), ids)
        });
        for action in controller.step(now, input) {
            print(&action, out);
        }
        if let (true, Some(deadline)) = (tick, controller.deadline()) {
            writeln!(out, "< deadline {deadline}").unwrap();
        }
    }

    fn parse(&mut self, text: &str) -> Input {
        if let Some(seconds) = text.strip_prefix('+') {
            let seconds = seconds.strip_suffix('s').expect("a duration in seconds");
            self.now = self.now + Duration::from_secs_f64(seconds.parse().unwrap());
            return Input::Tick;
        }
        match text.split_once(' ').unwrap_or((text, "")) {
            ("peer", fields) => {
                let [name, how, at] = words(fields);
                let (address, port) = at.rsplit_once(':').expect("an address and a port");
                Input::PeerAdded {
                    peer: peer_id(name),
                    address: address.parse().unwrap(),
                    port: Port::tcp(port.parse().unwrap()),
                    dialled: how == "dialled",
                }
            }
            ("lost", fields) => {
                let [name, reason] = words(fields);
                Input::PeerLost {
                    peer: peer_id(name),
                    reason: reason.into(),
                }
            }
            ("hello", fields) => {
                let [name, instance] = words(fields);
                let peer = peer_id(name);
                let message = AgentMessage::Hello {
                    instance: instance.into(),
                    id: peer.to_string().into(),
                    connecting: true,
                    api_version: mgmt_api::API_VERSION,
                };
                agent(peer, instance, message)
            }
            ("agent", fields) => {
                let [name, instance, event, fields] = words(fields);
                let event = format!("{{\"Management::Agent::API::{event}\": {fields}}}");
                agent(peer_id(name), instance, json(&event))
            }
            ("started", "") => started(),
            ("stopping", "") => Input::Stopping,
            ("started", fields) => json(&format!("{{\"Started\": {fields}}}")),
            ("persisted", outcome) => {
                let (write, error) = outcome.split_once(' ').unwrap_or((outcome, ""));
                Input::Persisted {
                    write: WriteId(write.parse().unwrap()),
                    outcome: if error.is_empty() {
                        Ok(())
                    } else {
                        Err(error.into())
                    },
                }
            }
            (event, fields) => Input::Request {
                client: "client-1".into(),
                request: json::<ClientRequest>(&format!(
                    "{{\"Management::Controller::API::{event}\": {fields}}}"
                )),
            },
        }
    }
}

fn agent(peer: EndpointId, instance: &str, message: AgentMessage) -> Input {
    Input::Agent {
        peer,
        topic: topics::agent(topics::AGENT_PREFIX.as_bytes(), instance.as_bytes()),
        message,
    }
}

/// The peer's letter, sixteen times.
fn peer_id(name: &str) -> EndpointId {
    assert_eq!(name.len(), 1, "{name} is not one letter");
    EndpointId::from_bytes([name.as_bytes()[0]; EndpointId::LEN])
}

/// Words separated by spaces; the last takes the rest.
fn words<const N: usize>(text: &str) -> [&str; N] {
    let words: Vec<&str> = text.splitn(N, ' ').collect();
    words
        .try_into()
        .unwrap_or_else(|words| panic!("{N} words expected: {words:?}"))
}

/// The controller has started and listens where Zeek's does by default.
pub(crate) fn started() -> Input {
    let listener = |port| {
        Some(Listener {
            address: "0.0.0.0".into(),
            port: Port::tcp(port),
        })
    };
    Input::Started {
        broker_id: "3cfb104e-6fbd-5065-a31c-be18be4b79e0".into(),
        broker: listener(2150),
        websocket: listener(2149),
        wall_clock: WallClock::from_unix(1_795_877_280),
    }
}

fn print(action: &Action, out: &mut String) {
    match action {
        Action::Log { level, message } => writeln!(out, "< {level} {message}"),
        Action::Report { level, message } => writeln!(out, "< report {level} {message}"),
        Action::Persist {
            write,
            entries,
            dismissed,
        } => {
            writeln!(out, "< persist {write}").unwrap();
            for (slot, config) in entries {
                print_configuration(&slot.to_string(), config, out);
            }
            match dismissed {
                Some(instances) => writeln!(out, "<   dismissed {}", value(instances)),
                None => Ok(()),
            }
        }
        Action::Connect { host, port } => writeln!(out, "< connect {host}:{port}"),
        Action::Disconnect { host, port } => writeln!(out, "< disconnect {host}:{port}"),
        Action::Close { peer, reason } => {
            let letter = char::from(peer.as_bytes()[0]);
            writeln!(out, "< close {letter}: {reason}")
        }
        Action::Publish { topic, event, to } => {
            let (name, fields) = match event {
                Outgoing::Client(response) => only_entry(response),
                Outgoing::Agent(request) => only_entry(request),
                Outgoing::News(message) => only_entry(message),
            };
            assert_eq!(name, event.event_name());
            let name = name.rsplit("::").next().unwrap();
            match to {
                Audience::Subscribers => writeln!(out, "< publish {topic} {name} {fields}"),
                Audience::Peer(peer) => {
                    let letter = char::from(peer.as_bytes()[0]);
                    writeln!(out, "< send {letter} {topic} {name} {fields}")
                }
            }
        }
    }
    .unwrap();
}

fn print_configuration(slot: &str, config: &Configuration, out: &mut String) {
    writeln!(out, "<   {slot} {{\"id\":{}}}", value(&config.id)).unwrap();
    for instance in &config.instances {
        writeln!(out, "<     instance {}", value(instance)).unwrap();
    }
    for node in &config.nodes {
        writeln!(out, "<     node {}", value(node)).unwrap();
    }
}

/// What serde makes of an enum's variant with fields: its name, and the fields.
fn only_entry(event: &impl Serialize) -> (String, Value) {
    match value(event) {
        Value::Object(entries) if entries.len() == 1 => entries.into_iter().next().unwrap(),
        other => panic!("{other} is not an event"),
    }
}

fn value(record: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(record).unwrap();
    remove_nulls(&mut value);
    value
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(remove_nulls),
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        _ => {}
    }
}

fn json<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}
