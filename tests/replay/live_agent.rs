//! A running agent in the place of the recorded one: its Supervisor, its controller and its nodes are played over real sockets.

use std::{net::SocketAddr, process::Command};

use tempfile::TempDir;
use tokio::net::TcpSocket;
use tools::replay::cli::CliError;

use super::{folder, recordings::replayed};
use crate::support::cluster::{Daemon, agent_binary};

const PLAINTEXT: &str = "Broker::disable_ssl=T";

/// A port that nobody else gets, and where nobody listens yet.
struct Reserved {
    socket: TcpSocket,
}

impl Reserved {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        // Whoever listens there sets it too; both must.
        socket.set_reuseaddr(true).expect("an option of every socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any).expect("a port is free");
        Self { socket }
    }

    fn address(&self) -> String {
        self.socket.local_addr().expect("it is bound").to_string()
    }
}

/// An agent, and where it looks for the others.
struct Agent {
    home: TempDir,
    supervisor: Reserved,
    controller: Reserved,
    daemon: Daemon,
}

impl Agent {
    /// Starts one that connects to its controller, or waits for it.
    fn start(connecting: bool, settings: &[&str]) -> Self {
        let home = TempDir::with_prefix("replayed-agent-").expect("a directory can be made");
        let (supervisor, controller) = (Reserved::new(), Reserved::new());
        let ready_file = home.path().join("agent.json");
        let controller_at = if connecting {
            controller.address()
        } else {
            "off".to_owned()
        };
        let mut command = Command::new(agent_binary());
        command
            .args(["--name", "instance-1", "--listen", "127.0.0.1:0"])
            .args(["--controller", &controller_at])
            .args(["--supervisor", &supervisor.address()])
            .args(["--zeek-version", "9.0.0-rc1", "--zeek-prefix"])
            .arg(home.path())
            .arg("--state-dir")
            .arg(home.path().join("state"))
            .arg("--spool-dir")
            .arg(home.path().join("spool"))
            .arg("--ready-file")
            .arg(&ready_file)
            .args([
                "Management::connect_retry=50msec",
                "Management::Agent::archive_logs=F",
            ])
            .args(settings)
            .env_clear()
            .current_dir(home.path());
        let daemon = Daemon::with_ready_file("the agent", &mut command, &ready_file);
        Self {
            home,
            supervisor,
            controller,
            daemon,
        }
    }

    /// Replays a recording with it, told of its state directory or not, and stops it.
    fn replay(self, recording: &str, tell_state_dir: bool) -> (bool, String) {
        let folder = folder(recording);
        let state_dir = self.home.path().join("state");
        let (peer, supervisor, controller) = (
            self.daemon.broker().to_string(),
            self.supervisor.address(),
            self.controller.address(),
        );
        let mut words = vec![folder.to_str().unwrap(), "--role", "agent", "--peer", &peer];
        words.extend(["--supervisor", &supervisor, "--controller", &controller]);
        if tell_state_dir {
            words.extend(["--state-dir", state_dir.to_str().unwrap()]);
        }
        let result = replayed(&words).unwrap();
        self.daemon.stop();
        result
    }
}

fn assert_passed((passed, text): &(bool, String), lines: &[&str]) {
    assert!(*passed, "{text}");
    for line in lines {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}

#[test]
fn a_running_agent_that_connects_replays_a_whole_session() {
    let replayed = Agent::start(true, &[PLAINTEXT]).replay("zeek-9.0.0-rc1/a2c", true);
    assert_passed(
        &replayed,
        &[
            "compared 316 events, topic and payload as bytes",
            "compared 16 events, as values",
            "excluded 1 hellos repeated for an earlier peering",
            "waived   41 extra Management::Agent::API::notify_change (node-states)",
        ],
    );
}

#[test]
fn a_running_agent_that_listens_replays_a_whole_session() {
    let replayed = Agent::start(false, &[PLAINTEXT]).replay("zeek-9.0.0-rc1/c2a", true);
    assert_passed(
        &replayed,
        &[
            "compared 53 events, topic and payload as bytes",
            "compared 4 events, as values",
            "waived   17 extra Management::Agent::API::notify_change (node-states)",
        ],
    );
}

/// The controller is lost and comes back with another Broker ID: played, so it can.
#[test]
fn a_running_agent_returns_to_a_controller_that_was_started_again() {
    let replayed = Agent::start(true, &[PLAINTEXT]).replay("zeek-9.0.0-rc1/restart-controller", true);
    assert_passed(
        &replayed,
        &[
            "compared 36 events, topic and payload as bytes",
            "compared 3 events, as values",
        ],
    );
}

#[test]
fn a_running_agent_whose_nodes_work_elsewhere_fails() {
    let (passed, text) = Agent::start(false, &[PLAINTEXT]).replay("zeek-9.0.0-rc1/c2a", false);
    assert!(!passed, "{text}");
    let place = "SupervisorControl::create_request\n  node.directory\n    expected \"/srv/c2a/zeek-instance-1/var/lib/nodes/";
    assert!(text.contains(place), "{text}");
}

/// Neither end of a connection can read the other, whoever connects.
#[test]
fn a_running_agent_that_speaks_tls_is_told_from_a_wrong_one() {
    let (passed, text) = Agent::start(false, &[]).replay("zeek-9.0.0-rc1/c2a", true);
    assert!(!passed, "{text}");
    for with in ["Supervisor", "controller"] {
        let connection = format!("with the {with}: cannot be made: ");
        let told = text.lines().find(|line| line.contains(&connection));
        let told = told.unwrap_or_else(|| panic!("nothing is said about the {with}:\n{text}"));
        assert!(
            told.ends_with("replay does not: start it with Broker::disable_ssl=T"),
            "{told}"
        );
    }
}

#[test]
fn only_a_running_agent_has_surroundings() {
    let folder = folder("zeek-9.0.0-rc1/a2c");
    for option in ["--controller", "--supervisor", "--state-dir"] {
        let words = [
            "--role",
            "controller",
            "--peer",
            "127.0.0.1:1",
            option,
            "127.0.0.1:1",
        ];
        let words = [&[folder.to_str().unwrap()], &words[..]].concat();
        let refused = replayed(&words).unwrap_err();
        assert!(
            matches!(refused, CliError::PlaceOfController),
            "{option}: {refused}"
        );
    }
}
