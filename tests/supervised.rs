//! `mgmt-agent --start-supervisor`: the Supervisor is started, watched, started again and ended by the agent. What is
//! started is a stand-in for `zeek`, as a real process whose nodes are real processes.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use mgmt_api::{NodeStatus, State};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::write_executable;
use zeek_simulator::{SUPERVISOR_VARIABLE, SupervisorBehaviour};

use crate::support::{
    cluster::{agent_command, kill_processes_in, start_agent, zeek_binary},
    controlling::Controlling,
    daemon::Daemon,
    limit::Limit,
};

pub(crate) const NAME: &str = "agent-1";

/// A host with a Zeek installation, in which an agent starts its Supervisor.
pub(crate) struct Host {
    home: TempDir,
}

impl Drop for Host {
    /// Ends what a failed test has left running.
    fn drop(&mut self) {
        kill_processes_in(self.home.path());
    }
}

impl Host {
    /// With the stand-in as its Zeek.
    pub(crate) fn new() -> Self {
        let host = Self::without_zeek();
        symlink(zeek_binary(), host.zeek()).expect("a link can be made");
        host
    }

    pub(crate) fn without_zeek() -> Self {
        let home = TempDir::with_prefix("supervised-").expect("a directory can be made");
        fs::create_dir(home.path().join("bin")).expect("a directory can be made");
        Self { home }
    }

    /// With a shell script as its Zeek.
    pub(crate) fn with_zeek(script: &str) -> Self {
        let host = Self::without_zeek();
        host.install(script);
        host
    }

    fn install(&self, script: &str) {
        write_executable(&self.zeek(), script);
    }

    pub(crate) fn zeek(&self) -> PathBuf {
        self.home.path().join("bin/zeek")
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.home.path().join("state/nodes").join(NAME)
    }

    pub(crate) fn start(&self, further: &[&str]) -> Daemon {
        self.start_at("127.0.0.1:0", "127.0.0.1:0", further)
    }

    /// Starts an agent and its controller, and waits until it has its Supervisor.
    pub(crate) fn start_connected(&self, further: &[&str]) -> (Daemon, Controlling) {
        connected(self.start(further))
    }

    pub(crate) fn start_at(&self, listen: &str, supervisor: &str, further: &[&str]) -> Daemon {
        let mut command = agent_command(&self.home, NAME, listen);
        command
            .args(["--start-supervisor", "--controller", "off", "--zeek-prefix", "."])
            .args(["--supervisor", supervisor, "Management::connect_retry=50msec"])
            .arg("Management::Agent::archive_logs=F")
            .args(further)
            .env("PATH", "/usr/bin:/bin");
        start_agent(&self.home, &mut command)
    }

    /// What the agent has written down about its Supervisor.
    pub(crate) fn record(&self) -> Option<Value> {
        let text = fs::read(self.dir().join("supervisor/supervisor.json")).ok()?;
        Some(serde_json::from_slice(&text).expect("the record is JSON"))
    }

    pub(crate) fn supervisor(&self) -> Pid {
        pid(self.record().expect("a Supervisor runs")["pid"].as_i64())
    }
}

pub(crate) fn connected(agent: Daemon) -> (Daemon, Controlling) {
    let mut controlling = Controlling::connect(agent.broker(), NAME);
    controlling.hear_hello();
    (agent, controlling)
}

pub(crate) fn pid(number: Option<i64>) -> Pid {
    let number = number.and_then(|number| i32::try_from(number).ok());
    number.and_then(Pid::from_raw).expect("a process id")
}

pub(crate) fn pids(nodes: &[NodeStatus]) -> Vec<Pid> {
    nodes.iter().map(|node| pid(node.pid)).collect()
}

pub(crate) fn lives(process: Pid) -> bool {
    !ends_within(process, 0)
}

/// Whether a process ends in this many seconds. A zombie has ended as well.
pub(crate) fn ends_within(process: Pid, seconds: i64) -> bool {
    let Ok(descriptor) = pidfd_open(process, PidfdFlags::empty()) else {
        return true;
    };
    let timeout = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let ended = poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout));
    ended.expect("a process can be waited for") == 1
}

pub(crate) fn assert_all_succeed(results: &[mgmt_api::ResultRecord], count: usize) {
    assert_eq!(results.len(), count, "{results:?}");
    assert!(results.iter().all(|result| result.success), "{results:?}");
}

