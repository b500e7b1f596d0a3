//! Our own supervision without processes: when nodes are started, ended and started again, as lists of times.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use broker_codec::data::{Address, ZeekString};
use mgmt_agent::{
    core::{Action, ClusterNode, Command, LaunchSettings, NodeSpec, Report, Turn},
    supervisors::{
        Input, Supervisor,
        own::{End, Launch, News, Order, OwnSupervisor},
    },
};
use mgmt_api::{ClusterRole, NodeOutputs, Now};
use proptest::prelude::*;

const S: Duration = Duration::from_secs(1);

fn settings() -> LaunchSettings {
    LaunchSettings {
        version: Some("zeek version 8.0.0".into()),
        link_script: "/link.zeek".into(),
        ..LaunchSettings::default()
    }
}

/// Our supervision, and a host on which processes start at once, come up when told to, and end when they are told to.
struct Run {
    own: OwnSupervisor,
    now: Now,
    commands: u64,
    /// What was ordered and reported, each with its time in milliseconds.
    log: Vec<String>,
    /// The processes that run, by name, and whether they were told to end.
    processes: BTreeMap<ZeekString, bool>,
    /// Whether a process ends when it is asked to.
    is_obedient: bool,
    /// Nodes whose interface is missing.
    lacking: Vec<ZeekString>,
    /// What nodes were started with.
    launches: BTreeMap<ZeekString, Box<Launch>>,
    /// Nodes that are found to run.
    found: Vec<Launch>,
    pids: i64,
}

impl Run {
    fn new() -> Self {
        let mut run = Self {
            own: OwnSupervisor::new(settings()),
            now: Now::START,
            commands: 0,
            log: Vec::new(),
            processes: BTreeMap::new(),
            is_obedient: true,
            lacking: Vec::new(),
            launches: BTreeMap::new(),
            found: Vec::new(),
            pids: 100,
        };
        run.news(News::Available);
        run.take("ready");
        run
    }

    fn step(&mut self, input: Input<News>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut turn = Turn::new(self.now);
            let reports = self.own.step(&mut turn, input);
            for report in reports {
                self.reported(&report);
            }
            for action in turn.into_actions() {
                if let Action::Nodes(order) = action {
                    inputs.extend(self.obey(order).into_iter().map(Input::News));
                }
            }
        }
    }

    /// What comes of an order at once.
    fn obey(&mut self, order: Order) -> Vec<News> {
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

    fn ended(&mut self, node: &ZeekString, end: End) -> News {
        assert!(self.processes.remove(node).is_some(), "{node} does not run");
        News::Ended {
            node: node.clone(),
            pid: self.pids,
            end,
            outputs: NodeOutputs::default(),
        }
    }

    fn reported(&mut self, report: &Report) {
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
            Report::Created { outcome, .. } => assert_eq!(*outcome, Ok(())),
            Report::Ready => self.log.push("ready".to_owned()),
            _ => {}
        }
    }

    fn news(&mut self, news: News) {
        self.step(Input::News(news));
        self.settle();
    }

    fn end(&mut self, node: &str, end: End) {
        let news = self.ended(&node.into(), end);
        self.news(news);
    }

    fn up(&mut self, node: &str) {
        self.step(Input::Up(node.into()));
        self.settle();
    }

    fn settle(&mut self) {
        while self.own.deadline().is_some_and(|due| due <= self.now) {
            self.step(Input::Tick);
        }
    }

    /// Commands of one moment.
    fn command(&mut self, kind: &str, nodes: &[&str]) {
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

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.own.deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.step(Input::Tick);
        }
        self.now = until;
    }

    /// What has happened since this was last asked.
    fn take(&mut self, expected: &str) {
        let log = std::mem::take(&mut self.log).join("; ");
        assert_eq!(log, expected);
    }

    /// The seconds at which a node was started since this was last asked.
    fn starts(&mut self, node: &str) -> Vec<f64> {
        let log = std::mem::take(&mut self.log);
        let of_node = log
            .iter()
            .filter_map(|line| line.strip_suffix(&format!(" start {node}")));
        of_node.map(|at| at.parse::<f64>().unwrap() / 1000.0).collect()
    }
}

