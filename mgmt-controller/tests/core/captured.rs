//! Recorded conversations with agents, with our controller in the place of Zeek's: what agents, clients and connections did
//! is done to it in the recorded order, and what it sends must be what Zeek's controller sent, connection by connection,
//! and so must its management log.
//!
//! * Time stands still, and jumps to the next deadline where the recording shows an event that nothing else brings about.
//! * Our ids are put in the place of the recorded ones, one to one. Agents' answers to requests that we do not send stay
//!   under their recorded id, which nobody waits for.
//! * Results inside an answer, and the order in which agents are asked, are compared as multisets: Zeek's order is that of
//!   its hashes.
//! * `waivers.txt` lists every deviation; see there.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
};

use broker_codec::{
    Data, EndpointId,
    data::{Port, ZeekString, from_data},
    json::{self, DataMessage},
    zeek::Event,
};
use flate2::read::GzDecoder;
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, Configuration, Now, SequentialIds,
};
use mgmt_controller::core::{Action, Audience, Configurations, Controller, Input, Level, Settings};
use serde_json::Value;

use crate::transcript::started;

macro_rules! recordings {
    ($($name:ident: $release:literal $scenario:literal),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                replay($release, $scenario);
            }
        )*

        #[test]
        fn every_waiver_belongs_to_a_recording() {
            let recordings = [$(concat!($release, "/", $scenario)),*];
            for waiver in waivers() {
                assert!(recordings.contains(&&*waiver.recording), "{}", waiver.recording);
            }
        }
    };
}

recordings!(
    a2c: "zeek-9.0.0-rc1" "a2c",
    all_in_one: "zeek-9.0.0-rc1" "all-in-one",
    c2a: "zeek-9.0.0-rc1" "c2a",
    failing_node: "zeek-9.0.0-rc1" "failing-node",
    restart_controller: "zeek-9.0.0-rc1" "restart-controller",
    two_instances: "zeek-9.0.0-rc1" "two-instances",
    a2c_of_zeek_6: "zeek-6.0.9" "a2c",
    c2a_of_zeek_6: "zeek-6.0.9" "c2a",
    failing_node_of_zeek_6: "zeek-6.0.9" "failing-node",
    restart_controller_of_zeek_6: "zeek-6.0.9" "restart-controller",
    two_instances_of_zeek_6: "zeek-6.0.9" "two-instances",
    // Where Zeek's own parts of different age do not get along, ours must.
    zeek_9_with_an_agent_of_zeek_6: "mixed" "mixed-9-6",
);

fn replay(release: &str, scenario: &str) {
    let recording = format!("{release}/{scenario}");
    let mut waivers: Vec<Waiver> = waivers()
        .into_iter()
        .filter(|waiver| waiver.recording == recording)
        .collect();
    let mut restored = Configurations::default();
    for log in recorded_logs(&recording) {
        let happenings = happenings(&recording, broker_id(&log[0]));
        assert!(!happenings.is_empty());
        let settings = Settings {
            // They came with Zeek 7.0.
            auto_assign_metrics_ports: release != "zeek-6.0.9",
            ..Settings::default()
        };
        let mut replay = Replay::new(settings, restored, &log[0], &mut waivers);
        for happening in happenings {
            replay.happen(happening);
        }
        assert!(replay.unwaived.is_empty(), "{}", replay.unwaived.join("\n"));
        assert_eq!(replay.sent, BTreeMap::new(), "sent and not recorded");
        replay.compare_logs(&log);
        restored = replay.durable;
    }
    waivers.retain(|waiver| waiver.count > 0);
    assert!(waivers.is_empty(), "unused: {waivers:#?}");
}

/// A deviation that is known.
#[derive(Debug)]
struct Waiver {
    recording: String,
    what: String,
    count: usize,
}

/// The lines of `waivers.txt`: quirk or difference, recording, what, how often.
fn waivers() -> Vec<Waiver> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/core/waivers.txt");
    let text = fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let [reason, recording, what, count] = fields[..] else {
                panic!("{line}")
            };
            assert!(!reason.is_empty());
            Waiver {
                recording: recording.into(),
                what: what.into(),
                count: count.parse().unwrap(),
            }
        })
        .collect()
}

