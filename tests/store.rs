//! What the controller stores survives it, at the moment the client is answered, in the file of Zeek's controller.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use broker_codec::{Data, data::from_data};
use broker_endpoint::tls::TlsConfig;
use mgmt_api::{ClientResponse, Configuration};
use tempfile::TempDir;

use crate::support::{
    agent::StandIn,
    controller::{Controller, STORE, binary},
    has_strace, home, missing,
    scenario::Scenario,
    session::{Session, stage_request},
    store::{blobs, rows, schema},
    works, workspace_root,
    zeek_client::ZeekClient,
};

fn start_in(home: &Arc<TempDir>) -> Controller {
    Controller::start_in::<&str>(home, &[])
}

fn store_in(home: &TempDir) -> PathBuf {
    home.path().join("state/nodes/controller").join(STORE)
}

/// Puts a store where the controller will look for it.
fn place(store: &Path, home: &TempDir) {
    let target = store_in(home);
    fs::create_dir_all(target.parent().expect("it has a folder")).expect("a directory can be made");
    fs::write(target, fs::read(store).expect("the store can be read")).expect("the store can be placed");
}

fn fixture(folder: &str) -> PathBuf {
    workspace_root().join("fixtures").join(folder).join(STORE)
}

fn send_stage(session: &mut Session, id: &str) {
    session.send(&stage_request(&Configuration::new(id, [], [])));
}

/// Waits for the answer to a staging and returns the id that it stands for.
fn staged(session: &mut Session) -> String {
    let response = session.response();
    let ClientResponse::StageConfiguration { reqid, results } = response else {
        panic!("unexpected {response:?}");
    };
    assert!(results.iter().all(|result| result.success), "{results:?}");
    reqid.to_string()
}

/// The id of a stored configuration.
fn id_of(value: &Data) -> String {
    let configuration: Configuration = from_data(value.clone()).expect("a configuration");
    configuration.id.to_string()
}

#[test]
fn a_kill_in_the_middle_of_staging_leaves_one_of_the_staged_configurations_whole() {
    const PIPELINED: usize = 12;
    let home = home();
    let mut stored = None;
    for answers in 0..=PIPELINED {
        let mut controller = start_in(&home);
        let mut session = Session::open(controller.websocket());
        let restored = session.configuration(false).map(|staged| staged.id.to_string());
        assert_eq!(restored, stored, "after {answers} kills");
        let ids: Vec<_> = (0..PIPELINED)
            .map(|number| format!("{answers}-{number}"))
            .collect();
        for id in &ids {
            send_stage(&mut session, id);
        }
        for id in &ids[..answers] {
            assert_eq!(staged(&mut session), *id);
        }
        controller.kill();

        // Opening the store ends what SQLite finds half done, as the next start does.
        let rows = rows(&store_in(&home));
        let found = rows.get("STAGED").map(id_of);
        let ready = rows.get("READY").map(id_of);
        assert_eq!(ready, found, "both change in one transaction");
        match ids.iter().position(|id| Some(id) == found.as_ref()) {
            Some(number) => assert!(
                number + 1 >= answers,
                "{answers} were answered, the store has {found:?}"
            ),
            // The kill came before the first one.
            None => assert_eq!((answers, &found), (0, &stored), "the store is as it was"),
        }
        stored = found;
    }
}

#[test]
fn the_store_is_synced_before_the_answer_is_sent() {
    if !has_strace("that the store is synced before the answer") {
        return;
    }
    let home = home();
    let trace = home.path().join("trace");
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-y",
            "-s",
            "512",
            "-e",
            "trace=fsync,fdatasync,unlink,unlinkat,write,writev,sendto,sendmsg",
            "-o",
        ])
        .arg(&trace)
        .arg(binary());
    let mut controller = Controller::start_by::<&str>(&home, command, &[]);
    let mut session = Session::open(controller.websocket());
    send_stage(&mut session, "traced");
    staged(&mut session);
    controller.stop();

    let trace = fs::read_to_string(trace).expect("a trace");
    let calls = completed_calls(&trace);
    let answer = calls
        .iter()
        .position(|call| call.contains("socket:[") && call.contains("stage_configuration_response"))
        .expect("the answer is in the trace");
    let before = |what: &str, upto: usize, matches: &dyn Fn(&str) -> bool| {
        let found = calls[..upto].iter().rposition(|call| matches(call));
        found.unwrap_or_else(|| panic!("no {what} before:\n{}", calls[..=upto].join("\n")))
    };
    let folder = before("sync of the folder", answer, &|call| {
        call.starts_with("fsync(") && call.contains("/nodes/controller>")
    });
    let unlink = before("deletion of the journal", folder, &|call| {
        call.starts_with("unlink") && call.contains(".sqlite-journal")
    });
    before("sync of the database", unlink, &|call| {
        (call.starts_with("fsync(") || call.starts_with("fdatasync(")) && call.contains(".sqlite>")
    });
}

