//! Events and records as Zeek and zeek-client really sent them, and what is wrong with those that are not like them.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
};

use broker_codec::{
    Data,
    data::{EnumValue, Set, from_data, to_data},
    json::{self, DataMessage},
    zeek::Event,
};
use flate2::read::GzDecoder;
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, ClusterRole, Configuration, Dialect, Instance,
    Node, NodeMessage, NodeOutputs, NodeRequest, NodeStatus, RequestKind, ResultRecord, State,
    SupervisorMessage,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The recordings in which controllers, agents and nodes of Zeek 5.0 or later talk to each other.
const NATIVE: [&str; 13] = [
    "zeek-9.0.0-rc1/a2c",
    "zeek-9.0.0-rc1/all-in-one",
    "zeek-9.0.0-rc1/c2a",
    "zeek-9.0.0-rc1/failing-node",
    "zeek-9.0.0-rc1/restart-controller",
    "zeek-9.0.0-rc1/two-instances",
    "zeek-6.0.9/a2c",
    "zeek-6.0.9/c2a",
    "zeek-6.0.9/failing-node",
    "zeek-6.0.9/restart-controller",
    "zeek-6.0.9/two-instances",
    "mixed/mixed-6-9",
    "mixed/mixed-9-6",
];

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(path)
}

/// The events of a WebSocket recording, with the side that sent them and the text.
fn websocket_events(scenario: &str) -> Vec<(String, String, Event)> {
    let text = fs::read_to_string(fixture(&format!("json/{scenario}.jsonl"))).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["text"].as_str().unwrap().contains("data-message"))
        .map(|line| {
            let text = line["text"].as_str().unwrap();
            let message = DataMessage::decode(text.as_bytes()).unwrap();
            let event = Event::from_data(message.data).unwrap();
            (line["from"].as_str().unwrap().to_owned(), text.to_owned(), event)
        })
        .collect()
}

/// The events of a native recording.
fn native_events(scenario: &str) -> Vec<Event> {
    let file = fs::File::open(fixture(&format!("{scenario}/frames.jsonl.gz"))).unwrap();
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    lines
        .filter_map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let data = line.get("message")?.get("data")?.to_string();
            Event::from_data(json::decode(data.as_bytes()).ok()?).ok()
        })
        .collect()
}

/// Reads an event as `T`, and expects `T` to be written as the same event.
fn round_trip<T: Serialize + DeserializeOwned>(event: &Event) -> T {
    let read = event.clone();
    let value: T = read
        .parse()
        .unwrap_or_else(|error| panic!("{error} in {event:?}"));
    let written = Event::of(&value).unwrap();
    assert_eq!((&written.name, &written.args), (&event.name, &event.args));
    value
}

#[test]
fn clients_and_controller_are_read_and_written_alike() {
    let mut kinds = BTreeSet::new();
    for scenario in ["no-agents", "validation"] {
        for (from, text, event) in websocket_events(scenario) {
            if from == "client" {
                let request: ClientRequest = round_trip(&event);
                assert_eq!(event.name, request.event_name());
                kinds.insert(request.kind());
            } else {
                let response: ClientResponse = round_trip(&event);
                assert_eq!(event.name, response.event_name());
                let message = DataMessage {
                    topic: mgmt_api::topics::CONTROLLER.into(),
                    data: Event::of(&response).unwrap().to_data(),
                };
                assert_eq!(message.encode().unwrap(), text);
            }
        }
    }
    assert_eq!(kinds, RequestKind::ALL.iter().copied().collect());
}

fn fields(data: &Data) -> &[Data] {
    match data {
        Data::Vector(fields) => fields,
        other => panic!("{other:?} is not a record"),
    }
}

