//! A running controller in the place of the recorded one, its peers played over real sockets.

use super::{recordings::check_explained, replay};
use crate::support::{cluster::Protection, controller::Controller};

/// The settings that a recorded controller had.
const NAME: &str = "Management::Controller::name=controller";
const OLDER: [&str; 2] = [NAME, "Management::Controller::auto_assign_metrics_ports=F"];

/// Starts a controller, replays a recording with it, and stops it.
fn live(recording: &str, protection: &Protection, settings: &[&str], further: &str) -> (bool, String) {
    let own = protection.settings("controller");
    let settings = own.iter().map(String::as_str).chain(settings.iter().copied());
    let mut controller = Controller::start(&settings.collect::<Vec<_>>());
    let (broker, websocket) = (controller.broker(), controller.websocket());
    let tls = protection.settings("replay").join(" ");
    let options = format!("--role controller --peer {broker} --websocket {websocket} {further} {tls}");
    let result = replay(recording, &options);
    controller.stop();
    result.unwrap()
}

#[test]
fn a_running_controller_replays_a_whole_session_in_each_tls_mode() {
    for (protection, further, tls) in [
        (Protection::Off, "", "off"),
        (Protection::Anonymous, "--websocket-tls", "anonymous"),
        (Protection::mutual(), "", "mutual"),
    ] {
        let (passed, text) = live("zeek-9.0.0-rc1/a2c", &protection, &[NAME], further);
        assert!(passed, "{text}");
        check_explained("zeek-9.0.0-rc1/a2c", "controller", &text);
        for line in [
            &format!(" (TLS: {tls}): PASS\n"),
            "compared 31 events, topic and payload as bytes",
            "compared 45 WebSocket messages, as bytes",
            "excluded 42 acknowledgements: the peer has its own id and version",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
    }
}

#[test]
fn a_running_controller_speaks_older_apis_and_welcomes_an_agent_once() {
    for (recording, protection, settings, line) in [
        (
            "seed-api",
            Protection::Anonymous,
            &[&OLDER[..], &["--agent-api", "seed", "--client-api", "seed"]].concat()[..],
            "compared 10 events, topic and payload as bytes",
        ),
        (
            "cluster-controller-api",
            Protection::Anonymous,
            &[&OLDER[..], &["--agent-api", "4.2", "--client-api", "4.2"]].concat(),
            "compared 7 events, topic and payload as bytes",
        ),
        // The agent says hello twice.
        (
            "two-instances",
            Protection::Off,
            &[NAME],
            "explained 1 missing Management::Agent::API::agent_welcome_request (Q-10)",
        ),
    ] {
        let recording = format!("zeek-9.0.0-rc1/{recording}");
        let (passed, text) = live(&recording, &protection, settings, "");
        assert!(passed && text.contains(line), "{text}");
        check_explained(&recording, "controller", &text);
    }
}

#[test]
fn a_running_controller_that_is_another_recordings_fails() {
    // Without the agents' port assignment that was recorded.
    let (passed, text) = live("zeek-9.0.0-rc1/failing-node", &Protection::Off, &OLDER, "");
    let place =
        "Management::Agent::API::deploy_request\n  config.nodes[0].metrics_port\n    expected 9000/tcp";
    assert!(!passed && text.contains(place), "{text}");
}

#[test]
fn a_peer_that_cannot_be_reached_is_no_difference() {
    // No process can listen on port 0.
    let options = "--role controller --peer 127.0.0.1:0 --websocket 127.0.0.1:0";
    let error = replay("zeek-9.0.0-rc1/a2c", options).unwrap_err();
    let expected =
        "cannot replay with the running controller: connection 1 with the WebSocket client cannot be made: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn a_running_controller_with_other_tls_is_told_from_a_wrong_one() {
    let mut controller = Controller::start(&[NAME]);
    let (broker, websocket) = (controller.broker(), controller.websocket());
    let mutual = Protection::mutual();
    let certificates = mutual.settings("replay").join(" ");
    for (tls, reason) in [
        ("Broker::disable_ssl=T", "which is off here (Broker::disable_ssl)"),
        (&certificates, "no cipher suite in common"),
    ] {
        let options = format!("--role controller --peer {broker} --websocket {websocket} {tls}");
        let error = replay("zeek-9.0.0-rc1/a2c", &options).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    controller.stop();
}

#[test]
fn settings_of_tls_are_those_of_the_daemons() {
    let not_about_tls = "Management::state_dir is not about TLS; of Zeek's settings, only Broker::disable_ssl and Broker::ssl_* are read";
    let without_key = "command-line assignment: Broker::ssl_certificate: TLS with certificates needs a private key (Broker::ssl_keyfile)";
    let no_truth = "command-line assignment: Broker::disable_ssl: ";
    for (setting, reason) in [
        ("Management::state_dir=/tmp", not_about_tls),
        ("Broker::ssl_certificate=cert.pem", without_key),
        ("Broker::disable_ssl=perhaps", no_truth),
    ] {
        let options = format!("--role controller --peer 127.0.0.1:0 {setting}");
        let error = replay("zeek-9.0.0-rc1/a2c", &options).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
    }
}
