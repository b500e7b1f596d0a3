//! What an operator is told when Supervisor, nodes or agent fail, and how the cluster comes back by itself: real controller, agent,
//! zeek-client and processes; the Supervisor and its nodes are stand-ins.

use std::{collections::BTreeMap, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use zeek_simulator::{NodeBehaviour, SupervisorBehaviour};

use crate::support::{
    cluster::{Instance, Plan, Protection, start_controller, wait_for_running},
    controller::Controller,
    news::News,
    program::Outcome,
    zeek_client::zeek_client,
};

pub(crate) const AGENT: &str = "instance-1";

/// zeek-client's own timeout: agents and controller have answered before. See docs/limits.md.
const IN_TIME: Duration = Duration::from_secs(20);

pub(crate) const CLUSTER: &str = "
[instances]
instance-1

[manager]
instance = instance-1
role = manager

[worker-01]
instance = instance-1
role = worker
interface = lo
";

/// The cluster with a worker of this behaviour.
pub(crate) fn with_worker(behaviour: &NodeBehaviour) -> String {
    format!("{CLUSTER}env = 'STAND_IN_NODE={}'\n", json!(behaviour))
}

/// State and process id of each node.
pub(crate) type Nodes = BTreeMap<String, (String, u32)>;

/// A controller with one instance.
pub(crate) struct World {
    controller: Controller,
    pub(crate) instance: Instance<'static>,
    news: News,
}

impl World {
    pub(crate) fn start(plan: impl FnOnce(&mut Plan<'static>)) -> Self {
        const ANONYMOUS: &Protection = &Protection::Anonymous;
        let mut controller = start_controller(ANONYMOUS, &[]);
        let news = News::of(&mut controller);
        let mut planned = Plan::new(AGENT, Some(controller.broker()), ANONYMOUS);
        plan(&mut planned);
        let instance = Instance::start(planned);
        let world = Self {
            controller,
            instance,
            news,
        };
        world.news_about("notify_agent_hello");
        world
    }

    /// Waits for an agent to say something like this.
    pub(crate) fn news_about(&self, what: &str) {
        self.news_with(&[what]);
    }

    /// Waits for an agent to say something with all of these words.
    pub(crate) fn news_with(&self, words: &[&str]) {
        self.news.with(words);
    }

    pub(crate) fn run(&mut self, arguments: &[&str], stdin: Option<&str>) -> Outcome {
        zeek_client(&mut self.controller, arguments, stdin)
    }

    /// Runs zeek-client, which must succeed, and returns its results.
    #[track_caller]
    pub(crate) fn succeed(&mut self, arguments: &[&str], stdin: Option<&str>) -> Value {
        let printed = self.run(arguments, stdin).json(0);
        assert_eq!(printed["errors"], json!([]), "{arguments:?}: {printed}");
        printed["results"].clone()
    }

    /// Runs zeek-client, which must fail in time, and returns what it prints.
    #[track_caller]
    pub(crate) fn fail(&mut self, arguments: &[&str], stdin: Option<&str>) -> Value {
        let outcome = self.run(arguments, stdin);
        assert!(outcome.elapsed < IN_TIME, "{arguments:?}: {outcome:?}");
        outcome.json(1)
    }

    pub(crate) fn deploy(&mut self) {
        let results = self.succeed(&["deploy-config", "-"], Some(CLUSTER));
        let running = json!({ "instance": AGENT, "success": true });
        assert_eq!(
            results["nodes"],
            json!({ "manager": running, "worker-01": running })
        );
    }

    /// Restarts the worker, which runs again as another process. The manager goes on as it was.
    pub(crate) fn restart_worker(&mut self) {
        let before = self.nodes();
        assert_eq!(
            self.succeed(&["restart", "worker-01"], None),
            json!({ "worker-01": true })
        );
        self.wait_for_running(3);
        self.worker_is_another(&before);
    }

    /// The worker runs as another process than before, and the manager as the same.
    pub(crate) fn worker_is_another(&mut self, before: &Nodes) {
        let after = self.nodes();
        assert_eq!(after["manager"], before["manager"]);
        assert_eq!(after["worker-01"].0, "RUNNING");
        assert_ne!(after["worker-01"].1, before["worker-01"].1, "another process");
    }

    /// The variable that every node has, as `get-id-value` shows it.
    pub(crate) fn all_nodes_answer(&mut self) {
        assert_eq!(
            self.succeed(&["get-id-value", "bits_per_uid"], None),
            json!({ "manager": 96, "worker-01": 96 })
        );
    }

    /// Drops all nodes.
    pub(crate) fn empty(&mut self) {
        self.succeed(&["deploy-config", "-"], Some("[instances]\ninstance-1\n"));
        assert_eq!(self.nodes().len(), 1, "the agent alone");
    }

    /// The state of each node, as `get-nodes` shows it, and its process id.
    pub(crate) fn nodes(&mut self) -> Nodes {
        let results = self.succeed(&["get-nodes"], None);
        let nodes = results[AGENT].as_object().expect("an object");
        let node = |(name, node): (&String, &Value)| {
            // One that was never started has none.
            let pid = node["pid"].as_u64().unwrap_or_default();
            let state = node["state"].as_str().expect("a state").to_owned();
            (name.clone(), (state, u32::try_from(pid).expect("small")))
        };
        nodes.iter().map(node).collect()
    }

    pub(crate) fn wait_for_running(&mut self, count: usize) {
        wait_for_running(&mut self.controller, count);
    }
}

/// What the agent says of a Supervisor that has not answered.
fn silent(request: &str) -> String {
    format!("the Supervisor has not answered SupervisorControl::{request} within 4 s")
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("small")).expect("not 0");
    kill_process(pid, Signal::KILL).expect("it still runs");
}

#[test]
fn a_killed_node_is_revived() {
    let mut world = World::start(|_| ());
    world.deploy();
    let before = world.nodes();
    kill(before["worker-01"].1);
    world.news_about("Management::CRASHED");
    world.wait_for_running(3);
    world.worker_is_another(&before);
    world.instance.stop();
}

#[test]
fn a_supervisor_that_starts_beside_its_agent_is_no_warning() {
    let mut world = World::start(|_| ());
    let log = world.instance.agent.take().expect("it runs").stop();
    assert!(log.contains("Supervisor connected"), "{log}");
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    assert!(
        !warnings.iter().any(|line| line.contains("the Supervisor")),
        "{warnings:?}"
    );
    world.instance.stop();
}

#[test]
fn nodes_outlive_a_killed_agent_which_takes_them_up_again() {
    let mut world = World::start(|_| ());
    world.deploy();
    world.instance.agent.take().expect("it runs").kill();
    world.instance.start_agent();
    world.news_about("notify_agent_hello");
    world.wait_for_running(3);
    world.all_nodes_answer();
    world.instance.stop();
}

#[test]
fn a_killed_supervisor_is_reported_and_its_successor_gets_the_nodes() {
    let mut world = World::start(|_| ());
    world.deploy();
    let before = world.nodes();
    world.instance.supervisor.take().expect("it runs").kill();
    world.news_about("Management::UNKNOWN");
    let printed = world.fail(&["get-nodes"], None);
    assert_eq!(printed["errors"][0]["source"], AGENT);
    // How the connection breaks is up to the system.
    let error = printed["errors"][0]["error"].as_str().unwrap_or_default();
    assert!(error.starts_with("lost the Supervisor: connection "), "{printed}");
    // Every client that asks hears the same, also about what runs already.
    let deploy = world.fail(&["deploy"], None);
    assert_eq!(deploy["errors"], json!([error]));
    let restart = world.fail(&["restart", "worker-01"], None);
    assert_eq!(
        restart["errors"],
        json!([{ "source": "worker-01", "error": error }])
    );
    let value = world.fail(&["get-id-value", "bits_per_uid", "worker-01"], None);
    let reason = value["errors"][0]["error"].as_str().unwrap_or_default();
    assert!(reason.ends_with(error), "{value}");
    world.instance.start_supervisor();
    world.wait_for_running(3);
    let after = world.nodes();
    assert_ne!(after["worker-01"].1, before["worker-01"].1, "another process");
    world.instance.stop();
}

#[test]
fn a_stopped_supervisor_is_reported_in_time() {
    let mut world = World::start(|_| ());
    world.deploy();
    let supervisor = world.instance.supervisor.as_ref().expect("it runs");
    supervisor.signal(Signal::STOP);
    let nodes = world.fail(&["get-nodes"], None);
    assert_eq!(
        nodes["errors"],
        json!([{ "source": AGENT, "error": silent("status_request") }])
    );
    let restarted = world.fail(&["restart", "worker-01"], None);
    assert_eq!(restarted["results"], json!({}));
    assert_eq!(restarted["errors"][0]["source"], "worker-01");
    assert_eq!(restarted["errors"].as_array().map(Vec::len), Some(1));
    let reason = restarted["errors"][0]["error"].as_str().unwrap_or_default();
    assert!(reason.contains(&silent("restart_request")), "{reason}");
    let deploy = world.fail(&["deploy-config", "-"], Some(CLUSTER));
    assert_eq!(deploy["errors"], json!([silent("status_request")]));
    let supervisor = world.instance.supervisor.as_ref().expect("it runs");
    supervisor.signal(Signal::CONT);
    world.deploy();
    world.instance.stop();
}

#[test]
fn a_supervisor_that_stops_answering_is_reported_in_time() {
    let mut world = World::start(|plan| {
        plan.supervisor = SupervisorBehaviour {
            // A status, and one of two nodes.
            hang_after: Some(2),
            ..SupervisorBehaviour::default()
        };
    });
    let deploy = world.fail(&["deploy-config", "-"], Some(CLUSTER));
    let reason = format!("failed to create node worker-01: {}", silent("create_request"));
    assert_eq!(deploy["errors"], json!([reason]));
    assert_eq!(deploy["results"]["nodes"]["manager"]["success"], true);
    assert_eq!(deploy["results"]["nodes"]["worker-01"]["success"], false);
    let nodes = world.fail(&["get-nodes"], None);
    assert_eq!(nodes["errors"][0]["error"], silent("status_request"));
    world.instance.supervisor.take().expect("it runs").kill();
    world
        .instance
        .plan_supervisor(|supervisor| supervisor.hang_after = None);
    world.instance.start_supervisor();
    world.wait_for_running(3);
    world.instance.stop();
}

#[test]
fn a_deaf_supervisor_is_called_one() {
    let mut world = World::start(|plan| plan.supervisor.deaf = true);
    let deploy = world.fail(&["deploy-config", "-"], Some(CLUSTER));
    let hint = "although it is connected: from Zeek 8.1 on it answers only if it loads \
                policy/frameworks/cluster/backend/broker";
    let expected = format!("{}, {hint}", silent("status_request"));
    assert_eq!(deploy["errors"], json!([expected]));
    world.instance.stop();
}

#[test]
fn a_refused_node_is_reported_with_the_reason() {
    let mut world = World::start(|plan| {
        let text = "failed to create working directory /nowhere\n".to_owned();
        plan.supervisor.refuse.insert("worker-01".into(), text);
    });
    let deploy = world.fail(&["deploy-config", "-"], Some(CLUSTER));
    let reason = "failed to create node worker-01: failed to create working directory /nowhere";
    assert_eq!(deploy["errors"], json!([reason]));
    assert_eq!(
        deploy["results"]["nodes"],
        json!({
            "manager": { "instance": AGENT, "success": true },
            "worker-01": { "instance": AGENT, "success": false },
        })
    );
    // The others run.
    let nodes = world.nodes();
    assert_eq!(nodes["manager"].0, "RUNNING");
    assert_eq!(nodes["worker-01"].0, "FAILED");
    world.instance.stop();
}

#[test]
fn clients_are_answered_during_a_flood_of_output_and_of_events() {
    let mut world = World::start(|_| ());
    let behaviour = NodeBehaviour {
        floods_output: true,
        floods_agent: true,
        ..NodeBehaviour::default()
    };
    world.succeed(&["deploy-config", "-"], Some(&with_worker(&behaviour)));
    for _ in 0..3 {
        let outcome = world.run(&["get-id-value", "bits_per_uid"], None);
        let printed: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        // The flooding node's own answer waits behind its flood, and may be too late or lost.
        assert_eq!(printed["results"]["manager"], 96, "{outcome:?}");
        assert!(outcome.elapsed < IN_TIME, "{:?}", outcome.elapsed);
        assert_eq!(world.nodes()["worker-01"].0, "RUNNING");
    }
    world.succeed(&["restart", "worker-01"], None);
    world.wait_for_running(3);
    world.empty();
    world.instance.stop();
}

#[test]
fn a_supervisor_of_any_zeek_from_5_0_on_starts_and_restarts_nodes() {
    for version in ["5.0.0", "5.1.0", "6.0.9", "6.1.0", "7.0.0", "8.0.0"] {
        let mut world = World::start(|plan| plan.supervisor.zeek_version = version.into());
        world.deploy();
        world.restart_worker();
        world.instance.stop();
    }
}
