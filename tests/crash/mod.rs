//! `kill -9` at random points of deployments: real controller, real store, agents over real connections.
//!
//! Each seed is one deployment: a configuration of three agents at most is staged and deployed, and the controller is killed a
//! random time after a random moment of it (a request was sent or answered, an agent was asked), and perhaps again while it
//! starts or brings the agents back. Then:
//! * what the store holds is what it holds at one of the stations of a deployment without a crash, STAGED, READY and DEPLOYED
//!   alike; and no earlier one than the client was told of;
//! * the controller that is started again shows that, and brings all agents to what DEPLOYED says, whole;
//! * staged and deployed once more, the configuration ends as without a crash.
//!
//! What a deployment without a crash does is asked of a second controller, which lives all the time.
//!
//! `CRASH_DEPLOYMENTS=500 cargo test -p conformance crash -- --nocapture` kills in 500 deployments, `CRASH_FIRST=17` begins with
//! another seed. A failed test names the seed and the moment of the kill.

mod cluster;
mod kill;
mod our_agent;
mod system_calls;

use std::{
    collections::BTreeMap,
    env, fs,
    sync::{Arc, mpsc::channel},
    thread,
};

use broker_codec::data::{Address, Port, from_data};
use mgmt_api::{ClientRequest, ClusterRole, Configuration, Instance, Node};
use tempfile::TempDir;
use testkit::Dice;

use self::{
    cluster::{Cluster, DIALLING, LISTENING, Running},
    kill::{Point, deploy_until_the_end, kill_at},
};
use crate::support::{
    controller::{Controller, STORE},
    home,
    limit::Limit,
    relay::Relay,
    session::Session,
    store::{rows, rows_after_a_crash},
};

const ARGUMENTS: [&str; 3] = [
    "Broker::disable_ssl=T",
    "Management::connect_retry=20msec",
    "--log-level=debug",
];

/// What the store holds: the configurations STAGED, READY and DEPLOYED.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stored {
    staged: Option<Configuration>,
    ready: Option<Configuration>,
    deployed: Option<Configuration>,
}

impl Stored {
    fn from(mut rows: BTreeMap<String, broker_codec::Data>) -> Self {
        let mut take = |slot| {
            let row = rows.remove(slot)?;
            Some(from_data(row).expect("a configuration"))
        };
        let stored = Self {
            staged: take("STAGED"),
            ready: take("READY"),
            deployed: take("DEPLOYED"),
        };
        assert_eq!(rows, BTreeMap::new(), "and nothing else");
        stored
    }

    /// The same with the agent that listens at another port.
    fn with_port(&self, port: u16) -> Self {
        let moved = |config: &Option<Configuration>| {
            let mut config = config.clone()?;
            config.instances = config
                .instances
                .iter()
                .map(|instance| Instance {
                    listen_port: instance.listen_port.map(|_| Port::tcp(port)),
                    ..instance.clone()
                })
                .collect();
            Some(config)
        };
        Self {
            staged: moved(&self.staged),
            ready: moved(&self.ready),
            deployed: moved(&self.deployed),
        }
    }
}

/// A controller in a directory that outlives it, with agents that outlive it.
struct Site {
    home: Arc<TempDir>,
    relay: Relay,
    cluster: Cluster,
}

impl Site {
    fn new() -> Self {
        let relay = Relay::start();
        Self {
            home: home(),
            cluster: Cluster::start(relay.address()),
            relay,
        }
    }

    fn start(&self) -> Controller {
        let controller = Controller::start_in(&self.home, &ARGUMENTS);
        self.relay.point_to(controller.broker());
        controller
    }

    fn store(&self) -> std::path::PathBuf {
        self.home.path().join("state/nodes/controller").join(STORE)
    }

    /// Waits until every agent is connected that the controller can know of.
    fn wait_for_agents(session: &mut Session, deployed: Option<&Configuration>) {
        let mut expected: Vec<_> = DIALLING.iter().map(|name| (*name).to_owned()).collect();
        let listens = |config: &Configuration| config.instances.iter().any(|one| one.name == LISTENING);
        if deployed.is_some_and(listens) {
            expected.push(LISTENING.to_owned());
        }
        // Each question is a round trip. Others may be known from before.
        while !expected.iter().all(|name| session.instances().contains(name)) {}
    }

