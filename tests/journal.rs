//! A journal of the real controller, replayed.

use std::{process::Command, sync::Arc};

use broker_codec::{json::DataMessage, zeek::Event};
use mgmt_api::ClientResponse;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    controller::{Controller, binary},
    websocket::{Client, request},
};

#[test]
fn a_replay_gives_the_answers_that_the_controller_gave() {
    let home = Arc::new(TempDir::with_prefix("journal-").expect("a directory can be made"));
    let mut controller = Controller::start_in(&home, Command::new(binary()), &["--journal", "journal"]);
    let mut client = Client::subscribed(controller.websocket());
    let configuration = r#"{"@data-type":"vector","data":[{"@data-type":"string","data":"c1"},{"@data-type":"set","data":[]},{"@data-type":"set","data":[]}]}"#;
    let asked = [
        request("get_instances_request", "r1", &[]),
        request("stage_configuration_request", "r2", &[configuration]),
        request("deploy_request", "r3", &[]),
        request(
            "get_configuration_request",
            "r4",
            &[r#"{"@data-type":"boolean","data":true}"#],
        ),
    ];
    let given: Vec<ClientResponse> = asked
        .iter()
        .map(|text| {
            client.send_text(text);
            let message = DataMessage::decode(client.text().as_bytes()).expect("a message");
            let event = Event::from_data(message.data).expect("an event");
            event.parse().expect("a response")
        })
        .collect();
    let remains = controller.stop();
    assert!(
        remains.stderr.contains("recording a journal"),
        "{}",
        remains.stderr
    );

    let journal = home.path().join("journal");
    let output = Command::new(binary())
        .arg("replay")
        .arg(&journal)
        .env_clear()
        .output()
        .expect("the journal can be replayed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let replayed: Vec<ClientResponse> = String::from_utf8(output.stdout)
        .expect("JSON is text")
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("< ")?).ok())
        .filter_map(|action: Value| {
            serde_json::from_value(action.pointer("/Publish/event/Client")?.clone()).ok()
        })
        .collect();
    assert_eq!(replayed, given);
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let output = Command::new(binary())
        .args(["replay", "/dev/null"])
        .env_clear()
        .output()
        .expect("the controller can be run");
    assert_eq!(output.status.code(), Some(1));
    let explanation = String::from_utf8_lossy(&output.stderr);
    assert!(
        explanation.contains("/dev/null: journal is empty"),
        "{explanation}"
    );
}
