//! A host with an agent of ours and a stand-in for Zeek's Supervisor, whose nodes are real processes.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use mgmt_api::ClientRequest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use testkit::ReservedPort;
use zeek_simulator::{NODE_VARIABLE, NodeBehaviour, SUPERVISOR_VARIABLE, SupervisorBehaviour};

use super::{
    certificates::{Authority, Validity, native_settings},
    controller::Controller,
    daemon::Daemon,
    limit::Limit,
    program::build,
    relay::Relay,
    session::Session,
    websocket::Client,
};

/// Our agent's program, built once per run of the tests.
pub(crate) fn agent_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("mgmt-agent", "mgmt-agent"))
}

/// The stand-in for `zeek`, built once per run of the tests.
pub(crate) fn zeek_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("zeek-simulator", "zeek"))
}

/// How Broker connections are protected.
pub(crate) enum Protection {
    Off,
    Anonymous,
    /// With certificates of this CA.
    Mutual(Box<Authority>),
}

impl Protection {
    pub(crate) fn mutual() -> Self {
        Self::Mutual(Box::new(Authority::new("test CA")))
    }

    /// The settings by Zeek's names; a process each has a certificate of its own.
    pub(crate) fn settings(&self, process: &str) -> Vec<String> {
        match self {
            Self::Off => vec!["Broker::disable_ssl=T".into()],
            Self::Anonymous => Vec::new(),
            Self::Mutual(authority) => {
                native_settings(authority, &authority.sign(process, &[], &Validity::Now))
            }
        }
    }
}

/// Starts a controller with directories of its own.
pub(crate) fn start_controller(protection: &Protection, further: &[&str]) -> Controller {
    let mut arguments = protection.settings("controller");
    arguments.push("Management::connect_retry=50msec".to_owned());
    arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
    Controller::start(&arguments)
}

/// A command that starts an agent with directories below this one.
pub(crate) fn agent_command(home: &TempDir, name: &str, listen: &str) -> Command {
    let mut command = Command::new(agent_binary());
    command
        .args(["--name", name, "--state-dir", "state", "--spool-dir", "spool"])
        .args(["--listen", listen])
        .env_clear()
        .current_dir(home.path());
    command
}

/// Starts an agent, and waits until it listens.
pub(crate) fn start_agent(home: &TempDir, command: &mut Command) -> Daemon {
    let ready_file = home.path().join("ready.json");
    command.arg("--ready-file").arg(&ready_file);
    Daemon::with_ready_file("the agent", command, &ready_file)
}

/// Asks the controller until its answer, as text, is good: again whenever an agent tells something.
pub(crate) fn ask_until(controller: &mut Controller, request: &ClientRequest, good: impl Fn(&str) -> bool) {
    let mut observer = Client::observing(controller.websocket());
    let mut limit = Limit::new(format_args!("an answer to {request:?}"));
    loop {
        // Not kept, as news may be long in coming: a client that does not answer pings is disconnected.
        let answer = Session::open(controller.websocket()).ask(request);
        let answer = json!(answer).to_string();
        if good(&answer) {
            return;
        }
        limit.say(format_args!(
            "news, as {request:?} is not answered as it should be: {answer}"
        ));
        observer.text_about_by("::notify_", &limit);
    }
}

/// Waits until so many processes run, agents included.
pub(crate) fn wait_for_running(controller: &mut Controller, count: usize) {
    let request = ClientRequest::GetNodes {
        reqid: "running".into(),
    };
    let running = |answer: &str| answer.matches("Management::RUNNING").count() == count;
    ask_until(controller, &request, running);
}

/// What runs the nodes of an [`Instance`].
#[derive(Clone, Debug)]
pub(crate) enum Zeek {
    /// A stand-in, for the agent to find.
    StandIn,
    /// That of an installation, started by the agent.
    Started(PathBuf),
    /// That of an installation, for the agent to find.
    Found(PathBuf),
    /// The agent's simulation of a Supervisor of Zeek's, as an operator has it who knows of no other way to make it behave.
    Simulated,
    /// Stand-ins that the agent keeps itself.
    Kept,
}

