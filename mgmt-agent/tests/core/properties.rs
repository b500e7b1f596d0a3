//! What holds when controllers, nodes and the Supervisor do anything, in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use broker_codec::{
    Data,
    data::{Port, Set, ZeekString},
    zeek::Event,
};
use mgmt_agent::{
    core::{Action, Agent, Command, Input, Processes, Report, Settings, Supervised, Turn, ZeekSettings},
    supervisors::{
        self, Supervisor,
        zeek::{News, ZeekSupervisor},
    },
};
use mgmt_api::{
    AgentMessage, AgentRequest, ClusterRole, Configuration, Instance, Node, NodeMessage, NodeOutputs,
    NodeRequest, Now, ResultRecord, SequentialIds, State, SupervisedNode, SupervisorMessage,
    SupervisorResponse, SupervisorStatus,
};
use proptest::{collection::vec, prelude::*};

use crate::transcript::{settings, started};

const NAMES: [&str; 4] = ["one", "two", "with space", "../up"];

/// Something that happens. Small numbers choose from what there is at that moment.
#[derive(Clone, Debug)]
enum Op {
    Request {
        kind: u8,
        reqid: u8,
        config: u8,
        nodes: u8,
    },
    /// A report that ends one of the latest commands, or one that never was, in a way that need not fit it.
    End {
        command: u8,
        how: u8,
        nodes: u8,
    },
    Ready,
    Lost,
    /// The Supervisor's process was started.
    Restarted,
    /// The installed Zeek says which one it is.
    Version {
        known: bool,
    },
    Started {
        node: u8,
        pid: u8,
    },
    Exited {
        node: u8,
    },
    Hello {
        node: u8,
    },
    Dispatched {
        request: u8,
        node: u8,
        data: u8,
    },
    Peer,
    DirectoryFailed,
    Wait {
        tenths: u8,
    },
    Stopping,
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0..5u8;
    prop_oneof![
        6 => (0..6u8, 0..4u8, 0..6u8, 0..16u8)
            .prop_map(|(kind, reqid, config, nodes)| Op::Request { kind, reqid, config, nodes }),
        8 => (0..3u8, 0..8u8, 0..32u8).prop_map(|(command, how, nodes)| Op::End { command, how, nodes }),
        3 => Just(Op::Ready),
        1 => Just(Op::Lost),
        1 => Just(Op::Restarted),
        2 => any::<bool>().prop_map(|known| Op::Version { known }),
        3 => (node.clone(), 0..4u8).prop_map(|(node, pid)| Op::Started { node, pid }),
        2 => node.clone().prop_map(|node| Op::Exited { node }),
        4 => node.clone().prop_map(|node| Op::Hello { node }),
        3 => (0..4u8, node, 0..3u8).prop_map(|(request, node, data)| Op::Dispatched { request, node, data }),
        1 => Just(Op::Peer),
        1 => Just(Op::DirectoryFailed),
        4 => (0..60u8).prop_map(|tenths| Op::Wait { tenths }),
        1 => Just(Op::Stopping),
    ]
}

fn name(index: u8) -> ZeekString {
    NAMES
        .get(usize::from(index))
        .copied()
        .unwrap_or("elsewhere")
        .into()
}

/// Those of the first names whose bits are set.
fn names(bits: u8) -> impl Iterator<Item = ZeekString> {
    (0..5).filter(move |index| bits & (1 << index) != 0).map(name)
}

fn node(name: ZeekString, instance: &str) -> Node {
    Node {
        metrics_port: Some(Port::tcp(9000)),
        ..Node::new(name, instance, ClusterRole::Worker)
    }
}

/// Some configurations: empty, without nodes here, with nodes here, with a node of an undeclared instance.
fn configuration(index: u8) -> Configuration {
    let nodes = match index {
        0 => vec![],
        1 => vec![node("other".into(), "b")],
        2 => vec![node(name(0), "a"), node("other".into(), "b")],
        3 => vec![node(name(0), "a"), node(name(1), "a")],
        4 => (0..4).map(|index| node(name(index), "a")).collect(),
        _ => vec![node(name(0), "a"), node(name(1), "nowhere")],
    };
    let instances = ["a", "b"].map(Instance::new);
    Configuration::new(format!("c{index}"), instances, nodes)
}

