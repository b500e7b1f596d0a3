//! A running controller in the place of the recorded one, everybody else played over real sockets.

use tools::replay::cli::CliError;

use super::{folder, recordings::replayed};
use crate::support::{cluster::Protection, controller::Controller};

/// The settings that a recorded controller had.
const NAME: &str = "Management::Controller::name=controller";
const OLDER: [&str; 2] = [NAME, "Management::Controller::auto_assign_metrics_ports=F"];

#[test]
fn a_running_controller_replays_a_whole_session_in_each_tls_mode() {
    for (protection, further, tls) in [
        (Protection::Off, &[][..], "off"),
        (Protection::Anonymous, &["--websocket-tls"], "anonymous"),
        (Protection::mutual(), &[], "mutual"),
    ] {
        let (passed, text) = live("zeek-9.0.0-rc1/a2c", &protection, &[NAME], further).unwrap();
        assert!(passed, "{text}");
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
fn a_running_controller_speaks_the_seed_commits_api() {
    let settings = [&OLDER[..], &["--agent-api", "seed", "--client-api", "seed"]].concat();
    let (passed, text) = live("zeek-9.0.0-rc1/seed-api", &Protection::Anonymous, &settings, &[]).unwrap();
    assert!(passed, "{text}");
    assert!(
        text.contains("compared 10 events, topic and payload as bytes"),
        "{text}"
    );
}

#[test]
fn a_running_controller_speaks_the_api_of_cluster_controller() {
    let settings = [&OLDER[..], &["--agent-api", "4.2", "--client-api", "4.2"]].concat();
    let recording = "zeek-9.0.0-rc1/cluster-controller-api";
    let (passed, text) = live(recording, &Protection::Anonymous, &settings, &[]).unwrap();
    assert!(passed, "{text}");
    assert!(
        text.contains("compared 7 events, topic and payload as bytes"),
        "{text}"
    );
}

#[test]
fn a_running_controller_welcomes_an_agent_once_that_says_hello_twice() {
    let (passed, text) = live("zeek-9.0.0-rc1/two-instances", &Protection::Off, &[NAME], &[]).unwrap();
    assert!(passed, "{text}");
    assert!(
        text.contains("explained 1 missing Management::Agent::API::agent_welcome_request (Q-10)"),
        "{text}"
    );
}

#[test]
fn a_running_controller_that_is_another_recordings_fails() {
    // Without the agents' port assignment that was recorded.
    let (passed, text) = live("zeek-9.0.0-rc1/failing-node", &Protection::Off, &OLDER, &[]).unwrap();
    assert!(!passed, "{text}");
    assert!(
        text.contains(
            "Management::Agent::API::deploy_request\n  config.nodes[0].metrics_port\n    expected 9000/tcp"
        ),
        "{text}"
    );
}

#[test]
fn a_peer_that_cannot_be_reached_is_no_difference() {
    let capture = folder("zeek-9.0.0-rc1/a2c");
    // Nobody can listen on port 0.
    let words = [
        "--role",
        "controller",
        "--peer",
        "127.0.0.1:0",
        "--websocket",
        "127.0.0.1:0",
    ];
    let error = replayed(&[&[capture.to_str().unwrap()], &words[..]].concat()).unwrap_err();
    let expected =
        "cannot replay with the running controller: connection 1 with the WebSocket client cannot be made: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn a_running_controller_with_other_tls_is_told_from_a_wrong_one() {
    let capture = folder("zeek-9.0.0-rc1/a2c");
    let mut controller = Controller::start(&[NAME]);
    let (broker, websocket) = (
        controller.broker().to_string(),
        controller.websocket().to_string(),
    );
    let error = |further: &[&str]| {
        let words = [
            "--role",
            "controller",
            "--peer",
            &broker,
            "--websocket",
            &websocket,
        ];
        let words = [&[capture.to_str().unwrap()], &words[..], further].concat();
        replayed(&words).unwrap_err().to_string()
    };
    let plaintext = error(&["Broker::disable_ssl=T"]);
    assert!(
        plaintext.contains("which is off here (Broker::disable_ssl)"),
        "{plaintext}"
    );
    let protection = Protection::mutual();
    let certificates = protection.settings("replay");
    let certificates: Vec<&str> = certificates.iter().map(String::as_str).collect();
    let mutual = error(&certificates);
    assert!(mutual.contains("no cipher suite in common"), "{mutual}");
    controller.stop();
}

#[test]
fn settings_of_tls_are_those_of_the_daemons() {
    let capture = folder("zeek-9.0.0-rc1/a2c");
    for (setting, reason) in [
        (
            "Management::state_dir=/tmp",
            "Management::state_dir is not about TLS; of Zeek's settings, only Broker::disable_ssl and Broker::ssl_* are read",
        ),
        (
            "Broker::ssl_certificate=cert.pem",
            "command-line assignment: Broker::ssl_certificate: TLS with certificates needs a private key (Broker::ssl_keyfile)",
        ),
        (
            "Broker::disable_ssl=perhaps",
            "command-line assignment: Broker::disable_ssl: ",
        ),
    ] {
        let words = [
            capture.to_str().unwrap(),
            "--role",
            "controller",
            "--peer",
            "127.0.0.1:0",
            setting,
        ];
        let error = replayed(&words).unwrap_err();
        assert!(
            matches!(error, CliError::NotAboutTls(_) | CliError::Tls(_)),
            "{error:?}"
        );
        assert!(error.to_string().starts_with(reason), "{error}");
    }
}

/// Starts a controller, replays a recording with it, and stops it.
fn live(
    recording: &str,
    protection: &Protection,
    settings: &[&str],
    further: &[&str],
) -> Result<(bool, String), CliError> {
    let own = protection.settings("controller");
    let settings: Vec<&str> = own
        .iter()
        .map(String::as_str)
        .chain(settings.iter().copied())
        .collect();
    let mut controller = Controller::start(&settings);
    let (broker, websocket) = (
        controller.broker().to_string(),
        controller.websocket().to_string(),
    );
    let folder = folder(recording);
    let tls = protection.settings("replay");
    let mut words = vec![folder.to_str().unwrap(), "--role", "controller"];
    words.extend(["--peer", &broker, "--websocket", &websocket]);
    words.extend(further);
    words.extend(tls.iter().map(String::as_str));
    let result = replayed(&words);
    controller.stop();
    result
}
