//! What the controller stores survives it, at the moment the client is answered, in the file of Zeek's controller.

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use broker_codec::{
    Data, binary,
    data::{ZeekString, from_data},
    json::DataMessage,
    zeek::Event,
};
use mgmt_api::{ClientRequest, ClientResponse, Configuration};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::support::{
    controller::{Controller, STORE, binary},
    scenario::Scenario,
    websocket::{CONTROLLER_TOPIC, Client},
    workspace_root,
    zeek_client::ZeekClient,
};

const ARGUMENTS: [&str; 2] = ["--name", "controller"];

fn home() -> Arc<TempDir> {
    Arc::new(TempDir::with_prefix("store-").expect("a directory can be made"))
}

fn start_in(home: &Arc<TempDir>) -> Controller {
    Controller::start_in(home, Command::new(binary()), &ARGUMENTS)
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

/// A client that asks in types.
struct Session(Client);

impl Session {
    fn open(address: SocketAddr) -> Self {
        Self(Client::subscribed(address))
    }

    fn send(&mut self, request: &ClientRequest) {
        let event = Event::of(request).expect("a request is an event");
        let message = DataMessage {
            topic: CONTROLLER_TOPIC.into(),
            data: event.to_data(),
        };
        self.0.send_text(&message.encode().expect("a message"));
    }

    fn response(&mut self) -> ClientResponse {
        let message = DataMessage::decode(self.0.text().as_bytes()).expect("a data message");
        let event = Event::from_data(message.data).expect("an event");
        event.parse().expect("a response")
    }

    fn send_stage(&mut self, id: &str) {
        let config = Configuration {
            id: id.into(),
            ..Configuration::default()
        };
        let reqid = id.into();
        self.send(&ClientRequest::StageConfiguration { reqid, config });
    }

    /// Waits for the answer to a staging and returns the id that it stands for.
    fn staged(&mut self) -> String {
        let response = self.response();
        let ClientResponse::StageConfiguration { reqid, results } = response else {
            panic!("unexpected {response:?}");
        };
        assert!(results.iter().all(|result| result.success), "{results:?}");
        reqid.to_string()
    }

    fn configuration(&mut self, deployed: bool) -> Option<Configuration> {
        let reqid = ZeekString::from("get");
        self.send(&ClientRequest::GetConfiguration { reqid, deployed });
        let response = self.response();
        let ClientResponse::GetConfiguration { result, .. } = response else {
            panic!("unexpected {response:?}");
        };
        result.data.map(|data| from_data(&data).expect("a configuration"))
    }
}

/// The store's rows as another program sees them: the last part of the key, and the value.
fn rows(store: &Path) -> BTreeMap<String, Data> {
    let connection =
        Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a database");
    let mut statement = connection
        .prepare("select key, value from store")
        .expect("Broker's schema");
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .expect("rows");
    rows.map(|row| {
        let (key, value) = row.expect("a row of two blobs");
        let key = binary::decode(&key).expect("a Broker value").to_string();
        let slot = key.rsplit(':').next().expect("a name").to_owned();
        (slot, binary::decode(&value).expect("a Broker value"))
    })
    .collect()
}

/// The id of a stored configuration.
fn id_of(value: &Data) -> String {
    let configuration: Configuration = from_data(value).expect("a configuration");
    configuration.id.to_string()
}

#[test]
fn a_kill_right_after_the_answer_loses_nothing() {
    const KILLS: usize = 20;
    let home = home();
    let mut previous = None;
    for number in 0..KILLS {
        let mut controller = start_in(&home);
        let mut session = Session::open(controller.websocket());
        let restored = session.configuration(false).map(|staged| staged.id.to_string());
        assert_eq!(restored, previous, "after kill {number}");

        let id = format!("configuration-{number}");
        session.send_stage(&id);
        assert_eq!(session.staged(), id);
        controller.kill();

        let rows = rows(&store_in(&home));
        assert_eq!(id_of(&rows["STAGED"]), id);
        assert_eq!(id_of(&rows["READY"]), id);
        previous = Some(id);
    }
}

#[test]
fn a_kill_in_the_middle_of_staging_leaves_one_of_the_staged_configurations_whole() {
    const PIPELINED: usize = 12;
    let home = home();
    for answers in 0..PIPELINED {
        let mut controller = start_in(&home);
        let mut session = Session::open(controller.websocket());
        let ids: Vec<_> = (0..PIPELINED)
            .map(|number| format!("{answers}-{number}"))
            .collect();
        for id in &ids {
            session.send_stage(id);
        }
        for id in &ids[..answers] {
            assert_eq!(session.staged(), *id);
        }
        controller.kill();

        // Opening the store ends what SQLite finds half done, as the next start does.
        let rows = rows(&store_in(&home));
        let Some(staged) = rows.get("STAGED").map(id_of) else {
            assert_eq!(answers, 0, "nothing was answered, so nothing must be there");
            assert_eq!(rows.get("READY"), None);
            continue;
        };
        assert_eq!(id_of(&rows["READY"]), staged, "both change in one transaction");
        let durable = ids.iter().position(|id| *id == staged);
        match durable {
            Some(number) => assert!(
                number + 1 >= answers,
                "{answers} were answered, the store has {staged}"
            ),
            // The kill came before the first one, and the store is as the round before left it.
            None => assert_eq!(answers, 0, "{answers} were answered, the store has {staged}"),
        }
    }
}

/// A program that Debian has a package for, and that the scripts install. Without it the test is of no use, which is an
/// error where everything is meant to be there.
#[expect(clippy::print_stderr, reason = "tells what was not tested")]
fn missing(package: &str, what: &str) {
    assert!(
        env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{package} is not installed: run scripts/check.sh --setup"
    );
    eprintln!("NOT TESTED: {what}, for want of {package}; scripts/check.sh --setup installs it");
}

#[test]
fn the_store_is_synced_before_the_answer_is_sent() {
    let present = Command::new("strace")
        .arg("-V")
        .output()
        .is_ok_and(|output| output.status.success());
    if !present {
        missing("strace", "that the store is synced before the answer");
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
    let mut controller = Controller::start_in(&home, command, &ARGUMENTS);
    let mut session = Session::open(controller.websocket());
    session.send_stage("traced");
    session.staged();
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

/// Runs Broker 1.4, the one that Debian 12 has Python bindings for. None if it is not installed.
fn broker(command: &str, store: &Path) -> Option<String> {
    const PYTHON: &str = "/usr/bin/python3";
    let present = Command::new(PYTHON).args(["-c", "import broker"]).output();
    if !present.is_ok_and(|output| output.status.success()) {
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
        from_data(&rows(&fixture("python3-broker"))["READY"]).expect("a configuration");
    config.id = "from-rust".into();
    let reqid = "stage".into();
    session.send(&ClientRequest::StageConfiguration { reqid, config });
    session.staged();
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
        assert_eq!(shown, from_data(&rows(&fresh)[slot]).expect("a configuration"));
    }
    controller.stop();
}
