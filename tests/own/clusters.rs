//! Twelve clusters of one host each, under one controller: what happens in one touches no process and delays no answer of another.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Child, sync::Arc, time::Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::ReservedPort;

use super::{Pids, once_each, processes_of_nodes};
use crate::support::{
    cluster::{Instance, Plan, Protection, Zeek, agent_binary},
    cluster_file::always_dies,
    controller::Controller,
    home,
    limit::Limit,
    mgmtctl,
    program::Outcome,
    signal,
    zeek_client::ZeekClient,
};

const NAMES: [&str; 12] = [
    "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9", "c10", "c11", "c12",
];

/// The one whose agent hangs, the one of which a node fails, and the one that is deployed; the others look on.
const HANGING: &str = "c1";
const FAILING: &str = "c2";
const DEPLOYED: &str = "c3";

/// Requests last for as long as an agent hangs.
const PATIENCE: &str = "Management::Request::timeout_interval=60sec";

struct Clusters {
    home: Arc<TempDir>,
    controller: Controller,
    client: ZeekClient,
    instances: Vec<Instance<'static>>,
    /// Where managers listen, and two more each as they forward for `ZeroMQ`.
    ports: Vec<[ReservedPort; 3]>,
}

fn controller(home: &Arc<TempDir>) -> Controller {
    let settings = [
        "Management::connect_retry=50msec",
        "Management::Controller::auto_assign_metrics_ports=F",
        PATIENCE,
    ];
    Controller::start_in(home, &settings)
}

impl Clusters {
    fn start() -> Self {
        let _built = (agent_binary(), mgmtctl::binary());
        let home = home();
        let controller = controller(&home);
        let start = |name| {
            let mut plan = Plan::new(name, None, &Protection::Anonymous);
            plan.zeek = Zeek::Kept;
            Instance::start(plan)
        };
        Self {
            home,
            controller,
            client: ZeekClient::latest(),
            instances: NAMES.map(start).into(),
            ports: NAMES.map(|_| ReservedPort::for_manager("127.0.0.1")).into(),
        }
    }

    fn directory(&self) -> PathBuf {
        self.controller.working_dir("controller")
    }

    fn mgmtctl(&self, arguments: &[&str]) -> Outcome {
        mgmtctl::ask(&self.directory(), arguments)
    }

    /// Writes the configuration of a cluster, in which the worker has this environment, and says where.
    fn configuration(&self, cluster: &str, worker: &Value) -> String {
        let at = NAMES.iter().position(|name| *name == cluster).expect("a cluster");
        let (instance, [port, ..]) = (&self.instances[at], &self.ports[at]);
        let config = json!({
            "instances": [{ "name": cluster, "host": "127.0.0.1", "port": instance.listens_at().port() }],
            "nodes": [
                { "name": "manager", "instance": cluster, "role": "manager", "port": port.port() },
                { "name": "worker", "instance": cluster, "role": "worker", "interface": "lo", "env": worker },
            ],
        });
        let file = format!("{cluster}.json");
        fs::write(self.directory().join(&file), config.to_string()).expect("written");
        file
    }

    /// Begins to deploy a cluster, whose worker has this environment.
    fn begin_deploying(&self, cluster: &str, worker: &Value) -> (Child, Instant) {
        let file = self.configuration(cluster, worker);
        let arguments = ["--cluster", cluster, "deploy", &file, "--yes"];
        (mgmtctl::begin(&self.directory(), &arguments), Instant::now())
    }

    fn pids(&self) -> BTreeMap<&'static str, Pids> {
        let of_instance =
            |instance: &Instance<'static>| (instance.name(), once_each(processes_of_nodes(instance.home())));
        self.instances.iter().map(of_instance).collect()
    }

    fn agent(&self, cluster: &str) -> Pid {
        let mut instances = self.instances.iter();
        let instance = instances.find(|instance| instance.name() == cluster);
        let agent = instance.and_then(|instance| instance.agent.as_ref());
        let pid = i32::try_from(agent.expect("an agent").pid()).expect("a process id");
        Pid::from_raw(pid).expect("it runs")
    }

    /// Clusters that others are not part of answer.
    fn assert_others_answer(&mut self) {
        for name in &NAMES[3..] {
            let status = self.mgmtctl(&["--cluster", name, "status"]);
            let words = "all as deployed: 1 of 1 instance connected, 2 nodes (2 RUNNING)\n";
            assert!(status.printed().ends_with(words), "{status:?}");
        }
        let websocket = self.controller.websocket();
        let shown = self.client.run(websocket, &["get-instances"], None);
        assert_eq!(shown.json(0), json!({}), "default has none");
    }

    fn restart_controller(self) -> Self {
        self.controller.kill();
        Self {
            controller: controller(&self.home),
            ..self
        }
    }

    fn stop(mut self) {
        for instance in &mut self.instances {
            instance.stop();
        }
        self.controller.stop();
    }
}