    /// Waits until the agents of a configuration run it, by order of the controller in this life.
    fn wait_until_it_runs(&self, deployed: Option<&Configuration>, life: u64) {
        let wanted: BTreeMap<String, Running> = deployed
            .into_iter()
            .flat_map(|config| {
                let running = Running {
                    config: config.clone(),
                    life,
                };
                let names = config.instances.iter().map(|instance| instance.name.to_string());
                names.map(move |name| (name, running.clone()))
            })
            .collect();
        self.cluster.wait_until(&wanted);
    }

    /// Stages and deploys without a crash. What the store holds before that, then, and at the end.
    fn deploy(&self, session: &mut Session, config: &Configuration) -> [Stored; 3] {
        let before = Stored::from(rows(&self.store()));
        session.stage(config);
        let staged = Stored::from(rows(&self.store()));
        let request = ClientRequest::Deploy {
            reqid: "deploy".into(),
        };
        let limit = Limit::new("the end of the deployment that brings agents back");
        let results = loop {
            limit.left();
            let response = session.ask(&request);
            let results = response.results().to_vec();
            // That of a controller that brings its agents back.
            let earlier = |error: &broker_codec::data::ZeekString| {
                error.to_string().starts_with("earlier deployment ")
                    && error.to_string().ends_with(" still pending")
            };
            if !results[0].error.as_ref().is_some_and(earlier) {
                break results;
            }
        };
        assert!(results.iter().all(|result| result.success), "{results:?}");
        [before, staged, Stored::from(rows(&self.store()))]
    }
}

/// A configuration of this seed, for a site whose listening agent has this port.
fn configuration(seed: u64, port: u16) -> Configuration {
    let mut dice = Dice(seed);
    let mut instances = Vec::new();
    let mut nodes = Vec::new();
    for name in [DIALLING[0], DIALLING[1], LISTENING] {
        if !dice.percent(65) {
            continue;
        }
        let listens = name == LISTENING;
        let given = listens || dice.percent(50);
        let host = if given { "127.0.0.1" } else { "0.0.0.0" };
        instances.push(Instance {
            name: name.into(),
            host: host.parse::<Address>().expect("an address"),
            listen_port: listens.then(|| Port::tcp(port)),
        });
        for number in 0..dice.below(4) {
            let roles = [ClusterRole::Manager, ClusterRole::Logger, ClusterRole::Worker];
            nodes.push(Node {
                interface: dice.percent(50).then(|| "lo".into()),
                ..Node::new(
                    format!("{name}-{number}"),
                    name,
                    roles[usize::try_from(dice.below(3)).expect("small")],
                )
            });
        }
    }
    Configuration::new(format!("seed-{seed}"), instances, nodes)
}

/// Says which seed failed, and where.
struct Context(String);

impl Drop for Context {
    #[expect(clippy::print_stderr, reason = "shown with the failed test's output")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {}", self.0);
        }
    }
}

/// What the kills came upon.
#[derive(Debug, Default)]
struct Seen {
    /// How often the store was found at each of the stations.
    stations: [u64; 3],
    /// How often in the middle of a write.
    writing: u64,
    /// How often a controller was killed that was bringing agents back, or had just been started.
    again: u64,
    /// The last moments before the kills.
    moments: BTreeMap<String, u64>,
}

#[test]
fn a_kill_in_the_middle_of_a_deployment_loses_nothing_and_the_cluster_converges() {
    let number = |name, default| env::var(name).map_or(default, |value| value.parse().expect("a number"));
    let first: u64 = number("CRASH_FIRST", 0);
    let count: u64 = number("CRASH_DEPLOYMENTS", 30);
    let reference = Site::new();
    let mut reference_controller = reference.start();
    Site::wait_for_agents(&mut Session::open(reference_controller.websocket()), None);
    let site = Site::new();
    let mut controller = site.start();
    let mut seen = Seen::default();
    for seed in first..first + count {
        let mut context = Context(format!("seed {seed}"));
        let config = configuration(seed, reference.cluster.port());
        // A new session: the one before would have missed pings meanwhile.
        let stations = reference
            .deploy(&mut Session::open(reference_controller.websocket()), &config)
            .map(|stored| stored.with_port(site.cluster.port()));
        let config = configuration(seed, site.cluster.port());
        controller = crash(
            &site,
            controller,
            seed,
            &config,
            &stations,
            &mut context,
            &mut seen,
        );
    }
    report(count, &seen);
    controller.stop();
    reference_controller.stop();
    assert!(
        seen.stations.iter().filter(|count| **count > 0).count() > 1,
        "{seen:?}"
    );
}

