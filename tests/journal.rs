//! A journal of the real controller, replayed.

use std::{fs, process::Command};

use broker_endpoint::tls::TlsConfig;
use mgmt_api::{AgentRequest, ClientRequest, ClientResponse, ClusterRole, Configuration, Instance, Node};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    agent::StandIn,
    controller::{Controller, binary},
    home, not_tested,
    program::{Outcome, run},
    session::Session,
    works,
};

fn replay(home: &TempDir, journal: &str) -> Outcome {
    run(binary(), home.path(), &["replay", journal])
}

/// The actions that a replay prints, which must have worked.
fn actions(replay: &Outcome) -> Vec<Value> {
    let actions = replay.printed().lines();
    actions
        .filter_map(|line| line.strip_prefix("< "))
        .map(|action| serde_json::from_str(action).expect("an action"))
        .collect()
}

const AGENT: &str = "agent-1";

fn configuration() -> Configuration {
    let node = Node {
        interface: Some("größer".into()),
        ..Node::new("worker", AGENT, ClusterRole::Worker)
    };
    Configuration::new("c1", [Instance::new(AGENT)], [node])
}

/// A session with an agent, until everything has been asked of it. Returns what it was asked, and what the client was answered.
fn use_an_agent(controller: &mut Controller) -> (Vec<AgentRequest>, Vec<ClientResponse>) {
    let (agent, mut session) = StandIn::known_to(controller, AGENT, &TlsConfig::Off);
    session.stage(&configuration());
    let reqid = || "r".into();
    let given = [
        ClientRequest::GetInstances { reqid: reqid() },
        ClientRequest::Deploy { reqid: reqid() },
        ClientRequest::GetNodes { reqid: reqid() },
        ClientRequest::Restart {
            reqid: reqid(),
            nodes: ["worker".into()].into(),
        },
        ClientRequest::GetConfiguration {
            reqid: reqid(),
            deployed: true,
        },
    ]
    .map(|request| session.ask(&request));
    // The welcome comes first.
    let asked = (0..4).map(|_| agent.asked(Some)).collect();
    (asked, given.into())
}

/// What the management log says, without times.
fn messages(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| !line.starts_with('#'));
    let message = |line: &str| {
        let columns: Vec<_> = line.split('\t').collect();
        format!("{} {}", columns[2], columns[4])
    };
    lines.map(message).collect()
}

#[test]
fn a_session_with_an_agent_is_replayed_action_by_action() {
    let home = home();
    let arguments = ["--journal", "journal", "Broker::disable_ssl=T"];
    let mut controller = Controller::start_in(&home, &arguments);
    let (asked, given) = use_an_agent(&mut controller);
    let remains = controller.stop();
    assert!(
        remains.stderr.contains("recording a journal"),
        "{}",
        remains.stderr
    );

    let actions = actions(&replay(&home, "journal"));
    let requests: Vec<AgentRequest> = actions
        .iter()
        .filter_map(|action| action.pointer("/Publish/event/Agent"))
        .map(|request| serde_json::from_value(request.clone()).expect("a request"))
        .collect();
    assert_eq!(requests, asked, "ids included");
    let answers: Vec<ClientResponse> = actions
        .iter()
        .filter_map(|action| action.pointer("/Publish/event/Client"))
        .map(|answer| serde_json::from_value(answer.clone()).expect("a response"))
        .collect();
    assert!(answers.ends_with(&given), "{answers:#?}");
    let log: Vec<String> = actions
        .iter()
        .filter_map(|action| action.get("Log"))
        .filter(|line| line["level"] != "DEBUG")
        .map(|line| {
            let text = |part: &str| line[part].as_str().expect("text");
            format!("{} {}", text("level"), text("message"))
        })
        .collect();
    let management_log = remains.management_log();
    let recorded = messages(&management_log);
    for (replayed, recorded) in log.iter().zip(&recorded) {
        assert_eq!(replayed, recorded);
    }
    assert_eq!(log.len(), recorded.len());
    let writes = actions.iter().filter(|action| action.get("Persist").is_some());
    assert_eq!(writes.count(), 2, "staging and deployment");
}

#[test]
fn the_journal_of_a_controller_that_was_killed_is_replayed_up_to_its_end() {
    let home = home();
    let arguments = ["--journal", "journal", "Broker::disable_ssl=T"];
    let mut controller = Controller::start_in(&home, &arguments);
    use_an_agent(&mut controller);
    controller.kill();

    let path = home.path().join("journal");
    let whole = fs::read(&path).expect("a journal");
    let killed = actions(&replay(&home, "journal"));
    assert!(!killed.is_empty());
    // Wherever the kill cut it off: in the middle of a character, too.
    let character = whole
        .iter()
        .position(|byte| !byte.is_ascii())
        .expect("one of two bytes");
    fs::write(&path, &whole[..=character]).expect("a file can be written");
    let output = replay(&home, "journal");
    output.failed(0, "the journal ends within a line, which is left out");
    assert!(killed.starts_with(&actions(&output)));

    // The next controller keeps it.
    Controller::start_in(&home, &arguments).stop();
    let previous = fs::read(home.path().join("journal.previous")).expect("it is kept");
    assert_eq!(previous, &whole[..=character]);
}

/// A journal that the disk has no room for ends, and says so; the controller goes on.
#[test]
fn a_full_disk_ends_the_journal_and_not_the_controller() {
    let disk = "mount -t tmpfs -o size=64k none disk && exec \"$0\" \"$@\"";
    let words = ["unshare", "--map-root-user", "--mount", "sh", "-c", disk];
    let home = home();
    fs::create_dir(home.path().join("disk")).expect("a directory can be made");
    let unshare = || {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(home.path());
        command
    };
    if !works(unshare().arg("true")) {
        not_tested("a journal on a full disk, where no file system of one's own is allowed");
        return;
    }
    let mut command = unshare();
    command.arg(binary());
    let mut controller = Controller::start_by(&home, command, &["--journal", "disk/journal"]);
    let mut session = Session::open(controller.websocket());
    for _ in 0..1000 {
        session.instances();
    }
    session.stage(&configuration());
    let stderr = controller.stop().stderr;
    let complaint = "cannot write the journal, which ends here";
    assert_eq!(stderr.matches(complaint).count(), 1, "{stderr}");
    assert!(stderr.contains("\"journal_incomplete\":1"), "{stderr}");
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    replay(&home(), "/dev/null").failed(1, "/dev/null: journal is empty");
}
