//! What differs between the ages, and their agents and controllers as processes.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use tempfile::TempDir;
use testkit::ReservedPort;

use crate::{
    live_controller::AGENT,
    support::{cluster::kill_processes_in, daemon::Daemon},
};

/// What differs between the ages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Era {
    /// The directory of its scripts.
    pub(super) name: &'static str,
    /// Where they are in it, and what can be loaded.
    pub(super) frameworks: &'static str,
    /// The modules of controller and agent.
    pub(super) controller: &'static str,
    pub(super) agent: &'static str,
    pub(super) topic: &'static str,
    /// What we must be told of it.
    pub(super) api: Option<&'static str>,
    /// Its agent, as our controller calls it.
    pub(super) release: &'static str,
    pub(super) lists_nodes: bool,
    /// A node as its clients send it, with words in capitals for what differs.
    pub(super) node: &'static str,
}

const CLUSTER_CONTROLLER: Era = Era {
    name: "4.1",
    frameworks: "policy/frameworks/cluster",
    controller: "ClusterController",
    agent: "ClusterAgent",
    topic: "zeek/cluster-control/controller",
    api: None,
    release: "Zeek 4.1",
    lists_nodes: false,
    node: "[\"NAME\", \"INSTANCE\", PORT/tcp, Supervisor::ROLE, ClusterController::Types::Running, -, -, -, -, {->}]",
};

pub(super) const ERAS: [Era; 4] = [
    CLUSTER_CONTROLLER,
    Era {
        name: "4.2",
        release: "Zeek 4.2",
        ..CLUSTER_CONTROLLER
    },
    Era {
        name: "A",
        api: Some("pre-seed"),
        release: "Zeek's commit 9efc214d42",
        lists_nodes: true,
        node: "[\"NAME\", \"INSTANCE\", Supervisor::ROLE, ClusterController::Types::RUNNING, PORT/tcp, -, -, -, -, {->}]",
        ..CLUSTER_CONTROLLER
    },
    Era {
        name: "B",
        frameworks: "policy/frameworks/management",
        controller: "Management::Controller",
        agent: "Management::Agent",
        topic: "zeek/management/controller",
        api: Some("seed"),
        release: "Zeek's commit 54aaf3a623",
        lists_nodes: true,
        node: "[\"NAME\", \"INSTANCE\", Supervisor::ROLE, Management::RUNNING, PORT/tcp, -, -, -, -, {->}]",
    },
];

impl Era {
    /// What our controller must be told of its agents: those of A say hello as agents of 4.2 do.
    pub(super) fn agent_api(self) -> Vec<&'static str> {
        match (self.name, self.api) {
            ("A", Some(api)) => vec!["--agent-api", api],
            _ => vec![],
        }
    }
}

/// A `zeek -j` with an agent or a controller of an age, in a directory of its own.
pub(super) struct Zeek {
    daemon: Daemon,
    home: TempDir,
    _supervisor: ReservedPort,
}

impl Zeek {
    pub(super) fn start(
        prefix: &Path,
        scripts: &Path,
        era: Era,
        which: &str,
        port: u16,
        further: &[String],
    ) -> Self {
        let own = Command::new(prefix.join("bin/zeek-config"))
            .arg("--zeekpath")
            .output();
        let own = String::from_utf8(own.expect("zeek-config can be started").stdout).expect("text");
        let supervisor = ReservedPort::new("127.0.0.1");
        let home = TempDir::with_prefix("era-").expect("a directory can be made");
        let scripts = scripts.display();
        let mut command = Command::new(prefix.join("bin/zeek"));
        command
            .args(["-j", &format!("{}/{which}", era.frameworks)])
            .arg(format!("Broker::default_port={}/tcp", supervisor.port()))
            .args(further)
            .env("ZEEKPATH", format!("{scripts}:{scripts}/policy:{}", own.trim()))
            .env("ZEEK_DEFAULT_LISTEN_ADDRESS", "127.0.0.1")
            .envs([("ZEEK_AGENT_NAME", AGENT), ("ZEEK_AGENT_ADDR", "127.0.0.1")])
            .envs([
                ("ZEEK_CONTROLLER_NAME", "controller"),
                ("ZEEK_CONTROLLER_ADDR", "127.0.0.1"),
            ])
            .env("ZEEK_AGENT_PORT", format!("{port}/tcp"))
            .env("ZEEK_CONTROLLER_PORT", format!("{port}/tcp"))
            .current_dir(home.path())
            .stdout(Stdio::null());
        let daemon = Daemon::start("a zeek of another age", &mut command);
        Self {
            daemon,
            home,
            _supervisor: supervisor,
        }
    }

    /// Ends it with all that it has started.
    pub(super) fn stop(mut self) {
        self.daemon.end();
    }
}

impl Drop for Zeek {
    fn drop(&mut self) {
        if thread::panicking() {
            for file in ["cluster-controller.log", &format!("cluster-{AGENT}.log")] {
                let text = fs::read_to_string(self.home.path().join(file)).unwrap_or_default();
                show(file, &text);
            }
        }
        kill_processes_in(self.home.path());
    }
}

/// What a process wrote belongs to the report of a failed test.
#[expect(clippy::print_stderr, reason = "shown with the failed test's output")]
pub(super) fn show(what: &str, text: &str) {
    eprintln!("--- {what}:\n{text}---");
}

/// The arguments that have an agent connect to a controller.
pub(super) fn connecting(era: Era, controller: SocketAddr) -> Vec<String> {
    let port = controller.port();
    vec![format!(
        "{}::controller=[$address=\"127.0.0.1\", $bound_port={port}/tcp]",
        era.agent
    )]
}
