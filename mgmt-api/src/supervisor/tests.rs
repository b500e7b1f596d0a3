//! Against what Zeek's agents and Supervisors sent each other. Of Zeek 5 and 6.1 there is no recording: those layouts
//! are written down here from the declarations.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
};

use broker_codec::{
    Data, binary,
    data::{Port, Protocol, Table},
    envelope::{Envelope, EnvelopeKind},
};
use bytes::Bytes;
use flate2::read::GzDecoder;

use super::*;
use crate::ClusterRole;
use broker_codec::zeek::Event;

/// Every recording with an agent, and the layout of its Supervisors.
const RECORDINGS: &[(&str, SupervisorLayout)] = &[
    ("mixed/mixed-6-9", SupervisorLayout::V7_0),
    ("mixed/mixed-9-6", SupervisorLayout::V6_0),
    ("zeek-6.0.9/a2c", SupervisorLayout::V6_0),
    ("zeek-6.0.9/c2a", SupervisorLayout::V6_0),
    ("zeek-6.0.9/failing-node", SupervisorLayout::V6_0),
    ("zeek-6.0.9/two-instances", SupervisorLayout::V6_0),
    ("zeek-9.0.0-rc1/a2c", SupervisorLayout::V7_0),
    ("zeek-9.0.0-rc1/all-in-one", SupervisorLayout::V7_0),
    ("zeek-9.0.0-rc1/c2a", SupervisorLayout::V7_0),
    ("zeek-9.0.0-rc1/failing-node", SupervisorLayout::V7_0),
    ("zeek-9.0.0-rc1/two-instances", SupervisorLayout::V7_0),
];