fn request(kind: u8, reqid: u8, config: u8, nodes: u8) -> AgentRequest {
    let reqid = ZeekString::from(["", "r1", "r2", "r3"][usize::from(reqid)]);
    let nodes: Set<ZeekString> = names(nodes).collect();
    match kind {
        0 => AgentRequest::Deploy {
            reqid,
            config: configuration(config),
            force: nodes.is_empty(),
        },
        1 => AgentRequest::GetNodes { reqid },
        2 => AgentRequest::NodeDispatch {
            reqid,
            action: vec!["get_id_value".into(), "x".into()],
            nodes,
        },
        3 => AgentRequest::AgentWelcome { reqid },
        4 => AgentRequest::AgentStandby { reqid },
        _ => AgentRequest::Restart { reqid, nodes },
    }
}

/// Sees to it that every request is answered once, that commands have ids of their own, and that states follow one
/// another.
#[derive(Default)]
struct Observer {
    /// The requests that have not been answered, by the response's name and the id.
    open: BTreeSet<(String, ZeekString)>,
    commands: Vec<ZeekString>,
    dispatches: Vec<ZeekString>,
    states: BTreeMap<ZeekString, State>,
}

impl Observer {
    fn requested(&mut self, request: &AgentRequest) {
        let response = request.event_name().replace("_request", "_response");
        // A repetition of a live request has that one's answer.
        self.open.insert((response, request.reqid().clone()));
    }

    fn command(&mut self, command: &Command) {
        assert!(!self.commands.contains(command.id()), "{command:?} has an old id");
        self.commands.push(command.id().clone());
        if let Command::Create { node, .. } = command {
            let directory = node.directory.to_string();
            assert_eq!(directory, format!("/state/nodes/{}", node.name));
            assert!(!directory.contains("/.."));
            assert!(node.cluster.contains_key(&node.name));
        }
    }

    fn told(&mut self, message: &AgentMessage) {
        Event::of(message).unwrap();
        if let AgentMessage::Change { n, old, new, .. } = message {
            assert_eq!(n.state, *new);
            assert_ne!(old, new);
            let before = self.states.insert(n.name.clone(), *new);
            // A node that was not part of the configuration before begins anew.
            let anew = before.is_none_or(|before| before == State::Stopped);
            assert!(
                before == Some(*old) || (anew && *old == State::Unknown),
                "{before:?} {n:?}"
            );
        } else if let Some(reqid) = message.reqid() {
            let key = (message.event_name().to_owned(), reqid.clone());
            assert!(self.open.remove(&key), "no request waits for {message:?}");
        }
    }
}

struct World {
    agent: Agent,
    observer: Observer,
    now: Now,
}

impl World {
    fn new() -> Self {
        let settings = Settings {
            archival: Some(mgmt_agent::core::Archival {
                interval: Duration::from_secs(7),
                directory: "/spool".into(),
                command: "archive".into(),
            }),
            ..settings()
        };
        let mut world = Self {
            agent: Agent::new(settings, Box::new(SequentialIds::default())),
            observer: Observer::default(),
            now: Now::START,
        };
        world.step(started());
        world
    }

    fn step(&mut self, input: Input) -> Vec<Command> {
        if let Input::Request { request, .. } = &input {
            self.observer.requested(request);
        }
        let mut commands = Vec::new();
        for action in self.agent.step(self.now, input) {
            match action {
                Action::Tell(message) => self.observer.told(&message),
                Action::Ask(request) => {
                    Event::of(&request).unwrap();
                    let NodeRequest::NodeDispatch { reqid, .. } = request;
                    self.observer.dispatches.push(reqid);
                }
                Action::Supervise(command) => {
                    self.observer.command(&command);
                    commands.push(command);
                }
                Action::MakeDirectory { path } => assert!(path.starts_with(b"/state/nodes/")),
                Action::Log { .. } | Action::Report { .. } | Action::RunArchiver { .. } => {}
                other => panic!("{other:?} is for peers and Supervisor to say"),
            }
        }
        assert!(self.agent.deadline().is_none_or(|deadline| deadline > self.now));
        commands
    }

