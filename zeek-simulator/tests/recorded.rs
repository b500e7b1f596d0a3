//! Recorded agents play themselves towards our Supervisor, which must say what Zeek's said.
//!
//! The recorded requests are sent to a real process, each when all that Zeek's Supervisor had said before has been said.
//! Answers are compared in order, and so is news of nodes; how the two mix is chance. Process ids are mapped one to one,
//! directories are ours, times are not compared. Of a node's output only those lines are compared that a stand-in can have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use broker_codec::{
    Data, Topic, binary,
    data::{Table, Timestamp, ZeekString},
    envelope::{Envelope, EnvelopeKind},
    zeek::Event,
};
use broker_endpoint::{
    Endpoint, EndpointConfig, EndpointEvent, EndpointHandle, Message, PeerAddress, tls::TlsConfig,
};
use bytes::Bytes;
use flate2::read::GzDecoder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

/// How long a busy machine may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

struct Sent {
    by_supervisor: bool,
    topic: String,
    event: Event,
}

/// What an agent and its Supervisor said to each other while they were connected.
struct Recording {
    agent: String,
    filter: BTreeSet<String>,
    state_dir: String,
    said: Vec<Sent>,
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(path)
}

impl Recording {
    /// One for each connection of a scenario.
    fn all(scenario: &str) -> Vec<Self> {
        let file = File::open(fixture(&format!("{scenario}/frames.jsonl.gz"))).unwrap();
        let mut connections: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
        for line in BufReader::new(GzDecoder::new(file)).lines() {
            let frame: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if matches!(frame["server_port"].as_u64(), Some(9999..=10001)) {
                connections
                    .entry(frame["conn"].as_u64().unwrap())
                    .or_default()
                    .push(frame);
            }
        }
        connections
            .into_values()
            .filter_map(|frames| Self::of(&frames))
            .collect()
    }

    fn of(frames: &[Value]) -> Option<Self> {
        let filter = frames.iter().find(|frame| {
            let syn = ["originator_syn", "responder_syn_ack"]
                .contains(&frame["message"]["type"].as_str().unwrap_or_default());
            syn && frame["from"] == "client"
        })?;
        let filter = filter["message"]["filter"].as_array().unwrap();
        let mut filter: BTreeSet<String> = filter
            .iter()
            .map(|topic| topic.as_str().unwrap().to_owned())
            .collect();
        // Agents of Zeek 6.0 subscribe to more when they are connected already.
        let updates = frames
            .iter()
            .filter(|frame| frame["from"] == "client" && frame["message"]["type"] == "routing_update");
        for update in updates {
            let text = update["message"]["text"].as_str().unwrap();
            let (_, topics) = text.split_once('{').unwrap();
            let topics = topics.strip_suffix("})").unwrap().split(", ");
            filter.extend(topics.map(str::to_owned));
        }
        let mut said = Vec::new();
        for frame in frames.iter().filter(|frame| frame["phase"] == "operation") {
            let bytes = Bytes::from(hex::decode(frame["hex"].as_str().unwrap()).unwrap());
            let envelope = Envelope::decode(bytes).unwrap();
            if envelope.kind != EnvelopeKind::Data {
                continue;
            }
            let event = Event::from_data(binary::decode(&envelope.payload).unwrap());
            said.extend(event.ok().map(|event| Sent {
                by_supervisor: frame["from"] == "server",
                topic: envelope.topic.to_string(),
                event,
            }));
        }
        let status = said
            .iter()
            .find(|said| said.event.name.ends_with(b"status_response"))?;
        let (agent, directory) = first_node(&status.event);
        let state_dir = directory
            .strip_suffix(&format!("/nodes/{agent}"))
            .unwrap()
            .to_owned();
        Some(Self {
            agent,
            filter,
            state_dir,
            said,
        })
    }
}

fn elements(data: &Data) -> &[Data] {
    let Data::Vector(elements) = data else {
        panic!("{data:?} is not a vector")
    };
    elements
}

/// The name and the directory of the first node of a status.
fn first_node(status: &Event) -> (String, String) {
    let Data::Table(nodes) = &elements(&status.args[1])[0] else {
        panic!("no table")
    };
    let (name, node) = nodes.iter().next().expect("the agent is a node");
    let config = elements(&elements(node)[0]);
    let text = |data: &Data| match data {
        Data::String(text) => text.to_str_lossy().into_owned(),
        other => panic!("{other:?} is not a string"),
    };
    let directory = config
        .iter()
        .map(text_or_empty)
        .find(|text| text.contains("/nodes/"));
    (text(name), directory.unwrap())
}

