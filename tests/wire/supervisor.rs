//! Recorded agents play themselves towards the Supervisor of `zeek-simulator`, which must say what Zeek's said.
//!
//! The recorded requests are sent to a real process, each when all that Zeek's Supervisor had said before has been said.
//! Answers are compared in order, and so is news of nodes; how the two mix is chance. Process ids are mapped one to one,
//! directories are ours, times are not compared. Of a node's output only those lines are compared that a stand-in can have.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    thread,
};

use broker_codec::{
    Data, Topic, binary,
    control::RoutingUpdate,
    data::{Table, Timestamp, ZeekString},
    envelope::{Envelope, EnvelopeKind},
    zeek::Event,
};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, PeerAddress, tls::TlsConfig};
use bytes::Bytes;
use tempfile::TempDir;
use zeek_simulator::{NODE_VARIABLE, NodeBehaviour, SUPERVISOR_VARIABLE, SupervisorBehaviour};

use super::over_tcp::captured::identity;
use crate::support::{
    cluster::zeek_binary,
    daemon::Daemon,
    frames::{Frame, Phase, Side, frames},
    limit::Limit,
};

#[test]
fn recorded_agents_hear_from_the_simulator_what_zeeks_supervisor_said() {
    const SCENARIOS: [(&str, &str); 8] = [
        ("zeek-9.0.0-rc1/a2c", "9.0.0"),
        ("zeek-6.0.9/a2c", "6.0.9"),
        ("zeek-9.0.0-rc1/c2a", "9.0.0"),
        ("zeek-6.0.9/c2a", "6.0.9"),
        ("zeek-9.0.0-rc1/two-instances", "9.0.0"),
        ("zeek-6.0.9/two-instances", "6.0.9"),
        ("zeek-9.0.0-rc1/failing-node", "9.0.0"),
        ("zeek-6.0.9/failing-node", "6.0.9"),
    ];
    thread::scope(|scope| {
        for (scenario, version) in SCENARIOS {
            let thread = thread::Builder::new().name(scenario.to_owned());
            let replayed = thread.spawn_scoped(scope, move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let recordings = Recording::all(scenario);
                assert!(!recordings.is_empty());
                for recording in recordings {
                    runtime.block_on(replay(&recording, version));
                }
            });
            replayed.expect("a thread can be started");
        }
    });
}

struct Sent {
    by_supervisor: bool,
    topic: Topic,
    event: Event,
}

/// What an agent and its Supervisor said to each other while they were connected.
struct Recording {
    agent: String,
    filter: BTreeSet<Topic>,
    state_dir: String,
    said: Vec<Sent>,
}

impl Recording {
    /// One for each connection of a scenario on which there was a status.
    fn all(scenario: &str) -> Vec<Self> {
        let mut connections: BTreeMap<u32, Vec<&Frame>> = BTreeMap::new();
        for frame in frames(scenario) {
            if matches!(frame.server_port, 9999..=10001) {
                connections.entry(frame.conn).or_default().push(frame);
            }
        }
        connections.into_values().filter_map(Self::of).collect()
    }

    fn of(frames: Vec<&Frame>) -> Option<Self> {
        let (handshake, operation): (Vec<_>, Vec<_>) = frames
            .into_iter()
            .partition(|frame| frame.phase == Phase::Handshake);
        let (_, filter) = identity(&handshake, Side::Client);
        let mut filter = BTreeSet::from_iter(filter);
        let mut said = Vec::new();
        for frame in operation {
            let envelope = Envelope::decode(Bytes::from(frame.bytes.clone())).unwrap();
            let by_supervisor = frame.from == Side::Server;
            match envelope.kind {
                // Agents of Zeek 6.0 subscribe to more when they are connected already.
                EnvelopeKind::RoutingUpdate if !by_supervisor => {
                    filter.extend(RoutingUpdate::decode(&envelope.payload).unwrap().topics);
                }
                EnvelopeKind::Data => {
                    let event = Event::from_data(binary::decode(&envelope.payload).unwrap());
                    said.extend(event.ok().map(|event| Sent {
                        by_supervisor,
                        topic: envelope.topic,
                        event,
                    }));
                }
                _ => {}
            }
        }
        let status = said
            .iter()
            .find(|said| said.event.name.ends_with(b"status_response"))?;
        // The agent is the first node.
        let texts = texts(&status.event.args[1]);
        let directory = texts.iter().find(|text| text.contains("/nodes/")).unwrap();
        let (state_dir, agent) = directory.rsplit_once("/nodes/").unwrap();
        Some(Self {
            agent: agent.to_owned(),
            filter,
            state_dir: state_dir.to_owned(),
            said,
        })
    }