/// Of a cluster with all nodes that are used here.
fn spec(name: &str) -> NodeSpec {
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
        interface: None,
        directory: format!("/d/{name}").into(),
        scripts: Vec::new(),
        env: BTreeMap::new(),
        cpu_affinity: None,
        options: BTreeMap::new(),
        cluster_backend: None,
        cluster: Arc::new(nodes.iter().map(|name| ((*name).into(), place(name))).collect()),
    }
}

const ALL: [&str; 5] = ["w1", "w2", "p", "m", "l1"];

#[test]
fn stages_start_one_after_the_other_when_all_are_up() {
    let mut run = Run::new();
    run.command("create", &ALL);
    run.take("0 start l1");
    run.pass(S);
    run.up("l1");
    run.take("1000 start m");
    run.up("m");
    run.take("1000 start p");
    run.pass(S);
    run.up("p");
    run.take("2000 start w1; 2000 start w2");
}

#[test]
fn a_stage_that_does_not_come_up_delays_the_next_only_so_long() {
    let mut run = Run::new();
    run.command("create", &ALL);
    run.pass(60 * S);
    run.take("0 start l1; 10000 start m; 20000 start p; 30000 start w1; 30000 start w2");
}

#[test]
fn workers_end_first_and_loggers_last() {
    let mut run = Run::new();
    run.command("create", &ALL);
    run.pass(60 * S);
    run.log.clear();
    run.command("destroy", &ALL);
    run.take(
        "60000 end w1; 60000 end w2; 60000 forget w1; 60000 forget w2; 60000 end m; 60000 end p; 60000 forget m; 60000 forget p; \
         60000 end l1; 60000 forget l1",
    );
    assert!(run.own.has_no_process());
}

#[test]
fn one_that_does_not_end_is_killed_after_a_minute_and_keeps_the_others_of_later_stages_waiting() {
    let mut run = Run::new();
    run.command("create", &["l1", "w1"]);
    run.pass(60 * S);
    run.log.clear();
    run.is_obedient = false;
    run.command("destroy", &["l1", "w1"]);
    run.pass(59 * S);
    run.take("60000 end w1");
    run.is_obedient = true;
    run.pass(S);
    run.take("120000 kill w1; 120000 forget w1; 120000 end l1; 120000 forget l1");
}

#[test]
fn one_that_does_not_end_delays_the_start_of_others_for_ten_seconds() {
    let mut run = Run::new();
    run.command("create", &["w1", "w2"]);
    run.up("w1");
    run.up("w2");
    run.log.clear();
    run.is_obedient = false;
    run.command("restart", &["w1"]);
    run.is_obedient = true;
    run.command("restart", &["w2"]);
    run.pass(60 * S);
    run.take("0 end w1; 0 end w2; 10000 start w2; 60000 kill w1; 60000 start w1");
}

#[test]
fn a_restart_of_all_ends_all_in_order_before_the_first_starts() {
    let mut run = Run::new();
    run.command("create", &["l1", "m", "w1"]);
    run.pass(60 * S);
    run.log.clear();
    run.command("restart", &["l1", "m", "w1"]);
    run.take("60000 end w1; 60000 end m; 60000 end l1; 60000 start l1");
    run.up("l1");
    run.up("m");
    run.take("60000 start m; 60000 start w1");
}

#[test]
fn one_that_ends_early_has_failed_after_five_times_and_is_tried_again_every_five_minutes() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let mut died = Vec::new();
    for _ in 0..7 {
        run.pass(S);
        died.push(run.now);
        run.end("w1", End::Exit(1));
        run.pass(Duration::from_millis(1));
        while run.processes.is_empty() {
            run.pass(Duration::from_millis(100));
        }
    }
    let log = run.log.join("; ");
    assert_eq!(log.matches("w1 crashed: exit status 1").count(), 4, "{log}");
    assert_eq!(log.matches("w1 failed: exit status 1").count(), 3, "{log}");
    let starts = run.starts("w1");
    let died = died.iter().map(|at| at.since_start().as_secs_f64());
    let pauses: Vec<f64> = died.zip(&starts[1..]).map(|(died, start)| start - died).collect();
    for (pause, least) in pauses.iter().zip([0.5, 1.0, 2.0, 4.0, 300.0, 300.0, 300.0]) {
        assert!((least..=least * 1.25 + 0.01).contains(pause), "{pauses:?}");
    }
    assert!((pauses[4] - pauses[5]).abs() > 0.1, "{pauses:?} are not spread");
}

