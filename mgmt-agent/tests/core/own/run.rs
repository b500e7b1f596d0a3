//! Our own supervision in a world that does at once what it orders.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use broker_codec::data::{Address, ZeekString};
use mgmt_agent::{
    core::{Action, ClusterNode, Command, LaunchSettings, NodePolicy, NodeSpec, Report, Turn},
    supervisors::{
        Input, Supervisor,
        own::{End, Launch, News, Order, OwnSupervisor},
    },
};
use mgmt_api::{ClusterRole, Level, NodeOutputs, Now};

pub(super) const S: Duration = Duration::from_secs(1);

pub(super) fn settings() -> LaunchSettings {
    LaunchSettings {
        version: Some("zeek version 8.0.0".into()),
        link_script: "/link.zeek".into(),
        ..LaunchSettings::default()
    }
}

/// Our supervision, and a host on which processes start at once, come up when told to, and end when they are told to.
pub(super) struct Run {
    pub(super) own: OwnSupervisor,
    pub(super) now: Now,
    pub(super) commands: u64,
    /// What was ordered and reported, each with its time in milliseconds.
    pub(super) log: Vec<String>,
    /// The processes that run, by name, and whether they were told to end.
    pub(super) processes: BTreeMap<ZeekString, bool>,
    /// Whether a process ends when it is asked to.
    pub(super) is_obedient: bool,
    /// Nodes whose interface is missing.
    pub(super) lacking: Vec<ZeekString>,
    /// What nodes were started with.
    pub(super) launches: BTreeMap<ZeekString, Box<Launch>>,
    /// Nodes that are found to run.
    pub(super) found: Vec<Launch>,
    pub(super) pids: i64,
    /// Nodes that were to end and have ended.
    pub(super) gone: Vec<String>,
    /// Warnings, with their times.
    pub(super) warnings: Vec<String>,
}

impl Run {
    pub(super) fn new() -> Self {
        Self::with(NodePolicy::default())
    }

    pub(super) fn with(policy: NodePolicy) -> Self {
        let mut run = Self {
            own: OwnSupervisor::new(LaunchSettings { policy, ..settings() }),
            now: Now::START,
            commands: 0,
            log: Vec::new(),
            processes: BTreeMap::new(),
            is_obedient: true,
            lacking: Vec::new(),
            launches: BTreeMap::new(),
            found: Vec::new(),
            pids: 100,
            gone: Vec::new(),
            warnings: Vec::new(),
        };
        run.news(News::Available);
        run.take("ready");
        run
    }

