use std::{fs, time::Duration};

use mgmt_api::{ClientRequest, Configuration, IdSource, Instance};
use mgmt_host::journal::{Entry, Journal, JournalError, Replayed, replay};

use super::*;

fn seed() -> Seed {
    Seed::new([7; Seed::LEN])
}

fn header() -> Header {
    let deployed = Configuration {
        id: "c1".into(),
        instances: [Instance {
            name: "host1".into(),
            host: "10.0.0.1".parse().unwrap(),
            listen_port: None,
        }]
        .into(),
        ..Configuration::default()
    };
    let restored = Configurations {
        deployed: Some(deployed),
        ..Configurations::default()
    };
    Header::new(Settings::default(), restored, seed())
}

fn inputs() -> Vec<Entry<Input>> {
    let at = |millis| Now::from_start(Duration::from_millis(millis));
    let request = |reqid: &str| Input::Request {
        client: "client-1".into(),
        request: ClientRequest::Deploy { reqid: reqid.into() },
    };
    let started = Input::Started {
        broker_id: "id".into(),
        broker: None,
        websocket: None,
    };
    [
        (at(0), started),
        (at(1), request("r1")),
        (at(9999), request("r2")),
        (at(10_000), Input::Tick),
    ]
    .map(|(now, input)| Entry { now, input })
    .into()
}

/// What a controller really did, in the form of a replay.
fn done() -> String {
    let Header {
        settings,
        restored,
        seed,
        ..
    } = header();
    let mut controller = Controller::new(settings, restored, Box::new(seed.ids()));
    let mut lines = Vec::new();
    for entry in inputs() {
        lines.push(format!("> {}\n", serde_json::to_string(&entry).unwrap()));
        for action in controller.step(entry.now, entry.input) {
            lines.push(format!("< {}\n", serde_json::to_string(&action).unwrap()));
        }
    }
    lines.concat()
}

fn replayed(journal: &[u8]) -> (String, Result<Replayed, JournalError>) {
    let mut out = Vec::new();
    let replayed = replay::<Controller>(journal, &mut out);
    (String::from_utf8(out).unwrap(), replayed)
}

fn written() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::create(&path, &header()).unwrap();
    for Entry { now, input } in inputs() {
        journal.record(now, &input);
    }
    let counters = journal.finish();
    assert_eq!((counters.written, counters.incomplete), (4, false));
    fs::read(path).unwrap()
}

#[test]
fn a_replay_does_what_the_controller_did_ids_included() {
    let (out, outcome) = replayed(&written());
    assert_eq!(out, done());
    let Replayed {
        inputs, truncated, ..
    } = outcome.unwrap();
    assert_eq!((inputs, truncated), (4, false));
    // The deployment at the start has an id of the controller's own.
    let id = seed().ids().next_id().to_string();
    assert!(out.contains(&format!("request {id} timed out")), "{out}");
}

#[test]
fn a_journal_without_a_controllers_settings_is_refused() {
    let error = |journal: &str| replayed(journal.as_bytes()).1.unwrap_err().to_string();
    assert_eq!(error("{\"journal\":1}\n"), "line 1 is not one of a journal");
}
