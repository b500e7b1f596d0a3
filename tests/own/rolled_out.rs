//! Roll-outs over twelve instances with 108 nodes, which are real processes: what is tried where, what is caught, and what goes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Child,
    sync::Arc,
    time::Instant,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::ReservedPort;
use zeek_simulator::NodeBehaviour;

use super::{Pids, once_each, processes_of_nodes};
use crate::support::{
    changed,
    cluster::{Instance, Plan, Protection, Zeek, agent_binary},
    controller::Controller,
    home,
    limit::Limit,
    mgmtctl,
    program::Outcome,
};

const NAMES: [&str; 12] = [
    "s01", "s02", "s03", "s04", "s05", "s06", "s07", "s08", "s09", "s10", "s11", "s12",
];

/// How many nodes each instance has; the first one has three in place of as many workers.
const NODES: usize = 9;

struct Cluster {
    home: Arc<TempDir>,
    controller: Controller,
    instances: Vec<Instance<'static>>,
    /// Where the manager listens, and two more as it forwards for `ZeroMQ`; the logger and the proxy.
    ports: Vec<ReservedPort>,
}

/// The environment of nodes whose names begin so.
type Changes<'a> = &'a [(&'a str, Value)];

impl Cluster {
    fn start(names: &[&'static str]) -> Self {
        let _built = (agent_binary(), mgmtctl::binary());
        let home = home();
        let controller = controller(&home);
        let start = |name: &&'static str| {
            let mut plan = Plan::new(name, None, &Protection::Anonymous);
            plan.zeek = Zeek::Kept;
            Instance::start(plan)
        };
        let mut ports: Vec<ReservedPort> = ReservedPort::for_manager("127.0.0.1").into();
        ports.extend([(); 2].map(|()| ReservedPort::new("127.0.0.1")));
        Self {
            home,
            controller,
            instances: names.iter().map(start).collect(),
            ports,
        }
    }

    fn directory(&self) -> PathBuf {
        self.controller.working_dir("controller")
    }

    fn mgmtctl(&self, arguments: &[&str]) -> Outcome {
        mgmtctl::ask(&self.directory(), arguments)
    }

    /// Writes a configuration in which nodes have other environments.
    fn file(&self, name: &str, changes: Changes<'_>) -> String {
        let instance = |instance: &Instance<'_>| json!({ "name": instance.name(), "host": "127.0.0.1", "port": instance.listens_at().port() });
        let mut nodes = Vec::new();
        let mut add = |name: String, instance: &str, role: &str, port: Option<u16>| {
            let mut own = changes.iter().filter(|(begin, _)| name.starts_with(begin));
            let env = own.next_back().map_or_else(|| json!({}), |(_, env)| env.clone());
            nodes.push(json!({
                "name": name, "instance": instance, "role": role, "env": env, "port": port,
                "interface": (role == "worker").then_some("lo"),
            }));
        };
        let [manager, _, _, logger, proxy] = &self.ports[..] else {
            panic!("five ports");
        };
        let first = self.instances[0].name();
        for (role, port) in [("manager", manager), ("logger", logger), ("proxy", proxy)] {
            add(role.into(), first, role, Some(port.port()));
        }
        for instance in &self.instances {
            let name = instance.name();
            let count = if name == first { NODES - 3 } else { NODES };
            for number in 1..=count {
                add(format!("worker-{name}-{number}"), name, "worker", None);
            }
        }
        let instances: Vec<Value> = self.instances.iter().map(instance).collect();
        let config = json!({ "instances": instances, "nodes": nodes });
        fs::write(self.directory().join(name), config.to_string()).expect("written");
        name.to_owned()
    }

    fn deploy(&self) -> Pids {
        let file = self.file("deployed.json", &[]);
        let deployed = self.mgmtctl(&["deploy", &file, "--yes"]);
        assert_eq!(deployed.exit, 0, "{deployed:?}");
        self.pids()
    }

    fn pids(&self) -> Pids {
        let all = self
            .instances
            .iter()
            .flat_map(|instance| processes_of_nodes(instance.home()));
        once_each(all.collect())
    }

    /// Begins a roll-out, and follows it to its end.
    fn roll_out(&self, changes: Changes<'_>, further: &[&str]) -> Outcome {
        let (child, since) = self.begin(changes, further);
        Outcome::of(child, "mgmtctl", since)
    }

    fn begin(&self, changes: Changes<'_>, further: &[&str]) -> (Child, Instant) {
        let file = self.file("tried.json", changes);
        let arguments = [&["rollout", "start", &file, "--yes"], further].concat();
        (mgmtctl::begin(&self.directory(), &arguments), Instant::now())
    }

    /// How far the roll-out is; nothing if there is none yet.
    fn rollout(&self) -> Value {
        let told = self.mgmtctl(&["--json", "rollout", "status"]);
        serde_json::from_str(&told.stdout).unwrap_or_default()
    }

    /// Waits until the roll-out is as it should.
    fn rollout_until(&self, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        let limit = Limit::new(what);
        limit.poll(|| Some(self.rollout()).filter(&good))
    }

    fn stop(mut self) {
        for instance in &mut self.instances {
            instance.stop();
        }
        self.controller.stop();
    }
}

fn controller(home: &Arc<TempDir>) -> Controller {
    let settings = [
        "Management::connect_retry=50msec",
        "Management::Controller::auto_assign_metrics_ports=F",
    ];
    Controller::start_in(home, &settings)
}

fn crashing(milliseconds: u64) -> Value {
    let behaviour = NodeBehaviour {
        crashes_after: Some(milliseconds),
        ..NodeBehaviour::default()
    };
    json!({ "STAND_IN_NODE": json!(behaviour).to_string() })
}

fn last_line(outcome: &Outcome) -> &str {
    outcome.stdout.lines().last().unwrap_or_default()
}

/// The nodes of a roll-out that are in a state.
fn in_state(told: &Value, state: &str) -> BTreeSet<String> {
    let stages = told["stages"].as_array().into_iter().flatten();
    let nodes = stages.flat_map(|stage| stage["nodes"].as_array().into_iter().flatten());
    let nodes = nodes.filter(|node| node["state"] == state);
    nodes
        .map(|node| node["node"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn a_change_is_tried_where_it_is_and_what_crashes_goes_back_by_itself() {
    let cluster = Cluster::start(&NAMES);
    let before = cluster.deploy();
    assert_eq!(before.len(), NAMES.len() * NODES);

    // One worker.
    let done = cluster.roll_out(
        &[("worker-s07-3", json!({ "COLOUR": "green" }))],
        &["--watch", "1s"],
    );
    assert_eq!(done.exit, 0, "{done:?}");
    assert!(last_line(&done).ends_with("1 of 1 node changed"), "{done:?}");
    let after = cluster.pids();
    assert_eq!(changed(&before, &after), ["worker-s07-3"]);
    let status = cluster.mgmtctl(&["status"]);
    assert!(
        status.printed().contains("all as deployed: 12 of 12"),
        "{status:?}"
    );

    // What crashes later than its deployment would wait for it.
    let green = ("worker-s07-3", json!({ "COLOUR": "green" }));
    let bad = [
        green.clone(),
        ("worker-s0", json!({ "COLOUR": "red" })),
        ("worker-s03-5", crashing(1_500)),
    ];
    let failed = cluster.roll_out(
        &bad,
        &["--canary", "s03", "--watch", "10s", "--max-parallel", "3"],
    );
    assert_eq!(failed.exit, 1, "{failed:?}");
    assert!(last_line(&failed).starts_with("ROLLED BACK: "), "{failed:?}");
    assert!(
        failed.stdout.contains("instance s03: node worker-s03-5 is "),
        "{failed:?}"
    );
    let back = cluster.pids();
    let touched = changed(&after, &back);
    assert!(
        touched.iter().all(|name| name.starts_with("worker-s03-")),
        "the canary's alone: {touched:?}"
    );
    let status = cluster.mgmtctl(&["status"]);
    assert!(
        status.printed().contains("all as deployed: 12 of 12"),
        "{status:?}"
    );

    // The same without what crashes.
    let good = [green, ("worker-s0", json!({ "COLOUR": "blue" }))];
    let done = cluster.roll_out(&good, &["--watch", "0s", "--max-parallel", "4"]);
    assert_eq!(done.exit, 0, "{done:?}");
    let touched = changed(&back, &cluster.pids());
    assert_eq!(touched.len(), 6 + 8 * NODES, "{touched:?}");
    cluster.stop();
}

#[test]
fn what_agents_see_before_or_concerns_the_whole_cluster_is_not_tried() {
    let cluster = Cluster::start(&NAMES[..2]);
    let before = cluster.deploy();
    let refused = cluster.roll_out(&[("worker-s02", json!({ "=": "x" }))], &[]);
    assert_eq!(refused.exit, 1, "{refused:?}");
    assert!(refused.stdout.contains("worker-s02-1"), "{refused:?}");
    assert!(last_line(&refused).starts_with("NOT rolled out: "), "{refused:?}");
    assert_eq!(cluster.pids(), before);

    let file = cluster.file("fewer.json", &[]);
    let path = cluster.directory().join(&file);
    let mut fewer: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    fewer["nodes"].as_array_mut().expect("nodes").pop();
    fs::write(&path, fewer.to_string()).expect("written");
    let refused = cluster.mgmtctl(&["rollout", "start", &file, "--yes"]);
    assert_eq!(refused.exit, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("concerns the whole cluster"),
        "{refused:?}"
    );
    assert_eq!(cluster.pids(), before);
    cluster.stop();
}

#[test]
fn one_that_is_paused_waits_is_resumed_and_aborted_and_outlives_its_controller() {
    let mut cluster = Cluster::start(&NAMES[..3]);
    let before = cluster.deploy();
    let red = [("worker", json!({ "COLOUR": "red" }))];
    let options = [
        "--canary",
        "s02",
        "--watch",
        "2s",
        "--max-unavailable",
        "worker=4",
    ];
    let (child, since) = cluster.begin(&red, &options);
    cluster.rollout_until("the canary to be changed", |told| {
        !in_state(told, "changing").is_empty()
    });
    cluster.mgmtctl(&["rollout", "pause"]).printed();
    let paused = Outcome::of(child, "mgmtctl", since);
    assert!(last_line(&paused).starts_with("PAUSED: "), "{paused:?}");
    let told = cluster.rollout_until("nothing to be under way", |told| {
        in_state(told, "changing").is_empty() && in_state(told, "watched").is_empty()
    });
    let tried = in_state(&told, "changed");
    assert!(
        tried.len() <= 4 && tried.iter().all(|node| node.starts_with("worker-s02-")),
        "{told}"
    );
    let deployed = cluster.mgmtctl(&["config", "show"]);
    assert!(!deployed.printed().contains("red"), "{deployed:?}");
    let refused = cluster.mgmtctl(&["deploy", "--yes"]);
    assert_eq!(refused.exit, 1, "{refused:?}");
    assert!(refused.stderr.contains("abort it"), "{refused:?}");

    // The next controller goes on where this one was.
    let pids = cluster.pids();
    cluster.controller.kill();
    cluster.controller = controller(&cluster.home);
    cluster.rollout_until("the roll-out to be taken up", |told| told["state"] == "paused");
    let limit = Limit::new("all instances to be connected");
    limit.poll(|| {
        let told = cluster.rollout();
        told["waits_for"]
            .as_array()
            .is_some_and(Vec::is_empty)
            .then_some(())
    });
    assert_eq!(
        changed(&pids, &cluster.pids()),
        [""; 0],
        "it gives agents what they have"
    );

    cluster.mgmtctl(&["rollout", "resume"]).printed();
    cluster.rollout_until("another instance to be changed", |told| {
        in_state(told, "changing")
            .iter()
            .any(|node| !node.starts_with("worker-s02-"))
    });
    cluster.mgmtctl(&["rollout", "abort"]).printed();
    let followed = cluster.mgmtctl(&["rollout", "status", "--follow"]);
    assert!(last_line(&followed).starts_with("ROLLED BACK: "), "{followed:?}");
    let limit = Limit::new("all to be as deployed");
    limit.poll(|| (cluster.mgmtctl(&["status"]).exit == 0).then_some(()));
    assert!(
        changed(&before, &cluster.pids())
            .iter()
            .all(|node| node.starts_with("worker-"))
    );
    cluster.stop();
}

#[test]
fn one_whose_controller_is_killed_is_done_by_the_next() {
    let mut cluster = Cluster::start(&NAMES[..2]);
    cluster.deploy();
    let red = [("worker", json!({ "COLOUR": "red" }))];
    let (child, since) = cluster.begin(&red, &["--watch", "1s"]);
    cluster.rollout_until("some nodes to be changed", |told| {
        !in_state(told, "changed").is_empty()
    });
    cluster.controller.kill();
    let lost = Outcome::of(child, "mgmtctl", since);
    assert_eq!(lost.exit, 3, "{lost:?}");
    cluster.controller = controller(&cluster.home);
    let limit = Limit::new("the roll-out to be done");
    limit.poll(|| {
        let deployed = cluster.mgmtctl(&["config", "show"]);
        deployed.stdout.contains("red").then_some(())
    });
    let limit = Limit::new("all to be as deployed");
    limit.poll(|| (cluster.mgmtctl(&["status"]).exit == 0).then_some(()));
    cluster.stop();
}

#[test]
fn a_sensor_that_is_reset_starts_what_was_confirmed_and_gets_the_trial_again() {
    let mut cluster = Cluster::start(&NAMES[..2]);
    cluster.deploy();
    let options = ["--canary", "s02", "--watch", "60s", "--on-lost", "rollback"];
    let (child, since) = cluster.begin(&[("worker-s02", json!({ "COLOUR": "red" }))], &options);
    cluster.rollout_until("the nodes to be watched", |told| {
        !in_state(told, "watched").is_empty()
    });
    let red = cluster.pids();
    cluster.instances[1].agent.take().expect("it runs").kill();
    let back = Outcome::of(child, "mgmtctl", since);
    assert!(last_line(&back).starts_with("ROLLED BACK: "), "{back:?}");
    assert!(back.stdout.contains("instance s02 is away"), "{back:?}");
    assert_eq!(cluster.pids(), red, "nodes outlive their agent");
    cluster.instances[1].start_agent();
    let limit = Limit::new("all to be as deployed");
    limit.poll(|| (cluster.mgmtctl(&["status"]).exit == 0).then_some(()));
    let after: BTreeMap<_, _> = cluster.pids();
    let touched = changed(&red, &after);
    assert_eq!(touched.len(), NODES, "{touched:?}");
    assert!(
        touched.iter().all(|node| node.starts_with("worker-s02-")),
        "{touched:?}"
    );
    cluster.stop();
}