    pub(super) fn step(&mut self, input: Input<News>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut turn = Turn::new(self.now);
            let reports = self.own.step(&mut turn, input);
            for report in reports {
                self.reported(&report);
            }
            for action in turn.into_actions() {
                match action {
                    Action::Nodes(order) => inputs.extend(self.obey(order).into_iter().map(Input::News)),
                    Action::Log {
                        level: Level::Warning,
                        message,
                        ..
                    } => self
                        .warnings
                        .push(format!("{} {message}", self.now.since_start().as_millis())),
                    _ => {}
                }
            }
        }
    }

    /// What comes of an order at once.
    pub(super) fn obey(&mut self, order: Order) -> Vec<News> {
        let at = self.now.since_start().as_millis();
        match order {
            Order::Look => {
                let found = |launch| News::Found {
                    launch: Box::new(launch),
                    pid: 7,
                    age: S,
                };
                let mut news: Vec<News> = self.found.drain(..).map(found).collect();
                news.push(News::Looked);
                return news;
            }
            Order::Start { launch } => {
                let node = launch.node().clone();
                if self.lacking.contains(&node) {
                    let what = "interface eth9 is not there".into();
                    return vec![News::Lacks { node, what }];
                }
                self.log.push(format!("{at} start {node}"));
                let before = self.processes.insert(node.clone(), false);
                assert_eq!(before, None, "{node} would run twice");
                self.pids += 1;
                self.launches.insert(node.clone(), launch);
                return vec![News::Started { node, pid: self.pids }];
            }
            Order::Terminate { node } => {
                self.log.push(format!("{at} end {node}"));
                if self.is_obedient {
                    return vec![self.ended(&node, End::Exit(0))];
                }
                self.processes.insert(node, true);
            }
            Order::Kill { node } => {
                self.log.push(format!("{at} kill {node}"));
                let (number, dumped_core) = (9, false);
                return vec![self.ended(&node, End::Signal { number, dumped_core })];
            }
            Order::Rewrite { launch } => self.log.push(format!("{at} rewrite {}", launch.node())),
            Order::Forget { node } => {
                assert!(
                    !self.processes.contains_key(&node),
                    "{node} runs and is forgotten"
                );
                self.log.push(format!("{at} forget {node}"));
            }
        }
        Vec::new()
    }

    pub(super) fn ended(&mut self, node: &ZeekString, end: End) -> News {
        assert!(self.processes.remove(node).is_some(), "{node} does not run");
        News::Ended {
            node: node.clone(),
            pid: self.pids,
            end,
            outputs: NodeOutputs::default(),
        }
    }

    pub(super) fn reported(&mut self, report: &Report) {
        let at = self.now.since_start().as_millis();
        match report {
            Report::Crashed {
                node,
                how,
                has_failed,
                ..
            } => {
                let what = if *has_failed { "failed" } else { "crashed" };
                self.log.push(format!("{at} {node} {what}: {how}"));
            }
            Report::Waits { node, what } => self.log.push(format!("{at} {node} waits: {what}")),
            Report::Done { node } => self.log.push(format!("{at} {node} is done")),
            Report::Gone { node } => self.gone.push(node.to_string()),
            Report::Installed { version, problem } => {
                let version = version.as_deref().unwrap_or("no version");
                let problem = problem.as_ref().map(|problem| format!(": {problem}"));
                let problem = problem.unwrap_or_default();
                self.log.push(format!("{version} is installed{problem}"));
            }
            Report::Created { outcome, .. } => assert_eq!(*outcome, Ok(())),
            Report::Ready => self.log.push("ready".to_owned()),
            _ => {}
        }
    }

    pub(super) fn news(&mut self, news: News) {
        self.step(Input::News(news));
        self.settle();
    }

    pub(super) fn end(&mut self, node: &str, end: End) {
        let news = self.ended(&node.into(), end);
        self.news(news);
    }

    pub(super) fn up(&mut self, node: &str) {
        self.step(Input::Up(node.into()));
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        while self.own.deadline().is_some_and(|due| due <= self.now) {
            self.step(Input::Tick);
        }
    }

    /// Commands of one moment.
    pub(super) fn command(&mut self, kind: &str, nodes: &[&str]) {
        for node in nodes {
            self.commands += 1;
            let id: ZeekString = self.commands.to_string().into();
            let name: ZeekString = (*node).into();
            let command = match kind {
                "create" => Command::Create {
                    id,
                    node: Box::new(spec(node)),
                },
                "restart" => Command::Restart { id, node: name },
                _ => Command::Destroy { id, node: name },
            };
            self.step(Input::Command(command));
        }
        self.settle();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.own.deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.step(Input::Tick);
        }
        self.now = until;
    }

    /// What has happened since this was last asked.
    pub(super) fn take(&mut self, expected: &str) {
        let log = std::mem::take(&mut self.log).join("; ");
        assert_eq!(log, expected);
    }

    /// The seconds at which a node was started since this was last asked.
    pub(super) fn starts(&mut self, node: &str) -> Vec<f64> {
        let log = std::mem::take(&mut self.log);
        let of_node = log
            .iter()
            .filter_map(|line| line.strip_suffix(&format!(" start {node}")));
        of_node.map(|at| at.parse::<f64>().unwrap() / 1000.0).collect()
    }
}

/// Of a cluster with all nodes that are used here.
pub(super) fn spec(name: &str) -> NodeSpec {
    let nodes = ["l1", "l2", "m", "p", "w1", "w2", "w3"];
    let place = |name: &str| ClusterNode {
        role: match &name[..1] {
            "l" => ClusterRole::Logger,
            "m" => ClusterRole::Manager,
            "p" => ClusterRole::Proxy,
            _ => ClusterRole::Worker,
        },
        host: Address::UNSPECIFIED_V4,
        p: None,
        interface: None,
        metrics_port: None,
    };
    NodeSpec {
        name: name.into(),
        directory: format!("/d/{name}").into(),
        cluster: Arc::new(nodes.iter().map(|name| ((*name).into(), place(name))).collect()),
        ..NodeSpec::default()
    }
}
