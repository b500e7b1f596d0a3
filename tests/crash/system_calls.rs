//! `kill -9` at each step of the commits of a deployment: strace kills the controller when it turns to the system for the n-th time to
//! write, sync, cut or delete what the store consists of.
//!
//! `CRASH_SYSTEM_CALLS=1 cargo test -p conformance system_calls` takes every n, `=4` every fourth.

use std::{env, path::PathBuf, process::Command, sync::Arc};

use mgmt_api::{ClientRequest, Configuration};
use tempfile::TempDir;

use super::Stored;
use crate::support::{
    controller::{Controller, STORE, binary},
    has_strace, home,
    session::{Session, stage_request},
    store::{rows, rows_after_a_crash},
};

fn start(home: &Arc<TempDir>, command: Command) -> Controller {
    Controller::start_by::<&str>(home, command, &[])
}

fn store(home: &TempDir) -> PathBuf {
    home.path().join("state/nodes/controller").join(STORE)
}

/// A configuration of nothing: what is stored counts here, agents have no part in it.
fn configuration(id: &str) -> Configuration {
    Configuration::new(id, [], [])
}

/// Stages and deploys as far as the controller lives. How many of the two were answered.
fn deploy(controller: &mut Controller, id: &str) -> usize {
    let mut session = Session::open(controller.websocket());
    let requests = [
        stage_request(&configuration(id)),
        ClientRequest::Deploy { reqid: id.into() },
    ];
    let answered = |request: &ClientRequest| {
        let response = session.try_ask(request)?;
        assert!(response.results()[0].success, "{response:?}");
        Some(())
    };
    requests.iter().map_while(answered).count()
}

/// What the store holds before, between, and after the two, if it held the configuration `before`.
fn stations(before: &str, id: &str) -> [Stored; 3] {
    let stored = |ready: &str, deployed: &str| Stored {
        staged: Some(configuration(ready)),
        ready: Some(configuration(ready)),
        deployed: Some(configuration(deployed)),
    };
    [stored(before, before), stored(id, before), stored(id, id)]
}

#[test]
fn a_kill_at_any_step_of_a_commit_leaves_what_was_there_before_or_after_it() {
    if !has_strace("that each step of a commit may be the last") {
        return;
    }
    let stride = env::var("CRASH_SYSTEM_CALLS").map_or(4, |stride| stride.parse().expect("a number"));
    let home = home();
    let mut before = "0".to_owned();
    let mut controller = start(&home, Command::new(binary()));
    assert_eq!(deploy(&mut controller, &before), 2);
    controller.stop();

    let mut found = [0; 3];
    for call in (1..).step_by(stride) {
        let id = call.to_string();
        let stations = stations(&before, &id);
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e"]);
        command.arg(format!(
            "inject=pwrite64,fsync,fdatasync,ftruncate,unlink,unlinkat:signal=KILL:when={call}"
        ));
        let journal = format!("{}-journal", store(&home).display());
        let folder = store(&home).with_file_name("");
        for path in [store(&home), journal.into(), folder] {
            command.arg("-P").arg(path);
        }
        command.arg(binary());
        let mut controller = start(&home, command);
        let answered = deploy(&mut controller, &id);
        if answered == 2 {
            controller.stop();
            assert_eq!(Stored::from(rows(&store(&home))), stations[2]);
            assert!(call > 10, "two commits take more than {call} calls");
            break;
        }
        controller.wait();

        let stored = Stored::from(rows_after_a_crash(&store(&home)));
        let station = stations.iter().rposition(|station| *station == stored);
        let station = station.unwrap_or_else(|| panic!("call {call}: {stored:#?} is none of {stations:#?}"));
        assert!(
            station >= answered,
            "call {call}: {answered} answered, station {station}"
        );
        found[station] += 1;

        let mut controller = start(&home, Command::new(binary()));
        let mut session = Session::open(controller.websocket());
        assert_eq!(session.configuration(false), stored.staged, "call {call}");
        assert_eq!(session.configuration(true), stored.deployed, "call {call}");
        assert_eq!(deploy(&mut controller, &id), 2);
        controller.stop();
        before = id;
    }
    assert!(
        found[0] > 0 && found[1] > 0,
        "both commits were cut off: {found:?}"
    );
}