#[expect(
    clippy::print_stderr,
    reason = "shows what the kills came upon, with --nocapture"
)]
fn report(count: u64, seen: &Seen) {
    eprintln!("{count} deployments: {seen:#?}");
}

/// One deployment with its crashes. Returns the controller that has recovered from them.
fn crash(
    site: &Site,
    mut controller: Controller,
    seed: u64,
    config: &Configuration,
    stations: &[Stored; 3],
    context: &mut Context,
    sum: &mut Seen,
) -> Controller {
    let mut dice = Dice(!seed);
    let mut session = Session::open(controller.websocket());
    let deployed_before = stations[0].deployed.as_ref();
    Site::wait_for_agents(&mut session, deployed_before);

    // Each agent is told twice what to do, or once that it is not needed.
    let point = Point::roll(&mut dice, 1 + 2 * config.instances.len() as u64);
    context.0 = format!("seed {seed}: killed at {point:?}");
    let (announce, moments) = channel();
    site.cluster.announce(Some(announce.clone()));
    let pid = controller.pid();
    let at = format!("{point:?}");
    let killer = thread::spawn(move || kill_at(pid, &moments, &point));
    let heard = deploy_until_the_end(&mut session, config, &announce);
    site.cluster.announce(None);
    drop(announce);
    let moment = killer.join().expect("it kills");
    context.0 = format!("seed {seed}: killed after {moment}, {at}");
    controller.wait();
    *sum.moments.entry(moment).or_default() += 1;
    let mut station = check_store(site, stations, heard as usize, sum);
    sum.stations[station] += 1;

    // Once more while it starts, or while it brings the agents back.
    while dice.percent(30) {
        let after = dice.micros(17);
        context.0 = format!("{}, then {after:?} after the start", context.0);
        site.cluster.begin_life();
        if dice.percent(50) {
            Controller::crash_at_start(&site.home, &ARGUMENTS, after);
        } else {
            let started = site.start();
            thread::sleep(after);
            started.kill();
        }
        sum.again += 1;
        let found = check_store(site, stations, station, sum);
        assert_eq!(found, station, "to bring agents back changes nothing");
        station = found;
    }

    let life = site.cluster.begin_life();
    controller = site.start();
    let mut session = Session::open(controller.websocket());
    let stored = &stations[station];
    assert_eq!(session.configuration(false), stored.staged);
    assert_eq!(session.configuration(true), stored.deployed);
    site.wait_until_it_runs(stored.deployed.as_ref(), life);

    let mut session = Session::open(controller.websocket());
    Site::wait_for_agents(&mut session, stored.deployed.as_ref());
    let [_, _, end] = site.deploy(&mut session, config);
    assert_eq!(end, stations[2]);
    site.wait_until_it_runs(end.deployed.as_ref(), life);
    controller
}

/// Which of the stations the store is at; it must be at one of them, from this one on.
#[track_caller]
fn check_store(site: &Site, stations: &[Stored; 3], from: usize, sum: &mut Seen) -> usize {
    let mut journal = site.store().into_os_string();
    journal.push("-journal");
    sum.writing += u64::from(fs::exists(journal).expect("the folder can be read"));
    let stored = Stored::from(rows_after_a_crash(&site.store()));
    let found = stations.iter().rposition(|station| *station == stored);
    let found =
        found.unwrap_or_else(|| panic!("no station of the deployment: {stored:#?}\nof {stations:#?}"));
    assert!(
        found >= from,
        "the client was told of station {from}, the store is at {found}"
    );
    found
}
