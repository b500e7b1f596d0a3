//! A running controller in the place of the recorded one, everybody else played over real sockets.

use std::path::Path;

use super::{folder, recordings::replayed};
use crate::support::controller::Controller;

const SETTINGS: [&str; 2] = ["Broker::disable_ssl=T", "Management::Controller::name=controller"];

#[test]
fn a_running_controller_replays_a_whole_session() {
    let mut controller = Controller::start(&SETTINGS);
    let (passed, text) = live(&folder("zeek-9.0.0-rc1/a2c"), &mut controller);
    assert!(passed, "{text}");
    assert!(
        text.contains("compared 31 events, topic and payload as bytes"),
        "{text}"
    );
    controller.stop();
}

#[test]
fn a_running_controller_that_is_another_recordings_fails() {
    // Without the agents' port assignment that was recorded.
    let settings = [
        SETTINGS[0],
        SETTINGS[1],
        "Management::Controller::auto_assign_metrics_ports=F",
    ];
    let mut controller = Controller::start(&settings);
    let (passed, text) = live(&folder("zeek-9.0.0-rc1/failing-node"), &mut controller);
    assert!(!passed, "{text}");
    assert!(
        text.contains(
            "Management::Agent::API::deploy_request\n  config.nodes[0].metrics_port\n    expected 9000/tcp"
        ),
        "{text}"
    );
    controller.stop();
}

fn live(folder: &Path, controller: &mut Controller) -> (bool, String) {
    let (broker, websocket) = (controller.broker().port(), controller.websocket().port());
    replayed(&[
        folder.to_str().unwrap(),
        "--role",
        "controller",
        "--peer",
        &format!("127.0.0.1:{broker}"),
        "--websocket",
        &format!("127.0.0.1:{websocket}"),
    ])
    .unwrap()
}