/// The events on the connections of the Supervisors, in the order of the recording.
fn recorded(scenario: &str) -> Vec<Event> {
    let path = format!("../fixtures/{scenario}/frames.jsonl.gz");
    let file = File::open(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    BufReader::new(GzDecoder::new(file))
        .lines()
        .filter_map(|line| {
            let frame: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            let of_supervisor = matches!(frame["server_port"].as_u64(), Some(9999..=10001));
            if !of_supervisor || frame["phase"] != "operation" {
                return None;
            }
            let bytes = Bytes::from(hex::decode(frame["hex"].as_str()?).unwrap());
            let envelope = Envelope::decode(bytes).unwrap();
            if envelope.kind != EnvelopeKind::Data {
                return None;
            }
            Event::from_data(binary::decode(&envelope.payload).unwrap()).ok()
        })
        .collect()
}

/// The same as before, by agents and by what stands in for a Supervisor, whose layout is told by what it reports.
#[test]
fn every_recorded_event_is_read_and_written_as_it_was() {
    let mut statuses = 0;
    for (scenario, layout) in RECORDINGS {
        let mut responses = 0;
        for event in recorded(scenario) {
            let name = event.name.to_string();
            let told = (name == "SupervisorControl::status_response").then_some(*layout);
            statuses += usize::from(told.is_some());
            assert_eq!(SupervisorLayout::of_status(&event), Ok(told), "{scenario}");
            let written = if name.ends_with("_request") {
                let request: SupervisorRequest = layout.read(event.clone()).unwrap().parse().unwrap();
                assert_eq!(request.event_name(), name);
                layout.write(Event::of(&request).unwrap())
            } else if name.ends_with("_exit") {
                let message: SupervisorMessage = event.clone().parse().unwrap();
                Ok(Event::of(&message).unwrap())
            } else {
                responses += 1;
                match layout.read_response(event.clone()).unwrap().parse().unwrap() {
                    SupervisorResponse::Status { reqid, result } => layout.write_status(reqid, result),
                    response => Ok(Event::of(&response).unwrap()),
                }
            };
            assert_eq!(written.unwrap().args, event.args, "{scenario}");
        }
        assert!(responses >= 3, "{scenario}: {responses} responses");
    }
    assert!(statuses > 50, "{statuses} status responses");
}

/// What the Supervisor says of a node, written as a request, is the request that made it start the node.
#[test]
fn a_supervised_node_is_written_as_it_was_requested() {
    let mut compared = 0;
    for (scenario, layout) in RECORDINGS {
        let mut requested: BTreeMap<ZeekString, Data> = BTreeMap::new();
        for event in recorded(scenario) {
            if event.name == "SupervisorControl::create_request" {
                let Data::Vector(config) = &event.args[1] else {
                    panic!()
                };
                let Data::String(name) = &config[0] else { panic!() };
                requested.insert(name.clone(), event.args[1].clone());
            }
            if event.name != "SupervisorControl::status_response" {
                continue;
            }
            let Ok(SupervisorResponse::Status { result, .. }) = layout.read_response(event).unwrap().parse()
            else {
                panic!("{scenario}")
            };
            for (name, node) in result.nodes {
                let Some(requested) = requested.get(&name) else {
                    continue;
                };
                let create = SupervisorRequest::Create {
                    reqid: "r".into(),
                    node: Box::new(node.node),
                };
                let written = layout.write(Event::of(&create).unwrap()).unwrap();
                assert_eq!(&written.args[1], requested, "{scenario}: {name}");
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared} nodes compared");
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

fn table(entries: Vec<(Data, Data)>) -> Data {
    Data::Table(Table::try_from(entries).unwrap())
}

fn worker() -> NodeConfig {
    let endpoint = ClusterEndpoint {
        role: ClusterRole::Worker,
        host: "127.0.0.1".parse().unwrap(),
        p: Port {
            number: 0,
            protocol: Protocol::Unknown,
        },
        interface: Some("lo".into()),
        pcap_file: None,
        metrics_port: None,
    };
    NodeConfig {
        name: "w".into(),
        interface: Some("lo".into()),
        directory: Some("/d".into()),
        addl_user_scripts: vec!["n".into()],
        env: BTreeMap::from([("A".into(), "b".into())]),
        cpu_affinity: Some(3),
        cluster: BTreeMap::from([("w".into(), endpoint)]),
        ..NodeConfig::default()
    }
}

/// [`worker`] as each Zeek has it.
fn worker_in(layout: SupervisorLayout) -> Vec<Data> {
    let expected = match layout {
        SupervisorLayout::V5_0 => {
            "(w, lo, /d, nil, nil, nil, (n), {A -> b}, 3, {w -> (Supervisor::WORKER, 127.0.0.1, 0/?, lo)})"
        }
        SupervisorLayout::V5_1 => {
            "(w, lo, /d, nil, nil, nil, (), (n), (), {A -> b}, 3, {w -> (Supervisor::WORKER, 127.0.0.1, 0/?, lo)})"
        }
        SupervisorLayout::V6_0 => {
            "(w, lo, nil, /d, nil, nil, nil, (), (n), (), {A -> b}, 3, {w -> (Supervisor::WORKER, 127.0.0.1, 0/?, lo, nil)})"
        }
        SupervisorLayout::V6_1 => {
            "(w, lo, nil, /d, nil, nil, nil, (), (n), {A -> b}, 3, {w -> (Supervisor::WORKER, 127.0.0.1, 0/?, lo, nil)})"
        }
        SupervisorLayout::V7_0 => {
            "(w, lo, nil, /d, nil, nil, nil, (), (n), {A -> b}, 3, {w -> (Supervisor::WORKER, 127.0.0.1, 0/?, lo, nil, nil)})"
        }
    };
    let written = layout.write(create(worker())).unwrap().args.remove(1);
    assert_eq!(written.to_string(), expected, "{layout}");
    let Data::Vector(fields) = written else {
        panic!("{written}")
    };
    fields
}

fn create(node: NodeConfig) -> Event {
    let request = SupervisorRequest::Create {
        reqid: "r".into(),
        node: Box::new(node),
    };
    Event::of(&request).unwrap()
}

fn status_of(configs: Vec<Vec<Data>>) -> Event {
    let nodes = configs
        .into_iter()
        .enumerate()
        .map(|(index, config)| {
            let node = vec![Data::Vector(config), Data::Integer(7)];
            (text(&index.to_string()), Data::Vector(node))
        })
        .collect();
    Event {
        name: "SupervisorControl::status_response".into(),
        args: vec![text("r"), Data::Vector(vec![table(nodes)])],
        metadata: None,
    }
}

#[test]
fn every_layout_is_written_and_read_by_both_sides_and_refused_if_it_is_too_short() {
    for layout in SupervisorLayout::ALL {
        let status = status_of(vec![worker_in(layout)]);
        assert_eq!(SupervisorLayout::of_status(&status), Ok(Some(layout)));
        let read = layout.read_response(status).unwrap().parse();
        let Ok(SupervisorResponse::Status { result, .. }) = read else {
            panic!("{layout}: {read:?}")
        };
        let node = &result.nodes[&ZeekString::from("0")];
        assert_eq!(node.node, worker(), "{layout}");
        assert_eq!(node.pid, Some(7));

        let mut request = layout.write(create(worker())).unwrap();
        let read: SupervisorRequest = layout.read(request.clone()).unwrap().parse().unwrap();
        assert_eq!(Event::of(&read).unwrap(), create(worker()), "{layout}");
        let Data::Vector(config) = &mut request.args[1] else {
            panic!("{layout}")
        };
        config.pop();
        let error = layout.read(request).unwrap_err();
        let expected = format!("node.cluster: missing (in the layout of Zeek {layout})");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn the_port_of_a_node_that_does_not_listen_is_unknown_in_every_zeek() {
    let mut config = worker_in(SupervisorLayout::V6_0);
    let Some(Data::Table(cluster)) = config.last_mut() else {
        panic!()
    };
    let Some((key, Data::Vector(mut endpoint))) = cluster.clone().into_iter().next() else {
        panic!()
    };
    endpoint[2] = Data::Port(Port::tcp(0));
    *cluster = Table::try_from(vec![(key, Data::Vector(endpoint))]).unwrap();

    let read = SupervisorLayout::V6_0
        .read_response(status_of(vec![config]))
        .unwrap();
    let Ok(SupervisorResponse::Status { result, .. }) = read.parse() else {
        panic!()
    };
    assert_eq!(result.nodes[&ZeekString::from("0")].node, worker());
}

#[test]
fn what_older_zeeks_lack_is_refused_unless_they_can_do_without() {
    let mut with_metrics = worker();
    for endpoint in with_metrics.cluster.values_mut() {
        endpoint.metrics_port = Some(Port::tcp(9000));
    }
    for layout in [SupervisorLayout::V5_0, SupervisorLayout::V6_1] {
        let written = layout.write(create(with_metrics.clone())).unwrap();
        assert_eq!(written.args[1], Data::Vector(worker_in(layout)));
    }

    let pcap = NodeConfig {
        pcap_file: Some("x".into()),
        ..worker()
    };
    assert_eq!(
        SupervisorLayout::V5_1
            .write(create(pcap.clone()))
            .unwrap_err()
            .to_string(),
        "the Supervisor is of Zeek 5.1, which has no pcap_file"
    );
    assert!(SupervisorLayout::V6_0.write(create(pcap)).is_ok());

    let base = NodeConfig {
        addl_base_scripts: vec!["x".into()],
        ..worker()
    };
    let error = LayoutError::NotExpressible {
        field: "addl_base_scripts",
        layout: SupervisorLayout::V5_0,
    };
    assert_eq!(SupervisorLayout::V5_0.write(create(base)), Err(error));
}

#[test]
fn a_status_without_nodes_tells_nothing_and_one_without_clusters_the_later_layout() {
    assert_eq!(SupervisorLayout::of_status(&status_of(vec![])), Ok(None));

    let mut config = worker_in(SupervisorLayout::V6_1);
    *config.last_mut().unwrap() = table(vec![]);
    let status = status_of(vec![config.clone()]);
    assert_eq!(
        SupervisorLayout::of_status(&status),
        Ok(Some(SupervisorLayout::V7_0))
    );
    let status = status_of(vec![config, worker_in(SupervisorLayout::V6_1)]);
    assert_eq!(
        SupervisorLayout::of_status(&status),
        Ok(Some(SupervisorLayout::V6_1))
    );
}

#[test]
fn records_of_no_known_zeek_are_errors() {
    let mut longer = worker_in(SupervisorLayout::V7_0);
    longer.push(Data::None);
    for config in [longer, vec![], vec![text("w")]] {
        let status = status_of(vec![config]);
        assert_eq!(SupervisorLayout::of_status(&status), Err(LayoutError::Unknown));
    }
    let mixed = status_of(vec![
        worker_in(SupervisorLayout::V6_0),
        worker_in(SupervisorLayout::V7_0),
    ]);
    assert!(SupervisorLayout::of_status(&mixed).is_err());

    let short = SupervisorLayout::V6_0.read_response(status_of(vec![worker_in(SupervisorLayout::V5_0)]));
    assert_eq!(
        short.unwrap_err().to_string(),
        "result.nodes[0].node.bare_mode: expected boolean, found vector (in the layout of Zeek 6.0)"
    );
    let mut scalar = create(worker());
    scalar.args[1] = Data::Count(1);
    assert_eq!(
        SupervisorLayout::V6_0.write(scalar).unwrap_err().to_string(),
        "node: expected vector, found count (in the layout of Zeek 6.0)"
    );
}

#[test]
fn a_zeek_version_tells_the_layout_or_nothing() {
    let layouts = [
        ("zeek version 4.2.0", Some(SupervisorLayout::V5_0)),
        ("zeek version 5.0.10\n", Some(SupervisorLayout::V5_0)),
        ("zeek version 5.1.0", Some(SupervisorLayout::V5_1)),
        ("/opt/zeek/bin/zeek version 5.2.2", Some(SupervisorLayout::V5_1)),
        ("zeek version 6.0.9", Some(SupervisorLayout::V6_0)),
        ("zeek version 6.2.1-dev.3-debug", Some(SupervisorLayout::V6_1)),
        ("zeek version 7.0.0", Some(SupervisorLayout::V7_0)),
        ("zeek version 9.0.0-rc1", Some(SupervisorLayout::V7_0)),
        ("zeek version 10.0.0", None),
        ("zeek version 4.0.9", None),
        ("zeek version nine", None),
        ("9.0.0", None),
        ("", None),
    ];
    for (text, layout) in layouts {
        assert_eq!(SupervisorLayout::of_version(text), layout, "{text:?}");
    }
}