/// Where an event is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Connection {
    Clients,
    Peer(EndpointId),
}

/// What happened in a recording, from the controller's point of view.
#[derive(Debug)]
enum Happening {
    Came(Input),
    FromAgent {
        peer: EndpointId,
        topic: ZeekString,
        event: Event,
    },
    Sent {
        to: Connection,
        topic: ZeekString,
        event: Event,
    },
}

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(path)
}

fn lines_of(path: &str) -> Vec<Value> {
    let lines = BufReader::new(GzDecoder::new(fs::File::open(fixture(path)).unwrap())).lines();
    lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

/// The controller's logs, one for each time that it ran, without what is below INFO.
fn recorded_logs(recording: &str) -> Vec<Vec<String>> {
    let scenario = fs::read_to_string(fixture(&format!("{recording}/scenario.json"))).unwrap();
    let scenario: Value = serde_json::from_str(&scenario).unwrap();
    let mut logs: Vec<(&String, &Value)> = scenario["management_logs"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, _)| path.contains("management-controller"))
        .collect();
    logs.sort_by_key(|(path, _)| *path);
    let messages = |log: &Value| {
        let lines = log
            .as_str()
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.splitn(5, '\t').last().unwrap().to_owned())
            .collect()
    };
    logs.into_iter().map(|(_, log)| messages(log)).collect()
}

/// The id in `controller is live, Broker ID ..., ...`.
fn broker_id(first_line: &str) -> EndpointId {
    let (_, id) = first_line.split_once("Broker ID ").unwrap();
    let (id, _) = id.split_once(',').unwrap_or((id, ""));
    id.parse().unwrap()
}

/// Everything that came to this controller or went from it, in the order of the capture.
fn happenings(recording: &str, controller: EndpointId) -> Vec<Happening> {
    let mut all = native(recording, controller);
    all.extend(websocket(recording, controller));
    all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    all.into_iter().map(|(_, happening)| happening).collect()
}

fn websocket(recording: &str, controller: EndpointId) -> Vec<(f64, Happening)> {
    let (release, scenario) = recording.split_once('/').unwrap();
    let lines = lines_of(&format!("json/{release}/{scenario}.jsonl.gz"));
    let text = |line: &Value| line["text"].as_str().unwrap().to_owned();
    let own: Vec<Value> = lines
        .iter()
        .filter(|line| text(line).contains("\"ack\"") && text(line).contains(&controller.to_string()))
        .map(|line| line["conn"].clone())
        .collect();
    let message = |line: &Value| {
        let message = DataMessage::decode(text(line).as_bytes()).unwrap();
        let event = Event::from_data(message.data).unwrap();
        match line["from"].as_str().unwrap() {
            "client" => Happening::Came(Input::Request {
                client: "zeek-client".into(),
                request: event.parse::<ClientRequest>().unwrap(),
            }),
            _ => Happening::Sent {
                to: Connection::Clients,
                topic: message.topic,
                event,
            },
        }
    };
    lines
        .iter()
        .filter(|line| own.contains(&line["conn"]) && text(line).contains("data-message"))
        .map(|line| (line["t"].as_f64().unwrap(), message(line)))
        .collect()
}

/// What is known of a connection while its frames are read.
#[derive(Default)]
struct Link {
    client: Option<EndpointId>,
    server: Option<EndpointId>,
}

