//! Hosts that a systemd has started, each in a container, with an agent as a service; a real controller and zeek-client. The nodes are stand-ins.

use std::{collections::BTreeMap, fs, sync::Arc, thread, time::Duration};

use rustix::process::Pid;
use tempfile::TempDir;

use super::{boot_in, start_agent};
use crate::support::{
    DIRECTORIES,
    cluster_file::ClusterFile,
    container::{self, Container},
    controller::{Controller, binary},
    home,
    network::Network,
    operated::{Operated, States},
    zeek_client::ZeekClient,
};

/// Names of agents.
pub(super) const SENSORS: [&str; 2] = ["sensor-1", "sensor-2"];

/// Where manager, logger and proxy listen. The network is a test's own.
const PORTS: [u16; 3] = [5001, 5011, 5021];

/// How an agent listens on the host of this number.
fn listens(number: usize) -> String {
    format!("127.0.0.1:{}", 2151 + number)
}

pub(super) type Pids = BTreeMap<String, Pid>;

pub(super) struct Hosts {
    pub(super) operated: Operated,
    pub(super) containers: Vec<Container>,
    pub(super) network: Network,
    controller_home: Arc<TempDir>,
}

impl Hosts {
    /// As many as there are further arguments for their agents; nothing where there can be none.
    pub(super) fn start(arguments: &[&str]) -> Option<Self> {
        if !container::is_possible() {
            return None;
        }
        let network = Network::new();
        let controller_home = home();
        let operated = operated(&network, &controller_home);
        let boot = |(number, further): (usize, &&str)| {
            let container = boot_in(Some(&network));
            let settings = format!(
                "name = \"{}\"\ncontroller = \"127.0.0.1:{}\"\nconnect_retry = \"50msec\"",
                SENSORS[number],
                operated.controller.broker().port()
            );
            let listens = listens(number);
            let simulated = format!("--simulate --supervise systemd --listen {listens} {further}");
            start_agent(&container, &settings, &simulated);
            container
        };
        let containers = arguments.iter().enumerate().map(boot).collect();
        Some(Self {
            operated,
            containers,
            network,
            controller_home,
        })
    }

    /// The one host, where there is one.
    pub(super) fn host(&self) -> &Container {
        &self.containers[0]
    }

    /// Has something happen while there is no controller.
    pub(super) fn without_controller(self, meanwhile: impl FnOnce(&mut [Container])) -> Self {
        let Self {
            operated: before,
            mut containers,
            network,
            controller_home,
        } = self;
        before.controller.stop();
        meanwhile(&mut containers);
        Self {
            operated: operated(&network, &controller_home),
            containers,
            network,
            controller_home,
        }
    }

    /// A cluster with three nodes besides workers on the first host, and this many workers on each.
    pub(super) fn cluster(workers: &[usize]) -> ClusterFile {
        let sensors: Vec<_> = SENSORS.into_iter().zip(workers.iter().copied()).collect();
        ClusterFile::of(&sensors, PORTS)
    }

    #[track_caller]
    pub(super) fn deploy(&mut self, cluster: &ClusterFile) -> Pids {
        self.operated.deploy(cluster, || pids(&self.containers))
    }

    pub(super) fn pids(&self) -> Pids {
        pids(&self.containers)
    }

    /// Asks for the states until they are good.
    pub(super) fn states_until(&mut self, good: impl Fn(&States) -> bool) -> States {
        self.operated
            .states_until(good, || thread::sleep(Duration::from_millis(100)))
    }

    /// Waits until all nodes run, and those that are known and those that are there are the same.
    #[track_caller]
    pub(super) fn all_run(&mut self) -> Pids {
        let states = self.states_until(|states| states.values().all(|(state, _)| state == "RUNNING"));
        let known = states.into_iter().map(|(name, (_, pid))| (name, pid));
        let pids = self.pids();
        let there = pids.iter().map(|(name, pid)| (name.clone(), Some(*pid)));
        assert_eq!(known.collect::<Vec<_>>(), there.collect::<Vec<_>>());
        pids
    }

    /// Waits for the controller to log this, and returns what it logged until then.
    pub(super) fn logged(&mut self, words: &str) -> Vec<String> {
        self.operated.controller.daemon.stderr.until_all(&[words])
    }

    /// Waits for the agent of the one host to have said this since the boot.
    pub(super) fn said(&self, words: &str) {
        self.host().sh(&format!(
            "until journalctl --boot --unit mgmt-agent | grep --quiet --fixed-strings '{words}'; do sleep 0.1; done"
        ));
    }
}

/// In a directory where it may have run before, at the port where it was then.
fn operated(network: &Network, home: &Arc<TempDir>) -> Operated {
    fs::create_dir_all(home.path().join("state")).expect("a directory can be made");
    let mut command = network.command(&binary().display().to_string());
    command
        .args([
            "--listen",
            "127.0.0.1:2150",
            "--websocket-listen",
            "127.0.0.1:2149",
        ])
        .args(DIRECTORIES)
        .arg("Management::Controller::name=controller")
        .arg("Management::Controller::auto_assign_metrics_ports=F");
    let controller = Controller::launch(home, command);
    Operated::new(controller, ZeekClient::latest().within(network))
}

/// The processes of nodes, by the names in their environment. They are the main processes of units, each of one.
#[track_caller]
fn pids(containers: &[Container]) -> Pids {
    let mut all = Pids::new();
    for container in containers {
        let processes = named(container, PROCESSES);
        assert_eq!(
            processes,
            named(container, UNITS),
            "no process is left over, and each is in its unit"
        );
        for (name, pid) in processes {
            let pid = Pid::from_raw(pid).expect("a process");
            assert_eq!(all.insert(name, pid), None, "{all:?}");
        }
    }
    all
}

/// Names and numbers that a command prints, in order.
fn named(container: &Container, line: &str) -> Vec<(String, i32)> {
    let printed = container.sh(line);
    let named = printed.lines().map(|line| {
        let (name, number) = line.split_once(' ').expect("two words");
        (name.to_owned(), number.parse().expect("a number"))
    });
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

const PROCESSES: &str = "
for process in $(pgrep -u zeek -f simulated-zeek); do
    echo $(tr '\\0' '\\n' </proc/$process/environ | sed -n 's/^CLUSTER_NODE=//p') $process
done";

const UNITS: &str = "
for unit in $(systemctl list-units --plain --no-legend --state=active 'zeek-node@*' | cut -d ' ' -f 1); do
    node=${unit#*@}
    echo ${node%.service} $(systemctl show -P MainPID $unit)
done";
