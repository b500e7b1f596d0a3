//! Transcripts: text files that say what the agent does when something happens to it.
//!
//! ```text
//! settings {"connecting": false}           before the first input: what differs from `settings()`
//! > started                                an input; broker ID and process id are always the same
//! > supervisor Ready                       a report, its fields as JSON
//! > supervisor Created {"id": "#2", "outcome": {"Ok": null}}
//! > status #1 a=99:AGENT manager=100       the report `Status`: nodes with process ids, as they were created, or for
//! >                                        `:AGENT` and `:CONTROLLER` as Zeek creates those
//! > peer 127.0.0.1:2150                    a peering
//! > deploy_request {"reqid": "r1"}         a request; lines that begin with `>  ` continue it
//! > ours deploy_request {...}             a request of a controller of this project,
//! > ours-c deploy_request {...}           or of the one that is peer c
//! > lost c                                the end of a peering
//! > adopt                                 what an operator asks for
//! > link c announce {...}                  a message of the extension
//! > prepared [...]                         why nodes could not run
//! > to TOPIC deploy_request {...}          a request on another topic than the agent's
//! > notify_node_hello {"node": "manager"}  what a node tells
//! > sign manager Hello {"pid": 7, "version": "9.0.0"}  what one under our own supervision tells of itself: `Hello`, `TraceDone`, `Bye`,
//! > sign manager live                      or a heartbeat, and where its packets come from; it sends one every five seconds
//! > silent manager REASON                  its peering has ended, as it says nothing any more
//! > controller c=97                       the controller that the agent keeps has come up; without a name: has ended
//! > directory failed /d permission denied  a directory could not be created
//! > program {"path": ...}                  what the program is like that nodes are started from
//! > +4.5s                                  time passes, then a tick
//! > again                                  this agent is gone, and there is another, which recalls what was to be remembered
//! > remembered {"Err": "disk full"}        what should run was written down, or not
//! > stopping                               the end
//! < INFO rx ...                            expected actions: a log line,
//! < mkdir /d                               a directory,
//! < supervise Status {"id": "#1"}          a command,
//! < ask which Zeek is installed
//! < remember {...}                       what should run is to be written down
//! < archive DIRECTORY COMMAND              an archiver run, and its log line,
//! < publish TOPIC EVENT {...}              an event
//! < link c announce {...}                  a message of the extension
//! < ask linked read_on {...}               a request to nodes under our own supervision
//! < prepare [...] [...]                    the host is looked at, for these nodes; these ports do not count
//! < deadline 5s                            after time has passed: when the next tick is due
//! ```
//!
//! See [`testkit::transcript`] for the rest.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use broker_codec::{
    EndpointId,
    data::{Timespan, Timestamp, ZeekString},
};
use mgmt_agent::core::{
    Action, Agent, Command, Desired, Input, KeptController, LifeSign, NodeSpec, Report, Settings, Supervise,
    Supervised,
};
use mgmt_api::{Now, OperatorRequest, SequentialIds, link::Prepared, node_link::Beat};
use testkit::transcript::{
    self, Machine, json, letter, name_and_fields, peer_id, time_passes, variant, words,
};

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

pub(crate) struct Run {
    settings: Settings,
    agent: Option<Agent>,
    now: Now,
    /// What the Supervisor was told to create.
    created: BTreeMap<ZeekString, NodeSpec>,
    /// What was to be written down.
    remembered: Desired,
    /// How often, without having been said to end.
    writes: usize,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            settings: settings(),
            agent: None,
            now: Now::START,
            created: BTreeMap::new(),
            remembered: Desired::default(),
            writes: 0,
        }
    }
}

impl Machine for Run {
    fn prepare(&mut self, line: &str) {
        let changes = line.strip_prefix("settings ").expect("settings");
        transcript::change(&mut self.settings, changes);
    }

