//! Two hosts, whose agents have a real controller and zeek-client.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use rustix::process::Pid;
use serde_json::Value;
use testkit::ReservedPort;

use super::{once_each, processes_of_nodes};
use crate::support::{
    cluster::{Instance, Plan, Protection, Zeek, agent_binary, start_controller},
    cluster_file::ClusterFile,
    mgmtctl,
    news::News,
    operated::{Operated, States},
    program::Outcome,
    zeek_client::ZeekClient,
};

pub(super) const SENSORS: [&str; 2] = ["sensor-1", "sensor-2"];

pub(super) struct Sensors {
    operated: Operated,
    pub(super) news: News,
    pub(super) instances: Vec<Instance<'static>>,
    /// Where the manager listens, and two more as it forwards for `ZeroMQ`; the logger and the proxy.
    ports: Vec<ReservedPort>,
}

impl Sensors {
    pub(super) fn start() -> Self {
        Self::with(&[])
    }

    /// With further arguments for the controller.
    pub(super) fn with(arguments: &[&str]) -> Self {
        const ANONYMOUS: &Protection = &Protection::Anonymous;
        // A client that does not answer pings while it is built is disconnected.
        let _built = agent_binary();
        // Several tests at once would have the same.
        let no_ports = "Management::Controller::auto_assign_metrics_ports=F";
        let mut controller = start_controller(ANONYMOUS, &[&[no_ports], arguments].concat());
        let news = News::of(&mut controller);
        let start = |name| {
            let mut plan = Plan::new(name, Some(controller.broker()), ANONYMOUS);
            plan.zeek = Zeek::Kept;
            let instance = Instance::start(plan);
            news.with(&["notify_agent_hello", name]);
            instance
        };
        let instances = SENSORS.map(start).into();
        let mut ports: Vec<ReservedPort> = ReservedPort::for_manager("127.0.0.1").into();
        ports.extend([(); 2].map(|()| ReservedPort::new("127.0.0.1")));
        Self {
            operated: Operated::new(controller, ZeekClient::latest()),
            news,
            instances,
            ports,
        }
    }

    /// Where a manager, a logger and a proxy may listen.
    pub(super) fn ports(&self) -> [u16; 3] {
        let [manager, _, _, logger, proxy] = &self.ports[..] else {
            panic!("four ports");
        };
        [manager, logger, proxy].map(ReservedPort::port)
    }

    /// A cluster with three nodes besides workers on the first host, and this many workers on each.
    pub(super) fn cluster(&self, workers: [usize; 2]) -> ClusterFile {
        let [first, second] = SENSORS;
        ClusterFile::of(&[(first, workers[0]), (second, workers[1])], self.ports())
    }

    #[track_caller]
    pub(super) fn succeed(&mut self, arguments: &[&str], stdin: Option<&str>) -> Value {
        self.operated.succeed(arguments, stdin)
    }

    #[track_caller]
    pub(super) fn deploy(&mut self, cluster: &ClusterFile) -> BTreeMap<String, Pid> {
        self.operated.deploy(cluster, || pids(&self.instances))
    }

    #[track_caller]
    pub(super) fn fail(&mut self, cluster: &ClusterFile) -> Value {
        self.operated.fail(cluster)
    }

    pub(super) fn zeek_client(&mut self, arguments: &[&str], stdin: Option<&str>) -> Outcome {
        self.operated.run(arguments, stdin)
    }

    /// A file of this name, where `mgmtctl` is run.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.working_dir().join(name)
    }

    /// Where the controller works.
    pub(super) fn working_dir(&self) -> PathBuf {
        self.operated.controller.working_dir("controller")
    }

    /// Where the agent of one of the hosts works.
    pub(super) fn agent_directory(&self, number: usize) -> PathBuf {
        let home = self.instances[number].home();
        home.join("state/nodes").join(SENSORS[number])
    }

    /// Where the controller serves HTTP over TCP.
    pub(super) fn http(&self) -> SocketAddr {
        self.operated.controller.daemon.listens("http")
    }

    /// Asks the controller by `mgmtctl`.
    pub(super) fn mgmtctl(&self, arguments: &[&str]) -> Outcome {
        mgmtctl::ask(&self.working_dir(), arguments)
    }

    pub(super) fn states(&mut self) -> States {
        self.operated.states()
    }

    /// Asks for the states until they are good, again whenever an agent tells something.
    pub(super) fn states_until(&mut self, good: impl Fn(&States) -> bool) {
        let pause = || {
            self.news.with(&["::notify_"]);
        };
        self.operated.states_until(good, pause);
    }

    pub(super) fn pids(&self) -> BTreeMap<String, Pid> {
        pids(&self.instances)
    }

    /// Ends everything: no process is left.
    pub(super) fn stop(mut self) {
        for instance in &mut self.instances {
            instance.stop();
        }
        self.operated.controller.stop();
    }
}

fn pids(instances: &[Instance<'_>]) -> BTreeMap<String, Pid> {
    let all = instances
        .iter()
        .flat_map(|instance| processes_of_nodes(instance.home()));
    once_each(all.collect())
}
