//! A world in one thread: the controller, up to fifty agents or none, clients, a store, and a network between them, in virtual
//! time. A seed decides everything.
//!
//! Half of the agents speak a dialect of an older Zeek, through translators at both ends of their connections.
//!
//! For a minute connections break, agents and the controller crash, agents answer late, twice, wrongly or never, writes
//! fail, strangers claim the names of agents, and some hosts are away for long. What is on its way when a connection breaks is lost. Then all
//! heals. In half of the worlds deployments go on without absent instances.
//! Most agents of today speak the extension, and find that nodes could not run, or do not say whether they could.
//! * Every request, of clients and of operators, is answered exactly once, except by a controller that crashed. The configurations that clients are shown are durable.
//! * No answer holds another agent's data.
//! * A deployment that is not accepted changes nothing: no agent is stood down for it or given anything, and what is deployed stays.
//! * What is deployed at last runs on all of its agents and is what the controller calls deployed.
//!
//! `WORLD_SEEDS=10000 cargo test -p mgmt-controller --test core world` tries more seeds, `WORLD_FIRST=17` other ones.

mod absence;
mod crash;
mod dialects;
mod events;
mod link;
mod network;
mod operators;
mod random;
mod stranger;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use broker_codec::{
    Data, EndpointId,
    data::{Address, Port, ZeekString},
};
use mgmt_api::{
    ClientRequest, ClientResponse, Configuration, Dialect, LinkMessage, Now, RequestKind, SequentialIds,
    dialect::Published, operator::ClusterRequest,
};
use mgmt_controller::{
    Counted,
    core::{AbsentInstances, Changes, Configurations, Controller, Input, Settings, WriteId},
};
use testkit::{Dice, FakeAgent};

use dialects::Translators;
use network::Network;
use random::random_dialect;

const AGENTS_MAX: u64 = 50;
const TROUBLE: Duration = Duration::from_secs(60);
/// Longer than any request, any repetition and any reconnection takes.
const HEALING: Duration = Duration::from_secs(60);

#[test]
fn requests_are_answered_once_and_the_cluster_converges() {
    let first = number("WORLD_FIRST", 0);
    let mut seen = Seen::new();
    for seed in first..first + number("WORLD_SEEDS", 500) {
        let run = AssertUnwindSafe(|| World::new(seed).run(&mut seen));
        assert!(catch_unwind(run).is_ok(), "seed {seed} failed, see above");
    }
    for what in WANTED {
        assert!(seen.get(what).is_some_and(|count| *count > 0), "never {what}");
    }
}

/// What happened, and how often.
type Seen = BTreeMap<&'static str, u64>;

/// All this has to happen for the test to mean something.
const WANTED: [&str; 20] = [
    "an answer",
    "a time-out",
    "a crash of the controller",
    "a lost agent",
    "a refused hello",
    "a deployment that no client asked for",
    "a wrong answer of an agent",
    "a request to an agent of an older release",
    "an answer in an older agent's place",
    "a deployment that was not accepted",
    "an instance that was skipped",
    "a configuration that is given again",
    "a deployment that could not run",
    "a configuration that an operator staged",
    "an operator who expected something else",
    "a deployment that an operator began",
    "a plan",
    "a plan that was deployed",
    "a deployment that an operator saw done",
    "a deployment that an operator saw failed",
];

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A machine with an agent.
struct Host {
    name: ZeekString,
    address: Address,
    /// Whether the controller is to connect to it.
    listens: bool,
    agent: FakeAgent,
    /// How long its nodes take to start.
    start_up: Duration,
    dialect: Dialect,
    /// Whether its agent speaks the extension.
    is_ours: bool,
    /// How often the agent has been started.
    life: u8,
    /// It does not connect, and cannot be connected to, before that.
    absent_until: Now,
    /// Whether it did not stand by although it was told to, and is to blame for what it runs.
    disobedient: bool,
}