    fn input(&mut self, text: &str, out: &mut String) {
        if text == "again" {
            let mut agent = Agent::new(self.settings.clone(), Box::new(SequentialIds::default()));
            agent.recall(self.remembered.clone());
            self.agent = Some(agent);
            self.writes = 0;
            return;
        }
        let input = self.parse(text);
        let tick = input == Input::Tick;
        let is_asked = matches!(input, Input::Operator { .. } | Input::Link { .. });
        if matches!(input, Input::Remembered(_)) {
            self.writes = self.writes.saturating_sub(1);
        }
        let now = self.now;
        let agent = self
            .agent
            .get_or_insert_with(|| Agent::new(self.settings.clone(), Box::new(SequentialIds::default())));
        let mut actions = agent.step(now, input);
        let writes = |action: &&Action| matches!(action, Action::Remember(_));
        self.writes += actions.iter().filter(writes).count();
        // Operators hear what they have asked for when it is written down.
        if is_asked {
            for _ in 0..std::mem::take(&mut self.writes) {
                actions.extend(agent.step(now, Input::Remembered(Ok(()))));
            }
        }
        for action in actions {
            if let Action::Supervise(Command::Create { node, .. } | Command::Relayout { node, .. }) = &action
            {
                self.created.insert(node.name.clone(), (**node).clone());
            }
            if let Action::Remember(desired) = &action {
                self.remembered = desired.clone();
            }
            print(&action, &self.settings, out);
        }
        if let (true, Some(deadline)) = (tick, agent.deadline()) {
            writeln!(out, "< deadline {deadline}").unwrap();
        }
    }
}

impl Run {
    fn parse(&mut self, text: &str) -> Input {
        if let Some(time) = time_passes(text) {
            self.now = self.now + time;
            return Input::Tick;
        }
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "started" => started(),
            "vitals" => Input::Vitals { id: 1 },
            "remembered" => Input::Remembered(json(rest)),
            "ending" => Input::EndNodes,
            "stopping" => Input::Stopping { without_nodes: false },
            "supervisor" => {
                let (name, fields) = rest.split_once(' ').unwrap_or((rest, ""));
                Input::Supervisor(variant(name, fields))
            }
            "status" => Input::Supervisor(self.status(rest)),
            "peer" => Input::PeerAdded { peer: rest.into() },
            "program" => Input::Program(json(rest)),
            "controller" => Input::Controller(rest.split_once('=').map(|(name, pid)| KeptController {
                name: name.into(),
                pid: pid.parse().unwrap(),
            })),
            "directory" => {
                let rest = rest.strip_prefix("failed ").unwrap();
                let (path, reason) = rest.split_once(' ').unwrap();
                Input::DirectoryFailed {
                    path: path.into(),
                    reason: reason.into(),
                }
            }
            "notify_node_hello" | "node_dispatch_response" => {
                Input::Node(variant(&format!("Management::Node::API::{word}"), rest))
            }
            "silent" => {
                let [node, reason] = words(rest);
                Input::NodeSilent {
                    node: node.into(),
                    reason: reason.into(),
                }
            }
            "sign" => {
                let [node, sign] = words(rest);
                let (name, fields) = sign.split_once(' ').unwrap_or((sign, ""));
                let is_beat = name.starts_with(char::is_lowercase);
                Input::SignOfLife {
                    node: node.into(),
                    sign: if is_beat {
                        beat(name)
                    } else {
                        variant(name, fields)
                    },
                }
            }
            "link" => {
                let [peer, event, fields] = words(rest);
                Input::Link {
                    peer: peer_id(peer),
                    message: variant(&format!("MgmtLink::{event}"), fields),
                    principal: None,
                }
            }
            "prepared" => Input::Prepared(Prepared {
                problems: json(rest),
                backend: Some("broker".into()),
                fates: None,
            }),
            "to" => {
                let (topic, rest) = rest.split_once(' ').unwrap();
                request(peer_id("p"), topic, rest, false)
            }
            "lost" => Input::PeerLost { peer: peer_id(rest) },
            "adopt" => Input::Operator {
                id: 1,
                principal: testkit::operator(),
                request: OperatorRequest::Adopt,
            },
            _ => self.of_controller(text),
        }
    }

    /// A request of a controller on the agent's topic.
    fn of_controller(&self, text: &str) -> Input {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let topic = format!("{}/{}", self.settings.topic_prefix, self.settings.name);
        let (peer, of_ours) = match word.strip_prefix("ours") {
            Some("") => ("p", true),
            Some(peer) => (peer.trim_start_matches('-'), true),
            None => ("p", false),
        };
        request(peer_id(peer), &topic, if of_ours { rest } else { text }, of_ours)
    }

    fn status(&self, text: &str) -> Report {
        let mut words = text.split(' ');
        let id = words.next().unwrap().into();
        let status = words
            .map(|word| {
                let (name, pid) = word.split_once('=').unwrap();
                let (pid, role) = pid.split_once(':').unwrap_or((pid, ""));
                let name: ZeekString = name.into();
                let created = self.created.get(&name);
                let supervised = Supervised {
                    pid: Some(pid.parse().unwrap()),
                    age: None,
                    management: Some(role.into()).filter(|_| !role.is_empty()),
                    node: created.and_then(|node| node.cluster.get(&name).cloned()),
                    spec: created
                        .filter(|_| self.settings.supervise != Supervise::Zeek)
                        .map(|node| Box::new(node.clone())),
                };
                (name, supervised)
            })
            .collect();
        Report::Status { id, status }
    }
}

