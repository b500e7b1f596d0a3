//! A configuration that cannot run on one of two hosts is refused before anything is stopped: real controller, agents, zeek-client and
//! processes; nodes are stand-ins. The journals of all of them can be replayed.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    cluster::{
        Instance, Plan, Protection, Zeek, agent_binary, start_controller, wait_for_running, zeek_binary,
    },
    controller::{Controller, binary as controller_binary},
    program::run,
    websocket::Client,
    zeek_client::zeek_client,
};

const ANONYMOUS: &Protection = &Protection::Anonymous;

/// With these settings for the node of the second host.
fn cluster(worker: &str) -> String {
    format!(
        "[instances]\nsensor1\nsensor2\n
        [manager]\ninstance = sensor1\nrole = manager\n
        [worker]\ninstance = sensor2\nrole = worker\n{worker}\n"
    )
    .replace("        [", "[")
}

struct Sensors {
    controller: Controller,
    instances: Vec<Instance<'static>>,
    journals: TempDir,
}

impl Sensors {
    /// Two hosts with the cluster.
    fn start(zeek: &Zeek) -> Self {
        // A client that does not answer pings while they are built is disconnected.
        let _built = (agent_binary(), zeek_binary());
        let journals = TempDir::with_prefix("journals-").expect("a directory can be made");
        let journal = |of: &str| {
            let path = journals.path().join(of);
            ["--journal".to_owned(), path.display().to_string()]
        };
        let [option, path] = journal("controller");
        let mut controller = start_controller(ANONYMOUS, &[&option, &path]);
        let mut add = |name| {
            let mut observer = Client::observing(controller.websocket());
            let mut plan = Plan::new(name, Some(controller.broker()), ANONYMOUS);
            plan.zeek = zeek.clone();
            plan.further = journal(name).into();
            let instance = Instance::start(plan);
            observer.text_about("notify_agent_hello");
            instance
        };
        let instances = ["sensor1", "sensor2"].map(&mut add).into();
        let mut sensors = Self {
            controller,
            instances,
            journals,
        };
        sensors.run(&["deploy-config", "-"], Some(&cluster("interface = lo")), 0);
        wait_for_running(&mut sensors.controller, 4);
        sensors
    }

    fn run(&mut self, arguments: &[&str], stdin: Option<&str>, exit: i32) -> Value {
        zeek_client(&mut self.controller, arguments, stdin).json(exit)
    }

    /// Refuses these settings of the second host's node for this reason, and leaves all else as it was.
    fn refuses(&mut self, worker: &str, reason: &str) {
        let shown = |sensors: &mut Self| {
            let deployed = sensors.run(&["get-config", "--deployed", "--as-json"], None, 0);
            (deployed, sensors.run(&["get-nodes"], None, 0))
        };
        let before = shown(self);
        let printed = self.run(&["deploy-config", "-"], Some(&cluster(worker)), 1);
        let error = format!(
            "not deployed: node worker cannot run on instance sensor2: {reason}; the deployed configuration is unchanged"
        );
        assert_eq!(printed["errors"], json!([error]), "{printed}");
        let node = json!({ "instance": "sensor2", "success": false });
        assert_eq!(printed["results"]["nodes"], json!({ "worker": node }));
        assert_eq!(shown(self), before, "the same processes, and configuration");
    }

    fn stop(mut self) {
        for instance in &mut self.instances {
            instance.stop();
        }
        self.controller.stop();
        let replay = |program: &Path, journal| run(program, self.journals.path(), &["replay", journal]);
        let controller = replay(controller_binary(), "controller");
        assert!(
            controller.printed().contains("\"Link\":{\"MgmtLink::request\":"),
            "{controller:?}"
        );
        for sensor in ["sensor1", "sensor2"] {
            let agent = replay(agent_binary(), sensor);
            assert!(
                agent.printed().contains("{\"Prepared\":{\"problems\":["),
                "{agent:?}"
            );
            assert!(agent.printed().contains("MgmtLink::reply"), "{agent:?}");
        }
    }
}

#[test]
fn a_script_that_is_absent_and_a_port_that_is_taken_are_found_before_a_node_is_stopped() {
    let mut sensors = Sensors::start(&Zeek::Simulated);
    sensors.refuses("scripts = /no/such.zeek", "there is no script /no/such.zeek");
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("there is a port");
    let port = taken.local_addr().expect("it has one").port();
    let name = std::fs::read_to_string("/proc/self/comm").expect("it has a name");
    let process = format!("process {} ({})", std::process::id(), name.trim());
    sensors.refuses(
        &format!("metrics_port = {port}"),
        &format!("{process} listens on its port {port}/tcp"),
    );
    // A simulation needs none.
    let elsewhere = cluster("interface = nosuch0");
    sensors.run(&["deploy-config", "-"], Some(&elsewhere), 0);
    sensors.stop();
}

#[test]
fn an_interface_that_is_not_there_is_found_before_a_node_is_stopped() {
    let mut sensors = Sensors::start(&Zeek::StandIn);
    sensors.refuses("interface = nosuch0", "there is no network interface nosuch0");
    sensors.stop();
}
