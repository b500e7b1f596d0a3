//! A running agent in the place of the recorded one: its Supervisor, its controller and its nodes are played over real sockets.

use std::process::Command;

use tempfile::TempDir;
use testkit::ReservedPort;
use tools::replay::cli::CliError;

use super::replay;
use crate::support::{
    cluster::{Protection, agent_binary},
    daemon::Daemon,
};

/// An agent, and where it looks for the others.
struct Agent {
    home: TempDir,
    supervisor: ReservedPort,
    controller: ReservedPort,
    daemon: Daemon,
}

impl Agent {
    /// Starts one that connects to its controller, unless it is told otherwise.
    fn start(protection: &Protection, settings: &[&str]) -> Self {
        let home = TempDir::with_prefix("replayed-agent-").expect("a directory can be made");
        let [supervisor, controller] = [(); _].map(|()| ReservedPort::new("127.0.0.1"));
        let ready_file = home.path().join("agent.json");
        let dialled = ["--controller".to_owned(), controller.address().to_string()];
        let dialled = dialled.iter().filter(|_| !settings.contains(&"--controller"));
        let mut command = Command::new(agent_binary());
        command
            .args(["--name", "instance-1", "--listen", "127.0.0.1:0"])
            .args(["--supervisor", &supervisor.address().to_string()])
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
            .args(dialled)
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
        let (peer, supervisor, controller) = (
            self.daemon.broker(),
            self.supervisor.address(),
            self.controller.address(),
        );
        let state_dir = if tell_state_dir {
            format!("--state-dir {}", self.home.path().join("state").display())
        } else {
            String::new()
        };
        let tls = protection.settings("replay").join(" ");
        let options = format!(
            "--role agent --instance instance-1 --peer {peer} --supervisor {supervisor} --controller {controller} {state_dir} {tls}"
        );
        let result = replay(recording, &options);
        self.daemon.stop();
        result
    }
}

const OFF: fn() -> Protection = || Protection::Off;
const ANONYMOUS: fn() -> Protection = || Protection::Anonymous;

#[test]
fn a_running_agent_replays_whole_sessions() {
    let changes =
        |number: u32| format!("explained {number} extra Management::Agent::API::notify_change (node-states)");
    // It asks for the status before it creates nodes, which the recorded one does not; the answer is not recorded.
    let stood_in = "excluded 2 answers of a Supervisor that are not recorded";
    for (recording, protections, settings, as_bytes, lines) in [
        (
            "zeek-9.0.0-rc1/a2c",
            &[OFF, ANONYMOUS, Protection::mutual][..],
            &[][..],
            315..=316,
            [&changes(41), "compared 16 events, as values"],
        ),
        // It waits for its controller.
        (
            "zeek-9.0.0-rc1/c2a",
            &[ANONYMOUS],
            &["--controller", "off"],
            52..=53,
            [&changes(17), "compared 4 events, as values"],
        ),
        // The controller is lost and comes back with another Broker ID: played, so it can.
        (
            "zeek-9.0.0-rc1/restart-controller",
            &[OFF],
            &[],
            35..=36,
            [&changes(10), "compared 3 events, as values"],
        ),
        (
            "zeek-9.0.0-rc1/seed-api",
            &[ANONYMOUS],
            &["--controller", "off", "--controller-api", "seed"],
            12..=12,
            [stood_in, "compared 1 events, as values"],
        ),
        (
            "zeek-9.0.0-rc1/cluster-controller-api",
            &[ANONYMOUS],
            &["--controller", "off"],
            10..=10,
            [stood_in, "create_request node.directory (older-releases)"],
        ),
        (
            "ours/absent-instance",
            &[OFF],
            &[],
            26..=28,
            [
                "excluded 1 farewells: a running agent goes on",
                "explained 1 extra Management::Agent::API::notify_error (supervisor-recovery)",
            ],
        ),
        // The recorded one could not read what it was to deploy. Now there are nodes, which are played although none is recorded.
        (
            "mixed/mixed-6-9",
            &[ANONYMOUS],
            &[],
            12..=12,
            [
                "excluded 3 hellos of nodes that are not recorded",
                "explained 1 extra Management::Agent::API::deploy_response (older-releases)",
            ],
        ),
    ] {
        for protection in protections.iter().map(|protection| protection()) {
            let agent = Agent::start(&protection, settings);
            let (passed, text) = agent.replay(recording, &protection, true).unwrap();
            assert!(passed, "{text}");
            // A hello that the agent repeats for another peering is compared or not, as it comes in time or not.
            let compared = as_bytes
                .clone()
                .map(|count| format!("compared {count} events, topic and payload as bytes"));
            assert!(compared.into_iter().any(|line| text.contains(&line)), "{text}");
            for line in lines {
                assert!(text.contains(line), "{line} is missing:\n{text}");
            }
        }
    }
}

#[test]
fn a_running_agent_whose_nodes_work_elsewhere_fails() {
    let agent = Agent::start(&Protection::Off, &["--controller", "off"]);
    let (passed, text) = agent
        .replay("zeek-9.0.0-rc1/c2a", &Protection::Off, false)
        .unwrap();
    let place = "SupervisorControl::create_request\n  node.directory\n    expected \"/srv/c2a/zeek-instance-1/var/lib/nodes/";
    assert!(!passed && text.contains(place), "{text}");
}

/// Neither end of a connection can read the other, whichever connects. Its Supervisor is the first with which it is peered.
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
        let agent = Agent::start(&agents, &["--controller", "off"]);
        let error = agent.replay("zeek-9.0.0-rc1/c2a", &ours, true).unwrap_err();
        assert_eq!(error.to_string(), format!("{FIRST} cannot be made: {told}"));
    }
}

const FIRST: &str = "cannot replay with the running agent instance-1: connection 1 with the Supervisor";

/// The Supervisor of the recorded one was somewhere else.
#[test]
fn an_agent_that_does_not_come_is_waited_for_and_told_where_it_was_expected() {
    let supervisor = ReservedPort::new("127.0.0.1");
    let address = supervisor.address();
    let options = format!("--role agent --peer 127.0.0.1:1 --supervisor {address} --timeout 1");
    assert_eq!(
        replay("zeek-9.0.0-rc1/c2a", &options).unwrap_err().to_string(),
        format!("{FIRST} cannot be made: no peer has connected to {address} within 1s")
    );
}

#[test]
fn only_a_running_agent_has_surroundings() {
    for option in ["--controller", "--supervisor", "--state-dir"] {
        let options = format!("--role controller --peer 127.0.0.1:1 {option} 127.0.0.1:1");
        let refused = replay("zeek-9.0.0-rc1/a2c", &options).unwrap_err();
        assert!(matches!(refused, CliError::Usage(_)), "{option}: {refused}");
    }
}