fn native(recording: &str, controller: EndpointId) -> Vec<(f64, Happening)> {
    let mut links: BTreeMap<u64, Link> = BTreeMap::new();
    let mut all = Vec::new();
    for frame in lines_of(&format!("{recording}/frames.jsonl.gz")) {
        let message = &frame["message"];
        let link = links.entry(frame["conn"].as_u64().unwrap()).or_default();
        let of_client = frame["from"] == "client";
        if let (Some(id), "handshake") = (message["sender"].as_str(), frame["phase"].as_str().unwrap()) {
            let end = if of_client {
                &mut link.client
            } else {
                &mut link.server
            };
            *end = Some(id.parse().unwrap());
        }
        let (Some(client), Some(server)) = (link.client, link.server) else {
            continue;
        };
        let dialled = client == controller;
        if !dialled && server != controller {
            continue;
        }
        let peer = if dialled { server } else { client };
        let from_peer = dialled != of_client;
        let happening = match message["type"].as_str() {
            Some("originator_ack") => {
                let port = if dialled { "server_port" } else { "client_port" };
                Some(Happening::Came(Input::PeerAdded {
                    peer,
                    address: "127.0.0.1".parse().unwrap(),
                    port: Port::tcp(frame[port].as_u64().unwrap().try_into().unwrap()),
                    dialled,
                }))
            }
            // Whoever leaves says so in a last ping.
            Some("ping") if from_peer => Some(Happening::Came(Input::PeerLost {
                peer,
                reason: "connection closed by the peer".into(),
            })),
            Some("data") => event_of(message).and_then(|(topic, event)| {
                let name = event.name.to_string();
                match (from_peer, name.starts_with("Management::Agent::API::")) {
                    (true, true) => Some(Happening::FromAgent { peer, topic, event }),
                    (false, true) => Some(Happening::Sent {
                        to: Connection::Peer(peer),
                        topic,
                        event,
                    }),
                    _ => None,
                }
            }),
            _ => None,
        };
        all.extend(happening.map(|happening| (frame["t"].as_f64().unwrap(), happening)));
    }
    all
}

fn event_of(message: &Value) -> Option<(ZeekString, Event)> {
    let data = json::decode(message["data"].to_string().as_bytes()).ok()?;
    let topic = message["topic"].as_str()?.into();
    Some((topic, Event::from_data(data).ok()?))
}

struct Replay<'w> {
    controller: Controller,
    now: Now,
    durable: Configurations,
    /// What was sent and has not come up in the recording yet.
    sent: BTreeMap<Connection, VecDeque<(ZeekString, Event)>>,
    log: Vec<String>,
    /// By our ids, the recorded ones.
    ids: BTreeMap<String, String>,
    waivers: &'w mut Vec<Waiver>,
    /// Differences that no waiver covers.
    unwaived: Vec<String>,
}

