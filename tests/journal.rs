//! A journal of the real controller, replayed.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use broker_endpoint::tls::TlsConfig;
use mgmt_api::{AgentRequest, ClientRequest, ClientResponse, ClusterRole, Configuration, Instance, Node};
use serde_json::Value;

use crate::support::{
    agent::{StandIn, Way},
    controller::{Controller, binary},
    home, not_tested, runtime,
    session::Session,
};

fn replay(journal: &Path) -> Output {
    Command::new(binary())
        .arg("replay")
        .arg(journal)
        .env_clear()
        .output()
        .expect("the controller can be run")
}

/// The actions that a replay prints, which must have worked.
fn actions(replay: &Output) -> Vec<Value> {
    assert!(
        replay.status.success(),
        "{}",
        String::from_utf8_lossy(&replay.stderr)
    );
    let printed = std::str::from_utf8(&replay.stdout).expect("JSON is text");
    let actions = printed.lines().filter_map(|line| line.strip_prefix("< "));
    actions
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
    let runtime = runtime();
    let way = Way::Connect(controller.broker());
    let agent = StandIn::start(&runtime, AGENT, &TlsConfig::Off, way);
    let mut session = Session::open(controller.websocket());
    while session.instances().is_empty() {}
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
    let arguments = [
        "--journal",
        "journal",
        "Broker::disable_ssl=T",
        "--name",
        "controller",
    ];
    let mut controller = Controller::start_in(&home, Command::new(binary()), &arguments);
    let (asked, given) = use_an_agent(&mut controller);
    let remains = controller.stop();
    assert!(
        remains.stderr.contains("recording a journal"),
        "{}",
        remains.stderr
    );

    let actions = actions(&replay(&home.path().join("journal")));
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
    let arguments = [
        "--journal",
        "journal",
        "Broker::disable_ssl=T",
        "--name",
        "controller",
    ];
    let mut controller = Controller::start_in(&home, Command::new(binary()), &arguments);
    use_an_agent(&mut controller);
    controller.kill();

    let path = home.path().join("journal");
    let whole = fs::read(&path).expect("a journal");
    let killed = actions(&replay(&path));
    assert!(!killed.is_empty());
    // Wherever the kill cut it off: in the middle of a character, too.
    let character = whole
        .iter()
        .position(|byte| !byte.is_ascii())
        .expect("one of two bytes");
    fs::write(&path, &whole[..=character]).expect("a file can be written");
    let output = replay(&path);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("the journal ends within a line, which is left out"),
        "{stderr}"
    );
    assert!(killed.starts_with(&actions(&output)));

    // The next controller keeps it.
    Controller::start_in(&home, Command::new(binary()), &arguments).stop();
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
    let present = Command::new(words[0])
        .args(&words[1..])
        .arg("true")
        .current_dir(home.path())
        .output();
    if !present.is_ok_and(|output| output.status.success()) {
        not_tested("a journal on a full disk, where no file system of one's own is allowed");
        return;
    }
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(binary());
    let arguments = ["--journal", "disk/journal", "--name", "controller"];
    let mut controller = Controller::start_in(&home, command, &arguments);
    let mut session = Session::open(controller.websocket());
    for _ in 0..1000 {
        session.instances();
    }
    session.stage(&configuration());
    let stderr = controller.stop().stderr;
    let complaint = "cannot write the journal, which ends here";
    assert_eq!(stderr.matches(complaint).count(), 1, "{stderr}");
    assert!(stderr.contains("\"incomplete\":true"), "{stderr}");
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let output = replay(Path::new("/dev/null"));
    assert_eq!(output.status.code(), Some(1));
    let explanation = String::from_utf8_lossy(&output.stderr);
    assert!(
        explanation.contains("/dev/null: journal is empty"),
        "{explanation}"
    );
}
