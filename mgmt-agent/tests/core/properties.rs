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
    core::{Action, Agent, Command, Input, Processes, Report, Settings, Supervised},
    supervisors::zeek::News,
};
use mgmt_api::{
    AgentMessage, AgentRequest, ClusterRole, Configuration, Instance, Node, NodeMessage, NodeOutputs,
    NodeRequest, Now, ResultRecord, SequentialIds, State,
};
use proptest::{collection::vec, prelude::*};

use crate::transcript::{settings, started};

const NAMES: [&str; 4] = ["one", "two", "with space", "../up"];

/// Something that happens. Small numbers choose from what there is at that moment.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Input(Input),
    /// What the Supervisor tells by itself.
    Told(Report),
    /// What becomes of the Supervisor's process, and of the installed Zeek.
    News(News),
    /// A report that ends one of the latest commands, or one that never was, in a way that need not fit it.
    End {
        command: usize,
        how: u8,
        nodes: u8,
    },
    Dispatched {
        request: usize,
        node: u8,
        data: usize,
    },
    Wait(Duration),
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let node = || (0..5u8).prop_map(name);
    let version = |major| Op::News(News::Version(Some(format!("zeek version {major}.0"))));
    let lost = Report::Lost {
        reason: "gone".into(),
    };
    let directory_failed = Input::DirectoryFailed {
        path: "/state/nodes/one".into(),
        reason: "permission denied".into(),
    };
    prop_oneof![
        6 => (0..6u8, 0..4usize, 0..6u8, 0..16u8)
            .prop_map(|(kind, reqid, config, nodes)| Op::Input(request(kind, reqid, config, nodes))),
        8 => (0..3usize, 0..8u8, 0..32u8).prop_map(|(command, how, nodes)| Op::End { command, how, nodes }),
        3 => Just(Op::Told(Report::Ready)),
        1 => Just(Op::Told(lost)),
        1 => Just(Op::News(News::ProcessStarted)),
        2 => prop_oneof![Just(version(7)), Just(version(99))],
        2 => (node(), 1..4i64).prop_map(|(node, pid)| Op::Told(Report::NodeStarted { node, pid, is_to_end: false })),
        1 => node().prop_map(|node| Op::Told(Report::NotStarted { node })),
        2 => node().prop_map(|node| Op::Told(Report::NodeExited { node, outputs: outputs() })),
        4 => node().prop_map(|node| Op::Input(Input::Node(NodeMessage::Hello { node }))),
        3 => (0..4usize, 0..5u8, 0..3usize)
            .prop_map(|(request, node, data)| Op::Dispatched { request, node, data }),
        1 => Just(Op::Input(Input::PeerAdded { peer: "peer".into() })),
        1 => Just(Op::Input(directory_failed)),
        4 => (0..60u64).prop_map(|tenths| Op::Wait(Duration::from_millis(100 * tenths))),
        1 => Just(Op::Input(Input::Stopping { without_nodes: true })),
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
pub(crate) fn names(bits: u8) -> impl Iterator<Item = ZeekString> {
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

fn request(kind: u8, reqid: usize, config: u8, nodes: u8) -> Input {
    let of_ours = nodes == 0;
    let reqid = ZeekString::from(["", "r1", "r2", "r3"][reqid]);
    let nodes: Set<ZeekString> = names(nodes).collect();
    let request = match kind {
        0 => AgentRequest::Deploy {
            reqid,
            config: configuration(config).into(),
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
    };
    Input::Request {
        peer: testkit::transcript::peer_id("p"),
        topic: "zeek/management/agent/a".into(),
        request,
        of_ours,
        principal: None,
    }
}

/// Sees to it that every request is answered once, that commands have ids of their own, and that states follow one
/// another.
#[derive(Default)]
pub(crate) struct Observer {
    /// The requests that have not been answered, by the response's name and the id.
    pub(crate) open: BTreeSet<(String, ZeekString)>,
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

pub(crate) struct World {
    agent: Agent,
    pub(crate) observer: Observer,
    pub(crate) now: Now,
}

impl World {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn step(&mut self, input: Input) -> Vec<Command> {
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

    pub(crate) fn input(&self, op: Op) -> Input {
        match op {
            Op::Input(input) => input,
            Op::Told(report) => Input::Supervisor(report),
            Op::End { command, how, nodes } => Input::Supervisor(self.end(command, how, nodes)),
            Op::Dispatched { request, node, data } => {
                let latest = self.observer.dispatches.iter().rev().nth(request);
                let reqid = latest.cloned().unwrap_or_default();
                let data = [None, Some(Data::String("1".into())), Some(Data::Count(1))][data].clone();
                let result = ResultRecord {
                    data,
                    node: Some(name(node)),
                    ..ResultRecord::success(reqid.clone())
                };
                Input::Node(NodeMessage::NodeDispatch { reqid, result })
            }
            Op::Wait(_) | Op::News(_) => Input::Tick,
        }
    }

    fn end(&self, command: usize, how: u8, nodes: u8) -> Report {
        let latest = self.observer.commands.iter().rev().nth(command);
        let id = latest.cloned().unwrap_or_default();
        let existed = nodes.is_multiple_of(2);
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
            5 => Report::Restarted { id, existed },
            6 => Report::Destroyed { id, existed },
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The agent alone, under a Supervisor that says anything.
    #[test]
    fn every_request_is_answered_once(ops in vec(op(), 0..80)) {
        let mut world = World::new();
        for op in ops {
            if let Op::Wait(time) = op {
                world.now = world.now + time;
            }
            let input = world.input(op);
            let _ = world.step(input);
        }
        world.now = world.now + Duration::from_secs(15);
        let _ = world.step(Input::Tick);
        prop_assert_eq!(world.observer.open, BTreeSet::new());
    }
}