/// What an [`Instance`] is made of.
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    /// Where the agent is to find its controller, if it does not wait for it.
    pub(crate) controller: Option<SocketAddr>,
    pub(crate) protection: &'a Protection,
    pub(crate) zeek: Zeek,
    pub(crate) supervisor: SupervisorBehaviour,
    /// How nodes behave unless their own environment says otherwise.
    pub(crate) nodes: NodeBehaviour,
    pub(crate) further: Vec<String>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(name: &'a str, controller: Option<SocketAddr>, protection: &'a Protection) -> Self {
        Self {
            name,
            controller,
            protection,
            zeek: Zeek::StandIn,
            supervisor: SupervisorBehaviour::default(),
            nodes: NodeBehaviour::default(),
            further: Vec::new(),
        }
    }
}

/// An agent and its Supervisor.
///
/// The Supervisor listens on a free port, another one each time that it is started; the agent finds it through a relay.
/// Nodes are told by the Supervisor's environment where the agent listens.
pub(crate) struct Instance<'a> {
    plan: Plan<'a>,
    home: TempDir,
    relay: Relay,
    listen: SocketAddr,
    /// Where a Supervisor listens that cannot be told to take any port.
    reserved: Option<ReservedPort>,
    pub(crate) agent: Option<Daemon>,
    pub(crate) supervisor: Option<Daemon>,
}

impl<'a> Instance<'a> {
    pub(crate) fn start(plan: Plan<'a>) -> Self {
        let mut instance = Self {
            plan,
            home: TempDir::with_prefix("instance-").expect("a directory can be made"),
            relay: Relay::start(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            reserved: None,
            agent: None,
            supervisor: None,
        };
        instance.start_agent();
        instance.start_supervisor();
        instance
    }

    /// Starts the agent, where it listened before if it did.
    pub(crate) fn start_agent(&mut self) {
        let mut command = agent_command(&self.home, self.plan.name, &self.listen.to_string());
        let supervisor = self.relay.address().to_string();
        match &self.plan.zeek {
            Zeek::Started(prefix) => {
                command
                    .args(["--start-supervisor", "--supervisor", "127.0.0.1:0"])
                    .arg("--zeek-prefix")
                    .arg(prefix)
                    .env("PATH", "/usr/bin:/bin");
                self.behave(&mut command);
            }
            Zeek::Found(prefix) => {
                command
                    .args(["--supervisor", &supervisor, "--zeek-prefix"])
                    .arg(prefix);
            }
            Zeek::StandIn => {
                command
                    .args(["--zeek-version", &self.plan.supervisor.zeek_version])
                    .args(["--supervisor", &supervisor, "--zeek-prefix", "."]);
            }
            Zeek::Simulated => {
                command.args(["--simulate", "--supervise", "zeek"]);
            }
            Zeek::Kept => {
                command.arg("--simulate");
            }
        }
        let controller = self.plan.controller;
        let controller = controller.map_or("off".into(), |address| address.to_string());
        command
            .args(["--controller", &controller, "Management::connect_retry=50msec"])
            .args(self.plan.protection.settings(self.plan.name))
            .args(&self.plan.further);
        let agent = start_agent(&self.home, &mut command);
        self.listen = agent.broker();
        self.agent = Some(agent);
    }

    /// Tells stand-ins how to behave.
    fn behave(&self, command: &mut Command) {
        command
            .env(SUPERVISOR_VARIABLE, json!(self.plan.supervisor).to_string())
            .env(NODE_VARIABLE, json!(self.plan.nodes).to_string());
    }

    /// Starts the Supervisor, with another Broker ID each time.
    pub(crate) fn start_supervisor(&mut self) {
        let zeek = match &self.plan.zeek {
            Zeek::StandIn => zeek_binary().to_path_buf(),
            Zeek::Found(prefix) => prefix.join("bin/zeek"),
            Zeek::Started(_) | Zeek::Simulated | Zeek::Kept => return,
        };
        let mut command = Command::new(zeek);
        command
            .args(["-j", "policy/frameworks/cluster/backend/broker"])
            .arg("SupervisorControl::enable_listen=T")
            .args(self.plan.protection.settings("zeek"))
            .current_dir(self.home.path())
            .env_clear()
            .env("ZEEK_DEFAULT_LISTEN_ADDRESS", "127.0.0.1")
            .env("ZEEK_AGENT_ADDR", self.listen.ip().to_string())
            .env("ZEEK_AGENT_PORT", format!("{}/tcp", self.listen.port()));
        let supervisor = if let Zeek::Found(_) = self.plan.zeek {
            let reserved = self.reserved.insert(ReservedPort::new("127.0.0.1"));
            let address = reserved.address();
            command
                .arg("policy/frameworks/management/supervisor")
                .arg(format!("Broker::default_port={}/tcp", address.port()))
                .env("PATH", "/usr/bin:/bin")
                .stdout(Stdio::null());
            self.relay.point_to(address);
            // It does not say when it listens; the agent tries until it does.
            Daemon::start("the Supervisor", &mut command)
        } else {
            let behaviour = SupervisorBehaviour {
                tells_ready: true,
                ..self.plan.supervisor.clone()
            };
            command
                .arg("Broker::default_port=0/tcp")
                .env(SUPERVISOR_VARIABLE, json!(behaviour).to_string())
                .env(NODE_VARIABLE, json!(self.plan.nodes).to_string());
            let supervisor = Daemon::with_ready_line("the Supervisor", &mut command);
            self.relay.point_to(supervisor.broker());
            supervisor
        };
        self.supervisor = Some(supervisor);
    }

    /// Changes how the next Supervisor behaves.
    pub(crate) fn plan_supervisor(&mut self, change: impl FnOnce(&mut SupervisorBehaviour)) {
        change(&mut self.plan.supervisor);
    }

    pub(crate) fn name(&self) -> &'a str {
        self.plan.name
    }