fn done((child, since): (Child, Instant)) -> Outcome {
    Outcome::of(child, "mgmtctl", since)
}

fn is_under_way((child, _): &mut (Child, Instant)) -> bool {
    child.try_wait().expect("it can be waited for").is_none()
}

#[test]
fn what_happens_in_one_of_twelve_clusters_touches_and_delays_no_other() {
    let clusters = Clusters::start();
    let begun = NAMES.map(|name| clusters.begin_deploying(name, &json!({})));
    for outcome in begun.map(done) {
        assert!(
            outcome.printed().ends_with("is deployed, 2 of 2 nodes up\n") || outcome.exit == 0,
            "{outcome:?}"
        );
    }
    let all_well = clusters.mgmtctl(&["status"]);
    assert!(
        all_well.printed().ends_with("\nall as deployed in 13 clusters\n"),
        "{all_well:?}"
    );
    let before = clusters.pids();

    let mut clusters = clusters.restart_controller();
    let limit = Limit::new("all clusters to be as deployed");
    limit.poll(|| (clusters.mgmtctl(&["status"]).exit == 0).then_some(()));
    assert_eq!(clusters.pids(), before);

    let agent = clusters.agent(HANGING);
    signal(agent, Signal::STOP);
    let mut hanging = clusters.begin_deploying(HANGING, &json!({ "A": "b" }));
    let dying = json!({ "STAND_IN_NODE": json!(always_dies("no such interface")).to_string() });
    let failing = clusters.begin_deploying(FAILING, &dying);
    let deployed = done(clusters.begin_deploying(DEPLOYED, &json!({ "A": "b" })));
    deployed.printed();
    clusters.assert_others_answer();
    let failed = done(failing);
    assert!(
        failed.exit == 1 && failed.stdout.contains("no such interface"),
        "{failed:?}"
    );
    clusters.assert_others_answer();
    assert!(is_under_way(&mut hanging), "its agent does not answer");

    signal(agent, Signal::CONT);
    done(hanging).printed();
    let status = clusters.mgmtctl(&["status"]);
    assert_eq!(status.exit, 1, "{status:?}");
    assert!(
        status
            .stdout
            .ends_with("\nNOT as deployed in 1 of 13 clusters: c2\n"),
        "{status:?}"
    );
    let after = clusters.pids();
    for name in &NAMES[3..] {
        assert_eq!(after[name], before[name], "{name}");
    }
    for name in [HANGING, DEPLOYED] {
        assert_eq!(after[name]["manager"], before[name]["manager"], "{name}");
        assert_ne!(after[name]["worker"], before[name]["worker"], "{name}");
    }

    clusters
        .mgmtctl(&["clusters", "delete", "c12"])
        .failed(1, "deploy an empty configuration in it first");
    fs::write(clusters.directory().join("empty.json"), "{}").expect("written");
    clusters
        .mgmtctl(&["--cluster", "c12", "deploy", "empty.json", "--yes"])
        .printed();
    clusters.mgmtctl(&["clusters", "delete", "c12"]).printed();
    clusters
        .mgmtctl(&["--cluster", "c12", "status"])
        .failed(3, "there is no cluster c12");
    clusters
        .mgmtctl(&["--cluster", "c12", "events"])
        .failed(1, "there is no cluster c12");
    let all = clusters.mgmtctl(&["clusters"]);
    assert_eq!(all.exit, 1, "{all:?}");
    assert!(
        all.stdout.ends_with("\n12 clusters: 1 with TROUBLE: c2\n"),
        "{all:?}"
    );
    clusters.stop();
}