enum Happening {
    Ask,
    Break,
    /// The oldest write ends.
    Persisted(bool),
    /// A host's agent connects, or the controller connects to it.
    Connect(usize),
    /// The controller notices the end of a connection.
    Notice(EndpointId),
    ToAgent(u64, EndpointId, Published),
    ToController(u64, EndpointId, Published),
    Link(u64, EndpointId, LinkMessage),
}

struct World {
    dice: Dice,
    now: Now,
    queue: BTreeMap<(Now, u64), Happening>,
    scheduled: u64,
    settings: Settings,
    controller: Controller,
    /// What was deployed, and how many requests had changed anything at agents, when a deployment was asked for.
    deployments: BTreeMap<ZeekString, (Option<Arc<Configuration>>, u64)>,
    /// How many agents were given a configuration, or stood down that had not been dismissed.
    changes: u64,
    /// The requests by which they were.
    given: BTreeSet<ZeekString>,
    durable: Configurations,
    /// The writes under way, in their order.
    writes: BTreeMap<WriteId, Changes>,
    /// How many more actions of the controller are carried out before it crashes; none: it does not crash this way.
    actions_left: Option<u64>,
    hosts: Vec<Host>,
    network: Network,
    translators: Translators,
    targets: BTreeSet<(Address, Port)>,
    troubled: bool,
    owed: BTreeSet<(RequestKind, ZeekString)>,
    /// How many operators have asked.
    operators: u64,
    /// What those have asked who are not answered.
    operating: BTreeMap<u64, ClusterRequest>,
    /// The last deployment that an operator has begun.
    begun: Option<String>,
    /// The last plan that an operator has had made.
    planned: Option<String>,
    answers: VecDeque<ClientResponse>,
    asked: u64,
    /// Whether an agent may not run what is deployed, for no fault of the controller's.
    excused: bool,
    seen: Seen,
    /// How many milliseconds a write may take: some stores are slower than requests.
    slowest_write: u64,
    /// Whether inputs and actions are written as JSON and read again, as a journal does.
    journaled: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let most = if dice.percent(95) { 6 } else { AGENTS_MAX };
        let count = dice.below(most + 1);
        let hosts = (1..=count).map(|index| {
            let name = ZeekString::from(format!("host{index}"));
            let dialect = random_dialect(&mut dice);
            Host {
                address: format!("10.0.0.{index}").parse().unwrap(),
                listens: dice.percent(30),
                agent: FakeAgent::new(name.clone(), name.clone()),
                start_up: dice.millis(10, 6000),
                dialect,
                is_ours: dialect == Dialect::V7_0 && dice.percent(60),
                life: 0,
                absent_until: Now::START,
                disobedient: false,
                name,
            }
        });
        let hosts = hosts.collect();
        let slowest_write = if dice.percent(30) { 12_000 } else { 6 };
        let settings = Settings {
            absent_instances: if dice.percent(50) {
                AbsentInstances::Skip
            } else {
                AbsentInstances::Fail
            },
            ..Settings::default()
        };
        Self {
            dice,
            now: Now::START,
            queue: BTreeMap::new(),
            scheduled: 0,
            controller: controller(&settings, Configurations::default()),
            settings,
            deployments: BTreeMap::new(),
            changes: 0,
            given: BTreeSet::new(),
            durable: Configurations::default(),
            writes: BTreeMap::new(),
            actions_left: None,
            hosts,
            network: Network::default(),
            translators: Translators::default(),
            targets: BTreeSet::new(),
            troubled: true,
            owed: BTreeSet::new(),
            operators: 0,
            operating: BTreeMap::new(),
            begun: None,
            planned: None,
            answers: VecDeque::new(),
            asked: 0,
            excused: false,
            seen: Seen::new(),
            slowest_write,
            journaled: seed < 5 || count == 0,
        }
        .prepared()
    }

    fn prepared(mut self) -> Self {
        for host in 0..self.hosts.len() {
            let delay = self.dice.millis(1, 3000);
            self.after(delay, Happening::Connect(host));
        }
        self.after(Duration::ZERO, Happening::Ask);
        if !self.hosts.is_empty() {
            self.after(Duration::from_secs(1), Happening::Break);
        }
        self
    }

    fn run(mut self, seen: &mut Seen) {
        self.until(Now::START + TROUBLE);
        self.troubled = false;
        for host in 0..self.hosts.len() {
            self.hosts[host].absent_until = Now::START;
            self.after(Duration::from_millis(1), Happening::Connect(host));
        }
        self.until(self.now + HEALING);
        assert_eq!(self.owed, BTreeSet::new(), "never answered");
        assert_eq!(self.operating, BTreeMap::new(), "never answered");
        if let (false, Some(deployed)) = (self.excused, self.durable.deployed.clone()) {
            self.assert_runs(&deployed);
        }
        self.deploy_at_last();
        if self.hosts.is_empty() {
            assert_eq!(self.controller.deadline(), None);
        }
        let refused = self.controller.counters().get(Counted::HellosRefused);
        self.saw("a refused hello", refused);
        for (what, count) in self.seen {
            *seen.entry(what).or_default() += count;
        }
    }

    fn saw(&mut self, what: &'static str, count: u64) {
        *self.seen.entry(what).or_default() += count;
    }

    /// With everything well, a deployment works and does what it says.
    fn deploy_at_last(&mut self) {
        let config = self.random_configuration();
        let reqid = self.fresh_reqid();
        self.answers.clear();
        self.ask(ClientRequest::StageConfiguration {
            reqid,
            config: config.clone(),
        });
        self.until(self.now + Duration::from_secs(1));
        let staged = self.answers.pop_back().expect("an answer");
        assert!(staged.results()[0].success, "{staged:?}");

        let reqid = self.fresh_reqid();
        self.ask(ClientRequest::Deploy { reqid: reqid.clone() });
        self.until(self.now + Duration::from_secs(20));
        let deployed = self.answers.pop_back().expect("an answer");
        let (last, of_agents) = deployed.results().split_last().expect("results");
        assert!(of_agents.iter().all(|result| result.success), "{deployed:?}");
        assert_eq!(last.data, Some(Data::String(config.id.clone())));
        let answered: BTreeSet<_> = of_agents
            .iter()
            .filter_map(|result| result.instance.as_ref())
            .collect();
        assert!(
            answered
                .into_iter()
                .eq(config.instances.iter().map(|instance| &instance.name))
        );
        assert_eq!(self.durable.deployed, self.durable.ready);
        assert_eq!(self.durable.staged.as_deref(), Some(&config));
        self.assert_runs(&config);
        self.assert_no_other_instance_runs_nodes(&config);
    }

    fn assert_runs(&self, config: &Configuration) {
        for host in &self.hosts {
            if config.instances.iter().any(|instance| instance.name == host.name) {
                assert_eq!(host.agent.running(), Some(&config.id), "{}", host.name);
            }
        }
    }

    /// Those that were away when they were dropped are told when they return, also after crashes.
    fn assert_no_other_instance_runs_nodes(&self, config: &Configuration) {
        for (index, host) in self.hosts.iter().enumerate() {
            let wanted = config.instances.iter().any(|instance| instance.name == host.name);
            let connected = self.network.connection_of_host(index).is_some();
            // Agents of 4.1 are not known to be such before they are welcomed.
            let told = connected && host.dialect != Dialect::V4_1;
            if !wanted && told && !host.disobedient {
                // Those that are taken for agents of 4.1 are told to run a configuration of nothing.
                let running = host.agent.running().filter(|id| !id.is_empty());
                assert_eq!(running, None, "{} is not in {}", host.name, config.id);
            }
        }
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((self.now + delay, self.scheduled), happening);
    }

    fn until(&mut self, end: Now) {
        loop {
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.controller.deadline();
            let first = [next, deadline].into_iter().flatten().min();
            let Some(first) = first.filter(|first| *first <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(first);
            if deadline.is_some_and(|deadline| deadline <= first) {
                self.step(Input::Tick);
            } else if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
        }
    }
}

fn controller(settings: &Settings, restored: Configurations) -> Controller {
    Controller::new(settings.clone(), restored, Box::new(SequentialIds::default()))
}