#[test]
fn the_supervisor_and_its_nodes_live_and_end_with_their_agent() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    assert_all_succeed(&controlling.deploy("c1", &["one", "two"]), 2);
    let nodes = controlling.nodes().expect("nodes");
    assert!(nodes.iter().all(|node| node.state == State::Running), "{nodes:?}");

    let supervisor = host.supervisor();
    let processes = pids(&nodes);
    assert_eq!(processes.len(), 2);
    assert!(processes.iter().copied().all(lives) && lives(supervisor));
    let log = agent.stop();
    assert!(!log.contains("cannot connect to the Supervisor"), "{log}");
    assert!(
        !processes.iter().copied().any(lives),
        "a node has outlived its agent"
    );
    assert!(!lives(supervisor), "the Supervisor has outlived its agent");
    assert_eq!(host.record(), None);
}

#[test]
fn a_supervisor_that_is_killed_is_started_again_with_its_nodes_and_clients_hear_why() {
    // It has written about something else.
    let host = Host::with_zeek(&format!(
        "#!/bin/sh\necho error: an earlier trouble >&2\nexec '{}' \"$@\"\n",
        zeek_binary().display()
    ));
    let (agent, mut controlling) = host.start_connected(&[]);
    assert_all_succeed(&controlling.deploy("c1", &["one", "two"]), 2);
    let before = pids(&controlling.nodes().expect("nodes"));

    let supervisor = host.supervisor();
    kill_process(supervisor, Signal::KILL).expect("it runs");
    controlling.hear_states(&["one", "two"], State::Unknown);
    // The end of the peering and the end of the process are noticed in either order; only the latter tells why.
    let reason = no_supervisor(&mut controlling, "its process has ended", |reason| {
        reason.starts_with("lost the Supervisor")
    });
    assert_eq!(
        reason,
        "lost the Supervisor: its process has ended (signal: 9 (SIGKILL))"
    );
    let refused = controlling.deploy("c2", &["one"]);
    assert_eq!(refused[0].error.as_ref().map(ToString::to_string), Some(reason));

    controlling.hear_hello();
    controlling.hear_states(&["one", "two"], State::Running);
    let after = pids(&controlling.nodes().expect("nodes"));
    assert!(after.iter().all(|process| !before.contains(process)));
    assert_ne!(host.supervisor(), supervisor);
    agent.stop();
}

#[test]
fn the_message_about_a_node_that_is_killed_says_what_ended_it() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    assert_all_succeed(&controlling.deploy("c1", &["one"]), 1);
    let [node] = pids(&controlling.nodes().expect("nodes"))[..] else {
        panic!("there is one node");
    };
    kill_process(node, Signal::KILL).expect("it runs");
    controlling.hear_states(&["one"], State::Crashed);
    controlling.hear_states(&["one"], State::Running);
    let log = agent.stop();
    let told = log.lines().find(|line| line.contains("node one ended"));
    let told = told.unwrap_or_else(|| panic!("its end is not told: {log}"));
    assert!(told.contains("ended: signal 9 (SIGKILL)"), "{told}");
    assert!(told.contains("restart 1 since "), "{told}");
}

/// What a Supervisor wants its records to look like depends on its Zeek, and it has no nodes to show it by.
#[test]
fn a_zeek_that_is_replaced_meanwhile_is_told_what_it_understands() {
    let host = Host::without_zeek();
    let behaviour = host.home.path().join("behaviour");
    let install = |zeek_version: &str| {
        let supervisor = SupervisorBehaviour {
            zeek_version: zeek_version.into(),
            ..SupervisorBehaviour::default()
        };
        fs::write(&behaviour, json!(supervisor).to_string()).expect("a file can be written");
    };
    install("9.0.0");
    host.install(&format!(
        "#!/bin/sh\n{SUPERVISOR_VARIABLE}=$(cat '{}') exec '{}' \"$@\"\n",
        behaviour.display(),
        zeek_binary().display()
    ));
    let (agent, mut controlling) = host.start_connected(&[]);
    assert_all_succeed(&controlling.deploy("c1", &["one"]), 1);
    install("6.0.9");
    kill_process(host.supervisor(), Signal::KILL).expect("it runs");
    controlling.hear_states(&["one"], State::Unknown);
    controlling.hear_states(&["one"], State::Running);
    assert_all_succeed(&controlling.deploy("c2", &["two", "three"]), 2);
    let log = agent.stop();
    assert!(log.contains("Zeek was 9.0.0 and is 6.0.9 now"), "{log}");
}

fn is_not_yet(reason: &str) -> bool {
    reason == "not connected to the Supervisor yet"
}

/// Why there is no Supervisor, as soon as the reason has these words. Until then it is one of those that are expected before.
fn no_supervisor(controlling: &mut Controlling, words: &str, before: impl Fn(&str) -> bool) -> String {
    let limit = Limit::new(format_args!("the reason why there is no Supervisor: {words}"));
    limit.poll(|| {
        let reason = controlling.nodes().expect_err("there is no Supervisor");
        let is_it = reason.contains(words);
        assert!(is_it || before(&reason), "{reason}");
        is_it.then_some(reason)
    })
}

