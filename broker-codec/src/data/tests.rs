//! The serde bridge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::zeek::Event;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Role {
    #[serde(rename = "Management::MANAGER")]
    Manager,
    #[serde(rename = "Management::WORKER")]
    Worker,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Node {
    name: String,
    role: Role,
    #[serde(default)]
    p: Option<Port>,
    #[serde(default = "eth0")]
    interface: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    any: Data,
}

fn eth0() -> String {
    "eth0".into()
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Configuration {
    id: String,
    instances: Set<(String, Address)>,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Request {
    #[serde(rename = "API::stage_request")]
    Stage { reqid: String, config: Configuration },
    #[serde(rename = "API::restart_request")]
    Restart {
        reqid: String,
        #[serde(default)]
        nodes: Set<String>,
    },
    #[serde(rename = "API::ping")]
    Ping,
    #[serde(rename = "API::echo")]
    Echo(Data),
    #[serde(rename = "API::pair")]
    Pair(u64, i64),
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

fn node() -> Data {
    Data::Vector(vec![
        text("worker-01"),
        Data::EnumValue(EnumValue("Management::WORKER".into())),
        Data::Port(Port::tcp(2200)),
        text("lo"),
        Data::Table(Table::try_from(vec![(text("A"), text("1"))]).unwrap()),
        Data::Set(Set::from([
            Data::Timespan(Timespan(7)),
            Data::Real(Real(f64::NAN)),
        ])),
    ])
}

fn node_with(index: usize, value: Data) -> Data {
    let Data::Vector(mut fields) = node() else {
        unreachable!()
    };
    fields[index] = value;
    Data::Vector(fields)
}

fn stage(node: Data) -> Event {
    let instance = Data::Vector(vec![text("i"), Data::Address(Address::UNSPECIFIED_V4)]);
    let config = Data::Vector(vec![
        text("cfg"),
        Data::Set(Set::from([instance])),
        Data::Vector(vec![node]),
    ]);
    Event {
        name: "API::stage_request".into(),
        args: vec![text("r"), config],
        metadata: None,
    }
}

fn error(event: &Event) -> String {
    event.clone().parse::<Request>().unwrap_err().to_string()
}

#[test]
fn records_survive_the_round_trip() {
    let event = stage(node());
    let request: Request = event.clone().parse().unwrap();
    let Request::Stage { config, .. } = &request else {
        panic!("{request:?}")
    };
    assert_eq!(config.nodes[0].p, Some(Port::tcp(2200)));
    assert_eq!(config.nodes[0].env["A"], "1");
    assert_eq!(Event::of(&request).unwrap(), event);
}

#[test]
fn every_leaf_passes_an_any_field() {
    let leaves = [
        Data::None,
        Data::Boolean(true),
        Data::Count(1),
        Data::Integer(-1),
        Data::Real(Real(1.5)),
        text("text"),
        Data::String(ZeekString::from(&[0xff, 0x00][..])),
        Data::Address("2001:db8::1".parse().unwrap()),
        Data::Subnet("10.0.0.0/8".parse().unwrap()),
        Data::Port("53/udp".parse().unwrap()),
        Data::Timestamp(Timestamp(-1)),
        Data::Timespan(Timespan(i64::MIN)),
        Data::EnumValue(EnumValue("A::B".into())),
        Data::Set(Set::from([Data::None, Data::Count(1)])),
        Data::Table(Table::try_from(vec![(node(), node())]).unwrap()),
        Data::Vector(vec![Data::None, node()]),
    ];
    for leaf in leaves {
        assert_eq!(to_data(&leaf).unwrap(), leaf);
        assert_eq!(from_data::<Data>(leaf.clone()).unwrap(), leaf);
        let echo: Request = Event::of(&Request::Echo(leaf.clone())).unwrap().parse().unwrap();
        assert_eq!(echo, Request::Echo(leaf.clone()));
        let journal = serde_json::to_string(&leaf).unwrap();
        assert_eq!(serde_json::from_str::<Data>(&journal).unwrap(), leaf, "{journal}");
    }
}

#[test]
fn other_formats_see_plain_values() {
    let request: Request = stage(node_with(5, Data::Count(1))).parse().unwrap();
    let journal = serde_json::to_string(&request).unwrap();
    assert_eq!(
        journal,
        r#"{"API::stage_request":{"reqid":"r","config":{"id":"cfg","instances":[["i","0.0.0.0"]],"nodes":[{"name":"worker-01","role":"Management::WORKER","p":"2200/tcp","interface":"lo","env":{"A":"1"},"any":{"count":1}}]}}}"#
    );
    assert_eq!(serde_json::from_str::<Request>(&journal).unwrap(), request);
}

#[test]
fn errors_say_where() {
    let cases = [
        (
            stage(node_with(2, text("80"))),
            "API::stage_request.config.nodes[0].p: expected port, found string",
        ),
        (
            stage(node_with(1, text("Management::WORKER"))),
            "API::stage_request.config.nodes[0].role: expected enum-value, found string",
        ),
        (
            stage(node_with(
                1,
                Data::EnumValue(EnumValue("Management::BOSS".into())),
            )),
            "API::stage_request.config.nodes[0].role: unknown enum value `Management::BOSS`",
        ),
        (
            stage(node_with(0, Data::None)),
            "API::stage_request.config.nodes[0].name: expected string, found none",
        ),
        (
            stage(node_with(
                4,
                Data::Table(Table::try_from(vec![(text("K"), Data::Count(1))]).unwrap()),
            )),
            "API::stage_request.config.nodes[0].env[K]: expected string, found count",
        ),
        (
            stage(Data::Vector(vec![text("name only")])),
            "API::stage_request.config.nodes[0].role: missing",
        ),
        (
            Event {
                args: vec![text("r"), Data::Vector(vec![])],
                ..Event::of(&Request::Restart {
                    reqid: String::new(),
                    nodes: Set::new(),
                })
                .unwrap()
            },
            "API::restart_request.nodes: expected set, found vector",
        ),
        (
            Event {
                args: vec![Data::Integer(1), Data::Integer(2)],
                ..Event::of(&Request::Pair(1, 2)).unwrap()
            },
            "API::pair[0]: expected count, found integer",
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(error(&event), expected);
    }
}

#[test]
fn events_are_matched_by_name_and_number_of_arguments() {
    let mut event = stage(node());
    event.args.push(Data::None);
    assert_eq!(error(&event), "API::stage_request: expected 2 arguments, got 3");
    event.args.truncate(1);
    assert_eq!(error(&event), "API::stage_request: expected 2 arguments, got 1");
    event.name = "API::nope".into();
    assert_eq!(error(&event), "unknown event `API::nope`");
    event.name = "API::echo".into();
    event.args.clear();
    assert_eq!(error(&event), "API::echo: expected 1 argument, got 0");
    event.name = "API::ping".into();
    assert_eq!(event.parse::<Request>().unwrap(), Request::Ping);
}

#[test]
fn none_is_no_argument_even_where_a_default_is_declared() {
    let event = Event {
        name: "API::restart_request".into(),
        args: vec![text("r"), Data::None],
        metadata: None,
    };
    assert_eq!(
        error(&event),
        "API::restart_request.nodes: expected set, found none"
    );
}

#[test]
fn unset_and_missing_fields_take_their_defaults() {
    let parse = |data: Data| from_data::<Node>(data).unwrap();
    let Data::Vector(mut fields) = node_with(3, Data::None) else {
        unreachable!()
    };
    fields[2] = Data::None;
    fields[4] = Data::None;
    fields[5] = Data::None;
    let unset = parse(Data::Vector(fields.clone()));
    assert_eq!((unset.p, unset.interface.as_str()), (None, "eth0"));
    assert_eq!((unset.env.len(), &unset.any), (0, &Data::None));
    fields.truncate(2);
    assert_eq!(parse(Data::Vector(fields)), unset);
}

#[test]
fn surplus_fields_are_ignored() {
    let Data::Vector(mut fields) = node() else {
        unreachable!()
    };
    let exact: Node = from_data(node()).unwrap();
    fields.push(Data::Count(3));
    assert_eq!(from_data::<Node>(Data::Vector(fields)).unwrap(), exact);
}

#[test]
fn types_without_a_counterpart_are_refused() {
    assert_eq!(
        to_data(&(1_u64, vec![1_u32])).unwrap_err().to_string(),
        "[1][0]: u32 has no counterpart in Broker's data model"
    );
    assert!(from_data::<u32>(Data::Count(1)).is_err());
    assert!(from_data::<f32>(Data::Real(Real(1.0))).is_err());
    assert!(from_data::<()>(Data::None).is_err());
    assert!(Event::of(&1_u64).is_err());
    assert!(to_data(&Request::Ping).is_ok());
    assert!(to_data(&Request::Pair(1, 1)).is_err());
}

#[test]
fn sets_and_tables_come_out_in_the_order_of_broker() {
    #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
    enum Reversed {
        Zulu,
        Alpha,
    }
    let data = to_data(&Set::from([Reversed::Alpha, Reversed::Zulu])).unwrap();
    assert_eq!(data.to_string(), "{Alpha, Zulu}");
    let table = BTreeMap::from([(Reversed::Zulu, 1_u64), (Reversed::Alpha, 2)]);
    assert_eq!(to_data(&table).unwrap().to_string(), "{Alpha -> 2, Zulu -> 1}");
}

#[test]
fn duplicates_are_what_broker_takes_for_duplicates() {
    let real = |value| Data::Real(Real(value));
    let set = |elements: &[Data]| Set::from_wire(elements.to_vec());
    assert_eq!(set(&[real(0.0), real(-0.0)]), Err(DuplicateError));
    assert_eq!(set(&[real(f64::NAN), real(1.0)]), Err(DuplicateError));
    assert_eq!(
        set(&[Data::Vector(vec![real(f64::NAN)]), Data::Vector(vec![real(1.0)])]),
        Err(DuplicateError)
    );
    assert!(set(&[real(f64::NAN), Data::Count(1)]).is_ok());
    assert!(set(&[real(2.0), real(1.0)]).is_ok_and(|set| set.as_slice() == [real(1.0), real(2.0)]));
}

#[test]
fn reals_are_ordered_totally_and_hash_as_they_compare() {
    use std::hash::BuildHasher;
    let ascending = [f64::NEG_INFINITY, -1.0, 0.0, 5e-324, f64::INFINITY, f64::NAN].map(Real);
    assert!(ascending.is_sorted_by(|left, right| left < right));
    let hasher = std::hash::RandomState::new();
    for (left, right) in [(0.0, -0.0), (f64::NAN, -f64::NAN)] {
        assert_eq!(Real(left), Real(right));
        assert_eq!(hasher.hash_one(Real(left)), hasher.hash_one(Real(right)));
    }
}