    /// What every node of Zeek 9.0 says at its start, if it said so in this recording.
    fn warning(&self) -> Option<String> {
        let exits = self
            .said
            .iter()
            .filter(|said| said.event.name.ends_with(b"notify_node_exit"));
        let stderr = exits.filter_map(|said| texts(&said.event.args[1]).pop());
        let warnings = stderr.filter_map(|stderr| {
            let warning = stderr.lines().find(|line| line.contains("deprecated script"))?;
            Some(warning.to_owned())
        });
        warnings.into_iter().next()
    }
}

fn elements(data: &Data) -> &[Data] {
    let Data::Vector(elements) = data else {
        panic!("{data:?} is not a vector")
    };
    elements
}

/// All strings in a value, but for keys of tables.
fn texts(data: &Data) -> Vec<String> {
    match data {
        Data::String(text) => vec![text.to_str_lossy().into_owned()],
        Data::Vector(elements) => elements.iter().flat_map(texts).collect(),
        Data::Table(table) => table.iter().flat_map(|(_, value)| texts(value)).collect(),
        _ => Vec::new(),
    }
}

fn text(data: Option<&Data>) -> String {
    data.and_then(|data| texts(data).pop()).unwrap_or_default()
}

/// The value with another directory in all its strings.
fn moved(data: &Data, from: &str, to: &str) -> Data {
    match data {
        Data::String(text) => match text.as_str() {
            Some(text) => Data::String(text.replace(from, to).as_str().into()),
            None => data.clone(),
        },
        Data::Vector(elements) => Data::Vector(elements.iter().map(|data| moved(data, from, to)).collect()),
        Data::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, value)| (key.clone(), moved(value, from, to)));
            Data::Table(Table::try_from(entries.collect::<Vec<_>>()).unwrap())
        }
        other => other.clone(),
    }
}

/// What a Supervisor has said: answers and news, with what differs from run to run replaced. Process ids are numbered in the order in
/// which they are told of.
#[derive(Default)]
struct Heard {
    answers: Vec<(Topic, Event)>,
    news: Vec<(Topic, Event)>,
    numbers: BTreeMap<i64, i64>,
    /// The number of the last process that was told of, by node.
    told: BTreeMap<ZeekString, i64>,
}

impl Heard {
    fn add(&mut self, topic: Topic, mut event: Event) {
        if event.name == "SupervisorControl::node_status" {
            let [Data::String(node), Data::Count(pid)] = &mut *event.args else {
                panic!("{event:?}")
            };
            let next = i64::try_from(self.numbers.len()).unwrap();
            let number = *self.numbers.entry(i64::try_from(*pid).unwrap()).or_insert(next);
            self.told.insert(node.clone(), number);
            *pid = number.unsigned_abs();
        }
        if event.name == "SupervisorControl::status_response" {
            event.args[1] = self.without_processes(&event.args[1]);
        }
        if event.name.ends_with(b"notify_node_exit") {
            let outputs = texts(&event.args[1]).into_iter();
            event.args[1] = Data::Vector(outputs.map(|output| Data::String(lines(&output))).collect());
        }
        for (_, value) in event.metadata.iter_mut().flatten() {
            *value = Data::Timestamp(Timestamp(0));
        }
        if event.name.ends_with(b"_response") {
            self.answers.push((topic, event));
        } else {
            self.news.push((topic, event));
        }
    }

    /// A status. Which process a node has is chance while it is being restarted; it must be the last one that was told of.
    fn without_processes(&self, status: &Data) -> Data {
        let [Data::Table(nodes)] = elements(status) else {
            panic!("{status:?}")
        };
        let entries = nodes.iter().map(|(name, node)| {
            let Data::String(key) = name else {
                panic!("{status:?}")
            };
            let mut node = elements(node).to_vec();
            node[1] = match (&node[1], self.told.get(key)) {
                (Data::Integer(pid), Some(told)) => {
                    assert_eq!(self.numbers.get(pid), Some(told), "{key}");
                    Data::None
                }
                (_, Some(_)) => panic!("{key} has lost its process: {status:?}"),
                // The agent's was told of before there was an agent.
                (Data::Integer(_), None) => Data::Integer(0),
                (other, None) => other.clone(),
            };
            (name.clone(), Data::Vector(node))
        });
        let nodes = Table::try_from(entries.collect::<Vec<_>>()).unwrap();
        Data::Vector(vec![Data::Table(nodes)])
    }

    fn is_shorter_than(&self, other: &Self) -> bool {
        self.answers.len() < other.answers.len() || self.news.len() < other.news.len()
    }
}

/// The lines that a stand-in can have, without the time before them.
fn lines(output: &str) -> ZeekString {
    let lines: Vec<&str> = output
        .lines()
        .map(|line| match line.split_once(' ') {
            Some((time, rest)) if time.parse::<f64>().is_ok() => rest,
            _ => line,
        })
        .filter(|line| {
            !line.contains("packets received on interface") && !line.contains("find-checksum-offloading")
        })
        .collect();
    lines.join("\n").as_str().into()
}