fn beat(source: &str) -> LifeSign {
    LifeSign::Beat(Box::new(Beat {
        number: 1,
        every: Timespan(5_000_000_000),
        source: source.into(),
        network_time: Timestamp(0),
        received: 0,
        dropped: 0,
        link: 0,
        bytes: 0,
        connections: 0,
        events: 0,
        peers: Vec::new(),
    }))
}

fn request(peer: EndpointId, topic: &str, text: &str, of_ours: bool) -> Input {
    let (event, fields) = text.split_once(' ').unwrap();
    Input::Request {
        peer,
        topic: topic.into(),
        request: variant(&format!("Management::Agent::API::{event}"), fields),
        of_ours,
        principal: None,
    }
}

fn print(action: &Action, settings: &Settings, out: &mut String) {
    match action {
        Action::Log { level, message, .. } => writeln!(out, "< {level} {message}"),
        Action::Report { level, message } => writeln!(out, "< report {level} {message}"),
        Action::MakeDirectory { path } => writeln!(out, "< mkdir {path}"),
        Action::Supervise(command) => {
            let (name, fields) = name_and_fields(command);
            writeln!(out, "< supervise {name} {fields}")
        }
        Action::AskVersion => writeln!(out, "< ask which Zeek is installed"),
        Action::Remember(desired) => writeln!(out, "< remember {}", transcript::value(desired)),
        Action::RunArchiver {
            directory,
            command,
            message,
        } => writeln!(out, "< archive {directory} {command}\n<   INFO {message}"),
        Action::Tell(message) => {
            let (name, fields) = name_and_fields(message);
            writeln!(out, "< publish {} {name} {fields}", settings.agent_topic())
        }
        Action::Ask(request) => {
            let (name, fields) = name_and_fields(request);
            writeln!(out, "< publish {} {name} {fields}", settings.node_topic)
        }
        Action::AskLinked(request) => {
            let (name, fields) = name_and_fields(request);
            writeln!(out, "< ask linked {name} {fields}")
        }
        Action::Prepare {
            nodes,
            cluster,
            given_up,
        } => writeln!(
            out,
            "< prepare {} {} {}",
            transcript::value(nodes),
            transcript::value(cluster),
            transcript::value(given_up)
        ),
        Action::Answer { outcome, .. } => writeln!(out, "< answer {}", transcript::value(outcome)),
        Action::Link { peer, message } => {
            let (name, fields) = name_and_fields(message);
            writeln!(out, "< link {} {name} {fields}", letter(*peer))
        }
        Action::Vitals { vitals, .. } => {
            for text in &vitals.failing {
                writeln!(out, "< failing {text}").unwrap();
            }
            for node in &vitals.nodes {
                writeln!(out, "< node {}", transcript::value(node)).unwrap();
            }
            Ok(())
        }
        other => panic!("{other:?} is for peers and Supervisor to say"),
    }
    .unwrap();
}