fn text_or_empty(data: &Data) -> String {
    match data {
        Data::String(text) => text.to_str_lossy().into_owned(),
        _ => String::new(),
    }
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

/// Numbers process ids in the order in which they are told of.
#[derive(Default)]
struct Pids {
    numbers: BTreeMap<i64, i64>,
    /// The number of the last process that was told of, by node.
    told: BTreeMap<ZeekString, i64>,
}

impl Pids {
    fn number(&mut self, pid: i64) -> i64 {
        let next = i64::try_from(self.numbers.len()).unwrap();
        *self.numbers.entry(pid).or_insert(next)
    }

    /// The event with what differs from run to run replaced. Which process a node has in a status is chance while it is
    /// being restarted; it must be the last one that was told of.
    fn canonical(&mut self, mut event: Event) -> Event {
        if event.name == "SupervisorControl::node_status" {
            let [Data::String(node), Data::Count(pid)] = &mut *event.args else {
                panic!("{event:?}")
            };
            let number = self.number(i64::try_from(*pid).unwrap());
            self.told.insert(node.clone(), number);
            *pid = number.unsigned_abs();
        }
        if event.name == "SupervisorControl::status_response" {
            let Data::Table(nodes) = &elements(&event.args[1])[0] else {
                panic!("{event:?}")
            };
            let entries = nodes.iter().map(|(name, node)| {
                let mut node = elements(node).to_vec();
                let Data::String(key) = name else {
                    panic!("{event:?}")
                };
                if let (Data::Integer(pid), Some(told)) = (&node[1], self.told.get(key)) {
                    assert_eq!(self.numbers.get(pid), Some(told), "{key}");
                    node[1] = Data::None;
                } else if self.told.contains_key(key) {
                    panic!("{key} has lost its process: {event:?}");
                } else if let Data::Integer(pid) = &mut node[1] {
                    // The agent's was told of before there was an agent.
                    *pid = 0;
                }
                (name.clone(), Data::Vector(node))
            });
            let nodes = Table::try_from(entries.collect::<Vec<_>>()).unwrap();
            event.args[1] = Data::Vector(vec![Data::Table(nodes)]);
        }
        if event.name.ends_with(b"notify_node_exit") {
            let outputs = elements(&event.args[1])
                .iter()
                .map(|output| Data::String(lines(&text_or_empty(output))));
            event.args[1] = Data::Vector(outputs.collect());
        }
        for (_, value) in event.metadata.iter_mut().flatten() {
            *value = Data::Timestamp(Timestamp(0));
        }
        event
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

/// What every node of Zeek 9.0 says at its start, if it said so in this recording.
fn warning(recording: &Recording) -> Option<String> {
    recording.said.iter().find_map(|said| {
        let outputs = said
            .event
            .name
            .ends_with(b"notify_node_exit")
            .then(|| &said.event.args[1])?;
        let stderr = text_or_empty(&elements(outputs)[1]);
        stderr
            .lines()
            .find(|line| line.contains("deprecated script"))
            .map(str::to_owned)
    })
}

/// The process, ended in good order when dropped.
struct Supervisor(Child);

impl Supervisor {
    fn start(recording: &Recording, version: &str, home: &Path, agent: SocketAddr) -> (Self, SocketAddr) {
        let supervisor = json!({ "zeek_version": version, "tells_ready": true });
        let mut node = json!({ "checks_interface": true });
        if let Some(warning) = warning(recording) {
            node["stderr"] = warning.into();
        }
        let child = Command::new(env!("CARGO_BIN_EXE_zeek"))
            .args([
                "-j",
                "policy/frameworks/management/agent",
                "Broker::disable_ssl=T",
                "Broker::default_port=0/tcp",
            ])
            .arg(format!("Management::Agent::name={}", recording.agent))
            .arg(format!("Management::state_dir={}", home.display()))
            .env_clear()
            .env(zeek_simulator::SUPERVISOR_VARIABLE, supervisor.to_string())
            .env(zeek_simulator::NODE_VARIABLE, node.to_string())
            .env("ZEEK_AGENT_ADDR", agent.ip().to_string())
            .env("ZEEK_AGENT_PORT", format!("{}/tcp", agent.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut supervisor = Self(child);
        let stdout = supervisor.0.stdout.take().unwrap();
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("the Supervisor starts");
        (supervisor, ready["broker"][0].as_str().unwrap().parse().unwrap())
    }

    fn stop(mut self) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM).unwrap();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What has been heard: answers, news, hellos.
struct Received {
    endpoint: Endpoint,
    answers: Vec<(String, Event)>,
    news: Vec<(String, Event)>,
    pids: Pids,
    starts: BTreeMap<String, usize>,
    hellos: BTreeMap<String, usize>,
}

impl Received {
    async fn one_more(&mut self) {
        let event = timeout(PATIENCE, self.endpoint.recv()).await;
        let event = event.unwrap_or_else(|_| {
            panic!(
                "nothing more is said after {:#?} {:#?}",
                self.answers.last(),
                self.news
            )
        });
        let Some(EndpointEvent::Message(Message { topic, data, .. })) = event else {
            return;
        };
        let Ok(event) = Event::from_data(data) else { return };
        let node = event.args.first().map(text_or_empty).unwrap_or_default();
        if event.name.ends_with(b"notify_node_hello") {
            *self.hellos.entry(node).or_default() += 1;
            return;
        }
        if event.name.ends_with(b"node_status") {
            *self.starts.entry(node).or_default() += 1;
        }
        let event = self.pids.canonical(event);
        if event.name.ends_with(b"_response") {
            self.answers.push((topic.to_string(), event));
        } else {
            self.news.push((topic.to_string(), event));
        }
    }
}

/// A Supervisor in this directory, and what an agent hears of it that is connected to it.
async fn connected(
    recording: &Recording,
    version: &str,
    home: &Path,
) -> (Received, EndpointHandle, Supervisor) {
    let mut config = EndpointConfig::default();
    config.tls = TlsConfig::Off;
    config.subscriptions = recording
        .filter
        .iter()
        .map(|topic| Topic::new(topic).unwrap())
        .collect();
    let endpoint = Endpoint::start(config).unwrap();
    let handle = endpoint.handle();
    let agent = handle.listen("127.0.0.1", 0).await.unwrap()[0];
    let (supervisor, address) = Supervisor::start(recording, version, home, agent);
    let mut heard = Received {
        endpoint,
        answers: Vec::new(),
        news: Vec::new(),
        pids: Pids::default(),
        starts: BTreeMap::new(),
        hellos: BTreeMap::new(),
    };
    handle.peer(PeerAddress::from(address), None);
    let first = timeout(PATIENCE, heard.endpoint.recv()).await;
    match first.expect("the Supervisor is there in time") {
        Some(EndpointEvent::PeerAdded(peer)) if peer.dialled.is_some() => {}
        other => panic!("expected the Supervisor: {other:?}"),
    }
    (heard, handle, supervisor)
}

async fn replay(recording: &Recording, version: &str) {
    let home = TempDir::with_prefix("zeek-simulator-").unwrap();
    let (mut heard, handle, supervisor) = connected(recording, version, home.path()).await;
    // Nodes whose hellos the recorded agent could hear.
    let hears_nodes = recording
        .filter
        .iter()
        .any(|topic| topic == "zeek/management/node");

    let own = home.path().to_str().unwrap();
    let (mut answers, mut news) = (Vec::new(), Vec::new());
    let mut recorded_pids = Pids::default();
    for said in &recording.said {
        let event = Event {
            args: said
                .event
                .args
                .iter()
                .map(|data| moved(data, &recording.state_dir, own))
                .collect(),
            ..said.event.clone()
        };
        if said.by_supervisor {
            let list = if event.name.ends_with(b"_response") {
                &mut answers
            } else {
                &mut news
            };
            list.push((said.topic.clone(), recorded_pids.canonical(event)));
            continue;
        }
        let node = event.args.get(1).map(text_or_empty).unwrap_or_default();
        let lives = |heard: &Received| {
            !hears_nodes || node.is_empty() || heard.starts.get(&node) == heard.hellos.get(&node)
        };
        while heard.answers.len() < answers.len() || heard.news.len() < news.len() || !lives(&heard) {
            heard.one_more().await;
        }
        handle
            .publish(Topic::new(&said.topic).unwrap(), &event.into_data())
            .await
            .unwrap();
    }
    while heard.answers.len() < answers.len() || heard.news.len() < news.len() {
        heard.one_more().await;
    }
    heard.news.truncate(news.len());
    assert!(!answers.is_empty());

    for (recorded, ours) in [(news, heard.news), (answers, heard.answers)] {
        assert_eq!(recorded.len(), ours.len());
        for (recorded, ours) in recorded.into_iter().zip(ours) {
            assert_eq!(ours, recorded);
        }
    }
    heard.endpoint.shutdown().await;
    supervisor.stop();
    let left: BTreeSet<i64> = heard
        .pids
        .numbers
        .into_keys()
        .filter(|pid| Path::new(&format!("/proc/{pid}")).exists())
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn replay_all(scenario: &str, version: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let recordings = Recording::all(scenario);
    assert!(!recordings.is_empty());
    for recording in recordings {
        runtime.block_on(replay(&recording, version));
    }
}

#[test]
fn a_session_with_zeek_9_0() {
    replay_all("zeek-9.0.0-rc1/a2c", "9.0.0");
}

#[test]
fn a_session_with_zeek_6_0() {
    replay_all("zeek-6.0.9/a2c", "6.0.9");
}

#[test]
fn an_agent_of_zeek_9_0_that_listens() {
    replay_all("zeek-9.0.0-rc1/c2a", "9.0.0");
}

#[test]
fn an_agent_of_zeek_6_0_that_listens() {
    replay_all("zeek-6.0.9/c2a", "6.0.9");
}

#[test]
fn two_instances_of_zeek_9_0() {
    replay_all("zeek-9.0.0-rc1/two-instances", "9.0.0");
}

#[test]
fn two_instances_of_zeek_6_0() {
    replay_all("zeek-6.0.9/two-instances", "6.0.9");
}

#[test]
fn a_node_of_zeek_9_0_that_fails() {
    replay_all("zeek-9.0.0-rc1/failing-node", "9.0.0");
}

#[test]
fn a_node_of_zeek_6_0_that_fails() {
    replay_all("zeek-6.0.9/failing-node", "6.0.9");
}
