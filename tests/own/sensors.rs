//! Two hosts, whose agents have a real controller and zeek-client.

use std::{collections::BTreeMap, fmt::Write};

use rustix::process::Pid;
use serde_json::{Value, json};
use testkit::ReservedPort;
use zeek_simulator::NodeBehaviour;

use super::{once_each, processes_of_nodes};
use crate::support::{
    cluster::{Instance, Plan, Protection, Zeek, agent_binary, start_controller},
    controller::Controller,
    limit::Limit,
    news::News,
    zeek_client::zeek_client,
};

pub(super) const SENSORS: [&str; 2] = ["sensor-1", "sensor-2"];

pub(super) struct Sensors {
    controller: Controller,
    pub(super) news: News,
    pub(super) instances: Vec<Instance<'static>>,
    /// Where the manager listens, and one more as it forwards for `ZeroMQ`; the logger and the proxy.
    ports: Vec<ReservedPort>,
}

/// A cluster file under construction.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    /// The nodes' sections by name, in lines.
    nodes: BTreeMap<String, String>,
}

impl Sensors {
    pub(super) fn start() -> Self {
        const ANONYMOUS: &Protection = &Protection::Anonymous;
        // A client that does not answer pings while it is built is disconnected.
        let _built = agent_binary();
        // Several tests at once would have the same.
        let no_ports = "Management::Controller::auto_assign_metrics_ports=F";
        let mut controller = start_controller(ANONYMOUS, &[no_ports]);
        let news = News::of(&mut controller);
        let start = |name| {
            let mut plan = Plan::new(name, Some(controller.broker()), ANONYMOUS);
            plan.zeek = Zeek::Kept;
            let instance = Instance::start(plan);
            news.with(&["notify_agent_hello", name]);
            instance
        };
        let instances = SENSORS.map(start).into();
        let mut ports: Vec<ReservedPort> = ReservedPort::pair("127.0.0.1").into();
        ports.extend([(); 2].map(|()| ReservedPort::new("127.0.0.1")));
        Self {
            controller,
            news,
            instances,
            ports,
        }
    }

    /// A cluster with three nodes besides workers on the first host, and this many workers on each.
    pub(super) fn cluster(&self, workers: [usize; 2]) -> Cluster {
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
        };
        let [manager, _, logger, proxy] = &self.ports[..] else {
            panic!("four ports");
        };
        for (role, port) in [("manager", manager), ("logger", logger), ("proxy", proxy)] {
            cluster.add(role, SENSORS[0], role, &format!("port = {}", port.port()));
        }
        for (sensor, count) in SENSORS.iter().zip(workers) {
            for number in 1..=count {
                cluster.add_worker(&format!("worker-{sensor}-{number}"), sensor);
            }
        }
        cluster
    }

    /// Runs zeek-client, which must succeed, and returns its results.
    #[track_caller]
    pub(super) fn succeed(&mut self, arguments: &[&str], stdin: Option<&str>) -> Value {
        let printed = zeek_client(&mut self.controller, arguments, stdin).json(0);
        assert_eq!(printed["errors"], json!([]), "{arguments:?}: {printed}");
        printed["results"].clone()
    }

    /// Deploys a cluster, all nodes of which must come up, and returns their processes: those that are known and those that are there are
    /// the same.
    #[track_caller]
    pub(super) fn deploy(&mut self, cluster: &Cluster) -> BTreeMap<String, Pid> {
        let deployed = self.succeed(&["deploy-config", "-"], Some(&cluster.text()));
        let nodes = deployed["nodes"].as_object().expect("nodes");
        assert!(nodes.values().all(|node| node["success"] == true), "{deployed}");
        let pids = self.pids();
        assert!(pids.keys().eq(cluster.nodes.keys()), "{pids:?}");
        let known = self.states();
        let running = |(name, pid): (&String, &Pid)| (name.clone(), ("RUNNING".to_owned(), Some(*pid)));
        assert_eq!(known, pids.iter().map(running).collect());
        pids
    }

    /// Deploys a cluster, which must fail, and returns what zeek-client prints.
    #[track_caller]
    pub(super) fn fail(&mut self, cluster: &Cluster) -> Value {
        let text = cluster.text();
        zeek_client(&mut self.controller, &["deploy-config", "-"], Some(&text)).json(1)
    }

    /// State and process of each node, as `get-nodes` shows them.
    pub(super) fn states(&mut self) -> BTreeMap<String, (String, Option<Pid>)> {
        let results = self.succeed(&["get-nodes"], None);
        let mut states = BTreeMap::new();
        for sensor in SENSORS {
            for (name, node) in results[sensor].as_object().into_iter().flatten() {
                let pid = node["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
                let state = node["state"].as_str().expect("a state").to_owned();
                if name != sensor {
                    states.insert(name.clone(), (state, pid.and_then(Pid::from_raw)));
                }
            }
        }
        states
    }

    /// Asks for the states until they are good, again whenever an agent tells something.
    pub(super) fn states_until(&mut self, good: impl Fn(&BTreeMap<String, (String, Option<Pid>)>) -> bool) {
        let mut limit = Limit::new("");
        loop {
            let states = self.states();
            if good(&states) {
                return;
            }
            limit.say(format_args!("other states than {states:?}"));
            limit.left();
            self.news.with(&["::notify_"]);
        }
    }

    pub(super) fn pids(&self) -> BTreeMap<String, Pid> {
        let all = self
            .instances
            .iter()
            .flat_map(|instance| processes_of_nodes(instance.home()));
        once_each(all.collect())
    }

    /// Ends everything: no process is left.
    pub(super) fn stop(mut self) {
        for instance in &mut self.instances {
            instance.stop();
        }
        self.controller.stop();
    }
}

impl Cluster {
    /// Adds a node, or has it in place of the one of that name.
    fn add(&mut self, name: &str, sensor: &str, role: &str, further: &str) {
        let section = format!("instance = {sensor}\nrole = {role}\n{further}\n");
        self.nodes.insert(name.to_owned(), section);
    }

    pub(super) fn add_worker(&mut self, name: &str, sensor: &str) {
        self.add(name, sensor, "worker", "interface = lo");
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.nodes.remove(name).expect("it is one of its nodes");
    }

    /// Gives a node one more setting, as a line of its section.
    pub(super) fn set(&mut self, name: &str, line: &str) {
        let section = self.nodes.get_mut(name).expect("it is one of its nodes");
        section.push_str(line);
        section.push('\n');
    }

    pub(super) fn behave(&mut self, name: &str, behaviour: &NodeBehaviour) {
        self.set(name, &format!("env = 'STAND_IN_NODE={}'", json!(behaviour)));
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("[instances]\n{}\n", SENSORS.join("\n"));
        for (name, section) in &self.nodes {
            write!(text, "\n[{name}]\n{section}").expect("a string takes all");
        }
        text
    }
}
