//! Recordings of Zeek's agent, with ours in its place: the same events to the same peers, and the same log lines.
//!
//! What controller, Supervisor and nodes sent to Zeek's agent is sent to ours at the same time. What ours publishes is
//! compared with what Zeek's agent published, per peer and in order, as values. Ids that an agent draws are mapped: the
//! n-th request of a kind about a node has the n-th recorded id. The order within a result and within a burst of
//! requests to the Supervisor is that of Zeek's hash tables and does not count. Everything also goes through a journal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker_codec::{
    Data,
    data::{EnumValue, Port, ZeekString},
    zeek::Event,
};
use mgmt_agent::core::{Action, Agent, Input, Outgoing, Settings, zeek};
use mgmt_api::{AgentRequest, Level, NodeMessage, Now, SequentialIds};
use serde::{Serialize, de::DeserializeOwned};

use crate::recording::{Peer, Recording, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Ours publishes an event of this name, Zeek's does not.
    Extra(&'static str),
    /// Zeek's publishes an event of this name, ours does not.
    Missing(&'static str),
    /// Ours reports a node as crashed that Zeek's reports as pending.
    Crashed,
    /// Ours writes a line that begins like this, Zeek's does not.
    ExtraLine(&'static str),
    /// Zeek's writes a line that begins like this, ours does not.
    MissingLine(&'static str),
}

use Difference::{Crashed, Extra, ExtraLine, Missing, MissingLine};

const CHANGE: Difference = Extra("Management::Agent::API::notify_change");
const ERROR: Difference = Extra("Management::Agent::API::notify_error");
const LOG: Difference = Extra("Management::Agent::API::notify_log");
const HELLO: Difference = Extra("Management::Agent::API::notify_agent_hello");
const MISSING: Difference = Missing("Management::Agent::API::deploy_response");
const DEPLOYS_NOTHING: Difference = MissingLine("rx Management::Agent::API::deploy_request  ");
const TIMED_OUT: Difference = MissingLine("request ");
const RESPONDS: Difference = MissingLine("tx Management::Agent::API::deploy_response ");
const STATES: &str = "DIFFERENCE(node-states), Q-29";
const EARLY: &str =
    "said when the Supervisor connects, before the controller does: in the recording nobody got it";

const TWICE: &str = "DIFFERENCE(one-answer), Q-06 and Q-07";

/// In which recording, for which of its agents, what differs, how often, and why.
type Waivers = (&'static str, usize, &'static [(Difference, usize, &'static str)]);

/// What differs on purpose.
const WAIVERS: &[Waivers] = &[
    ("mixed/mixed-9-6", 0, &[(CHANGE, 11, STATES), (HELLO, 1, EARLY)]),
    ("zeek-6.0.9/a2c", 0, &[(CHANGE, 41, STATES), (MISSING, 2, TWICE)]),
    ("zeek-6.0.9/c2a", 0, &[(CHANGE, 12, STATES), (HELLO, 1, EARLY)]),
    (
        "zeek-6.0.9/failing-node",
        0,
        &[
            (CHANGE, 4, STATES),
            (ERROR, 3, STATES),
            (LOG, 3, STATES),
            (Crashed, 1, STATES),
            (HELLO, 1, EARLY),
        ],
    ),
    (
        "zeek-6.0.9/two-instances",
        0,
        &[(CHANGE, 6, STATES), (HELLO, 1, EARLY)],
    ),
    ("zeek-6.0.9/two-instances", 1, &[(CHANGE, 6, STATES)]),
    ("zeek-6.0.9/two-instances", 2, &[(CHANGE, 4, STATES)]),
    (
        "zeek-9.0.0-rc1/a2c",
        0,
        &[
            (CHANGE, 41, STATES),
            (MISSING, 2, TWICE),
            (DEPLOYS_NOTHING, 1, TWICE),
            (TIMED_OUT, 2, TWICE),
            (RESPONDS, 2, TWICE),
        ],
    ),
    (
        "zeek-9.0.0-rc1/all-in-one",
        0,
        &[
            (CHANGE, 41, STATES),
            (HELLO, 1, EARLY),
            (MISSING, 2, TWICE),
            (DEPLOYS_NOTHING, 1, TWICE),
            (TIMED_OUT, 2, TWICE),
            (RESPONDS, 2, TWICE),
        ],
    ),
    (
        "zeek-9.0.0-rc1/c2a",
        0,
        &[(CHANGE, 12, STATES), (HELLO, 1, EARLY)],
    ),
    (
        "zeek-9.0.0-rc1/failing-node",
        0,
        &[
            (CHANGE, 4, STATES),
            (ERROR, 3, STATES),
            (LOG, 3, STATES),
            (Crashed, 1, STATES),
            (ExtraLine("node "), 3, STATES),
        ],
    ),
    ("zeek-9.0.0-rc1/restart-controller", 0, &[(CHANGE, 10, STATES)]),
    ("zeek-9.0.0-rc1/two-instances", 0, &[(CHANGE, 6, STATES)]),
    ("zeek-9.0.0-rc1/two-instances", 1, &[(CHANGE, 6, STATES)]),
    ("zeek-9.0.0-rc1/two-instances", 2, &[(CHANGE, 4, STATES)]),
];

fn check(scenario: &str) {
    for (index, recording) in Recording::all(scenario).into_iter().enumerate() {
        let waived = WAIVERS
            .iter()
            .find(|(other, agent, _)| *other == scenario && *agent == index)
            .unwrap_or_else(|| panic!("{scenario} has an agent {index}"));
        let waived: BTreeMap<Difference, usize> =
            waived.2.iter().map(|(what, count, _)| (*what, *count)).collect();
        assert_eq!(
            Replay::new(recording).run(),
            waived,
            "{scenario}, agent {index}: what differs, and what is waived"
        );
    }
}

/// Our agent with its Supervisor's machine, in the place of Zeek's.
struct Replay {
    recording: Recording,
    agent: Agent,
    supervisor: zeek::ZeekSupervisor,
    now: Now,
    sent: Vec<(Peer, Event)>,
    log: Vec<String>,
    /// The ids that Zeek's agent drew, by event and node, in order.
    drawn: BTreeMap<(ZeekString, ZeekString), VecDeque<ZeekString>>,
    /// Ours for each of them, and the reverse.
    ours: BTreeMap<ZeekString, ZeekString>,
    recorded: BTreeMap<ZeekString, ZeekString>,
}

impl Replay {
    fn new(recording: Recording) -> Self {
        let settings = Settings {
            name: recording.name.as_str().into(),
            connecting: recording.connecting,
            listen_port: Port::tcp(recording.listen_port),
            state_dir: recording.state_dir.as_str().into(),
            ..Settings::default()
        };
        let mut drawn: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (_, step) in &recording.steps {
            if let Step::Sent(_, event) = step
                && let Some((key, id)) = drawn_id(event)
                && seen.insert(id.clone())
            {
                drawn.entry(key).or_default().push_back(id);
            }
        }
        Self {
            recording,
            agent: Agent::new(settings, Box::new(SequentialIds::default())),
            supervisor: zeek::ZeekSupervisor::new(zeek::Settings::default()),
            now: Now::START,
            sent: Vec::new(),
            log: Vec::new(),
            drawn,
            ours: BTreeMap::new(),
            recorded: BTreeMap::new(),
        }
    }

    /// Returns what differs.
    fn run(mut self) -> BTreeMap<Difference, usize> {
        self.agent(Input::Started {
            broker_id: self.recording.broker_id.as_str().into(),
            pid: 0,
        });
        let mut expected = Vec::new();
        let mut seen = BTreeSet::new();
        for (at, step) in std::mem::take(&mut self.recording.steps) {
            self.advance(at);
            match step {
                Step::Connected(Peer::Supervisor) => self.supervisor(zeek::Input::Connected),
                Step::Connected(peer) => self.agent(Input::PeerAdded {
                    peer: format!("{peer:?}"),
                }),
                Step::Received(peer, topic, event) => self.receive(peer, topic, event),
                Step::Sent(peer, event) => {
                    // Events go to every peer that subscribes to their topic. What the Supervisor is told counts on its
                    // own connection, what nodes are told counts once.
                    let name = event.name.to_string();
                    let counts = match peer {
                        Peer::Supervisor => name.starts_with("SupervisorControl::"),
                        Peer::Controller => name.starts_with("Management::Agent::"),
                        Peer::Node => {
                            name.starts_with("Management::Node::")
                                && drawn_id(&event).is_some_and(|(_, id)| seen.insert(id))
                        }
                    };
                    if counts {
                        expected.push((peer, event));
                    }
                }
            }
        }
        self.differences(&expected)
    }

    fn differences(mut self, expected: &[(Peer, Event)]) -> BTreeMap<Difference, usize> {
        let mut differences = BTreeMap::new();
        let sent: Vec<(Peer, Event)> = self
            .sent
            .iter()
            .map(|(peer, event)| (*peer, self.with_recorded_ids(event)))
            .collect();
        for peer in [Peer::Supervisor, Peer::Controller, Peer::Node] {
            let of_peer = |events: &[(Peer, Event)]| -> Vec<Event> {
                let of_peer = events.iter().filter(|(other, _)| *other == peer);
                canonical(of_peer.map(|(_, event)| event.clone()).collect())
            };
            compare(of_peer(expected), of_peer(&sent), &mut differences);
        }
        self.compare_logs(&mut differences);
        differences
    }

    fn compare_logs(&mut self, differences: &mut BTreeMap<Difference, usize>) {
        let Some(log) = &self.recording.log else {
            return;
        };
        let mut expected: BTreeMap<String, isize> = BTreeMap::new();
        for line in log {
            *expected.entry(canonical_line(line)).or_default() += 1;
        }
        for line in &self.log {
            let line = self
                .recorded
                .iter()
                .rev()
                .fold(format!("{line} "), |line, (ours, recorded)| {
                    [" ", ",", ")"].iter().fold(line, |line, end| {
                        line.replace(&format!("{ours}{end}"), &format!("{recorded}{end}"))
                    })
                });
            *expected
                .entry(canonical_line(line.strip_suffix(' ').unwrap()))
                .or_default() -= 1;
        }
        for (line, count) in expected {
            let known = KNOWN_LINES.iter().find(|known| line.starts_with(*known));
            let difference = match (count, known) {
                (0, _) => continue,
                (1.., Some(known)) => MissingLine(known),
                (_, Some(known)) => ExtraLine(known),
                (_, None) => panic!("line {line:?}: {count} more in the recording"),
            };
            *differences.entry(difference).or_default() += count.unsigned_abs();
        }
    }

    /// Lets time pass, and everything happen that is due meanwhile.
    fn advance(&mut self, to: Now) {
        while let Some(due) = [self.agent.deadline(), self.supervisor.deadline()]
            .into_iter()
            .flatten()
            .min()
            .filter(|due| *due <= to)
        {
            self.now = due;
            self.supervisor(zeek::Input::Tick);
            self.agent(Input::Tick);
        }
        self.now = to;
    }

    fn receive(&mut self, peer: Peer, topic: String, event: Event) {
        let event = self.with_our_ids(event);
        if peer == Peer::Supervisor {
            self.supervisor(zeek::Input::Event(event));
            return;
        }
        let request: Result<AgentRequest, _> = event.parse();
        let message: Result<NodeMessage, _> = event.parse();
        match (request, message) {
            (Ok(request), _) => self.agent(Input::Request {
                topic: topic.into(),
                request,
            }),
            (_, Ok(message)) => self.agent(Input::Node(message)),
            // What Zeek's agent hears and has no handler for.
            (Err(_), Err(_)) => {}
        }
    }

    fn agent(&mut self, input: Input) {
        assert_eq!(journaled(&input), input);
        for action in self.agent.step(self.now, input) {
            assert_eq!(journaled(&action), action);
            match action {
                Action::Log {
                    level: Level::Debug, ..
                }
                | Action::MakeDirectory { .. }
                | Action::RunArchiver { .. } => {}
                Action::Log { message, .. } => self.log.push(message),
                Action::Supervise(command) => self.supervisor(zeek::Input::Command(command)),
                Action::Publish { event, .. } => {
                    let peer = match &event {
                        Outgoing::Agent(_) => Peer::Controller,
                        Outgoing::Node(_) => Peer::Node,
                    };
                    self.publish(peer, event.to_event().unwrap());
                }
            }
        }
    }

    fn supervisor(&mut self, input: zeek::Input) {
        assert_eq!(journaled(&input), input);
        for action in self.supervisor.step(self.now, input) {
            assert_eq!(journaled(&action), action);
            match action {
                zeek::Action::Log { message, .. } => self.log.push(message),
                zeek::Action::Publish { event, .. } => self.publish(Peer::Supervisor, event),
                zeek::Action::Report(report) => self.agent(Input::Supervisor(report)),
            }
        }
    }

    fn publish(&mut self, peer: Peer, event: Event) {
        if let Some((key, ours)) = drawn_id(&event) {
            let recorded = self.drawn.get_mut(&key).and_then(VecDeque::pop_front);
            let recorded = recorded.unwrap_or_else(|| panic!("Zeek's agent did not send {event:?}"));
            self.ours.insert(recorded.clone(), ours.clone());
            self.recorded.insert(ours, recorded);
        }
        self.sent.push((peer, event));
    }

    fn with_our_ids(&self, event: Event) -> Event {
        map_strings(event, &self.ours)
    }

    fn with_recorded_ids(&self, event: &Event) -> Event {
        map_strings(event.clone(), &self.recorded)
    }
}

/// What is read back of an input or action that is written to a journal.
fn journaled<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// The id that an agent has drawn for this event, and what tells the event from others of its name.
fn drawn_id(event: &Event) -> Option<((ZeekString, ZeekString), ZeekString)> {
    let drawn =
        event.name.starts_with(b"SupervisorControl::") || event.name.starts_with(b"Management::Node::");
    if !drawn || !event.name.ends_with(b"_request") {
        return None;
    }
    let Data::String(id) = &event.args[0] else {
        return None;
    };
    let node = match &event.args[1] {
        Data::String(node) => node.clone(),
        Data::Vector(config) => match &config[0] {
            Data::String(node) => node.clone(),
            _ => return None,
        },
        _ => return None,
    };
    let node = if event.name.starts_with(b"Management::Node::") {
        ZeekString::default()
    } else {
        node
    };
    Some(((event.name.clone(), node), id.clone()))
}

fn map_strings(event: Event, ids: &BTreeMap<ZeekString, ZeekString>) -> Event {
    fn map(data: Data, ids: &BTreeMap<ZeekString, ZeekString>) -> Data {
        match data {
            Data::String(text) => Data::String(ids.get(&text).cloned().unwrap_or(text)),
            Data::Vector(elements) => {
                Data::Vector(elements.into_iter().map(|element| map(element, ids)).collect())
            }
            other => other,
        }
    }
    Event {
        args: event.args.into_iter().map(|arg| map(arg, ids)).collect(),
        ..event
    }
}

/// Without what does not count: the order of results, of the rows in a status and of a burst of requests to the
/// Supervisor, and metadata.
fn canonical(mut events: Vec<Event>) -> Vec<Event> {
    for event in &mut events {
        event.metadata = None;
        if event.name.ends_with(b"_response") {
            let result = &mut event.args[1];
            if event.name.ends_with(b"get_nodes_response") {
                if let Data::Vector(fields) = result
                    && let Some(Data::Vector(rows)) = fields.get_mut(3)
                {
                    rows.iter_mut().for_each(as_zeek_7);
                    rows.sort();
                }
            } else if let Data::Vector(results) = result
                && matches!(results.first(), Some(Data::Vector(_)))
            {
                results.sort();
            }
        }
    }
    // The ids of a burst are not in the order of nodes.
    let mut at = 0;
    while at < events.len() {
        let burst = events[at..]
            .iter()
            .take_while(|event| {
                event.name == events[at].name && event.name.starts_with(b"SupervisorControl::")
            })
            .count()
            .max(1);
        events[at..at + burst].sort_by(|left, right| left.args.cmp(&right.args));
        at += burst;
    }
    events
}

/// Before Zeek 7.0 a `NodeStatus` has no metrics port.
fn as_zeek_7(row: &mut Data) {
    if let Data::Vector(fields) = row
        && fields.len() == 6
    {
        fields.push(Data::None);
    }
}

fn compare(expected: Vec<Event>, sent: Vec<Event>, differences: &mut BTreeMap<Difference, usize>) {
    let mut sent = VecDeque::from(sent);
    let mut differ = |difference| *differences.entry(difference).or_default() += 1;
    let known_extra = |event: &Event| {
        [CHANGE, ERROR, LOG, HELLO]
            .into_iter()
            .find(|known| matches!(known, Extra(name) if event.name == *name))
    };
    for expected in expected {
        loop {
            let next = sent.front();
            if next == Some(&expected) {
                sent.pop_front();
                break;
            }
            if let Some(next) = next
                && next.name == expected.name
                && as_pending(next) == expected
            {
                differ(Crashed);
                sent.pop_front();
                break;
            }
            if let Some(extra) = next.and_then(known_extra) {
                differ(extra);
                sent.pop_front();
                continue;
            }
            assert!(
                expected.name == "Management::Agent::API::deploy_response",
                "expected {expected:#?}\nsent {next:#?}"
            );
            differ(MISSING);
            break;
        }
    }
    for event in sent {
        differ(known_extra(&event).unwrap_or_else(|| panic!("{event:#?} is not in the recording")));
    }
}

/// With nodes that have crashed as Zeek reports them.
fn as_pending(event: &Event) -> Event {
    fn map(data: &Data) -> Data {
        match data {
            Data::EnumValue(EnumValue(name)) if *name == "Management::CRASHED" => {
                Data::EnumValue(EnumValue("Management::PENDING".into()))
            }
            Data::Vector(elements) => Data::Vector(elements.iter().map(map).collect()),
            other => other.clone(),
        }
    }
    let event = Event {
        args: event.args.iter().map(map).collect(),
        ..event.clone()
    };
    canonical(vec![event]).remove(0)
}

/// The parts of a line in a fixed order: lists in it are in the order of Zeek's hash tables.
fn canonical_line(line: &str) -> String {
    let (head, list) = match line.split_once("_response ") {
        Some((head, list)) => (format!("{head}_response "), list),
        None => return line.to_owned(),
    };
    let mut parts: Vec<&str> = list
        .split(", ")
        .flat_map(|part| part.split(" ("))
        .map(|part| part.trim_matches(['[', ']', ')']))
        .collect();
    parts.sort_unstable();
    head + &parts.join(", ")
}

/// Lines that may differ.
const KNOWN_LINES: &[&str] = &[
    "rx Management::Agent::API::deploy_request  ",
    "tx Management::Agent::API::deploy_response ",
    "request ",
    "node ",
];

/// One test for each recording in the table.
macro_rules! recordings {
    ($($name:ident: $scenario:literal),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                check($scenario);
            }
        )*

        #[test]
        fn every_waiver_is_for_a_recording_that_is_checked() {
            let checked: BTreeSet<&str> = [$($scenario),*].into();
            let waived: BTreeSet<&str> = WAIVERS.iter().map(|(scenario, ..)| *scenario).collect();
            assert_eq!(checked, waived);
        }
    };
}

recordings!(
    a2c: "zeek-9.0.0-rc1/a2c",
    all_in_one: "zeek-9.0.0-rc1/all-in-one",
    c2a: "zeek-9.0.0-rc1/c2a",
    failing_node: "zeek-9.0.0-rc1/failing-node",
    restart_controller: "zeek-9.0.0-rc1/restart-controller",
    two_instances: "zeek-9.0.0-rc1/two-instances",
    a2c_of_zeek_6: "zeek-6.0.9/a2c",
    c2a_of_zeek_6: "zeek-6.0.9/c2a",
    failing_node_of_zeek_6: "zeek-6.0.9/failing-node",
    two_instances_of_zeek_6: "zeek-6.0.9/two-instances",
    zeek_6_under_a_controller_of_zeek_9: "mixed/mixed-9-6",
);
