use std::{collections::BTreeSet, sync::Arc};

use broker_codec::{
    Data, EndpointId, Recipients,
    data::{ZeekString, to_data},
    json::DataMessage,
    zeek::Event,
};
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, ClusterRole, Configuration, Dialect, Instance,
    LinkMessage, Node, Principal, RequestKind, ResultRecord, Transport, topics,
};

use super::*;
use crate::core::{Audience, Input, Outgoing, Settings, SharedRequest};

const CONTROLLER: &str = "zeek/management/controller";
const AGENT: &str = "zeek/management/agent/a";
const OLD_CONTROLLER: &str = "zeek/cluster-control/controller";
const PEER: EndpointId = EndpointId::from_bytes([1; EndpointId::LEN]);
const OTHER: EndpointId = EndpointId::from_bytes([2; EndpointId::LEN]);

fn wire() -> Wire {
    let mut wire = Wire::new(Settings::default(), Assumed::default());
    for peer in [PEER, OTHER] {
        wire.peer_added(peer, false, principal(peer));
    }
    wire
}

fn principal(peer: EndpointId) -> Principal {
    Principal {
        transport: Transport::Broker { peer },
        ..testkit::client(0)
    }
}

fn event(name: &str, args: Vec<Data>) -> Event {
    Event {
        name: name.into(),
        args,
        metadata: None,
    }
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

fn native(event: Event) -> Data {
    let metadata = Some(Vec::new());
    Event { metadata, ..event }.into_data()
}

fn message(topic: &str, event: Event) -> DataMessage {
    DataMessage {
        topic: topic.into(),
        data: event.into_data(),
    }
}

fn get_nodes() -> ClientRequest {
    ClientRequest::GetNodes { reqid: "r".into() }
}

fn read(wire: &mut Wire, topic: &str, data: Data) -> Result<FromPeer, Refusal> {
    let mut session = wire.session(PEER).unwrap();
    let read = session.read(topic.as_bytes(), data);
    wire.heard(session, read.as_ref().ok());
    read
}

fn client_session(wire: &Wire) -> ClientSession {
    wire.client_sessions()(testkit::client(7))
}

/// The answer to `get_nodes_request`.
fn answer() -> Publication {
    let response = ClientResponse::new(RequestKind::GetNodes, "r".into(), vec![]);
    Publication::new(
        CONTROLLER.into(),
        &Outgoing::Client(response),
        Audience::Subscribers,
    )
    .unwrap()
}

#[test]
fn the_topic_decides_which_api_a_peer_may_use() {
    let mut wire = wire();
    let request = Event::of(&get_nodes()).unwrap();
    let news = AgentMessage::Error {
        instance: "a".into(),
        msg: "m".into(),
        node: "".into(),
    };
    let news_event = Event::of(&news).unwrap();
    let mut input = |topic, event| {
        let read = read(&mut wire, topic, native(event)).unwrap();
        read.inbound.unwrap().input
    };
    assert_eq!(
        input(CONTROLLER, request.clone()),
        Input::Request {
            principal: principal(PEER),
            request: get_nodes()
        }
    );
    assert_eq!(
        input(AGENT, news_event.clone()),
        Input::Agent {
            peer: PEER,
            topic: AGENT.into(),
            message: news,
            dialect: Dialect::V7_0,
        }
    );
    let mut refused = |topic, data| read(&mut wire, topic, data).unwrap_err().to_string();
    assert_eq!(
        refused(AGENT, native(request.clone())),
        "unknown event `Management::Controller::API::get_nodes_request`"
    );
    assert_eq!(
        refused(CONTROLLER, native(news_event)),
        "unknown event `Management::Agent::API::notify_error`"
    );
    for topic in [
        "zeek/management/controller/x",
        "zeek/cluster-control/controller/x",
    ] {
        assert_eq!(
            refused(topic, native(request.clone())),
            "the controller does not subscribe to this topic"
        );
    }
    assert_eq!(refused(AGENT, Data::None), "a Zeek message is a list");
    assert_eq!(
        refused(
            OLD_CONTROLLER,
            native(event("ClusterController::API::restart_request", vec![]))
        ),
        "unknown event `ClusterController::API::restart_request` (in the API of Zeek 4.2)"
    );
    assert!(wire.session(EndpointId::NIL).is_none(), "it is not connected");
}

#[test]
fn clients_see_events_of_peers_without_metadata_and_what_the_core_passes_on_only_once() {
    let mut wire = wire();
    let request = native(Event::of(&get_nodes()).unwrap());
    let without_clients = read(&mut wire, CONTROLLER, request).unwrap();
    assert_eq!(without_clients.inbound.unwrap().copy, None);
    wire.client_connected(7, testkit::client(7));
    let mut copy = |topic, event| {
        let read = read(&mut wire, topic, native(event)).unwrap();
        read.inbound.unwrap().copy
    };
    let request = Event::of(&get_nodes()).unwrap();
    assert_eq!(
        copy(CONTROLLER, request.clone()),
        Some(message(CONTROLLER, request))
    );
    let news = AgentMessage::Log {
        instance: "a".into(),
        msg: "m".into(),
        node: "".into(),
    };
    assert_eq!(copy(AGENT, Event::of(&news).unwrap()), None);
}

#[test]
fn native_peers_get_an_empty_list_of_metadata_and_clients_get_none() {
    let mut wire = wire();
    let request = AgentRequest::GetNodes { reqid: "r".into() };
    let publication = |to| Publication::new(AGENT.into(), &Outgoing::Agent(request.clone()), to).unwrap();
    let sent = wire.deliver(&publication(Audience::Peer(PEER)), true);
    assert_eq!(sent.native.len(), 1);
    assert_eq!(sent.native[0].to, NativePeers::One(PEER));
    let event = Event::of(&request).unwrap();
    assert_eq!(sent.native[0].to_data().unwrap(), native(event.clone()));
    assert_eq!(sent.websocket, [(Recipients::all(), message(AGENT, event))]);
    let gone = publication(Audience::Peer(EndpointId::NIL));
    assert_eq!(wire.deliver(&gone, true).native, []);
}

/// What an agent costs that gets what others get: its own bytes, and no copy of what they share. `Event` says what it gets.
fn assert_shared(mut wire: Wire, topic: &str, to_many: impl Fn(&str) -> (Outgoing, Event)) {
    let mut ends = BTreeSet::new();
    for number in 1..=50 {
        let peer = EndpointId::from_bytes([number; EndpointId::LEN]);
        wire.peer_added(peer, false, principal(peer));
        let (outgoing, event) = to_many(&format!("r{number}"));
        let publication = Publication::new(topic.into(), &outgoing, Audience::Peer(peer)).unwrap();
        let Deliveries {
            mut native,
            websocket,
            ..
        } = wire.deliver(&publication, false);
        assert_eq!(websocket, []);
        let sent = native.pop().unwrap();
        assert_eq!((&sent.to, native.len()), (&NativePeers::One(peer), 0));
        assert_eq!(sent.to_data().unwrap(), self::native(event));
        let (_, payload) = sent.into_payload().unwrap();
        assert!(payload.own.len() < 200 && payload.shared.len() > 10_000);
        ends.insert(payload.shared.as_ptr());
    }
    assert_eq!(ends.len(), 1, "it was copied");
}

#[test]
fn what_agents_share_of_a_deployment_is_encoded_once_and_not_copied() {
    let nodes = (0..1000).map(|number| Node::new(format!("w{number}"), "a", ClusterRole::Worker));
    let config = Arc::new(Configuration::new("c1", [Instance::new("a")], nodes));
    assert_shared(wire(), AGENT, |reqid| {
        let request = AgentRequest::Deploy {
            reqid: reqid.into(),
            config: Arc::clone(&config),
            force: false,
        };
        let event = Event::of(&request).unwrap();
        (Outgoing::Agent(request), event)
    });
    let rest = Arc::new(ZeekString::from("x".repeat(20_000)));
    assert_shared(wire(), topics::LINK, |reqid| {
        let request = SharedRequest {
            reqid: reqid.into(),
            kind: "prepare".into(),
            json: reqid.into(),
            rest: Arc::clone(&rest),
        };
        let event = Event::of(&request.to_message()).unwrap();
        (Outgoing::Shared(request), event)
    });
}

#[test]
fn each_peer_and_client_is_answered_in_its_own_dialect() {
    let mut wire = wire();
    let all = wire.deliver(&answer(), true);
    assert_eq!(all.native.len(), 1);
    assert_eq!(all.native[0].to, NativePeers::Subscribers(Recipients::all()));

    let request = || {
        let configuration = to_data(&Configuration::default()).unwrap();
        event(
            "Management::Controller::API::set_configuration_request",
            vec![text("r"), configuration],
        )
    };
    let set = |principal| Input::SetConfiguration {
        principal,
        reqid: "r".into(),
        config: Configuration::default(),
    };
    let from_peer = read(&mut wire, CONTROLLER, native(request())).unwrap();
    assert_eq!(from_peer.inbound.unwrap().input, set(principal(PEER)));
    assert_eq!(wire.dialects(PEER), Some([Dialect::V7_0, Dialect::Seed]));
    wire.client_connected(7, testkit::client(7));
    let mut client = client_session(&wire);
    let from_client = client.read(message(CONTROLLER, request())).unwrap();
    wire.client_heard(7, &from_client);
    assert_eq!(from_client.input, Some(set(testkit::client(7))));

    let deliveries = wire.deliver(&answer(), true);
    let model = event(
        "Management::Controller::API::get_nodes_response",
        vec![text("r"), Data::Vector(vec![])],
    );
    let to: Vec<_> = deliveries.native.iter().map(|sent| sent.to.clone()).collect();
    assert_eq!(
        to,
        [
            NativePeers::Subscribers(Recipients::Except([PEER].into())),
            NativePeers::Subscribers(Recipients::one(PEER))
        ]
    );
    // Without results, both look alike.
    assert_eq!(deliveries.native[1].to_data().unwrap(), native(model.clone()));
    assert_eq!(
        deliveries.websocket,
        [
            (Recipients::Except([7].into()), message(CONTROLLER, model.clone())),
            (Recipients::one(7), message(CONTROLLER, model))
        ]
    );

    // Of staging both hear when it has been deployed.
    let staged = ClientResponse::new(
        RequestKind::StageConfiguration,
        "r".into(),
        vec![ResultRecord::success("r".into())],
    );
    let staged = Publication::new(
        CONTROLLER.into(),
        &Outgoing::Client(staged),
        Audience::Subscribers,
    )
    .unwrap();
    let deliveries = wire.deliver(&staged, true);
    assert_eq!(deliveries.native.len(), 1, "only those that know the event");
    assert_eq!(deliveries.websocket.len(), 1);

    wire.client_gone(7);
    wire.peer_lost(PEER);
    let deliveries = wire.deliver(&answer(), true);
    assert_eq!((deliveries.native.len(), deliveries.websocket.len()), (1, 1));
}

#[test]
fn a_long_request_id_is_answered_to_its_sender_alone() {
    let request = || {
        event(
            "Management::Controller::API::get_nodes_request",
            vec![text(&"x".repeat(16 << 20))],
        )
    };
    let FromPeer { inbound, answers } = read(&mut wire(), CONTROLLER, native(request())).unwrap();
    assert_eq!(inbound, None, "neither for the core nor for WebSocket clients");
    let [answer] = &*answers else {
        panic!("{} answers", answers.len())
    };
    assert_eq!(answer.to, NativePeers::One(PEER));
    assert!(format!("{:?}", answer.to_data()).contains("request ID is longer than 1024 bytes"));
    let refused = client_session(&wire()).read(message(CONTROLLER, request()));
    assert_eq!(
        refused.unwrap_err().context,
        "failed to create Zeek event: request ID is longer than 1024 bytes"
    );
}

#[test]
fn clients_may_use_the_controllers_topics_only() {
    let mut session = client_session(&wire());
    let mut refused = |topic, event| {
        let refused = session.read(message(topic, event));
        refused.unwrap_err().context
    };
    let request = Event::of(&get_nodes()).unwrap();
    assert_eq!(
        refused(AGENT, request),
        "failed to create Zeek event: topic zeek/management/agent/a is not open to clients, only zeek/management/controller and \
         zeek/cluster-control/controller"
    );
    let wrong = event(
        "ClusterController::API::test_timeout_request",
        vec![text("r"), text("T")],
    );
    assert_eq!(
        refused(OLD_CONTROLLER, wrong),
        "failed to create Zeek event: ClusterController::API::test_timeout_request.with_state: expected boolean, found string \
         (in the API of Zeek 4.2)"
    );
}

#[test]
fn messages_of_the_extension_reach_one_peer_and_no_client_whatever_the_peer_speaks() {
    let mut wire = wire();
    wire.client_connected(7, testkit::client(7));
    let said = LinkMessage::announce(&[]);
    let told = read(
        &mut wire,
        topics::LINK,
        native(Event::of(&said).expect("an event")),
    );
    let inbound = told.expect("it can be read").inbound.expect("for the core");
    assert_eq!(inbound.copy, None);
    let message = said.clone();
    assert_eq!(inbound.input, Input::Link { peer: PEER, message });

    let publication = Publication::new(topics::LINK.into(), &Outgoing::Link(said), Audience::Peer(PEER));
    let deliveries = wire.deliver(&publication.expect("an event"), true);
    assert!(deliveries.websocket.is_empty() && deliveries.failures.is_empty());
    let to: Vec<_> = deliveries.native.iter().map(|event| &event.to).collect();
    assert_eq!(to, [&NativePeers::One(PEER)]);
}