    fn input(&self, op: &Op) -> Input {
        match op {
            Op::Request {
                kind,
                reqid,
                config,
                nodes,
            } => Input::Request {
                topic: "zeek/management/agent/a".into(),
                request: request(*kind, *reqid, *config, *nodes),
                of_ours: *nodes == 0,
            },
            Op::End { command, how, nodes } => Input::Supervisor(self.end(*command, *how, *nodes)),
            Op::Ready => Input::Supervisor(Report::Ready),
            Op::Lost => Input::Supervisor(Report::Lost {
                reason: "gone".into(),
            }),
            Op::Started { node, pid: 0 } => Input::Supervisor(Report::NotStarted { node: name(*node) }),
            Op::Started { node, pid } => Input::Supervisor(Report::NodeStarted {
                node: name(*node),
                pid: i64::from(*pid),
            }),
            Op::Exited { node } => Input::Supervisor(Report::NodeExited {
                node: name(*node),
                outputs: outputs(),
            }),
            Op::Hello { node } => Input::Node(NodeMessage::Hello { node: name(*node) }),
            Op::Dispatched { request, node, data } => {
                let mut latest = self.observer.dispatches.iter().rev();
                let reqid = latest.nth(usize::from(*request)).cloned().unwrap_or_default();
                let result = ResultRecord {
                    data: [None, Some(Data::String("1".into())), Some(Data::Count(1))][usize::from(*data)]
                        .clone(),
                    node: Some(name(*node)),
                    ..ResultRecord::success(reqid.clone())
                };
                Input::Node(NodeMessage::NodeDispatch { reqid, result })
            }
            Op::Peer => Input::PeerAdded { peer: "peer".into() },
            Op::DirectoryFailed => Input::DirectoryFailed {
                path: "/state/nodes/one".into(),
                reason: "permission denied".into(),
            },
            Op::Wait { .. } | Op::Restarted | Op::Version { .. } => Input::Tick,
            Op::Stopping => Input::Stopping { without_nodes: true },
        }
    }

    fn end(&self, command: u8, how: u8, nodes: u8) -> Report {
        let mut latest = self.observer.commands.iter().rev();
        let id = latest.nth(usize::from(command)).cloned().unwrap_or_default();
        match how {
            0..3 => Report::Status {
                id,
                status: processes(nodes),
            },
            3 => Report::Created { id, outcome: Ok(()) },
            4 => Report::Created {
                id,
                outcome: Err("no".into()),
            },
            5 => Report::Restarted {
                id,
                existed: nodes.is_multiple_of(2),
            },
            6 => Report::Destroyed {
                id,
                existed: nodes.is_multiple_of(2),
            },
            _ => Report::Failed {
                id,
                reason: "silence".into(),
            },
        }
    }
}

fn outputs() -> NodeOutputs {
    NodeOutputs {
        stdout: vec![b'x'; 5000].into(),
        stderr: ZeekString::default(),
    }
}

fn processes(nodes: u8) -> Processes {
    let supervised = Supervised {
        pid: Some(7),
        ..Supervised::default()
    };
    names(nodes).map(|name| (name, supervised.clone())).collect()
}

