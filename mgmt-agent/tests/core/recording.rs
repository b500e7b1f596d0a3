//! What a capture shows of one agent: who connected to it, what it was told, what it published.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
    time::Duration,
};

use broker_codec::{
    Data, EndpointId, binary,
    envelope::{Envelope, EnvelopeKind},
    zeek::Event,
};
use bytes::Bytes;
use flate2::read::GzDecoder;
use mgmt_api::Now;
use serde_json::Value;

/// With whom an agent has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Supervisor,
    Controller,
    Node,
}

/// Something that the capture shows, from the agent's side.
#[derive(Debug)]
pub(crate) enum Step {
    /// A peering is up.
    Connected(Peer),
    /// The agent got an event.
    Received(Peer, String, Event),
    /// The agent published an event.
    Sent(Peer, Event),
}

/// One run of an agent.
pub(crate) struct Recording {
    /// The agent's name.
    pub(crate) name: String,
    /// Its Broker endpoint ID.
    pub(crate) broker_id: String,
    /// Whether it connected to the controller.
    pub(crate) connecting: bool,
    /// Its Broker port.
    pub(crate) listen_port: u16,
    /// Where its nodes' directories are.
    pub(crate) state_dir: String,
    /// In order of time.
    pub(crate) steps: Vec<(Now, Step)>,
    /// The messages of its management log from INFO on. Those of most agents of Zeek 6.0 were not kept.
    pub(crate) log: Option<Vec<String>>,
}

struct Frame {
    at: f64,
    conn: u64,
    agent_sends: bool,
    topic: String,
    event: Event,
}

#[derive(Default)]
struct Connection {
    server_port: u64,
    ends: BTreeMap<String, String>,
    handshake_end: f64,
    acknowledged: bool,
    to_controller: bool,
}

impl Recording {
    /// The recordings of all agents of a scenario, in the order in which they started.
    pub(crate) fn all(scenario: &str) -> Vec<Self> {
        let frames = frames(scenario);
        let mut ids: Vec<String> = Vec::new();
        for frame in &frames {
            if frame["phase"] != "operation" {
                continue;
            }
            if let Some((_, event)) = event(frame)
                && event.name == "Management::Agent::API::notify_agent_hello"
            {
                let id = string(&event.args[1]);
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        assert!(!ids.is_empty(), "{scenario} has no agent");
        ids.into_iter()
            .map(|id| Self::new(scenario, &frames, id))
            .collect()
    }

    fn new(scenario: &str, frames: &[Value], broker_id: String) -> Self {
        let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
        let mut events: Vec<Frame> = Vec::new();
        for frame in frames {
            let conn = frame["conn"].as_u64().unwrap();
            let from = frame["from"].as_str().unwrap();
            let connection = connections.entry(conn).or_default();
            connection.server_port = frame["server_port"].as_u64().unwrap();
            if frame["phase"] == "handshake" {
                if let Some(sender) = frame["message"]["sender"].as_str() {
                    connection.ends.insert(from.into(), sender.into());
                }
                connection.handshake_end = frame["t"].as_f64().unwrap();
                connection.acknowledged |= frame["message"]["type"] == "originator_ack";
            } else if let Some((topic, event)) = event(frame) {
                let agent_sends = connection.ends.get(from) == Some(&broker_id);
                let request =
                    event.name.starts_with(b"Management::Agent::API::") && event.name.ends_with(b"_request");
                connection.to_controller |= request && !agent_sends;
                events.push(Frame {
                    at: frame["t"].as_f64().unwrap(),
                    conn,
                    agent_sends,
                    topic,
                    event,
                });
            }
        }
        connections.retain(|_, connection| {
            connection.acknowledged && connection.ends.values().any(|end| *end == broker_id)
        });
        events.retain(|event| connections.contains_key(&event.conn));

        let peer = |connection: &Connection| {
            if (9999..=10001).contains(&connection.server_port) {
                Peer::Supervisor
            } else if connection.server_port == 2150 || connection.to_controller {
                Peer::Controller
            } else {
                Peer::Node
            }
        };
        let mut steps: Vec<(f64, Step)> = connections
            .values()
            .map(|connection| (connection.handshake_end, Step::Connected(peer(connection))))
            .collect();
        let hello = events
            .iter()
            .find(|frame| frame.agent_sends && frame.event.name.ends_with(b"notify_agent_hello"))
            .expect("the agent says hello");
        let name = string(&hello.event.args[0]);
        let connecting = hello.event.args[2] == Data::Boolean(true);
        let listen_port = connections
            .values()
            .find(|connection| connection.ends.get("server") == Some(&broker_id))
            .map_or(2151, |connection| u16::try_from(connection.server_port).unwrap());
        for frame in events {
            let peer = peer(&connections[&frame.conn]);
            let step = if frame.agent_sends {
                Step::Sent(peer, frame.event)
            } else {
                Step::Received(peer, frame.topic, frame.event)
            };
            steps.push((frame.at, step));
        }
        steps.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        let state_dir = state_dir(&steps, &name);
        let steps = steps
            .into_iter()
            .map(|(at, step)| (Now::from_start(Duration::from_secs_f64(at)), step))
            .collect();
        Self {
            log: log(scenario, &broker_id),
            name,
            broker_id,
            connecting,
            listen_port,
            state_dir,
            steps,
        }
    }
}

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(path)
}

fn frames(scenario: &str) -> Vec<Value> {
    let file = File::open(fixture(&format!("{scenario}/frames.jsonl.gz"))).unwrap();
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

/// The Zeek event in a frame, with its topic.
fn event(frame: &Value) -> Option<(String, Event)> {
    let bytes = Bytes::from(hex::decode(frame["hex"].as_str()?).unwrap());
    let envelope = Envelope::decode(bytes).ok()?;
    if envelope.kind != EnvelopeKind::Data || envelope.sender == EndpointId::NIL {
        return None;
    }
    let event = Event::from_data(binary::decode(&envelope.payload).ok()?).ok()?;
    Some((envelope.topic.to_string(), event))
}

fn string(data: &Data) -> String {
    let Data::String(text) = data else {
        panic!("{data:?} is not a string")
    };
    text.to_string()
}

/// From where Zeek's agent told its Supervisor to start a node.
fn state_dir(steps: &[(f64, Step)], name: &str) -> String {
    let status = steps.iter().find_map(|(_, step)| match step {
        Step::Received(Peer::Supervisor, _, event) if event.name.ends_with(b"status_response") => {
            Some(format!("{:?}", event.args))
        }
        _ => None,
    });
    let status = status.expect("the Supervisor reports its nodes");
    let end = status
        .find(&format!("/nodes/{name}"))
        .expect("the agent is one of them");
    let start = status[..end].rfind('"').unwrap() + 1;
    status[start..end].to_owned()
}

/// What the agent with this ID logged, without what it wrote into the next file: that repeats lines.
fn log(scenario: &str, broker_id: &str) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(fixture(&format!("{scenario}/scenario.json"))).unwrap();
    let scenario: Value = serde_json::from_str(&text).unwrap();
    let live = format!("agent is live, Broker ID {broker_id}");
    let logs = scenario["management_logs"].as_object().unwrap();
    let log = logs
        .values()
        .map(|log| log.as_str().unwrap())
        .find(|log| log.contains(&live))?;
    let lines = log.lines().filter(|line| !line.starts_with('#'));
    Some(
        lines
            .map(|line| line.splitn(5, '\t').last().unwrap().to_owned())
            .collect(),
    )
}