impl<'w> Replay<'w> {
    fn new(
        settings: Settings,
        restored: Configurations,
        first_line: &str,
        waivers: &'w mut Vec<Waiver>,
    ) -> Self {
        let mut replay = Self {
            controller: Controller::new(settings, restored.clone(), Box::new(SequentialIds::default())),
            now: Now::START,
            durable: restored,
            sent: BTreeMap::new(),
            log: Vec::new(),
            ids: BTreeMap::new(),
            waivers,
            unwaived: Vec::new(),
        };
        let Input::Started {
            broker, websocket, ..
        } = started()
        else {
            unreachable!()
        };
        replay.step(Input::Started {
            broker_id: broker_id(first_line).to_string(),
            broker,
            websocket,
        });
        replay
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Came(input) => self.step(input),
            Happening::FromAgent { peer, topic, event } => {
                let args = event.args.iter().map(|arg| self.with_our_ids(arg)).collect();
                let event = Event { args, ..event };
                let message: AgentMessage = event.parse().unwrap();
                self.step(Input::Agent { peer, topic, message });
            }
            Happening::Sent { to, topic, event } => self.expect(to, &topic, &event),
        }
    }

    /// Zeek's controller sent this.
    fn expect(&mut self, to: Connection, topic: &ZeekString, recorded: &Event) {
        let verb = verb(recorded);
        if !self.sent.contains_key(&to) {
            if self.waive(&format!("lacks event {verb}")) {
                return;
            }
            self.now = self
                .controller
                .deadline()
                .unwrap_or_else(|| panic!("nothing brings about {recorded:?}"));
            self.step(Input::Tick);
        }
        let queue = self
            .sent
            .get_mut(&to)
            .unwrap_or_else(|| panic!("not sent: {recorded:?}"));
        let (our_topic, ours) = queue.pop_front().unwrap();
        if queue.is_empty() {
            self.sent.remove(&to);
        }
        assert_eq!(&our_topic, topic);
        assert_eq!(ours.name, recorded.name, "sent {ours:?} instead of {recorded:?}");
        self.learn_id(&ours, recorded);
        let (ours, recorded) = (self.comparable(&ours), self.comparable(recorded));
        let mut paths = Vec::new();
        differences(&ours, &recorded, &mut String::new(), &mut paths);
        for path in paths {
            let what = format!("differs {verb}{path}");
            if !self.waive(&what) {
                self.unwaived
                    .push(format!("{what}\n  {ours}\n  instead of {recorded}"));
            }
        }
    }

    fn waive(&mut self, what: &str) -> bool {
        let waiver = self
            .waivers
            .iter_mut()
            .find(|waiver| waiver.what == what && waiver.count > 0);
        waiver.map(|waiver| waiver.count -= 1).is_some()
    }

    /// The id of a request to an agent is ours, or the recorded one.
    fn learn_id(&mut self, ours: &Event, recorded: &Event) {
        if let (Data::String(ours), Data::String(recorded)) = (&ours.args[0], &recorded.args[0])
            && ours.to_string().starts_with('#')
        {
            self.bind(&ours.to_string(), &recorded.to_string());
        }
    }

    fn bind(&mut self, ours: &str, recorded: &str) {
        assert!(
            self.ids.values().all(|other| other != recorded),
            "{recorded} is {ours} and another"
        );
        let before = self.ids.insert(ours.into(), recorded.into());
        assert_eq!(before, None, "{ours} is {recorded} and another");
    }

    fn with_our_ids(&self, data: &Data) -> Data {
        let inside = |data: &Vec<Data>| data.iter().map(|data| self.with_our_ids(data)).collect();
        match data {
            Data::String(recorded) => {
                let id = self.ids.iter().find(|(_, id)| **id == recorded.to_string());
                Data::String(id.map_or_else(|| recorded.clone(), |(ours, _)| ours.as_str().into()))
            }
            Data::Vector(elements) => Data::Vector(inside(elements)),
            other => other.clone(),
        }
    }

    /// An event with field names, recorded ids, and its results sorted.
    fn comparable(&self, event: &Event) -> Value {
        let value = if event.name.to_string().contains("::Controller::") {
            let response: ClientResponse = event.parse().unwrap();
            if let ClientResponse::GetConfiguration { result, .. } = &response
                && let Some(data) = &result.data
            {
                // Nodes have grown by a field in Zeek 7.0.
                return serde_json::to_value(from_data::<Configuration>(data).unwrap()).unwrap();
            }
            serde_json::to_value(response)
        } else {
            serde_json::to_value(event.parse::<AgentRequest>().unwrap())
        };
        let mut value = value.unwrap();
        let fields = value.as_object_mut().unwrap().values_mut().next().unwrap();
        let mut fields = fields.take();
        self.put_recorded_ids(&mut fields);
        if let Some(results) = fields.get_mut("results").and_then(Value::as_array_mut) {
            results.sort_by_key(ToString::to_string);
        }
        fields
    }

    fn put_recorded_ids(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(recorded) = self.ids.get(text) {
                    text.clone_from(recorded);
                }
            }
            Value::Array(elements) => elements.iter_mut().for_each(|value| self.put_recorded_ids(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.put_recorded_ids(value)),
            _ => {}
        }
    }

    /// Every write succeeds at once.
    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.controller.step(self.now, input) {
                match action {
                    Action::Log {
                        level: Level::Debug, ..
                    }
                    | Action::Connect { .. }
                    | Action::Disconnect { .. } => {}
                    Action::Log { message, .. } => self.log.push(message),
                    Action::Persist { write, entries } => {
                        for (slot, config) in entries {
                            self.durable.set(slot, config);
                        }
                        inputs.push_back(Input::Persisted {
                            write,
                            outcome: Ok(()),
                        });
                    }
                    Action::Publish { topic, event, to } => {
                        let to = match to {
                            Audience::Peer(peer) => Connection::Peer(peer),
                            Audience::Subscribers | Audience::WebSocketClients => Connection::Clients,
                        };
                        let event = event.to_event().unwrap();
                        self.sent.entry(to).or_default().push_back((topic, event));
                    }
                }
            }
        }
    }

    fn compare_logs(&mut self, recorded: &[String]) {
        let mut ours: VecDeque<String> = in_comparable_order(std::mem::take(&mut self.log)).into();
        let mut differences = String::new();
        for recorded in in_comparable_order(recorded.to_vec()) {
            while let Some(line) = ours.front()
                && !self.same_line(line.clone().as_str(), &recorded)
                && self.waive(&format!("has log {}", beginning(line)))
            {
                ours.pop_front();
            }
            match ours.front().cloned() {
                Some(line) if self.same_line(&line, &recorded) => {
                    ours.pop_front();
                }
                _ if self.waive(&format!("lacks log {}", beginning(&recorded))) => {}
                line => writeln!(differences, "{line:?}\n instead of {recorded:?}").unwrap(),
            }
        }
        assert!(
            differences.is_empty() && ours.is_empty(),
            "{differences}and {ours:#?}"
        );
    }

    /// Whether a line of our log is the recorded one, after learning an id that stands in the log only.
    fn same_line(&mut self, ours: &str, recorded: &str) -> bool {
        let (ours, recorded) = (words(ours), words(recorded));
        let mut learnt = None;
        let same = ours.len() == recorded.len()
            && std::iter::zip(&ours, &recorded).all(|(ours, recorded)| {
                if let Some(id) = self.ids.get(*ours) {
                    return id == recorded;
                }
                if ours.starts_with('#') {
                    learnt = Some((ours.to_string(), recorded.to_string()));
                    return true;
                }
                ours == recorded
            });
        if let (true, Some((ours, recorded))) = (same, learnt) {
            self.bind(&ours, &recorded);
        }
        same
    }
}

