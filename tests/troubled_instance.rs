//! One of two sensors is stopped, killed, absent or misnamed: zeek-client says which one and exits with 1, and the nodes of the healthy one
//! keep their processes. Real controller, agents, zeek-client and processes; nodes are simulated.

use std::{collections::BTreeMap, thread};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    cluster::{Instance, Plan, Protection, Zeek, start_controller, wait_for_running},
    controller::Controller,
    daemon::Daemon,
    program::Outcome,
    websocket::Client,
    zeek_client::ZeekClient,
};

const HEALTHY: &str = "sensor1";
const TROUBLED: &str = "sensor2";

/// Shorter than usual: most of the time is spent in waiting for what does not come.
const TIMEOUT: &str = "Management::Request::timeout_interval=4sec";

const ALONE: &str = "
[instances]
sensor1

[manager]
instance = sensor1
role = manager

[worker-1]
instance = sensor1
role = worker
interface = lo
";

/// With a worker on another instance as well.
fn together_with(other: &str) -> String {
    let worker = format!("[worker-{other}]\ninstance = {other}\nrole = worker\ninterface = lo\n");
    let instances = format!("[instances]\n{HEALTHY}\n{other}\n");
    ALONE.replace("[instances]\nsensor1\n", &instances) + &worker
}

struct Sensors {
    controller: Controller,
    healthy: Instance<'static>,
}

impl Sensors {
    /// With the healthy one.
    fn start() -> Self {
        let mut controller = start_controller(ANONYMOUS, &[TIMEOUT]);
        let healthy = add(&mut controller, HEALTHY);
        Self { controller, healthy }
    }

    fn add(&mut self, name: &'static str) -> Instance<'static> {
        add(&mut self.controller, name)
    }

    /// Waits until so many nodes run, of which each agent is one.
    fn deploy(&mut self, configuration: &str, nodes: usize) {
        let outcome = self.all(&[&["deploy-config", "-"]], configuration).remove(0);
        assert_eq!(outcome.exit, 0, "{outcome:?}");
        wait_for_running(&mut self.controller, nodes);
    }

    /// Runs zeek-clients beside each other.
    fn all(&mut self, commands: &[&[&str]], stdin: &str) -> Vec<Outcome> {
        let address = self.controller.websocket();
        thread::scope(|scope| {
            let running: Vec<_> = commands
                .iter()
                .map(|arguments| {
                    let stdin = arguments.contains(&"-").then_some(stdin);
                    scope.spawn(move || ZeekClient::release("1.5.0").run(address, arguments, stdin))
                })
                .collect();
            running
                .into_iter()
                .map(|client| client.join().expect("it ends"))
                .collect()
        })
    }

    /// Each command exits with 1, names the troubled instance, and leaves the nodes of the healthy one alone.
    fn each_fails_and_names(&mut self, troubled: &str, commands: &[&[&str]], stdin: &str) {
        let before = self.pids();
        for (command, outcome) in commands.iter().zip(self.all(commands, stdin)) {
            assert_eq!(outcome.exit, 1, "{command:?}: {outcome:?}");
            let named = format!("instance {troubled} ");
            assert!(outcome.stdout.contains(&named), "{command:?}: {outcome:?}");
        }
        assert_eq!(self.pids(), before, "of {HEALTHY}'s nodes");
    }

    /// The processes of the healthy instance's nodes; agents are none of them.
    fn pids(&mut self) -> BTreeMap<String, u64> {
        let outcome = self.all(&[&["get-nodes"]], "").remove(0);
        let printed: Value = serde_json::from_str(&outcome.stdout).expect("zeek-client prints JSON");
        let nodes = printed["results"][HEALTHY].as_object().expect("its nodes");
        let of_cluster = nodes.iter().filter(|(name, _)| *name != HEALTHY);
        of_cluster
            .map(|(name, node)| {
                assert_eq!(node["state"], "RUNNING", "{printed}");
                (name.clone(), node["pid"].as_u64().expect("a process"))
            })
            .collect()
    }
}

const ANONYMOUS: &Protection = &Protection::Anonymous;

/// Starts an agent, and waits until the controller knows it.
fn add(controller: &mut Controller, name: &'static str) -> Instance<'static> {
    let mut observer = Client::observing(controller.websocket());
    let mut plan = Plan::new(name, Some(controller.broker()), ANONYMOUS);
    plan.zeek = Zeek::Simulated;
    let instance = Instance::start(plan);
    observer.text_about("notify_agent_hello");
    instance
}

fn agent<'a>(instance: &'a Instance<'_>) -> &'a Daemon {
    instance.agent.as_ref().expect("it runs")
}

const REQUESTS: [&[&str]; 3] = [
    &["get-nodes"],
    &["restart", "worker-sensor2"],
    &["get-id-value", "bits_per_uid"],
];

#[test]
fn a_stopped_or_killed_agent_is_named_and_harms_no_other() {
    let mut sensors = Sensors::start();
    let mut troubled = sensors.add(TROUBLED);
    let both = together_with(TROUBLED);
    sensors.deploy(&both, 5);

    agent(&troubled).signal(Signal::STOP);
    sensors.each_fails_and_names(TROUBLED, &REQUESTS, "");
    sensors.each_fails_and_names(TROUBLED, &[&["deploy"]], "");
    agent(&troubled).signal(Signal::CONT);
    wait_for_running(&mut sensors.controller, 5);

    let mut observer = Client::observing(sensors.controller.websocket());
    troubled.agent.take().expect("it runs").kill();
    sensors.each_fails_and_names(TROUBLED, &REQUESTS, "");
    let changed = both.replace("role = manager", "role = manager\nenv = A=1");
    sensors.each_fails_and_names(TROUBLED, &[&["deploy-config", "-"]], &changed);

    // Back, it is as before.
    troubled.start_agent();
    observer.text_about("notify_agent_hello");
    wait_for_running(&mut sensors.controller, 5);
    troubled.stop();
    sensors.healthy.stop();
}

#[test]
fn an_absent_a_misnamed_or_a_new_and_stopped_agent_is_named_and_harms_no_other() {
    let mut sensors = Sensors::start();
    sensors.deploy(ALONE, 3);
    let deploy: &[&[&str]] = &[&["deploy-config", "-"]];

    sensors.each_fails_and_names("sensor3", deploy, &together_with("sensor3"));

    let mut other = sensors.add("sensor-2");
    sensors.each_fails_and_names(TROUBLED, deploy, &together_with(TROUBLED));

    agent(&other).signal(Signal::STOP);
    sensors.each_fails_and_names("sensor-2", deploy, &together_with("sensor-2"));
    agent(&other).signal(Signal::CONT);
    other.stop();
    sensors.healthy.stop();
}
