//! What recorded clients sent, sent again: the answers must be those that Zeek's own server gave, byte for byte.

use std::fs;

use serde_json::Value;

use crate::support::{
    controller::Controller,
    scenario::{Scenario, with_broker_port},
    websocket::Client,
    workspace_root,
};

#[test]
fn recorded_clients_get_the_recorded_bytes_where_no_agent_is() {
    replay("no-agents", 17);
}

#[test]
fn recorded_clients_get_the_recorded_bytes_when_staging_is_validated() {
    replay("validation", 9);
}

/// Requests carry the ids of requests and configurations, so answers hold them unchanged. Only the ack is our own: its endpoint
/// begins with our id, and its version is ours.
fn replay(name: &str, connections: usize) {
    const RELEASE: &str = "zeek-9.0.0-rc1";
    // Two of the recorded requests time out; how long that takes makes no difference to the bytes.
    let mut settings = Scenario::load(RELEASE, name).controller_settings();
    settings.push("Management::Request::timeout_interval=1sec".to_owned());
    let mut controller = Controller::start(&settings);
    let port = controller.broker().port();
    let mut node_id = None;
    let conversations = conversations(name);
    assert_eq!(conversations.len(), connections);
    for (number, [subscription, request, ack, response]) in conversations.into_iter().enumerate() {
        assert_eq!(subscription, "[\"zeek/management/controller\"]");
        let mut client = Client::connect(controller.websocket());
        client.send_text(&subscription);
        let own_ack = client.text();
        let [own, recorded] =
            [&own_ack, &ack].map(|ack| serde_json::from_str::<Value>(ack).expect("an ack is JSON"));
        let text = |ack: &Value, field: &str| ack[field].as_str().expect("it is a text").to_owned();
        let id = text(&own, "endpoint")[..36].to_owned();
        let expected = ack
            .replace(&text(&recorded, "endpoint"), &format!("{id}-websocket-{number}"))
            .replace(&text(&recorded, "version"), &text(&own, "version"));
        assert_eq!(own_ack, expected, "connection {number}");
        assert_eq!(*node_id.get_or_insert(id.clone()), id, "it stays the same");
        let [request, response] = [request, response].map(|text| with_broker_port(&text, port));
        client.send_text(&request);
        assert_eq!(
            client.text(),
            as_we_say(&response),
            "connection {number}, answer to {request}"
        );
    }
    controller.stop();
}

/// Of each recorded client, in the order in which they connected: its subscription and its request, the ack and the answer.
fn conversations(name: &str) -> Vec<[String; 4]> {
    let path = workspace_root().join(format!("fixtures/json/{name}.jsonl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    let of_connection = |lines: &[Value]| {
        let texts = ["client", "server"].map(|side| {
            let of_side = lines.iter().filter(|line| line["from"] == side);
            let texts = of_side.map(|line| line["text"].as_str().expect("a text").to_owned());
            texts
                .collect::<Vec<_>>()
                .try_into()
                .expect("one answer for each message")
        });
        let [[subscription, request], [ack, response]]: [[String; 2]; 2] = texts;
        [subscription, request, ack, response]
    };
    let connections = lines.chunk_by(|line, next| line["conn"] == next["conn"]);
    connections.map(of_connection).collect()
}

/// A recorded answer, with what we say instead where a deployment times out for want of an instance (`accepted-first`).
fn as_we_say(response: &str) -> String {
    if !response.contains("API::deploy_response") || !response.contains("request timed out") {
        return response.to_owned();
    }
    let (none, instance) = (
        r#"{"@data-type":"none","data":{}}"#,
        r#"{"@data-type":"string","data":"instance-1"}"#,
    );
    let ours = "not deployed: instance instance-1 is not connected (never seen); the deployed configuration is unchanged";
    response
        .replacen(none, instance, 1)
        .replace("request timed out", ours)
}
