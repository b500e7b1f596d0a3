//! `mgmt-agent --with-controller`: a host's whole cluster by one command. Real agent, controller and zeek-client; Zeek is simulated.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{copy_executable, write_executable};

use crate::{
    agent_failures::{AGENT, CLUSTER},
    supervised::{ends_within, lives, pid},
    support::{
        certificates::{Authority, PASSPHRASE, native_settings},
        cluster::{agent_binary, agent_command, kill_processes_in, processes_in, start_agent},
        controller::binary,
        daemon::Daemon,
        open_to_others,
        program::run_command,
        zeek_client::ZeekClient,
    },
};

/// What the controller is told: free ports, which no other test knows.
const REDEFS: &str = "redef Management::Controller::name = \"controller\";
redef Management::Controller::listen_address = \"127.0.0.1\";
redef Management::Controller::listen_port = \"0/tcp\";
redef Management::Controller::listen_address_websocket = \"127.0.0.1\";
redef Management::Controller::listen_port_websocket = \"0/tcp\";
";

/// What is said when the agent has its controller, and the controller the agent.
const BOTH_KNOWN: &[&str] = &["controller connected", "controller: instance instance-1 is "];

struct Host(TempDir);

impl Drop for Host {
    /// Ends what a failed test has left running.
    fn drop(&mut self) {
        kill_processes_in(self.0.path());
    }
}

impl Host {
    fn new(redefs: &str) -> Self {
        // It is built.
        let (agent, controller) = (agent_binary(), binary());
        assert_eq!(
            agent.parent(),
            controller.parent(),
            "the agent looks beside itself"
        );
        let host = Self(TempDir::with_prefix("with-controller-").expect("a directory can be made"));
        host.redefine(redefs);
        host
    }

    fn redefine(&self, redefs: &str) {
        fs::write(self.0.path().join("controller.zeek"), redefs).expect("a file can be written");
    }

    fn command(&self, listen: &str) -> Command {
        let mut command = agent_command(&self.0, AGENT, listen);
        command.args(["--simulate", "--with-controller=controller.zeek"]);
        command.arg("Management::connect_retry=50msec");
        command
    }

    fn start(&self, listen: &str) -> Daemon {
        start_agent(&self.0, &mut self.command(listen))
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("state/nodes").join(AGENT)
    }

    /// What the controller that runs has announced.
    fn controller(&self) -> Value {
        let text = fs::read(self.dir().join("controller/ready.json")).expect("a controller runs");
        serde_json::from_slice(&text).expect("the ready file is JSON")
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str], stdin: Option<&str>) -> Value {
        let address = self.controller()["websocket"][0].clone();
        let address = address
            .as_str()
            .and_then(|at| at.parse().ok())
            .expect("an address");
        let printed = ZeekClient::release("1.5.0")
            .run(address, arguments, stdin)
            .json(0);
        printed["results"].clone()
    }

    fn nodes(&self) -> Value {
        self.succeed(&["get-nodes"], None)[AGENT].clone()
    }

    /// Deploys a manager and a worker, which run.
    fn deploy(&self) {
        let nodes = &self.succeed(&["deploy-config", "-"], Some(CLUSTER))["nodes"];
        for node in ["manager", "worker-01"] {
            assert_eq!(nodes[node]["success"], true, "{nodes}");
        }
    }

    /// A copy of the agent's program, without a controller beside it.
    fn agent_alone(&self) -> PathBuf {
        let alone = self.0.path().join("mgmt-agent");
        copy_executable(agent_binary(), &alone);
        alone
    }

    fn processes(&self) -> usize {
        processes_in(self.0.path()).len()
    }
}

#[test]
fn a_host_has_its_cluster_by_one_command_and_a_killed_controller_is_back_without_a_node_noticing() {
    let host = Host::new(REDEFS);
    let ca = Authority::new("test CA");
    let tls = native_settings(&ca, &ca.sign_encrypted("host", PASSPHRASE));
    let mut agent = start_agent(&host.0, host.command("127.0.0.1:0").args(tls));
    agent.stderr.until_all(BOTH_KNOWN);
    host.deploy();
    let before = host.nodes();
    let first = host.controller();
    assert_eq!(
        before["controller"],
        json!({
            "cluster_role": null, "mgmt_role": "CONTROLLER", "pid": first["pid"], "port": agent.broker().port(), "state": "RUNNING"
        }),
        "{before}"
    );
    assert_eq!(before["manager"]["state"], "RUNNING", "{before}");
    let script = host.dir().join("scripts/controller.zeek");
    let text = fs::read_to_string(&script).expect("the agent has written it");
    assert!(
        text.contains("redef Management::connect_retry = 0.05 secs"),
        "{text}"
    );
    assert!(text.contains(PASSPHRASE), "{text}");
    let mode = fs::metadata(&script).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds a passphrase");
    assert_eq!(
        open_to_others(&host.dir().join("controller")),
        Vec::<PathBuf>::new()
    );
    let store = host.0.path().join("state/nodes/controller");
    assert_eq!(
        first["dir"].as_str(),
        store.to_str(),
        "the state directory is the agent's"
    );

    kill_process(pid(first["pid"].as_i64()), Signal::KILL).expect("it runs");
    let line = "the controller does not run: its process has ended (signal: 9 (SIGKILL)); it is started again in 1 s";
    agent.stderr.until_all(&[line]);
    agent.stderr.until_all(BOTH_KNOWN);
    let after = host.nodes();
    assert_eq!(after["controller"]["pid"], host.controller()["pid"]);
    assert_ne!(after["controller"]["pid"], first["pid"]);
    for node in ["manager", "worker-01"] {
        assert_eq!(after[node], before[node], "it goes on");
    }

    let log = agent.stop();
    assert_eq!(host.processes(), 0, "{log}");
    let place = |words: &str| log.lines().position(|line| line.contains(words));
    let words = ["ending", "ending the controller", "controller: ended"];
    let places: Option<Vec<_>> = words.into_iter().map(place).collect();
    assert!(places.is_some_and(|places| places.is_sorted()), "{log}");
}

