mod controller;

use broker_codec::data::{Port, Set, to_data};

use super::*;
use crate::{
    AgentMessage, ClientRequest, ClientResponse, ClusterRole, Configuration, Instance, Node, REQID_BYTES_MAX,
};

const CONTROLLER: &str = "zeek/management/controller";
const AGENT: &str = "zeek/management/agent/a";
const OLD_CONTROLLER: &str = "zeek/cluster-control/controller";
const OLD_AGENT: &str = "zeek/cluster-control/agent/a";

fn translator(side: Side) -> Translator {
    let peer = Peer {
        id: "3a53339e-9528-56fa-9dce-a25ad55f88a3".into(),
        dialled: true,
        host: "192.0.2.7".parse().unwrap(),
    };
    Translator::new(side, peer, Topics::default(), Dialect::V7_0)
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

fn list<const N: usize>(elements: [Data; N]) -> Data {
    Data::Vector(elements.into())
}

fn event(name: &str, args: impl Into<Vec<Data>>) -> Event {
    Event {
        name: name.into(),
        args: args.into(),
        metadata: None,
    }
}

fn enum_value(name: &str) -> Data {
    Data::EnumValue(broker_codec::data::EnumValue(name.into()))
}

fn of<T: serde::Serialize>(value: &T) -> Event {
    Event::of(value).unwrap()
}

fn published(topic: &str, event: Event) -> Published {
    Published {
        topic: topic.into(),
        event,
    }
}

/// Only for the core.
fn to_model(topic: &str, event: Event) -> Translation {
    Translation::to_model(topic.into(), event)
}

fn incoming(translator: &mut Translator, topic: &str, event: Event) -> Translation {
    translator.incoming(topic.as_bytes(), event).unwrap()
}

fn outgoing<T: serde::Serialize>(translator: &mut Translator, topic: &str, value: &T) -> Translation {
    translator.outgoing(topic.as_bytes(), &of(value)).unwrap()
}

/// A result up to 5.0.0-rc1.
fn old_result(reqid: &str, instance: &str, success: bool, error: &str) -> Data {
    list([
        text(reqid),
        text(instance),
        Data::Boolean(success),
        Data::None,
        text(error),
        Data::None,
    ])
}

fn of_agent(result: ResultRecord) -> ResultRecord {
    ResultRecord {
        instance: Some("a".into()),
        ..result
    }
}

fn success(reqid: &str) -> ResultRecord {
    ResultRecord::success(reqid.into())
}

fn node(name: &str) -> Node {
    Node {
        metrics_port: Some(Port::tcp(9000)),
        ..Node::new(name, "a", ClusterRole::Worker)
    }
}

fn config() -> Configuration {
    let instance = Instance {
        host: "192.0.2.1".parse().unwrap(),
        ..Instance::new("a")
    };
    Configuration::new("c1", [instance], [node("w")])
}

/// The configuration as anyone sends it up to 6.2.
fn config_of_10() -> Data {
    let Data::Vector(mut config) = to_data(&config()).unwrap() else {
        panic!("a record")
    };
    let Data::Set(nodes) = &config[2] else {
        panic!("a set")
    };
    let Data::Vector(mut node) = nodes.as_slice()[0].clone() else {
        panic!("a record")
    };
    node.truncate(10);
    config[2] = Data::Set([Data::Vector(node)].into());
    Data::Vector(config)
}

/// What no translator reads goes through as it is, for the core to refuse.
#[test]
fn who_speaks_the_model_is_not_touched() {
    let mut translator = translator(Side::Controller);
    let unknown = event("Cluster::hello", [text("x")]);
    assert_eq!(
        incoming(&mut translator, "t", unknown.clone()),
        to_model("t", unknown)
    );
    let response = ClientResponse::Deploy {
        reqid: "r".into(),
        results: vec![success("r")],
    };
    assert_eq!(translator.dialect(), Dialect::V7_0);
    let said = Answers::new(Dialect::V7_0).say(&Topics::default(), CONTROLLER.as_bytes(), &of(&response));
    assert_eq!(said.unwrap(), Some(published(CONTROLLER, of(&response))));
}

/// What is said to controllers that have not spoken yet is in the transcripts of the agent.
#[test]
fn an_agent_that_knows_its_controller_says_hello_in_one_dialect() {
    let hello = AgentMessage::Hello {
        instance: "a".into(),
        id: "3a53339e-9528-56fa-9dce-a25ad55f88a3".into(),
        connecting: true,
        api_version: 1,
    };
    let host = Data::Address("192.0.2.7".parse().unwrap());
    let old = event(
        "ClusterAgent::API::notify_agent_hello",
        [text("a"), host, Data::Count(1)],
    );
    for (module, topic, expected) in [
        ("ClusterAgent", OLD_AGENT, published(OLD_AGENT, old)),
        ("Management::Agent", AGENT, published(AGENT, of(&hello))),
    ] {
        let mut heard = translator(Side::Agent);
        let standby = event(&format!("{module}::API::agent_standby_request"), [text("")]);
        incoming(&mut heard, topic, standby);
        assert_eq!(outgoing(&mut heard, AGENT, &hello).to_peer, [expected]);
    }
}

/// Of clients' the core admits so many.
#[test]
fn configurations_under_way_at_an_agent_are_limited_in_number() {
    let mut translator = translator(Side::Agent);
    let mut set = |reqid: &str| {
        let name = "Management::Agent::API::set_configuration_request";
        let set = event(name, [text(reqid), config_of_10()]);
        incoming(&mut translator, AGENT, set)
    };
    for number in 0..REQUESTS_MAX {
        assert_eq!(set(&number.to_string()).to_peer, []);
    }
    let refused = set("one more");
    assert_eq!(refused.to_model, None);
    assert!(
        format!("{refused:?}").contains("too many requests pending"),
        "{refused:?}"
    );
}

/// The arguments of a request with this id and these names.
type Arguments = fn(Data, Data) -> Vec<Data>;

/// S4: the id was logged whole, echoed and doubled in an answer to everyone.
#[test]
fn a_request_with_a_long_text_is_answered_in_few_bytes_and_never_reaches_the_core() {
    let long = |len: usize| Data::String("\u{1}".repeat(len).as_str().into());
    let names = |len| Data::Set(Set::from_iter([text("worker"), long(len)]));
    let requests: [(_, Arguments); 6] = [
        ("Management::Controller::API::get_nodes_request", |id, _| vec![id]),
        ("Management::Controller::API::restart_request", |id, names| {
            vec![id, names]
        }),
        (
            "Management::Controller::API::set_configuration_request",
            |id, _| vec![id, config_of_10()],
        ),
        ("ClusterController::API::get_instances_request", |id, _| vec![id]),
        ("Management::Agent::API::restart_request", |id, names| {
            vec![id, names]
        }),
        ("Management::Agent::API::agent_standby_request", |id, _| vec![id]),
    ];
    let max = REQID_BYTES_MAX;
    for (name, args) in requests {
        let (side, topic) = match name.split("::").nth(1) {
            Some("Agent") => (Side::Agent, AGENT),
            Some("Controller") => (Side::Controller, CONTROLLER),
            _ => (Side::Controller, OLD_CONTROLLER),
        };
        for (id, node, refused) in [
            (max, max, false),
            (max + 1, 1, true),
            (16 << 20, 1, true),
            (1, 16 << 20, true),
        ] {
            let args = args(long(id), names(node));
            if id == 1 && args.len() == 1 || name.contains("set_") && node > max {
                continue;
            }
            let Translation { to_model, to_peer } = incoming(&mut translator(side), topic, event(name, args));
            assert_eq!(to_model.is_none(), refused, "{name}");
            assert_eq!(to_peer.len(), usize::from(refused), "{name}");
            for Published { event, .. } in to_peer {
                let answer = event.to_data();
                assert!(
                    format!("{answer:?}").contains("is longer than 1024 bytes"),
                    "{answer:?}"
                );
                let mut bytes = bytes::BytesMut::new();
                broker_codec::binary::encode(&answer, &mut bytes).unwrap();
                let topic = topic.into();
                let json = broker_codec::json::DataMessage { topic, data: answer }
                    .encode()
                    .unwrap();
                assert!(
                    bytes.len() < 4096 && json.len() < 4096,
                    "{name}: {}, {}",
                    bytes.len(),
                    json.len()
                );
            }
        }
    }
}

#[test]
fn errors_name_the_dialect_the_event_and_the_field() {
    let mut translator = translator(Side::Controller);
    let mut fail = |name: &str, args: Vec<Data>| {
        let outcome = translator.incoming(OLD_CONTROLLER.as_bytes(), event(name, args));
        outcome.unwrap_err().to_string()
    };
    let set = "ClusterController::API::set_configuration_request";
    let node = |state: Data| {
        let fields = [
            text("w"),
            text("a"),
            Data::Port(Port::tcp(1)),
            enum_value("x"),
            state,
        ];
        let nodes = Data::Set([Data::Vector(fields.into())].into());
        vec![text("r"), list([text("c"), Data::Set([].into()), nodes])]
    };
    for (name, args, expected) in [
        (set, vec![text("r")], "expected 2 arguments, got 1"),
        (
            set,
            vec![text("r"), text("c")],
            ".config: expected vector, found string",
        ),
        (
            set,
            vec![text("r"), list([text("c")])],
            ".config.instances: missing",
        ),
        (
            set,
            node(Data::None),
            ".config.nodes[0].state: expected enum-value, found none",
        ),
        (
            set,
            node(enum_value("Running")),
            ".config.nodes[0].state: unknown enum value `Running`",
        ),
        (
            set,
            node(enum_value("ClusterController::Types::Running")),
            ".config.nodes[0].scripts: missing",
        ),
    ] {
        let separator = if expected.starts_with('.') { "" } else { ": " };
        let expected = format!("{name}{separator}{expected} (in the API of Zeek 4.2)");
        assert_eq!(fail(name, args), expected);
    }
    assert_eq!(
        fail("ClusterController::API::notify_agents_ready", vec![]),
        "unknown event `ClusterController::API::notify_agents_ready` (in the API of Zeek 4.2)"
    );
}

#[test]
fn our_own_agent_and_controller_speak_the_model_although_the_agent_says_both_hellos() {
    let said = AgentMessage::Hello {
        instance: "a".into(),
        id: "3a53339e-9528-56fa-9dce-a25ad55f88a3".into(),
        connecting: true,
        api_version: 1,
    };
    for dialect in [Dialect::V7_0, Dialect::Seed] {
        let mut agent = translator(Side::Agent);
        agent.dialect = dialect;
        let hellos = outgoing(&mut agent, AGENT, &said).to_peer;
        assert_eq!(hellos.len(), 2);
        let mut forwards = translator(Side::Controller);
        let mut backwards = translator(Side::Controller);
        let mut heard = 0;
        for hello in &hellos {
            let read = forwards.incoming(&hello.topic, hello.event.clone()).unwrap();
            heard += usize::from(read.to_model.is_some());
        }
        for hello in hellos.iter().rev() {
            backwards.incoming(&hello.topic, hello.event.clone()).unwrap();
        }
        assert_eq!(
            (forwards.dialect(), backwards.dialect(), heard),
            (dialect, dialect, 1)
        );
    }
}
