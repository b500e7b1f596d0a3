//! Recordings of Zeek's controller, with ours in its place: the same answers, byte for byte, and the same log lines.

use std::{collections::VecDeque, fs, path::PathBuf};

use broker_codec::{data::ZeekString, json::DataMessage, zeek::Event};
use mgmt_api::{ClientRequest, IdSource, Now};
use mgmt_controller::core::{Action, Configurations, Controller, Input, Level, Settings};
use serde_json::Value;

use crate::transcript::started;

#[test]
fn without_agents() {
    check("no-agents");
}

#[test]
fn validation() {
    check("validation");
}

fn check(scenario: &str) {
    let log = recorded_log(scenario);
    let mut replay = Replay::new(&log);
    for line in fixture(&format!("json/{scenario}.jsonl")).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = line["text"].as_str().unwrap();
        match (line["from"].as_str().unwrap(), text.starts_with('[')) {
            ("client", true) => {} // The subscriptions, which the endpoint acknowledges.
            ("client", false) => replay.request(text),
            ("server", _) if text.contains(r#""type":"ack""#) => {}
            ("server", _) => assert_eq!(replay.response(), text),
            (other, _) => panic!("{other}"),
        }
    }
    assert_eq!(replay.responses, VecDeque::<String>::new());
    assert_eq!(replay.log, log);
}

/// The messages of the controller's own log. Zeek's records nothing below INFO by default.
fn recorded_log(scenario: &str) -> Vec<String> {
    let scenario = fixture(&format!("zeek-9.0.0-rc1/{scenario}/scenario.json"));
    let scenario: Value = serde_json::from_str(&scenario).unwrap();
    let logs: Vec<&Value> = scenario["management_logs"]
        .as_object()
        .unwrap()
        .values()
        .collect();
    assert_eq!(logs.len(), 1);
    let lines = logs[0]
        .as_str()
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.splitn(5, '\t').last().unwrap().to_owned())
        .collect()
}

fn fixture(path: &str) -> String {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    fs::read_to_string(fixtures.join(path)).unwrap()
}

struct Replay {
    controller: Controller,
    now: Now,
    responses: VecDeque<String>,
    log: Vec<String>,
}

impl Replay {
    fn new(log: &[String]) -> Self {
        let ids = log.iter().filter_map(|line| {
            let (_, id) = line.split_once("no deployment in progress, triggering via ")?;
            Some(id.into())
        });
        let ids = Box::new(RecordedIds(ids.collect()));
        let mut replay = Self {
            controller: Controller::new(Settings::default(), Configurations::default(), ids),
            now: Now::START,
            responses: VecDeque::new(),
            log: Vec::new(),
        };
        let (_, id) = log[0].split_once("Broker ID ").unwrap();
        let (id, _) = id.split_once(',').unwrap();
        let Input::Started {
            broker, websocket, ..
        } = started()
        else {
            unreachable!()
        };
        replay.step(Input::Started {
            broker_id: id.into(),
            broker,
            websocket,
        });
        replay
    }

    fn request(&mut self, text: &str) {
        let message = DataMessage::decode(text.as_bytes()).unwrap();
        let request: ClientRequest = Event::from_data(message.data).unwrap().parse().unwrap();
        self.step(Input::Request {
            client: "zeek-client".into(),
            request,
        });
    }

    /// The next response. Where there is none, the recording waited for a time-out.
    fn response(&mut self) -> String {
        if self.responses.is_empty() {
            self.now = self.controller.deadline().expect("something to wait for");
            self.step(Input::Tick);
        }
        self.responses.pop_front().expect("a response")
    }

    /// Every write succeeds at once.
    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.controller.step(self.now, input) {
                match action {
                    Action::Log {
                        level: Level::Debug, ..
                    } => {}
                    Action::Log { message, .. } => self.log.push(message),
                    Action::Persist { write, .. } => inputs.push_back(Input::Persisted {
                        write,
                        outcome: Ok(()),
                    }),
                    // What goes to agents, clients do not see.
                    Action::Publish { topic, event, .. } if topic == "zeek/management/controller" => {
                        let data = event.to_event().unwrap().to_data();
                        self.responses
                            .push_back(DataMessage { topic, data }.encode().unwrap());
                    }
                    Action::Publish { .. } | Action::Connect { .. } | Action::Disconnect { .. } => {}
                }
            }
        }
    }
}

/// The ids that Zeek's controller drew.
struct RecordedIds(VecDeque<ZeekString>);

impl IdSource for RecordedIds {
    fn next_id(&mut self) -> ZeekString {
        self.0
            .pop_front()
            .expect("an id for each that was drawn in the recording")
    }
}
