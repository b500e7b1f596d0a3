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
    let mut node_id: Option<String> = None;
    let conversations = conversations(name);
    assert_eq!(conversations.len(), connections);
    for (number, conversation) in conversations.into_iter().enumerate() {
        let (client, server) = (&conversation.client, &conversation.server);
        assert_eq!(
            (client.len(), server.len()),
            (2, 2),
            "one answer for each message"
        );
        assert_eq!(client[0], "[\"zeek/management/controller\"]");
        assert!(server[0].starts_with("{\"type\":\"ack\""), "{}", server[0]);
        let mut client = Client::connect(controller.websocket());
        client.send_text(&conversation.client[0]);
        let (own_id, ack) = split_ack(&client.text(), number);
        let (_, recorded_ack) = split_ack(&conversation.server[0], number);
        assert_eq!(ack, recorded_ack, "ack of connection {number}");
        assert_eq!(
            *node_id.get_or_insert(own_id.clone()),
            own_id,
            "the node's id stays the same"
        );
        for (request, response) in conversation.client[1..].iter().zip(&conversation.server[1..]) {
            let [request, response] = [request, response].map(|text| with_broker_port(text, port));
            client.send_text(&request);
            assert_eq!(
                client.text(),
                as_we_say(&response),
                "connection {number}, answer to {request}"
            );
        }
    }
    controller.stop();
}

/// What one client and the server said to each other, without pings.
#[derive(Default)]
struct Conversation {
    /// What the client sent, its subscription first.
    client: Vec<String>,
    /// What the server sent, its ack first.
    server: Vec<String>,
}

/// Every conversation of a recording, in the order in which the connections were opened.
fn conversations(name: &str) -> Vec<Conversation> {
    let path = workspace_root().join(format!("fixtures/json/{name}.jsonl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut connections: Vec<(Value, Conversation)> = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if connections
            .last()
            .is_none_or(|(connection, _)| *connection != line["conn"])
        {
            connections.push((line["conn"].clone(), Conversation::default()));
        }
        let (_, conversation) = connections.last_mut().expect("one was pushed");
        let said = if line["from"] == "client" {
            &mut conversation.client
        } else {
            &mut conversation.server
        };
        said.push(line["text"].as_str().expect("a text").to_owned());
    }
    connections
        .into_iter()
        .map(|(_, conversation)| conversation)
        .collect()
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
    let ours = "not deployed: instance instance-1 is not connected (never seen); nothing was changed";
    response
        .replacen(none, instance, 1)
        .replace("request timed out", ours)
}

/// The id in an ack, and the ack with it and the version taken out.
fn split_ack(ack: &str, connection: usize) -> (String, String) {
    let suffix = format!("-websocket-{connection}\"");
    let (before, rest) = ack
        .split_once("\"endpoint\":\"")
        .expect("an ack names the endpoint");
    let (id, rest) = rest
        .split_once(&suffix)
        .unwrap_or_else(|| panic!("{ack}: not connection {connection}"));
    let (between, version) = rest
        .split_once("\"version\":\"")
        .expect("an ack names the version");
    let (_, after) = version.split_once('"').expect("a version ends");
    (
        id.to_owned(),
        format!("{before}\"endpoint\":\"{suffix}{between}\"version\":\"\"{after}"),
    )
}
