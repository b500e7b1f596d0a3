//! How journals are written, cut off and refused is tested in `mgmt-daemon`. Here: the header holds all that a controller starts with.

use std::{fmt::Write as _, time::Duration};

use mgmt_api::{ClientRequest, Configuration, IdSource, Instance};
use mgmt_daemon::journal::{Entry, Header, Seed, replay};

use super::*;

#[test]
fn a_replay_does_what_the_controller_did_ids_included() {
    let seed = Seed::new([7; Seed::LEN]);
    let host1 = Instance {
        host: "10.0.0.1".parse().unwrap(),
        ..Instance::new("host1")
    };
    let deployed = Configuration::new("c1", [host1], []);
    let restored = Configurations {
        deployed: Some(deployed.into()),
        ..Configurations::default()
    };
    let settings = Settings {
        request_timeout: Duration::from_secs(3),
        ..Settings::default()
    };
    let start = Start {
        settings: settings.clone(),
        restored: restored.clone(),
        clusters: BTreeMap::new(),
        id: None,
    };
    let header = Header::new("mgmt-controller", start, seed.clone());
    let started = Input::Started {
        broker_id: "id".into(),
        broker: None,
        websocket: None,
        wall_clock: mgmt_api::WallClock::default(),
    };
    let request = |reqid: &str| Input::Request {
        principal: testkit::client(1),
        request: ClientRequest::Deploy { reqid: reqid.into() },
    };
    let inputs = [
        (0, started),
        (1, request("r1")),
        (2999, request("r2")),
        (3000, Input::Tick),
    ];

    let mut controller = Controller::new(settings, restored, Box::new(seed.ids()));
    let mut journal = serde_json::to_string(&header).unwrap() + "\n";
    let mut done = String::new();
    for (millis, input) in inputs {
        let now = Now::from_start(Duration::from_millis(millis));
        let input = Entry { now, input };
        let line = serde_json::to_string(&input).unwrap();
        writeln!(journal, "{line}").unwrap();
        writeln!(done, "> {line}").unwrap();
        for action in controller.step(now, input.input) {
            writeln!(done, "< {}", serde_json::to_string(&action).unwrap()).unwrap();
        }
    }

    let mut replayed = Vec::new();
    assert_eq!(
        replay::<Controller>(journal.as_bytes(), &mut replayed)
            .unwrap()
            .inputs,
        4
    );
    assert_eq!(String::from_utf8(replayed).unwrap(), done);
    // The deployment at the start has an id of the controller's own, and the time that is set.
    let id = seed.ids().next_id().to_string();
    assert!(done.contains(&format!("request {id} timed out")), "{done}");
}