#[test]
fn nodes_of_old_clients_are_read_and_written_as_new_ones() {
    let mut sent = Vec::new();
    for (_, _, event) in websocket_events("old-clients") {
        let Ok(ClientRequest::StageConfiguration { config, .. }) = event.clone().parse() else {
            continue;
        };
        let nodes: Vec<&Node> = config.nodes.iter().collect();
        assert_eq!(nodes.len(), 2);
        assert_eq!((&nodes[0].name, nodes[0].cpu_affinity), (&"manager".into(), None));
        assert_eq!(
            (&nodes[1].name, nodes[1].cpu_affinity),
            (&"worker-01".into(), Some(3))
        );

        let Data::Set(raw) = &fields(&event.args[1])[2] else {
            panic!("nodes are a set")
        };
        let worker = fields(raw.get(1).unwrap());
        sent.push((worker.len(), worker[8].clone()));

        let written = to_data(nodes[1]).unwrap();
        assert_eq!(
            (fields(&written).len(), &fields(&written)[8]),
            (11, &Data::Integer(3))
        );
    }
    let expected = [(10, Data::Count(3)), (10, Data::Count(3)), (11, Data::Integer(3))];
    assert_eq!(sent, expected, "zeek-client 1.2.0, 1.3.1 and 1.4.0");
}

/// Which events came, and which records as `any` in results.
type Seen = BTreeSet<String>;

fn understood<T: Serialize + DeserializeOwned>(scenario: &str, event: &Event, seen: &mut Seen) -> T {
    seen.insert(event.name.to_string());
    if scenario.starts_with("zeek-9") {
        return round_trip(event);
    }
    // Records of older releases are read, and written as new ones.
    let read = event.clone();
    read.parse()
        .unwrap_or_else(|error| panic!("{error} in {event:?}"))
}

#[test]
fn controllers_agents_and_nodes_are_read_and_written_alike() {
    let mut seen = Seen::new();
    for scenario in NATIVE {
        for event in native_events(scenario) {
            let name = event.name.to_string();
            match name.rsplit_once("::") {
                Some(("Management::Agent::API", verb)) if verb.ends_with("_request") => {
                    let request: AgentRequest = understood(scenario, &event, &mut seen);
                    assert_eq!(request.event_name(), name);
                    let Data::String(reqid) = &event.args[0] else {
                        panic!("{event:?}")
                    };
                    assert_eq!(request.reqid(), reqid);
                }
                Some(("Management::Agent::API", _)) => {
                    let message: AgentMessage = understood(scenario, &event, &mut seen);
                    records_in(&message, &mut seen);
                }
                Some(("Management::Node::API", verb)) if verb.ends_with("_request") => {
                    understood::<NodeRequest>(scenario, &event, &mut seen);
                }
                Some(("Management::Node::API", _)) => {
                    understood::<NodeMessage>(scenario, &event, &mut seen);
                }
                Some(("Management::Supervisor::API", _)) => {
                    understood::<SupervisorMessage>(scenario, &event, &mut seen);
                }
                _ => {}
            }
        }
    }
    let not_sent = ["notify_change", "notify_error", "notify_log"];
    let mut expected = Dialect::V7_0.events();
    expected.retain(|name| {
        !name.starts_with("Management::Controller") && not_sent.iter().all(|verb| !name.ends_with(verb))
    });
    expected.extend(["NodeOutputs", "NodeStatus of 6", "NodeStatus of 7"].map(str::to_owned));
    assert_eq!(seen, expected);
}

/// Reads the records that results carry as `any`.
fn records_in(message: &AgentMessage, seen: &mut Seen) {
    match message {
        AgentMessage::GetNodes { result, .. } => {
            let data = result.data.as_ref().unwrap();
            let nodes: Vec<NodeStatus> = from_data(data.clone()).unwrap();
            for (node, raw) in std::iter::zip(&nodes, fields(data)) {
                seen.insert(format!("NodeStatus of {}", fields(raw).len()));
                let written = to_data(node).unwrap();
                assert_eq!(fields(&written)[..6], fields(raw)[..6]);
                assert_eq!(fields(&written).len(), 7);
            }
        }
        AgentMessage::Deploy { results, .. } => {
            for data in results.iter().filter_map(|result| result.data.as_ref()) {
                let outputs: NodeOutputs = from_data(data.clone()).unwrap();
                assert_eq!(&to_data(&outputs).unwrap(), data);
                seen.insert("NodeOutputs".into());
            }
        }
        _ => {}
    }
}

