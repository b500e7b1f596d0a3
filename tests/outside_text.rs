//! Text from outside in every string field of every event of the API, over WebSocket and Broker, at running daemons: no log in any
//! format has a line that such a text made, a character that drives a terminal, or a line without bound.

use std::{fs, path::Path};

use broker_codec::{
    Data, binary,
    data::{EnumValue, Set, Table, ZeekString, is_hostile},
    json::DataMessage,
    zeek::Event,
};
use broker_endpoint::tls::TlsConfig;
use mgmt_api::{AgentMessage, AgentRequest, ClientRequest, ClientResponse, topics};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    cluster::{agent_binary, agent_command, start_agent},
    controller::{Controller, binary, rotated_logs},
    home,
    limit::Limit,
    peer::{Peer, data_of},
    program::run,
    runtime,
    websocket::{Client, request},
    workspace_root,
};

/// What would make a line of its own, clear a screen, end a text, or reverse what follows.
const HOSTILE: &str =
    "x\r\n2026-11-28T00:00:00.000000Z ERROR forged: \u{1b}[2J\0\t\u{7f}\u{202e}\u{9b}2J\u{2028}y";
/// How long a line of a log may be: more than the longest field with all of it escaped.
const LINE_BYTES_MAX: usize = 64 * 1024;
const LONG: usize = 64 * 1024;
const AGENT: &str = "agent-1";

/// The texts: a short one, and one of [`LONG`].
fn texts() -> [ZeekString; 2] {
    let mut long = HOSTILE.repeat(LONG / HOSTILE.len() + 1).into_bytes();
    long.truncate(LONG);
    [HOSTILE.into(), long.into()]
}

/// Every event of the API as Zeek 7.0 and later have it, of which another test says that none is missing.
fn events() -> Vec<Event> {
    let path = workspace_root().join("mgmt-api/tests/dialects/7.0.jsonl");
    let text = fs::read_to_string(path).expect("it is in the repository");
    let event = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let bytes = hex::decode(line["binary"].as_str().expect("hexadecimal")).expect("hexadecimal");
        Event::from_data(binary::decode(&bytes).expect("a value")).expect("an event")
    };
    text.lines().map(event).collect()
}

/// The event with this text in the place of its name, and of each of its strings in turn. Where a field has none, there is one.
fn variants(event: &Event, text: &ZeekString) -> Vec<Event> {
    let mut all = vec![Event {
        name: text.clone(),
        ..event.clone()
    }];
    let mut at = 0;
    loop {
        let (mut left, mut changed) = (at, event.clone());
        let mut found = false;
        for argument in &mut changed.args {
            *argument = replaced(argument, text, &mut left, &mut found);
        }
        if !found {
            return all;
        }
        all.push(changed);
        at += 1;
    }
}

/// The value with a text in the place of the string that comes after so many others.
fn replaced(data: &Data, text: &ZeekString, left: &mut usize, found: &mut bool) -> Data {
    match data {
        Data::String(_) | Data::EnumValue(_) | Data::None if *found => data.clone(),
        Data::String(_) | Data::EnumValue(_) | Data::None if *left > 0 => {
            *left -= 1;
            data.clone()
        }
        Data::EnumValue(_) => {
            *found = true;
            Data::EnumValue(EnumValue(text.clone()))
        }
        Data::String(_) | Data::None => {
            *found = true;
            Data::String(text.clone())
        }
        Data::Vector(elements) => {
            let mut each = |element| replaced(element, text, left, found);
            Data::Vector(elements.iter().map(&mut each).collect())
        }
        Data::Set(elements) => {
            let mut each = |element| replaced(element, text, left, found);
            Data::Set(
                Set::try_from(elements.iter().map(&mut each).collect::<Vec<_>>()).expect("no two alike"),
            )
        }
        Data::Table(entries) => {
            let mut each = |element: &Data| replaced(element, text, left, found);
            let entries = entries.iter().map(|(key, value)| (each(key), each(value)));
            Data::Table(Table::try_from(entries.collect::<Vec<_>>()).expect("no two alike"))
        }
        other => other.clone(),
    }
}

/// Asserts that a log is harmless: each line begins as one of its format.
fn assert_harmless(what: &str, log: &str, is_line: impl Fn(&str) -> bool) {
    assert!(!log.is_empty(), "{what}");
    for line in log.lines() {
        let start: String = line.chars().take(200).collect();
        assert!(
            !line.contains(|c| c != '\t' && is_hostile(c)),
            "{what}: {start:?}"
        );
        assert!(is_line(line), "{what}: {start}");
        assert!(
            line.len() <= LINE_BYTES_MAX,
            "{what}: {} bytes: {start}",
            line.len()
        );
    }
    assert!(log.contains("forged"), "{what} has nothing of it");
}

fn assert_standard_error_harmless(stderr: &str, format: &str) {
    let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];
    assert_harmless(format, stderr, |line| {
        if format == "json" {
            return serde_json::from_str::<Value>(line).is_ok_and(|line| line["timestamp"].is_string());
        }
        let mut words = line.split_whitespace();
        let time = words.next().and_then(|time| time.strip_suffix('Z'));
        time.is_some_and(|time| time.len() == "2026-11-28T00:00:00.000000".len())
            && words.next().is_some_and(|level| levels.contains(&level))
    });
}

fn assert_management_log_harmless(log: &str) {
    assert_harmless("management log", log, |line| {
        line.starts_with('#') || line.split('\t').count() == 5
    });
}

/// What a replay prints is for a terminal, but as long as what was recorded.
fn assert_replay_harmless(program: &Path, home: &TempDir) {
    let replay = run(program, home.path(), &["replay", "journal"]);
    let printed = replay.printed();
    assert!(printed.contains("forged"));
    for line in printed.lines() {
        let start: String = line.chars().take(200).collect();
        assert!(!line.contains(is_hostile), "{start:?}");
        assert!(
            line.starts_with("> {") || line.starts_with("> \"") || line.starts_with("< {"),
            "{start}"
        );
    }
}

