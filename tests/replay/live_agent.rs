//! A running agent in the place of the recorded one: its Supervisor, its controller and its nodes are played over real sockets.

use std::process::Command;

use tempfile::TempDir;
use tools::replay::cli::CliError;

use super::{Reserved, folder, recordings::replayed};
use crate::support::cluster::{Daemon, Protection, agent_binary};

/// An agent, and where it looks for the others.
struct Agent {
    home: TempDir,
    supervisor: Reserved,
    controller: Reserved,
    daemon: Daemon,
}

impl Agent {
    /// Starts one that connects to its controller, or waits for it.
    fn start(connecting: bool, protection: &Protection, settings: &[&str]) -> Self {
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
            .args(protection.settings("agent"))
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
    fn replay(
        self,
        recording: &str,
        protection: &Protection,
        tell_state_dir: bool,
    ) -> Result<(bool, String), CliError> {
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
        let tls = protection.settings("replay");
        words.extend(tls.iter().map(String::as_str));
        let result = replayed(&words);
        self.daemon.stop();
        result
    }
}

/// Starts an agent, replays a recording with it, which passes, and stops it. So many events are alike at least: how many more hellos
/// there are depends on when the agent hears of its peers.
fn passes(
    recording: &str,
    connecting: bool,
    protection: &Protection,
    settings: &[&str],
    (events, lines): (u64, &[&str]),
) {
    let agent = Agent::start(connecting, protection, settings);
    let (passed, text) = agent.replay(recording, protection, true).unwrap();
    assert!(passed, "{text}");
    let mut alike = text
        .lines()
        .filter_map(|line| line.strip_suffix(" events, topic and payload as bytes"));
    let alike = alike
        .next()
        .and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    assert!(alike.is_some_and(|alike| alike >= events), "{text}");
    for line in lines {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}

#[test]
fn a_running_agent_that_connects_replays_a_whole_session_in_each_tls_mode() {
    for protection in [Protection::Off, Protection::Anonymous, Protection::mutual()] {
        passes(
            "zeek-9.0.0-rc1/a2c",
            true,
            &protection,
            &[],
            (
                313,
                &[
                    "compared 16 events, as values",
                    "explained 41 extra Management::Agent::API::notify_change (node-states)",
                ],
            ),
        );
    }
}

#[test]
fn a_running_agent_that_listens_replays_a_whole_session() {
    passes(
        "zeek-9.0.0-rc1/c2a",
        false,
        &Protection::Anonymous,
        &[],
        (
            51,
            &[
                "compared 4 events, as values",
                "explained 17 extra Management::Agent::API::notify_change (node-states)",
            ],
        ),
    );
}

/// The controller is lost and comes back with another Broker ID: played, so it can.
#[test]
fn a_running_agent_returns_to_a_controller_that_was_started_again() {
    passes(
        "zeek-9.0.0-rc1/restart-controller",
        true,
        &Protection::Off,
        &[],
        (33, &["compared 3 events, as values"]),
    );
}

/// It asks for the status before it creates nodes, which the recorded one does not, and is answered by a stand-in for the Supervisor.
#[test]
fn a_running_agent_serves_a_controller_of_the_seed_commit() {
    passes(
        "zeek-9.0.0-rc1/seed-api",
        false,
        &Protection::Anonymous,
        &["--controller-api", "seed"],
        (12, &["excluded 2 answers of a Supervisor that are not recorded"]),
    );
}

#[test]
fn a_running_agent_serves_a_cluster_controller() {
    passes(
        "zeek-9.0.0-rc1/cluster-controller-api",
        false,
        &Protection::Anonymous,
        &[],
        (0, &["excluded 2 answers of a Supervisor that are not recorded"]),
    );
}

/// The recorded one could not read what it was to deploy. Now there are nodes, which are played although nobody recorded them.
#[test]
fn a_running_agent_deploys_what_a_controller_of_zeek_6_asks_for() {
    passes(
        "mixed/mixed-6-9",
        true,
        &Protection::Anonymous,
        &[],
        (
            0,
            &[
                "excluded 3 hellos of nodes that are not recorded",
                "explained 1 extra Management::Agent::API::deploy_response (older-releases)",
            ],
        ),
    );
}

#[test]
fn a_running_agent_whose_nodes_work_elsewhere_fails() {
    let agent = Agent::start(false, &Protection::Off, &[]);
    let (passed, text) = agent
        .replay("zeek-9.0.0-rc1/c2a", &Protection::Off, false)
        .unwrap();
    assert!(!passed, "{text}");
    let place = "SupervisorControl::create_request\n  node.directory\n    expected \"/srv/c2a/zeek-instance-1/var/lib/nodes/";
    assert!(text.contains(place), "{text}");
}

/// Neither end of a connection can read the other, whoever connects. Its Supervisor is the first with whom it is peered.
#[test]
fn a_running_agent_with_other_tls_is_told_from_a_wrong_one() {
    for (agents, ours, told) in [
        (
            Protection::Anonymous,
            Protection::Off,
            "peer speaks TLS on this plaintext connection; switch TLS on here or off there (Zeek: Broker::disable_ssl)",
        ),
        (
            Protection::Off,
            Protection::Anonymous,
            "peer speaks plaintext Broker instead of TLS; switch TLS off here or on there (Zeek: Broker::disable_ssl)",
        ),
    ] {
        let agent = Agent::start(false, &agents, &[]);
        let error = agent.replay("zeek-9.0.0-rc1/c2a", &ours, true).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot replay with the running agent instance-1: connection 1 with the Supervisor cannot be made: {told}"
            )
        );
    }
}

/// The Supervisor of the recorded one was somewhere else.
#[test]
fn an_agent_that_does_not_come_is_waited_for_and_told_where_it_was_expected() {
    let folder = folder("zeek-9.0.0-rc1/c2a");
    let supervisor = Reserved::new();
    let words = [
        folder.to_str().unwrap(),
        "--role",
        "agent",
        "--peer",
        "127.0.0.1:1",
        "--supervisor",
        &supervisor.address(),
        "--timeout",
        "1",
    ];
    assert_eq!(
        replayed(&words).unwrap_err().to_string(),
        format!(
            "cannot replay with the running agent instance-1: connection 1 with the Supervisor cannot be made: no peer has connected to {} within 1s",
            supervisor.address()
        )
    );
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