#[test]
fn nothing_runs_twice_after_an_agent_that_was_killed() {
    let host = Host::new(REDEFS);
    let mut agent = host.start("127.0.0.1:0");
    agent.stderr.until_all(BOTH_KNOWN);
    host.deploy();
    let (processes, listen) = (host.processes(), agent.broker().to_string());
    let left = pid(host.controller()["pid"].as_i64());
    agent.kill();
    assert!(lives(left), "it goes on without its agent");
    let mut agent = host.start(&listen);
    agent
        .stderr
        .until_all(&["ending processes that an earlier controller has left"]);
    agent.stderr.until_all(BOTH_KNOWN);
    assert!(ends_within(left, 0), "it has ended before the next one came");
    agent.stderr.until_all(&["all 2 nodes run"]);
    host.deploy();
    assert_eq!(host.processes(), processes);
    agent.stop();
    assert_eq!(host.processes(), 0);
}

#[test]
fn a_controller_that_cannot_start_is_told_with_its_reason_and_tried_again() {
    let host = Host::new("redef Management::Controller::listen_port = \"x\";\n");
    let problem = "controller.zeek:1: Management::Controller::listen_port: \"x\" is not a port";
    let checked = || run_command(host.command("127.0.0.1:0").arg("check-config"));
    checked().failed(
        1,
        "error: option --with-controller: with_controller: the controller: ",
    );
    checked().failed(1, problem);
    let mut agent = host.start("127.0.0.1:0");
    let told = agent.stderr.until_all(&["the controller does not run: "]);
    let told = told.last().expect("that line");
    assert!(
        told.contains("its process has ended (exit status: 1): error: "),
        "{told}"
    );
    assert!(told.contains(problem), "{told}");
    host.redefine(REDEFS);
    agent.stderr.until_all(&["controller connected"]);
    agent.stop();

    let good = checked();
    assert!(
        good.printed()
            .contains("the controller: the configuration is good: "),
        "{good:?}"
    );
    let mut alone = Command::new(host.agent_alone());
    let directories = ["--state-dir=s", "--spool-dir=s"];
    alone
        .args(["check-config", "--simulate", "--with-controller"])
        .args(directories);
    let words = format!(
        "there is no {}/mgmt-controller, nor mgmt-controller on PATH",
        host.0.path().display()
    );
    run_command(&mut alone).failed(1, &words);
    let both = ["check-config", "--controller=10.0.0.1:2150"];
    let words = "the agent connects to the controller that it keeps; leave --controller out";
    run_command(host.command("127.0.0.1:0").args(both)).failed(1, words);
}

/// What another program writes under the controller's name: too much, and no log.
#[test]
fn what_a_controller_writes_is_bounded_and_summed_up() {
    let host = Host::new("");
    let script = "#!/bin/sh
i=0
while [ $i -lt 1000 ]; do i=$((i+1)); echo '{\"level\":\"INFO\",\"message\":\"flood\",\"n\":1}' >&2; done
echo mgmt-controller: error: out of luck >&2
exit 3
";
    let program = host.0.path().join("mgmt-controller");
    write_executable(&program, script);
    let alone = host.agent_alone();
    let mut command = Command::new("/usr/bin/env");
    let prepared = host.command("127.0.0.1:0");
    command
        .arg("--ignore-environment")
        .arg(&alone)
        .args(prepared.get_args())
        .current_dir(host.0.path());
    let mut agent = start_agent(&host.0, &mut command);
    let end = "the controller does not run: its process has ended (exit status: 3): error: out of luck; \
               it is started again in 1 s";
    let told = agent.stderr.until_all(&[
        "controller: error: out of luck",
        "controller: \u{2026} 800 more within 10 s: flood",
        end,
    ]);
    let flood = told
        .iter()
        .filter(|line| line.contains("INFO controller: flood fields={\"n\":1}"));
    assert_eq!(flood.count(), 200);
    agent.stop();
}