fn worker() -> Node {
    Node::new("worker", "instance-1", ClusterRole::Worker)
}

/// The worker with one field replaced.
fn worker_with(field: usize, data: Data) -> Data {
    let mut fields = fields(&to_data(&worker()).unwrap()).to_vec();
    fields[field] = data;
    Data::Vector(fields)
}

#[test]
fn none_and_a_missing_end_stand_for_the_defaults() {
    let nothing = Data::Vector(vec![Data::None, Data::None, Data::None]);
    assert_eq!(
        from_data::<Configuration>(nothing).unwrap(),
        Configuration::default()
    );
    let nothing = Data::Vector(vec![]);
    assert_eq!(
        from_data::<Configuration>(nothing).unwrap(),
        Configuration::default()
    );

    assert_eq!(from_data::<Node>(worker_with(9, Data::None)).unwrap(), worker());

    let given = [Data::String("worker".into()), to_data(&State::Unknown).unwrap()];
    let expected = NodeStatus::new("worker", State::Unknown);
    for rest in [&[][..], &[Data::None, Data::None]] {
        let status = Data::Vector([&given, rest].concat());
        assert_eq!(from_data::<NodeStatus>(status).unwrap(), expected);
    }

    let result = Data::Vector(vec![Data::String("r1".into()), Data::None]);
    assert_eq!(
        from_data::<ResultRecord>(result).unwrap(),
        ResultRecord::success("r1".into())
    );

    let event = Event {
        name: "Management::Controller::API::restart_request".into(),
        args: vec![Data::String("r1".into()), Data::None],
        metadata: None,
    };
    let expected = ClientRequest::Restart {
        reqid: "r1".into(),
        nodes: Set::new(),
    };
    assert_eq!(event.parse::<ClientRequest>().unwrap(), expected);
}

fn check_error<T: DeserializeOwned + Debug>(data: Data, expected: &str) {
    let error = from_data::<T>(data).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn errors_say_where_and_what() {
    let state = Data::EnumValue(EnumValue("Management::GONE".into()));
    check_error::<Node>(
        worker_with(4, Data::String("5000".into())),
        "p: expected port, found string",
    );
    check_error::<Node>(
        worker_with(3, state),
        "state: unknown enum value `Management::GONE`",
    );
    check_error::<Node>(
        worker_with(8, Data::Boolean(true)),
        "cpu_affinity: expected integer or count, found boolean",
    );
    check_error::<Node>(
        worker_with(8, Data::Count(u64::MAX)),
        "cpu_affinity: count 18446744073709551615 does not fit an integer",
    );
    let name_only = Data::Vector(vec![Data::String("a".into())]);
    check_error::<Node>(name_only, "instance: missing");
    let without_host = Data::Vector(vec![Data::String("a".into()), Data::None]);
    check_error::<Instance>(without_host, "host: expected address, found none");
}

#[test]
fn an_event_that_no_release_declares_is_not_a_request() {
    let event = Event {
        name: "Management::Controller::API::test_noop_request".into(),
        args: vec![Data::String("r1".into())],
        metadata: None,
    };
    assert_eq!(
        event.parse::<ClientRequest>().unwrap_err().to_string(),
        "unknown event `Management::Controller::API::test_noop_request`"
    );
}

#[test]
fn results_are_logged_as_zeek_logs_them() {
    let success = ResultRecord::success("r1".into());
    assert_eq!(success.to_string(), "success (reqid r1)");
    let failure = ResultRecord {
        instance: Some("i".into()),
        node: Some("n".into()),
        ..ResultRecord::failure("r1".into(), "gone")
    };
    assert_eq!(failure.to_string(), "error (gone) (reqid r1, instance i, node n)");
    let bare = ResultRecord {
        success: false,
        node: Some("".into()),
        ..ResultRecord::success("".into())
    };
    assert_eq!(bare.to_string(), "error");
}