/// The calls of a trace: those that write at their beginning, all others at their end.
fn completed_calls(trace: &str) -> Vec<String> {
    let mut begun = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some(beginning) = call.strip_suffix(" <unfinished ...>") {
            if beginning.starts_with("write") || beginning.starts_with("send") {
                calls.push(beginning.to_owned());
            } else {
                begun.insert(thread, beginning);
            }
        } else if call.starts_with("<... ") {
            calls.extend(begun.remove(thread).map(str::to_owned));
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}

#[test]
fn the_stores_that_zeek_left_behind_show_what_zeek_showed() {
    for series in ["zeek-9.0.0-rc1", "zeek-6.0.9"] {
        let home = home();
        place(&fixture(&format!("{series}/restart-controller")), &home);
        let mut controller = start_in(&home);
        let scenario = Scenario::load(series, "restart-controller");
        let commands = scenario
            .commands
            .iter()
            .filter(|command| command.argv.iter().any(|argument| argument == "get-config"));
        let mut count = 0;
        for command in commands {
            let outcome = ZeekClient::repeat(command, controller.websocket());
            assert_eq!(outcome.stdout, command.stdout, "{series}: {:?}", command.argv);
            assert_eq!(outcome.exit, 0);
            count += 1;
        }
        assert_eq!(count, 2, "{series}: the staged and the deployed one");
        controller.stop();
    }
}

/// The recorded deployment again: the real zeek-client with what it was fed then, an agent of the same name, and at the end the
/// same bytes in the store, but for the configuration's id, which zeek-client draws.
#[test]
fn a_deployment_leaves_the_bytes_that_zeek_left() {
    const SERIES: &str = "zeek-9.0.0-rc1";
    let scenario = Scenario::load(SERIES, "restart-controller");
    let deploy = scenario
        .commands
        .iter()
        .find(|command| command.argv.iter().any(|argument| argument == "deploy-config"));
    let deploy = deploy.expect("the recording has a deployment");
    let home = home();
    let mut controller = Controller::start_in(&home, &["Broker::disable_ssl=T"]);
    let _agent = StandIn::known_to(&mut controller, "instance-1", &TlsConfig::Off);
    let outcome = ZeekClient::repeat(deploy, controller.websocket());
    assert_eq!(outcome.exit, 0, "{}{}", outcome.stdout, outcome.stderr);
    controller.stop();

    let recorded = fixture(&format!("{SERIES}/restart-controller"));
    let ours = store_in(&home);
    assert_eq!(schema(&ours), schema(&recorded));
    let ids = [&ours, &recorded].map(|store| id_of(&rows(store)["DEPLOYED"]));
    assert_eq!(ids[0].len(), ids[1].len());
    let with_recorded_id = |value: Vec<u8>| {
        let at = value
            .windows(ids[0].len())
            .position(|part| part == ids[0].as_bytes());
        let at = at.expect("the id is in there");
        [&value[..at], ids[1].as_bytes(), &value[at + ids[0].len()..]].concat()
    };
    let blobs_of_ours: BTreeMap<_, _> = blobs(&ours)
        .into_iter()
        .map(|(key, value)| (key, with_recorded_id(value)))
        .collect();
    assert_eq!(blobs_of_ours.len(), 3, "STAGED, READY and DEPLOYED");
    assert_eq!(blobs_of_ours, blobs(&recorded));
}

/// Runs Broker 1.4, the one that Debian 12 has Python bindings for. None if it is not installed.
fn broker(command: &str, store: &Path) -> Option<String> {
    const PYTHON: &str = "/usr/bin/python3";
    if !works(Command::new(PYTHON).args(["-c", "import broker"])) {
        missing(
            "python3-broker",
            "that the original Broker reads and writes our store",
        );
        return None;
    }
    let output = Command::new(PYTHON)
        .arg(workspace_root().join("scripts/python3-broker-store.py"))
        .arg(command)
        .arg(store)
        .output()
        .expect("it was there a moment ago");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).expect("JSON is text"))
}

#[test]
fn broker_reads_what_we_stored() {
    let home = home();
    let mut controller = start_in(&home);
    let mut session = Session::open(controller.websocket());
    // A configuration of some size: what another store holds, under a new id.
    let mut config: Configuration =
        from_data(rows(&fixture("python3-broker"))["READY"].clone()).expect("a configuration");
    config.id = "from-rust".into();
    session.stage(&config);
    controller.stop();

    let ours: BTreeMap<_, _> = rows(&store_in(&home))
        .into_iter()
        .map(|(slot, value)| {
            (
                format!("Management::Controller::Runtime::{slot}"),
                value.to_string(),
            )
        })
        .collect();
    assert_eq!(ours.len(), 2, "STAGED and READY");
    if let Some(printed) = broker("read", &store_in(&home)) {
        let theirs: BTreeMap<String, String> = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(theirs, ours);
    }
}

#[test]
fn we_read_what_broker_stored() {
    let home = home();
    let fresh = home.path().join("fresh.sqlite");
    if broker("write", &fresh).is_none() {
        return;
    }
    assert_eq!(
        rows(&fresh),
        rows(&fixture("python3-broker")),
        "the fixture is what the script writes"
    );
    place(&fresh, &home);
    let mut controller = start_in(&home);
    let mut session = Session::open(controller.websocket());
    for (deployed, slot) in [(false, "STAGED"), (true, "DEPLOYED")] {
        let shown = session.configuration(deployed).expect("it is there");
        assert_eq!(
            shown,
            from_data(rows(&fresh)[slot].clone()).expect("a configuration")
        );
    }
    controller.stop();
}