#[test]
fn one_that_lives_for_long_between_its_ends_waits_longer_but_never_fails() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    for _ in 0..20 {
        run.pass(31 * S);
        run.end("w1", End::Exit(1));
        while run.processes.is_empty() {
            run.pass(S);
        }
    }
    let log = run.log.join("; ");
    assert!(!log.contains("failed"), "{log}");
    let starts = run.starts("w1");
    let last = starts[starts.len() - 1] - starts[starts.len() - 2] - 31.0;
    assert!((60.0..=76.0).contains(&last), "{starts:?}");
}

#[test]
fn what_it_has_lived_makes_up_for_early_ends() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    for _ in 0..4 {
        run.pass(S);
        run.end("w1", End::Exit(1));
        run.pass(10 * S);
    }
    run.pass(600 * S);
    run.log.clear();
    let died = run.now;
    run.end("w1", End::Exit(1));
    run.pass(S);
    let pause = run.starts("w1")[0] - died.since_start().as_secs_f64();
    assert!((0.5..=0.63).contains(&pause), "{pause}");
}

#[test]
fn one_that_lacks_something_waits_for_it_and_starts_within_a_second() {
    let mut run = Run::new();
    run.lacking.push("w1".into());
    run.command("create", &["w1"]);
    run.pass(1000 * S);
    run.take("0 w1 waits: interface eth9 is not there");
    run.lacking.clear();
    run.pass(S);
    run.take("1001000 start w1");
}

#[test]
fn one_that_is_replaced_or_given_up_while_it_waits_is_not_started_as_it_was() {
    let mut run = Run::new();
    run.lacking.push("w1".into());
    run.command("create", &["w1"]);
    run.command("destroy", &["w1"]);
    run.pass(10 * S);
    run.take("0 w1 waits: interface eth9 is not there; 0 forget w1");
    run.command("create", &["w1"]);
    run.lacking.clear();
    run.command("create", &["w1"]);
    run.take("10000 w1 waits: interface eth9 is not there; 10000 start w1");
}

#[test]
fn one_that_has_read_its_trace_is_done_and_others_that_end_with_success_are_not() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let mut trace = spec("w2");
    trace
        .options
        .insert("mgmt.pcap_file".into(), "/trace.pcap".into());
    let node = Box::new(trace);
    run.step(Input::Command(Command::Create { id: "t".into(), node }));
    run.settle();
    run.end("w1", End::Exit(0));
    run.end("w2", End::Exit(0));
    run.take("0 start w1; 0 start w2; 0 w1 crashed: exit status 0; 0 w2 is done; 0 forget w2");
}

#[test]
fn a_process_that_is_to_end_does_not_speak_for_the_one_that_takes_its_place() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    assert!(run.own.token_of(&"w1".into()).is_some());
    run.is_obedient = false;
    for kind in ["restart", "create", "destroy"] {
        run.command(kind, &["w1"]);
        assert_eq!(run.own.token_of(&"w1".into()), None, "{kind}");
    }
}

#[test]
fn a_node_that_looks_for_its_agent_elsewhere_is_not_taken_for_one_that_may_run_on() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let spec_of = |port: u16| {
        let mut other = Run::new();
        other.own = OwnSupervisor::new(LaunchSettings {
            agent_port: port,
            ..settings()
        });
        other.processes.insert("w1".into(), false);
        other.found.push((*run.launches[&ZeekString::from("w1")]).clone());
        other.news(News::Available);
        let mut turn = Turn::new(other.now);
        let status = Command::Status { id: "s".into() };
        match &other.own.step(&mut turn, Input::Command(status))[..] {
            [Report::Status { status, .. }] => status[&ZeekString::from("w1")].spec.is_some(),
            reports => panic!("{reports:?}"),
        }
    };
    assert!(spec_of(settings().agent_port));
    assert!(!spec_of(1));
}

