//! A world in one thread: the controller, up to fifty agents, clients, a store, and a network between them, in virtual
//! time. A seed decides everything.
//!
//! Half of the agents speak a dialect of an older Zeek, through translators at both ends of their connections.
//!
//! For a minute connections break, agents and the controller crash, agents answer late, twice, wrongly or never, writes
//! fail, strangers claim the names of agents, and some hosts are away for long. What is on its way when a connection breaks is lost. Then all
//! heals. In half of the worlds deployments go on without absent instances.
//! * Every request is answered exactly once, except by a controller that crashed.
//! * No answer holds another agent's data.
//! * A deployment that is not accepted changes nothing: no agent is stood down for it or given anything, and what is deployed stays.
//! * What is deployed at last runs on all of its agents and is what the controller calls deployed.
//!
//! `WORLD_SEEDS=10000 cargo test -p mgmt-controller --test core world` tries more seeds, `WORLD_FIRST=17` other ones.

mod absence;
mod agent;
mod crash;
mod dialects;
mod dice;
mod network;
mod random;
mod stranger;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use broker_codec::{
    Data, EndpointId,
    data::{Address, Port, ZeekString, from_data},
};
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, Configuration, Dialect, Instance, NodeStatus,
    Now, RequestKind, SequentialIds, dialect::Published,
};
use mgmt_controller::core::{
    AbsentInstances, Action, Audience, Configurations, Controller, Input, Outgoing, Settings, Slot, WriteId,
};

use agent::{Agent, ModelAgent, hello, spoilt};
use dialects::Translators;
use dice::Dice;
use network::Network;
use random::random_dialect;

const AGENTS_MAX: u64 = 50;
const TROUBLE: Duration = Duration::from_secs(60);
/// Longer than any request, any repetition and any reconnection takes.
const HEALING: Duration = Duration::from_secs(60);