/// The recorded agent, connected to a Supervisor.
struct Agent {
    endpoint: Endpoint,
    supervisor: Daemon,
    heard: Heard,
    /// How often each node was started, and has said hello.
    starts: BTreeMap<String, usize>,
    hellos: BTreeMap<String, usize>,
}

impl Agent {
    /// With a Supervisor in this directory.
    async fn start(recording: &Recording, version: &str, home: &Path) -> Self {
        let mut config = EndpointConfig::default();
        config.tls = TlsConfig::Off;
        config.subscriptions = recording.filter.iter().cloned().collect();
        let endpoint = Endpoint::start(config).unwrap();
        let address = endpoint.handle().listen("127.0.0.1", 0).await.unwrap()[0];
        let supervisor = SupervisorBehaviour {
            zeek_version: version.to_owned(),
            tells_ready: true,
            ..SupervisorBehaviour::default()
        };
        let node = NodeBehaviour {
            checks_interface: true,
            stderr: recording.warning(),
            ..NodeBehaviour::default()
        };
        let mut command = Command::new(zeek_binary());
        command
            .args(["-j", "policy/frameworks/management/agent"])
            .args(["Broker::disable_ssl=T", "Broker::default_port=0/tcp"])
            .arg(format!("Management::Agent::name={}", recording.agent))
            .arg(format!("Management::state_dir={}", home.display()))
            .env_clear()
            .env(SUPERVISOR_VARIABLE, serde_json::to_string(&supervisor).unwrap())
            .env(NODE_VARIABLE, serde_json::to_string(&node).unwrap())
            .env("ZEEK_AGENT_ADDR", address.ip().to_string())
            .env("ZEEK_AGENT_PORT", format!("{}/tcp", address.port()));
        let supervisor = Daemon::with_ready_line("the Supervisor", &mut command);
        let peer = PeerAddress::from(supervisor.broker());
        endpoint.handle().peer(peer, None);
        let mut agent = Self {
            endpoint,
            supervisor,
            heard: Heard::default(),
            starts: BTreeMap::new(),
            hellos: BTreeMap::new(),
        };
        match agent.event().await {
            EndpointEvent::PeerAdded(peer) if peer.dialled.is_some() => agent,
            other => panic!("expected the Supervisor: {other:?}"),
        }
    }

    async fn event(&mut self) -> EndpointEvent {
        let heard = &self.heard;
        let what = format!("more after {:#?} {:#?}", heard.answers.last(), heard.news);
        let event = Limit::new(what).of(self.endpoint.recv()).await;
        event.expect("the endpoint runs")
    }

    async fn hear(&mut self) {
        let EndpointEvent::Message(message) = self.event().await else {
            return;
        };
        let Ok(event) = Event::from_data(message.data) else {
            return;
        };
        let node = text(event.args.first());
        if event.name.ends_with(b"notify_node_hello") {
            *self.hellos.entry(node).or_default() += 1;
            return;
        }
        if event.name.ends_with(b"node_status") {
            *self.starts.entry(node).or_default() += 1;
        }
        self.heard.add(message.topic, event);
    }
}

async fn replay(recording: &Recording, version: &str) {
    let home = TempDir::with_prefix("zeek-simulator-").unwrap();
    let mut agent = Agent::start(recording, version, home.path()).await;
    // Nodes whose hellos the recorded agent could hear.
    let hears_nodes = recording
        .filter
        .iter()
        .any(|topic| *topic == "zeek/management/node");
    let own = home.path().to_str().unwrap();
    let mut recorded = Heard::default();
    for said in &recording.said {
        let args = said.event.args.iter();
        let event = Event {
            args: args.map(|data| moved(data, &recording.state_dir, own)).collect(),
            ..said.event.clone()
        };
        if said.by_supervisor {
            recorded.add(said.topic.clone(), event);
            continue;
        }
        let node = text(event.args.get(1));
        let lives = |agent: &Agent| {
            !hears_nodes || node.is_empty() || agent.starts.get(&node) == agent.hellos.get(&node)
        };
        while agent.heard.is_shorter_than(&recorded) || !lives(&agent) {
            agent.hear().await;
        }
        let handle = agent.endpoint.handle();
        handle
            .publish(said.topic.clone(), &event.into_data())
            .await
            .unwrap();
    }
    while agent.heard.is_shorter_than(&recorded) {
        agent.hear().await;
    }
    agent.heard.news.truncate(recorded.news.len());
    assert!(!recorded.answers.is_empty());
    assert_eq!(agent.heard.news, recorded.news);
    assert_eq!(agent.heard.answers, recorded.answers);

    agent.endpoint.shutdown().await;
    agent.supervisor.stop();
    let processes = agent.heard.numbers.keys();
    let left: Vec<_> = processes
        .filter(|pid| Path::new(&format!("/proc/{pid}")).exists())
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