    /// Where nodes connect, and controllers.
    pub(crate) const fn listens_at(&self) -> SocketAddr {
        self.listen
    }

    /// A file below its directory.
    pub(crate) fn read(&self, file: &str) -> String {
        let path = self.home.path().join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The command lines of all processes that work in its directories: agent, Supervisor, nodes, and what these have started.
    pub(crate) fn processes(&self) -> Vec<String> {
        let line = |process: PathBuf| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ")
        };
        processes_in(self.home.path()).into_iter().map(line).collect()
    }

    /// Stops both in good order; no process may be left. Returns what the agent wrote to standard error.
    pub(crate) fn stop(&mut self) -> String {
        // As when Zeek's Supervisor ends: the agent is one of its nodes.
        let log = self.agent.take().map(Daemon::stop).unwrap_or_default();
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.stop();
        }
        let left = self.processes();
        assert!(left.is_empty(), "{left:#?} is left running:\n{log}");
        log
    }
}

impl Drop for Instance<'_> {
    /// What a failed test has left running: a Supervisor outlives its agent.
    fn drop(&mut self) {
        drop((self.agent.take(), self.supervisor.take()));
        kill_processes_in(self.home.path());
    }
}

/// Kills every process that works in or below a directory of a test.
pub(crate) fn kill_processes_in(directory: &Path) {
    // The stem of a real Zeek starts nodes again until it is gone as well.
    for _ in 0..100 {
        let left = processes_in(directory);
        if left.is_empty() {
            return;
        }
        let ids = left
            .iter()
            .filter_map(|process| Pid::from_raw(process.file_name()?.to_str()?.parse().ok()?));
        for id in ids {
            // It may have ended already.
            let _ = kill_process(id, Signal::KILL);
        }
    }
}

/// The processes that work in or below a directory, as directories of `/proc`.
pub(crate) fn processes_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(directory) = directory.canonicalize() else {
        return Vec::new();
    };
    // Of one that has ended, or of another user's, it cannot be read.
    let works_there =
        |process: &PathBuf| fs::read_link(process.join("cwd")).is_ok_and(|at| at.starts_with(&directory));
    let all = fs::read_dir("/proc").into_iter().flatten();
    all.filter_map(|entry| Some(entry.ok()?.path()))
        .filter(works_there)
        .collect()
}

/// An installation of the stand-in for Zeek.
pub(crate) fn installation() -> TempDir {
    let prefix = TempDir::with_prefix("zeek-").expect("a directory can be made");
    fs::create_dir(prefix.path().join("bin")).expect("a directory can be made");
    symlink(zeek_binary(), prefix.path().join("bin/zeek")).expect("a link can be made");
    prefix
}