#[test]
fn requests_are_answered_once_and_the_cluster_converges() {
    let first = number("WORLD_FIRST", 0);
    let mut seen = Seen::default();
    for seed in first..first + number("WORLD_SEEDS", 500) {
        let run = AssertUnwindSafe(|| World::new(seed).run(&mut seen));
        assert!(catch_unwind(run).is_ok(), "seed {seed} failed, see above");
    }
    // All this has to happen for the test to mean something.
    let Seen {
        answers,
        timeouts,
        crashes,
        lost,
        refused,
        redeployed,
        wrong,
        translated,
        answered_for,
        not_deployed,
        skipped,
    } = seen;
    for count in [
        answers,
        timeouts,
        crashes,
        lost,
        refused,
        redeployed,
        wrong,
        translated,
        answered_for,
        not_deployed,
        skipped,
    ] {
        assert!(count > 0, "{seen:?}");
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    answers: u64,
    timeouts: u64,
    crashes: u64,
    /// Results that say that an agent was lost.
    lost: u64,
    refused: u64,
    /// Deployments that no client asked for.
    redeployed: u64,
    /// Results that say that an agent answered wrongly.
    wrong: u64,
    /// Requests to agents of older releases,
    translated: u64,
    /// and those that were answered in such an agent's place.
    answered_for: u64,
    /// Deployments that were not accepted,
    not_deployed: u64,
    /// and results of those that went on without an instance.
    skipped: u64,
}

/// A machine with an agent.
struct Host {
    name: ZeekString,
    address: Address,
    /// Whether the controller is to connect to it.
    listens: bool,
    agent: ModelAgent,
    dialect: Dialect,
    /// How often the agent has been started.
    life: u8,
    /// It does not connect, and cannot be connected to, before that.
    absent_until: Now,
    /// Whether it did not stand by although it was told to, and is to blame for what it runs.
    disobedient: bool,
}

/// What is to be stored.
struct Write {
    entries: Vec<(Slot, Configuration)>,
    dismissed: Option<BTreeSet<Instance>>,
}

enum Happening {
    Ask,
    Break,
    Persisted(WriteId, bool),
    /// A host's agent connects, or the controller connects to it.
    Connect(usize),
    /// The controller notices the end of a connection.
    Notice(EndpointId),
    ToAgent(u64, EndpointId, Published),
    ToController(u64, EndpointId, Published),
    /// The controller's end of a connection answers for an agent that cannot.
    Answered(u64, EndpointId, ZeekString, AgentMessage),
}

struct World {
    dice: Dice,
    now: Now,
    queue: BTreeMap<(Now, u64), Happening>,
    scheduled: u64,
    settings: Settings,
    controller: Controller,
    /// What was deployed, and how many requests had changed anything at agents, when a deployment was asked for.
    deployments: BTreeMap<ZeekString, (Option<Configuration>, u64)>,
    /// How many agents were given a configuration, or stood down that had not been dismissed.
    changes: u64,
    durable: Configurations,
    /// The writes under way, in their order. Their ends are not delivered to a controller that was started after them.
    writes: BTreeMap<WriteId, Write>,
    /// How many more actions of the controller are carried out before it crashes; none: it does not crash this way.
    actions_left: Option<u64>,
    hosts: Vec<Host>,
    network: Network,
    translators: Translators,
    targets: BTreeSet<(Address, Port)>,
    troubled: bool,
    owed: BTreeSet<(RequestKind, ZeekString)>,
    answers: VecDeque<ClientResponse>,
    asked: u64,
    /// Whether an agent may not run what is deployed, for no fault of the controller's.
    excused: bool,
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let count = 1 + if dice.percent(95) {
            dice.below(6)
        } else {
            dice.below(AGENTS_MAX)
        };
        let hosts = (1..=count).map(|index| {
            let name = ZeekString::from(format!("host{index}"));
            Host {
                address: format!("10.0.0.{index}").parse().unwrap(),
                listens: dice.percent(30),
                agent: ModelAgent::new(name.clone(), dice.millis(10, 6000)),
                dialect: random_dialect(&mut dice),
                life: 0,
                absent_until: Now::START,
                disobedient: false,
                name,
            }
        });
        let hosts = hosts.collect();
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
            durable: Configurations::default(),
            writes: BTreeMap::new(),
            actions_left: None,
            hosts,
            network: Network::default(),
            translators: Translators::default(),
            targets: BTreeSet::new(),
            troubled: true,
            owed: BTreeSet::new(),
            answers: VecDeque::new(),
            asked: 0,
            excused: false,
            seen: Seen::default(),
        }
        .prepared()
    }

    fn prepared(mut self) -> Self {
        for host in 0..self.hosts.len() {
            let delay = self.dice.millis(1, 3000);
            self.after(delay, Happening::Connect(host));
        }
        self.after(Duration::ZERO, Happening::Ask);
        self.after(Duration::from_secs(1), Happening::Break);
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
        if let (false, Some(deployed)) = (self.excused, self.durable.deployed.clone()) {
            self.assert_runs(&deployed);
        }
        self.deploy_at_last();
        let total = &mut *seen;
        total.answers += self.seen.answers;
        total.timeouts += self.seen.timeouts;
        total.crashes += self.seen.crashes;
        total.lost += self.seen.lost;
        total.refused += self.controller.counters().hellos_refused + self.seen.refused;
        total.redeployed += self.seen.redeployed;
        total.wrong += self.seen.wrong;
        total.translated += self.seen.translated;
        total.answered_for += self.seen.answered_for;
        total.not_deployed += self.seen.not_deployed;
        total.skipped += self.seen.skipped;
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
        assert_eq!(self.durable.staged.as_ref(), Some(&config));
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

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Ask => {
                if self.troubled {
                    let request = self.random_request();
                    self.ask(request);
                    let pause = self.dice.millis(20, 1500);
                    self.after(pause, Happening::Ask);
                }
            }
            Happening::Break => {
                if self.troubled {
                    self.break_something();
                    let pause = self.dice.millis(100, 3000);
                    self.after(pause, Happening::Break);
                }
            }
            Happening::Persisted(write, success) => {
                if let Some(asked) = self.writes.remove(&write) {
                    let outcome = if success {
                        self.store(asked);
                        Ok(())
                    } else {
                        Err("disk I/O error".into())
                    };
                    if self.troubled && self.dice.percent(2) {
                        // It is durable, and the controller never hears of it.
                        self.crash_controller();
                    } else {
                        self.step(Input::Persisted { write, outcome });
                    }
                }
            }
            Happening::Connect(host) => self.connect(host),
            Happening::Notice(peer) => {
                let host = self.network.host_of(peer);
                self.network.forget(peer);
                // The controller connects again by itself.
                if let Some(host) = host.filter(|host| self.hosts[*host].listens) {
                    let delay = self.dice.millis(1, 1000);
                    self.after(delay, Happening::Connect(host));
                }
                self.step(Input::PeerLost {
                    peer,
                    reason: "connection reset by peer".into(),
                });
            }
            Happening::ToAgent(connection, peer, sent) => {
                if self.network.is_open(peer, connection) {
                    for request in self.translators.at_agent(peer, sent) {
                        let host = self.network.host_of(peer).map(|host| &self.hosts[host]);
                        let old = host.is_some_and(|host| host.dialect != Dialect::V7_0);
                        self.seen.translated += u64::from(old);
                        self.at_agent(peer, connection, request);
                    }
                }
            }
            Happening::ToController(connection, peer, sent) => {
                if self.network.is_known(peer, connection) {
                    let (said, at_once) = self.translators.at_controller(peer, sent);
                    for sent in at_once {
                        let delay = Duration::from_millis(3);
                        self.after(delay, Happening::ToAgent(connection, peer, sent));
                    }
                    for (topic, message) in said {
                        self.step(Input::Agent { peer, topic, message });
                    }
                }
            }
            Happening::Answered(connection, peer, topic, message) => {
                if self.network.is_known(peer, connection) {
                    self.seen.answered_for += 1;
                    self.step(Input::Agent { peer, topic, message });
                }
            }
        }
    }

    fn fresh_reqid(&mut self) -> ZeekString {
        self.asked += 1;
        format!("r{}", self.asked).into()
    }

    fn ask(&mut self, request: ClientRequest) {
        let is_new = self.owed.insert((request.kind(), request.reqid().clone()));
        if is_new && matches!(request, ClientRequest::Deploy { .. }) {
            let state = (self.durable.deployed.clone(), self.changes);
            self.deployments.insert(request.reqid().clone(), state);
        }
        self.step(Input::Request {
            client: "client".into(),
            request,
        });
    }

    fn break_something(&mut self) {
        let host = usize::try_from(self.dice.below(self.hosts.len() as u64)).unwrap();
        match self.dice.below(11) {
            10 => self.take_away(host),
            0 => self.crash_controller(),
            1..=3 => self.crash_agent(host),
            4..=6 => {
                if let Some(peer) = self.network.end_of_host(host) {
                    self.after(Duration::from_millis(1), Happening::Notice(peer));
                    let pause = self.dice.millis(2, 4000);
                    self.after(pause, Happening::Connect(host));
                }
            }
            7 => {
                if let Some((connection, peer)) = self.network.connection_of_host(host) {
                    self.say_hello(host, connection, peer);
                }
            }
            _ => self.send_stranger(host),
        }
    }

    /// The agent may be back before the controller notices that it was away.
    fn crash_agent(&mut self, host: usize) {
        self.hosts[host].agent.crash();
        self.hosts[host].life = self.hosts[host].life.wrapping_add(1);
        if let Some(peer) = self.network.end_of_host(host) {
            let noticed = self.dice.millis(1, 3000);
            self.after(noticed, Happening::Notice(peer));
        }
        let back = self.dice.millis(1, 4000);
        self.after(back, Happening::Connect(host));
    }

    /// Connects a host and the controller, if they are not connected and one of them wants to be.
    fn connect(&mut self, host: usize) {
        let Host {
            address,
            listens,
            life,
            absent_until,
            ..
        } = self.hosts[host];
        if self.now < absent_until {
            return;
        }
        let target = (address, Port::tcp(2151));
        if self.network.connection_of_host(host).is_some() || (listens && !self.targets.contains(&target)) {
            return;
        }
        let mut id = [u8::try_from(host).unwrap(); EndpointId::LEN];
        id[0] = life;
        let peer = EndpointId::from_bytes(id);
        if self.network.is_there(peer) {
            // The end of the last connection has not been noticed yet.
            self.after(Duration::from_millis(100), Happening::Connect(host));
            return;
        }
        let connection = self.network.open(peer, Some(host));
        self.translators.open(peer, listens, self.hosts[host].dialect);
        let port = if listens { target.1 } else { Port::tcp(40000) };
        self.step(Input::PeerAdded {
            peer,
            address,
            port,
            dialled: listens,
        });
        self.say_hello(host, connection, peer);
        if self.dice.percent(50) {
            self.say_hello(host, connection, peer);
        }
    }

    fn say_hello(&mut self, host: usize, connection: u64, peer: EndpointId) {
        let Host {
            ref name, listens, ..
        } = self.hosts[host];
        let (name, message) = (name.clone(), hello(name, peer, !listens));
        self.deliver(connection, peer, &name, &message);
    }

    fn deliver(&mut self, connection: u64, peer: EndpointId, name: &ZeekString, message: &AgentMessage) {
        let delay = self.dice.millis(0, 20);
        self.send(delay, connection, peer, name, message);
    }

    /// An agent says something that arrives after a while.
    fn send(
        &mut self,
        delay: Duration,
        connection: u64,
        peer: EndpointId,
        name: &ZeekString,
        message: &AgentMessage,
    ) {
        let topic = ZeekString::from(format!("zeek/management/agent/{name}"));
        for sent in self.translators.sent_to_controller(peer, &topic, message) {
            self.after(delay, Happening::ToController(connection, peer, sent));
        }
    }

    fn at_agent(&mut self, peer: EndpointId, connection: u64, request: AgentRequest) {
        let Some(host) = self.network.host_of(peer) else {
            return; // A stranger does not care.
        };
        let ignored = self.troubled && self.dice.percent(4);
        if ignored {
            self.excused |= matches!(request, AgentRequest::Deploy { .. });
            self.hosts[host].disobedient |= matches!(request, AgentRequest::AgentStandby { .. });
            return;
        }
        let answers = self.hosts[host].agent.request(request);
        let name = self.hosts[host].name.clone();
        for (delay, answer) in answers {
            let answer = if self.troubled && self.dice.percent(3) {
                spoilt(answer)
            } else {
                answer
            };
            let late = self.troubled && self.dice.percent(3);
            let delay = delay
                + if late {
                    Duration::from_secs(12)
                } else {
                    Duration::ZERO
                };
            if self.troubled && self.dice.percent(10) {
                let again = delay + self.dice.millis(0, 50);
                self.send(again, connection, peer, &name, &answer);
            }
            self.send(delay, connection, peer, &name, &answer);
        }
    }

    fn step(&mut self, input: Input) {
        for action in self.controller.step(self.now, input) {
            if self.crashes_before_an_action() {
                self.crash_controller();
                return;
            }
            match action {
                Action::Log { message, .. } => {
                    self.seen.redeployed += u64::from(message.starts_with("no deployment in progress"));
                }
                Action::Report { .. } => {}
                Action::Persist {
                    write,
                    entries,
                    dismissed,
                } => {
                    let success = !(self.troubled && self.dice.percent(5));
                    self.excused |= !success;
                    self.writes.insert(write, Write { entries, dismissed });
                    // Writes end in their order.
                    let delay = Duration::from_millis(5);
                    self.after(delay, Happening::Persisted(write, success));
                }
                Action::Connect { host, port } => {
                    self.targets.insert((host, port));
                    let host = self.hosts.iter().position(|other| other.address == host);
                    let delay = self.dice.millis(1, 500);
                    self.after(delay, Happening::Connect(host.expect("a host")));
                }
                Action::Disconnect { host, port } => {
                    self.targets.remove(&(host, port));
                    let host = self.hosts.iter().position(|other| other.address == host);
                    if let Some(peer) = self.network.end_of_host(host.expect("a host")) {
                        self.after(Duration::from_millis(2), Happening::Notice(peer));
                    }
                }
                Action::Publish {
                    event: Outgoing::Agent(request),
                    to: Audience::Peer(peer),
                    topic,
                } => {
                    self.note_change(&topic, &request);
                    if let Some(connection) = self.network.connection_of(peer) {
                        let (sent, answers) = self.translators.sent_to_agent(peer, &topic, &request);
                        // What is sent on a connection arrives in order.
                        for sent in sent {
                            let delay = Duration::from_millis(3);
                            self.after(delay, Happening::ToAgent(connection, peer, sent));
                        }
                        for answer in answers {
                            let topic = topic.clone();
                            let answered = Happening::Answered(connection, peer, topic, answer);
                            self.after(Duration::ZERO, answered);
                        }
                    }
                }
                Action::Publish {
                    event: Outgoing::Client(response),
                    to: Audience::Subscribers,
                    ..
                } => {
                    self.answered(response);
                }
                Action::Close { peer, .. } => {
                    self.network.leave(peer);
                    self.after(Duration::from_millis(2), Happening::Notice(peer));
                }
                Action::Publish { .. } => panic!("{action:?}"),
            }
        }
    }

    fn answered(&mut self, response: ClientResponse) {
        if response.kind() == RequestKind::Deploy {
            self.note_deployment(&response);
        }
        let key = (response.kind(), response.reqid().clone());
        assert!(self.owed.remove(&key), "no request is owed {response:?}");
        self.seen.answers += 1;
        for result in response.results() {
            let error = result.error.as_ref().map(ToString::to_string).unwrap_or_default();
            self.seen.timeouts += u64::from(error.starts_with("request timed out"));
            self.seen.lost += u64::from(error.contains(": connection to the agent lost"));
            self.seen.wrong += u64::from(error.starts_with("agent answered"));
            if let (Some(instance), Some(data)) = (&result.instance, &result.data) {
                let owner = match response.kind() {
                    RequestKind::GetNodes => from_data::<Vec<NodeStatus>>(data).unwrap()[0].node.clone(),
                    RequestKind::GetIdValue => from_data(data).unwrap(),
                    _ => continue,
                };
                assert_eq!(owner, *instance, "data of another agent");
            }
        }
        self.answers.push_back(response);
    }
}

fn controller(settings: &Settings, restored: Configurations) -> Controller {
    Controller::new(settings.clone(), restored, Box::new(SequentialIds::default()))
}