fn status(nodes: u8) -> SupervisorStatus {
    let nodes = names(nodes).map(|name| {
        let mut node = SupervisedNode {
            node: mgmt_api::NodeConfig::default(),
            pid: Some(7),
        };
        node.node.name = name.clone();
        (name, node)
    });
    SupervisorStatus {
        nodes: nodes.collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The agent alone, under a Supervisor that says anything.
    #[test]
    fn every_request_is_answered_once(ops in vec(op(), 0..80)) {
        let mut world = World::new();
        for op in &ops {
            if let Op::Wait { tenths } = op {
                world.now = world.now + Duration::from_millis(100 * u64::from(*tenths));
            }
            let input = world.input(op);
            let _ = world.step(input);
        }
        world.now = world.now + Duration::from_secs(15);
        let _ = world.step(Input::Tick);
        prop_assert_eq!(world.observer.open, BTreeSet::new());
    }

    /// The agent on a `zeek -j` process that answers some requests, in any order and more than once, and is restarted at times, also by
    /// us.
    #[test]
    fn every_request_is_answered_and_every_command_ends_once_over_a_zeek_supervisor(ops in vec(op(), 0..80)) {
        let mut world = ZeekWorld::new();
        for op in &ops {
            match op {
                Op::End { command, how, nodes } => match world.asked.iter().rev().nth(usize::from(*command)) {
                    Some(request) if *how > 0 => world.hear(News::Event(answer(request, *nodes))),
                    _ => {}
                },
                Op::Ready => world.hear(News::Connected),
                Op::Lost => world.hear(News::Disconnected { reason: "gone".into() }),
                Op::Restarted => world.hear(News::ProcessStarted),
                Op::Version { known } => {
                    world.hear(News::Version(Some(format!("zeek version {}.0", if *known { 7 } else { 99 }))));
                }
                Op::Started { node, pid } => {
                    let pid = if *pid == 3 { u64::MAX } else { u64::from(*pid) };
                    let started = SupervisorResponse::NodeStatus { node: name(*node), pid };
                    world.hear(News::Event(Event::of(&started).unwrap()));
                }
                Op::Exited { node } => {
                    let exited = SupervisorMessage::NodeExit { node: name(*node), outputs: outputs() };
                    world.hear(News::Event(Event::of(&exited).unwrap()));
                }
                op => {
                    if let Op::Wait { tenths } = op {
                        world.wait(Duration::from_millis(100 * u64::from(*tenths)));
                    }
                    let input = world.world.input(op);
                    world.step(input);
                }
            }
        }
        world.wait(Duration::from_secs(15));
        world.step(Input::Tick);
        prop_assert_eq!(world.world.observer.open, BTreeSet::new());
        prop_assert_eq!(world.open, BTreeSet::new());
    }
}

/// An agent with a Supervisor's machine, which sees to it that every command ends once.
struct ZeekWorld {
    world: World,
    supervisor: ZeekSupervisor,
    /// What the Supervisor was asked.
    asked: Vec<Event>,
    /// The commands that have not ended.
    open: BTreeSet<ZeekString>,
}

impl ZeekWorld {
    fn new() -> Self {
        let settings = ZeekSettings {
            version: Some("zeek version 7.0".into()),
            patience: Some(Duration::from_secs(6)),
            asks_version: true,
            ..ZeekSettings::default()
        };
        let mut world = Self {
            world: World::new(),
            supervisor: ZeekSupervisor::new(settings),
            asked: Vec::new(),
            open: BTreeSet::new(),
        };
        world.hear(News::ProcessStarted);
        world
    }

    fn wait(&mut self, time: Duration) {
        self.world.now = self.world.now + time;
        self.supervise(supervisors::Input::Tick);
    }

    fn hear(&mut self, news: News) {
        self.supervise(supervisors::Input::News(news));
    }

    fn step(&mut self, input: Input) {
        for command in self.world.step(input) {
            self.open.insert(command.id().clone());
            self.supervise(supervisors::Input::Command(command));
        }
    }

    fn supervise(&mut self, input: supervisors::Input<News>) {
        let mut turn = Turn::new(self.world.now);
        let reports = self.supervisor.step(&mut turn, input);
        for report in reports {
            match &report {
                Report::Lost { .. } | Report::GivenUp { .. } => self.open.clear(),
                Report::Status { id, .. }
                | Report::Created { id, .. }
                | Report::Restarted { id, .. }
                | Report::Destroyed { id, .. }
                | Report::Failed { id, .. } => assert!(self.open.remove(id), "{report:?} ends nothing"),
                _ => {}
            }
            self.step(Input::Supervisor(report));
        }
        for action in turn.into_actions() {
            match action {
                Action::Publish { event, .. } => self.asked.push(event),
                Action::EndSupervisor { .. } => {
                    let reason = "killed".into();
                    self.hear(News::ProcessEnded { reason });
                    self.hear(News::ProcessStarted);
                }
                _ => {}
            }
        }
        let deadline = self.supervisor.deadline();
        assert!(deadline.is_none_or(|deadline| deadline > self.world.now));
    }
}

/// The Supervisor's answer to a request.
fn answer(request: &Event, nodes: u8) -> Event {
    let Data::String(reqid) = request.args[0].clone() else {
        panic!("{request:?} has no id")
    };
    let response = match request.name.as_str().unwrap() {
        "SupervisorControl::status_request" => SupervisorResponse::Status {
            reqid,
            result: status(nodes),
        },
        "SupervisorControl::create_request" => SupervisorResponse::Create {
            reqid,
            result: if nodes == 0 {
                "no".into()
            } else {
                ZeekString::default()
            },
        },
        "SupervisorControl::restart_request" => SupervisorResponse::Restart {
            reqid,
            result: nodes != 0,
        },
        _ => SupervisorResponse::Destroy {
            reqid,
            result: nodes != 0,
        },
    };
    Event::of(&response).unwrap()
}