/// The event's name without its module.
fn verb(event: &Event) -> String {
    event.name.to_string().rsplit("::").next().unwrap().to_owned()
}

/// Where two values are not alike, as `.config.nodes[].p`.
fn differences(ours: &Value, recorded: &Value, path: &mut String, paths: &mut Vec<String>) {
    let length = path.len();
    match (ours, recorded) {
        (Value::Object(ours), Value::Object(recorded)) if ours.keys().eq(recorded.keys()) => {
            for (name, ours) in ours {
                write!(path, ".{name}").unwrap();
                differences(ours, &recorded[name], path, paths);
                path.truncate(length);
            }
        }
        (Value::Array(ours), Value::Array(recorded)) if ours.len() == recorded.len() => {
            for (ours, recorded) in std::iter::zip(ours, recorded) {
                path.push_str("[]");
                differences(ours, recorded, path, paths);
                path.truncate(length);
            }
        }
        (ours, recorded) if ours == recorded => {}
        _ => paths.push(path.clone()),
    }
}

/// What a log line is about: `tx`, `rx` and the event, or what there is without ids.
fn beginning(line: &str) -> String {
    if line.starts_with("request ") && line.ends_with(" timed out") {
        return "request timed out".into();
    }
    let count = if line.starts_with("tx ") || line.starts_with("rx ") {
        2
    } else {
        3
    };
    line.split(' ').take(count).collect::<Vec<_>>().join(" ")
}

fn words(line: &str) -> Vec<&str> {
    line.split_inclusive(|byte: char| !byte.is_ascii_alphanumeric() && byte != '#')
        .flat_map(|word| {
            let end = word
                .trim_end_matches(|byte: char| !byte.is_ascii_alphanumeric() && byte != '#')
                .len();
            let (word, separator) = word.split_at(end);
            [word, separator]
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// Requests to agents that follow each other, in the order of the agents' names, and each answer's results sorted.
fn in_comparable_order(mut lines: Vec<String>) -> Vec<String> {
    let to_agent = |line: &String| line.starts_with("tx Management::Agent::API::");
    for fan_out in lines.chunk_by_mut(|a, b| to_agent(a) && to_agent(b)) {
        fan_out.sort_by_key(|line| line.rsplit(' ').next().unwrap_or_default().to_owned());
    }
    lines
}