#[test]
fn a_worker_that_joins_while_a_node_is_being_started_is_told_to_it_once_when_it_is_up() {
    let mut own = OwnSupervisor::new(settings());
    let mut step = |input| {
        let mut turn = Turn::new(Now::START);
        own.step(&mut turn, input);
        let asked = turn.into_actions().into_iter().filter_map(|action| match action {
            Action::AskLinked(request) => Some(format!("{request:?}")),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    let command = |id: &str, more: Option<&str>| {
        let mut node = Box::new(spec("m"));
        let worker = node.cluster[&ZeekString::from("w1")].clone();
        let cluster = Arc::make_mut(&mut node.cluster);
        cluster.extend(more.map(|name| (name.into(), worker)));
        let id = id.into();
        Input::Command(if more.is_none() {
            Command::Create { id, node }
        } else {
            Command::Relayout { id, node }
        })
    };
    step(Input::News(News::Looked));
    step(command("1", None));
    step(Input::Tick);
    step(command("2", Some("w9")));
    let node: ZeekString = "m".into();
    step(Input::News(News::Started { node, pid: 7 }));
    step(Input::Up("m".into()));
    let told = step(Input::Tick);
    assert!(told.len() == 1 && told[0].contains("w9"), "{told:?}");
    assert_eq!(step(Input::Tick), [""; 0]);
}

#[test]
fn a_node_of_another_agent_is_left_alone() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let mut launch = (*run.launches[&ZeekString::from("w1")]).clone();
    launch.agent = "another".into();
    let mut other = Run::new();
    other.own = OwnSupervisor::new(LaunchSettings::default());
    other.found.push(launch);
    other.news(News::Available);
    other.command("destroy", &["w1"]);
    other.take("ready");
}

#[test]
fn a_node_that_was_found_is_kept_and_ends_as_any_other() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let launch = run.launches[&ZeekString::from("w1")].clone();
    let mut other = Run::new();
    other.own = OwnSupervisor::new(settings());
    other.processes.insert("w1".into(), false);
    other.found.push(*launch);
    other.news(News::Available);
    let mut turn = Turn::new(other.now);
    let reports = other
        .own
        .step(&mut turn, Input::Command(Command::Status { id: "s".into() }));
    let [Report::Status { status, .. }] = &reports[..] else {
        panic!("{reports:?}");
    };
    let found = &status[&ZeekString::from("w1")];
    assert_eq!((found.pid, found.spec.as_deref()), (Some(7), Some(&spec("w1"))));
    other.take("ready");
    other.end("w1", End::Unknown);
    other.pass(S);
    other.command("destroy", &["w1"]);
    assert!(other.own.has_no_process());
}

proptest! {
    /// Whatever is commanded and happens, no node runs twice (which the run sees), and all comes to rest as it was last wanted.
    #[test]
    fn no_node_ever_runs_twice(steps in prop::collection::vec((0..6_u8, 0..7_usize, 0..20_u32), 1..120)) {
        const NODES: [&str; 7] = ["l1", "l2", "m", "p", "w1", "w2", "w3"];
        let mut run = Run::new();
        let mut wanted: BTreeMap<&str, bool> = BTreeMap::new();
        for (what, index, time) in steps {
            let node = NODES[index];
            match what {
                0 => {
                    run.command("create", &[node]);
                    wanted.insert(node, true);
                }
                1 => {
                    run.command("destroy", &[node]);
                    wanted.insert(node, false);
                }
                2 => run.command("restart", &[node]),
                3 if run.processes.contains_key(&ZeekString::from(node)) => run.end(node, End::Exit(1)),
                4 => run.up(node),
                5 => run.is_obedient = !run.is_obedient,
                _ => {}
            }
            run.pass(time * S);
        }
        run.is_obedient = true;
        run.pass(3600 * S);
        for (node, is_wanted) in wanted {
            prop_assert_eq!(run.processes.contains_key(&ZeekString::from(node)), is_wanted, "{}: {}", node, run.log.join("; "));
        }
    }
}