/// Arguments of both daemons that have as much logged as can be.
fn talkative(format: &str) -> [&str; 8] {
    [
        "Broker::disable_ssl=T",
        "Management::Log::level=Management::Log::DEBUG",
        "--log-level",
        "debug",
        "--log-format",
        format,
        "--journal",
        "journal",
    ]
}

#[test]
fn no_text_of_a_client_or_an_agent_gets_into_a_log_of_the_controller_as_it_is() {
    for format in ["text", "json"] {
        controller_hears_all(format);
    }
}

fn controller_hears_all(format: &str) {
    let home = home();
    let mut controller = Controller::start_in(&home, &talkative(format));
    let mut client = Client::subscribed(controller.websocket());
    let (mut sent, mut hellos) = (0, 0);
    for event in events() {
        // A peer whose hellos are refused too often is disconnected.
        let mut peer = Peer::connect(controller.broker(), TlsConfig::Off, topics::CONTROLLER);
        for text in texts() {
            for variant in variants(&event, &text) {
                sent += 1;
                let sync = format!("sync-{sent}");
                let message = DataMessage {
                    topic: topics::CONTROLLER.into(),
                    data: variant.to_data(),
                };
                client.send_text(&message.encode().expect("it can be encoded"));
                client.send_text(&request("get_instances_request", &sync, &[]));
                client.text_about(&format!("\"{sync}\""));

                let variant = with_id_of(&peer, variant);
                hellos += usize::from(variant.name == "Management::Agent::API::notify_agent_hello");
                peer.publish(topics::CONTROLLER, &variant.to_data());
                peer.publish("zeek/management/agent/agent-1", &variant.to_data());
                let name = text.get(..1024).unwrap_or(&text);
                peer.publish([b"zeek/management/agent/", name].concat(), &variant.to_data());
                heard(&mut peer, &sync);
            }
        }
    }
    assert!(sent > 300 && hellos >= 4, "{sent}, {hellos}");
    drop(client);
    let remains = controller.stop();
    assert_standard_error_harmless(&remains.stderr, format);
    for (_, log) in &remains.management_logs {
        assert_management_log_harmless(log);
    }
    assert_replay_harmless(binary(), &home);
}

/// A hello that names its own connection is heard, with any name in it.
fn with_id_of(peer: &Peer, mut event: Event) -> Event {
    if event.name == "Management::Agent::API::notify_agent_hello"
        && let Some(id @ Data::String(_)) = event.args.get_mut(1)
    {
        *id = Data::String(peer.endpoint.id().to_string().into());
    }
    event
}

/// Waits until the controller has heard everything before. Requests to the agent that the peer claims to be are among what it hears.
fn heard(peer: &mut Peer, sync: &str) {
    let reqid = ZeekString::from(format!("native-{sync}"));
    let request = ClientRequest::GetInstances { reqid: reqid.clone() };
    peer.publish(topics::CONTROLLER, &data_of(&request));
    peer.hear(&Limit::new("the answer to a native peer"), |event| {
        let response: ClientResponse = event.parse().ok()?;
        (*response.reqid() == reqid).then_some(())
    });
}

#[test]
fn no_text_of_a_controller_a_node_or_the_supervisor_gets_into_a_log_of_the_agent_as_it_is() {
    for format in ["text", "json"] {
        agent_hears_all(format);
    }
}

fn agent_hears_all(format: &str) {
    let home = home();
    let supervisor = Peer::start(TlsConfig::Off, topics::AGENT_PREFIX);
    let listening = runtime().block_on(supervisor.endpoint.handle().listen("127.0.0.1", 0));
    let address = listening.expect("a port is free")[0].to_string();
    let mut command = agent_command(&home, AGENT, "127.0.0.1:0");
    command
        .args(["--supervisor", &address, "--controller", "off"])
        .args(["--zeek-version", "9.0.0", "--zeek-prefix", "."])
        .args(talkative(format))
        .arg("Management::Agent::archive_logs=F");
    let agent = start_agent(&home, &mut command);
    let mut peer = Peer::connect(agent.broker(), TlsConfig::Off, topics::AGENT_PREFIX);
    let mut sent = 0;
    for event in events() {
        for text in texts() {
            for variant in variants(&event, &text) {
                sent += 1;
                let data = variant.to_data();
                for topic in [
                    "zeek/management/agent/agent-1",
                    topics::NODE,
                    topics::SUPERVISOR,
                    topics::SUPERVISOR_SHIM,
                ] {
                    supervisor.publish(topic, &data);
                    peer.publish(topic, &data);
                }
                welcomed(&mut peer, &format!("sync-{sent}"));
            }
        }
    }
    assert!(sent > 300, "{sent}");
    let stderr = agent.stop();
    assert_standard_error_harmless(&stderr, format);
    for (_, log) in rotated_logs(&home.path().join("spool/log-queue")) {
        assert_management_log_harmless(&log);
    }
    assert_replay_harmless(agent_binary(), &home);
}

/// Waits until the agent has heard everything before, and is its controller's again.
fn welcomed(peer: &mut Peer, sync: &str) {
    let request = AgentRequest::AgentWelcome { reqid: sync.into() };
    peer.publish("zeek/management/agent/agent-1", &data_of(&request));
    let limit = Limit::new(format_args!("the answer to {sync}"));
    peer.hear(&limit, |event| match event.parse().ok()? {
        AgentMessage::AgentWelcome { reqid, .. } if reqid == sync => Some(()),
        _ => None,
    });
}
