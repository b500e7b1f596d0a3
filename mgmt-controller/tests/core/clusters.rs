//! Several clusters with the same hosts, which claim, drop and deploy them at random, while agents come and go, writes fail, and the
//! controller crashes: every operator is answered once, connections are kept as they are wanted, an agent belongs to one cluster, and when all
//! is well again each runs what its cluster has deployed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker_codec::{
    EndpointId,
    data::{Address, Port, ZeekString},
};
use mgmt_api::{
    AgentMessage, AgentRequest, Configuration, Now, SequentialIds,
    operator::{
        ClusterRequest, ClusterStatus, Clusters, ConfigurationFile, Expected, InstanceEntry, NewDeployment,
        Station,
    },
};
use mgmt_controller::core::{
    Action, Audience, Changes, Configurations, Controller, Input, Outgoing, Settings, WriteId,
};
use proptest::prelude::*;
use testkit::{FakeAgent, operator, transcript::json};

use super::transcript::{agent, peer_added, started};

const CLUSTERS: [&str; 3] = ["default", "a", "b"];
const HOSTS: u8 = 4;

#[derive(Clone, Copy, Debug)]
enum Event {
    Arrive(u8),
    Leave(u8),
    /// The next answer of an agent arrives.
    Answer,
    /// The next write ends: well, or not.
    Persist(bool),
    /// Of the hosts whose bits are set.
    Stage(usize, u8),
    Deploy(usize),
    Remove(usize),
    Ask(usize),
    Wait(u8),
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    let (host, cluster) = (|| 0..HOSTS, || 0..CLUSTERS.len());
    prop_oneof![
        4 => host().prop_map(Event::Arrive),
        2 => host().prop_map(Event::Leave),
        8 => Just(Event::Answer),
        8 => prop::bool::weighted(0.9).prop_map(Event::Persist),
        6 => (cluster(), 0..1_u8 << HOSTS).prop_map(|(cluster, hosts)| Event::Stage(cluster, hosts)),
        6 => cluster().prop_map(Event::Deploy),
        1 => cluster().prop_map(Event::Remove),
        2 => cluster().prop_map(Event::Ask),
        2 => (0..12_u8).prop_map(Event::Wait),
        1 => Just(Event::Crash),
    ]
}

fn name(host: u8) -> ZeekString {
    format!("host{host}").into()
}

/// Half of them listen.
fn listens(host: u8) -> bool {
    host.is_multiple_of(2)
}

fn place(host: u8) -> (Address, Port) {
    (format!("10.0.0.{host}").parse().unwrap(), Port::tcp(2151))
}

fn peer(host: u8) -> EndpointId {
    EndpointId::from_bytes([host + 1; EndpointId::LEN])
}

fn host_of(peer: EndpointId) -> u8 {
    peer.as_bytes()[0] - 1
}

struct World {
    controller: Controller,
    now: Now,
    hosts: Vec<FakeAgent>,
    connected: BTreeSet<u8>,
    /// Where the controller connects to.
    dialled: BTreeSet<(Address, Port)>,
    answers: VecDeque<(u8, AgentMessage)>,
    writes: VecDeque<(WriteId, Changes)>,
    durable: BTreeMap<String, Configurations>,
    asked: u64,
    owed: BTreeSet<u64>,
    told: BTreeMap<u64, String>,
}