#[test]
fn a_zeek_that_cannot_start_is_quoted() {
    let host = Host::with_zeek(
        "#!/bin/sh\ncase $1 in --version) echo zeek version 9.0.0;; *) echo 'error: address 127.0.0.1:47760 is in use' >&2; echo a warning >&2; echo fatal error: no room >&2; echo >&2; exit 3;; esac\n",
    );
    let agent = host.start(&[]);
    let mut controlling = Controlling::connect(agent.broker(), NAME);
    let reason = no_supervisor(&mut controlling, "its process has ended", is_not_yet);
    assert_eq!(
        reason,
        "lost the Supervisor: its process has ended (exit status: 3): error: address 127.0.0.1:47760 is in use; fatal error: no room"
    );
    let log = agent.stop();
    let line = "the Supervisor does not run: its process has ended (exit status: 3): error: address 127.0.0.1:47760 is in use; \
                fatal error: no room; it is started again in 1 s";
    assert!(log.contains(line), "{log}");
}

/// It could be another agent's Supervisor, with another agent's nodes.
#[test]
fn what_has_the_supervisors_port_is_not_taken_for_ours() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = other.local_addr().expect("it listens").to_string();
    other.set_nonblocking(true).expect("it is ours");
    let host = Host::new();
    let agent = host.start_at("127.0.0.1:0", &address, &[]);
    let mut controlling = Controlling::connect(agent.broker(), NAME);
    let reason = no_supervisor(&mut controlling, "cannot be started", is_not_yet);
    let told = format!(
        "another process listens on {address}, perhaps the Supervisor of another agent; end it, or choose another --supervisor"
    );
    assert!(reason.ends_with(&told), "{reason}");
    agent.stop();
    assert!(other.accept().is_err(), "the agent has connected to it");
}

/// A port that was free when the system chose it may be another process's when the Supervisor wants it.
#[test]
fn a_port_that_the_system_chooses_is_chosen_anew_for_each_start() {
    let host = Host::with_zeek(&format!(
        "#!/bin/sh\nif [ \"$1\" = -j ] && mkdir first 2>/dev/null; then\necho \"$@\" > first/arguments\nexit 1\nfi\nexec '{}' \"$@\"\n",
        zeek_binary().display()
    ));
    let agent = host.start(&[]);
    let mut controlling = Controlling::connect(agent.broker(), NAME);
    let first = host.dir().join("supervisor/first/arguments");
    let limit = Limit::new("the end of the first Supervisor");
    while !controlling
        .nodes()
        .is_err_and(|reason| reason.contains("its process has ended"))
    {
        limit.left();
    }
    let arguments = read(&first);
    let port = arguments.split_whitespace().find_map(port_in);
    let port = port.unwrap_or_else(|| panic!("it is told no port: {arguments}"));
    let _other = TcpListener::bind(("127.0.0.1", port)).expect("nothing listens there any more");
    controlling.hear_hello();
    agent.stop();
}

/// The port in an argument of a Supervisor.
fn port_in(argument: &str) -> Option<u16> {
    let port = argument.strip_prefix("Broker::default_port=")?;
    port.strip_suffix("/tcp")?.parse().ok()
}

#[test]
fn a_supervisor_is_told_what_it_needs_and_no_secrets_by_its_arguments() {
    let host = Host::new();
    // An installation without the framework.
    let scripts = host.home.path().join("share/zeek/base");
    fs::create_dir_all(&scripts).expect("a directory can be made");
    fs::write(scripts.join("init-default.zeek"), "").expect("a file can be written");
    let (agent, _controlling) = host.start_connected(&["--zeek-argument", "Site::x=1"]);
    let record = host.record().expect("a Supervisor runs");
    let script = host.dir().join("scripts/supervisor.zeek");
    let arguments: Vec<&str> = record["launch"]["arguments"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|argument| argument.as_str().expect("text"))
        .collect();
    assert_eq!(
        arguments[..3],
        ["-j", script.to_str().expect("text"), "Site::x=1"]
    );
    let text = read(&script);
    assert!(
        text.contains("@load policy/frameworks/cluster/backend/broker"),
        "{text}"
    );
    assert!(
        text.contains("redef Broker::default_listen_address = \"127.0.0.1\";"),
        "{text}"
    );
    assert!(text.contains("@load ./shim"), "{text}");
    let mode = fs::metadata(&script).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it may hold a passphrase");
    assert!(read(&host.dir().join("scripts/shim.zeek")).contains("notify_node_exit"));
    let port = agent.broker().port();
    let node = read(&host.dir().join("scripts/node.zeek"));
    assert!(node.contains(&format!("const agent_port = {port}/tcp")), "{node}");
    agent.stop();
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