fn controller(durable: &BTreeMap<String, Configurations>) -> Controller {
    let default = durable.get("default").cloned().unwrap_or_default();
    let others = durable.iter().filter(|(name, _)| *name != "default");
    let others = others.map(|(name, stored)| (name.as_str().try_into().unwrap(), stored.clone()));
    Controller::new(Settings::default(), default, Box::new(SequentialIds::default())).with_clusters(others)
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            controller: controller(&BTreeMap::new()),
            now: Now::START,
            hosts: (0..HOSTS)
                .map(|host| FakeAgent::new(name(host), "x".into()))
                .collect(),
            connected: BTreeSet::new(),
            dialled: BTreeSet::new(),
            answers: VecDeque::new(),
            writes: VecDeque::new(),
            durable: BTreeMap::new(),
            asked: 0,
            owed: BTreeSet::new(),
            told: BTreeMap::new(),
        };
        world.step(started());
        world
    }

    fn step(&mut self, input: Input) {
        let mut lost = Vec::new();
        for action in self.controller.step(self.now, input) {
            match action {
                Action::Answer { id, outcome } => {
                    assert!(self.owed.remove(&id), "{id} is answered twice");
                    if let Ok(json) = outcome {
                        self.told.insert(id, json.to_str_lossy().into_owned());
                    }
                }
                Action::Persist { write, changes } => self.writes.push_back((write, changes)),
                Action::Connect { host, port } => {
                    assert!(self.dialled.insert((host, port)), "it is connected there");
                }
                Action::Disconnect { host, port } => {
                    assert!(self.dialled.remove(&(host, port)), "it is not connected there");
                    lost.extend((0..HOSTS).filter(|of| listens(*of) && place(*of) == (host, port)));
                }
                Action::Close { peer, .. } => {
                    self.dialled.remove(&place(host_of(peer)));
                    lost.push(host_of(peer));
                }
                Action::Publish {
                    event: Outgoing::Agent(request),
                    to: Audience::Peer(peer),
                    ..
                } => self.ask_agent(host_of(peer), &request),
                _ => {}
            }
        }
        for host in lost {
            self.leave(host);
        }
    }

    fn ask_agent(&mut self, host: u8, request: &AgentRequest) {
        if self.connected.contains(&host) {
            let answer = self.hosts[usize::from(host)].answer(request);
            self.answers.push_back((host, answer));
        }
    }

    fn leave(&mut self, host: u8) {
        if self.connected.remove(&host) {
            self.answers.retain(|(of, _)| *of != host);
            let reason = "gone".into();
            self.step(Input::PeerLost {
                peer: peer(host),
                reason,
            });
        }
    }

    fn arrive(&mut self, host: u8) {
        let how = if listens(host) { "dialled" } else { "at" };
        if (listens(host) && !self.dialled.contains(&place(host))) || !self.connected.insert(host) {
            return;
        }
        self.step(peer_added(peer(host), &format!("10.0.0.{host}:2151"), how));
        let said = name(host).to_string();
        let hello = FakeAgent::hello(&name(host), peer(host), !listens(host));
        self.step(agent(peer(host), &said, hello));
    }

    fn operate(&mut self, cluster: &str, request: ClusterRequest) -> u64 {
        self.asked += 1;
        let id = self.asked;
        self.owed.insert(id);
        self.step(Input::Operator {
            id,
            principal: operator(),
            cluster: cluster.into(),
            request,
        });
        id
    }

    fn deployed(&self, cluster: &str) -> Option<&Configuration> {
        self.durable.get(cluster)?.deployed.as_deref()
    }

    fn expected(&self, cluster: &str) -> Expected {
        Expected::of(self.deployed(cluster).map(|config| &config.id))
    }

    fn persist(&mut self, is_well: bool) {
        let Some((write, changes)) = self.writes.pop_front() else {
            return;
        };
        if is_well {
            let name = changes
                .cluster
                .as_ref()
                .map_or("default".to_owned(), ToString::to_string);
            if changes.is_removal {
                self.durable.remove(&name);
            } else {
                self.durable.entry(name).or_default().apply(changes);
            }
        }
        let outcome = if is_well { Ok(()) } else { Err("full".into()) };
        self.step(Input::Persisted { write, outcome });
    }

    fn answer(&mut self) {
        if let Some((host, answer)) = self.answers.pop_front() {
            let said = name(host).to_string();
            self.step(agent(peer(host), &said, answer));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(host) => self.arrive(host),
            Event::Leave(host) => self.leave(host),
            Event::Answer => self.answer(),
            Event::Persist(is_well) => self.persist(is_well),
            Event::Stage(cluster, hosts) => {
                let named = (0..HOSTS).filter(|host| hosts & (1 << host) != 0);
                let entry = |host: u8| InstanceEntry {
                    host: Some(place(host).0),
                    name: name(host),
                    port: listens(host).then(|| 2151.try_into().unwrap()),
                };
                let configuration = ConfigurationFile {
                    id: "".into(),
                    instances: named.map(entry).collect(),
                    nodes: Vec::new(),
                };
                let expected = Some(self.expected(CLUSTERS[cluster]));
                self.operate(
                    CLUSTERS[cluster],
                    ClusterRequest::Stage {
                        configuration,
                        expected,
                    },
                );
            }
            Event::Deploy(cluster) => {
                let expected = Some(self.expected(CLUSTERS[cluster]));
                let new = NewDeployment::default();
                self.operate(CLUSTERS[cluster], ClusterRequest::Deploy { expected, new });
            }
            Event::Remove(cluster) => _ = self.operate(CLUSTERS[cluster], ClusterRequest::Remove),
            Event::Ask(cluster) => _ = self.operate(CLUSTERS[cluster], ClusterRequest::Status),
            Event::Wait(seconds) => {
                self.now = self.now + std::time::Duration::from_secs(seconds.into());
                self.step(Input::Tick);
            }
            Event::Crash => self.crash(),
        }
    }

    /// It is gone at once, and started again.
    fn crash(&mut self) {
        self.connected.clear();
        self.dialled.clear();
        self.answers.clear();
        self.writes.clear();
        self.owed.clear();
        self.controller = controller(&self.durable);
        self.now = Now::START;
        self.step(started());
    }

    /// All that is under way ends well.
    fn heal(&mut self) {
        for _ in 0..60 {
            (0..HOSTS).for_each(|host| self.arrive(host));
            while !self.answers.is_empty() || !self.writes.is_empty() {
                self.persist(true);
                self.answer();
            }
            self.happen(Event::Wait(1));
        }
        assert_eq!(self.owed, BTreeSet::new(), "operators wait for answers");
    }

    fn told<T: serde::de::DeserializeOwned>(&mut self, id: u64) -> T {
        while !self.answers.is_empty() {
            self.answer();
        }
        json(&self.told[&id])
    }

    /// The instances that each cluster shows as connected.
    fn shown(&mut self) -> Vec<(String, String)> {
        self.asked += 1;
        let id = self.asked;
        self.owed.insert(id);
        self.step(Input::Clusters {
            id,
            principal: operator(),
        });
        let all: Clusters = self.told(id);
        let mut shown = Vec::new();
        for summary in all.clusters {
            let id = self.operate(&summary.cluster, ClusterRequest::Status);
            let status: ClusterStatus = self.told(id);
            let instances = status.instances.into_iter().filter(|report| report.is_connected);
            shown.extend(instances.map(|report| (report.instance, summary.cluster.clone())));
        }
        shown.sort();
        shown
    }

    /// Where nothing is deployed, no connection is opened again when it ends.
    fn assert_connects_where_it_should(&mut self) {
        (0..HOSTS).for_each(|host| self.leave(host));
        let deployed = self
            .durable
            .values()
            .filter_map(|stored| stored.deployed.as_ref());
        let instances = deployed.flat_map(|config| &config.instances);
        let places = instances.filter_map(|instance| Some((instance.host, instance.listen_port?)));
        assert_eq!(self.dialled, places.collect());
    }

    fn assert_well(&mut self) {
        let mut homes = BTreeMap::new();
        for (cluster, stored) in &self.durable {
            for config in [&stored.staged, &stored.deployed].into_iter().flatten() {
                for instance in &config.instances {
                    let other = homes.insert(instance.name.to_string(), cluster.clone());
                    assert!(
                        other.is_none_or(|other| other == *cluster),
                        "{} has two",
                        instance.name
                    );
                }
            }
        }
        let connected = self.connected.iter().map(|host| name(*host).to_string());
        let wanted: Vec<_> = connected
            .map(|name| {
                let home = homes.get(&name).cloned().unwrap_or_else(|| "default".into());
                (name, home)
            })
            .collect();
        assert_eq!(self.shown(), wanted);
        for host in &self.connected {
            let of_cluster = homes.get(&name(*host).to_string());
            let deployed = of_cluster.and_then(|cluster| self.deployed(cluster));
            let runs = deployed.filter(|config| {
                let mut instances = config.instances.iter();
                instances.any(|instance| instance.name == name(*host))
            });
            let running = self.hosts[usize::from(*host)].running();
            assert_eq!(running, runs.map(|config| &config.id), "host{host}");
        }
    }
}

proptest! {
    #[test]
    fn an_agent_belongs_to_one_cluster_and_runs_what_that_has_deployed(
        events in prop::collection::vec(event(), 0..150),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.heal();
        world.assert_well();
        world.assert_connects_where_it_should();
    }
}

#[test]
fn only_so_many_clusters_can_be() {
    let mut world = World::new();
    let stage = ClusterRequest::Stage {
        configuration: ConfigurationFile {
            id: "".into(),
            instances: Vec::new(),
            nodes: Vec::new(),
        },
        expected: Some(Expected::Nothing),
    };
    for number in 0..mgmt_controller::core::CLUSTERS_MAX {
        let id = world.operate(&format!("c{number}"), stage.clone());
        world.persist(true);
        assert!(world.told.contains_key(&id));
    }
    let id = world.operate("one-more", stage);
    assert!(!world.told.contains_key(&id) && world.writes.is_empty());
    let id = world.operate("c7", ClusterRequest::Remove);
    world.persist(true);
    assert!(world.told.contains_key(&id));
    let id = world.operate("c7", ClusterRequest::Configuration(Station::Staged));
    assert!(!world.told.contains_key(&id) && world.owed.is_empty());
}
