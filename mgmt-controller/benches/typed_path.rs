//! What agents say, from the bytes of a frame to an input of the core.
//!
//!     cargo bench -p mgmt-controller
//!
//! docs/performance.md has the numbers.

use broker_codec::{
    Data, EndpointId, Envelope, EnvelopeKind, Payload, Topic, binary,
    data::{Port, to_data},
    zeek::Event,
};
use bytes::{Bytes, BytesMut};
use divan::Bencher;
use mgmt_api::{
    AgentMessage, ClusterRole, NodeOutputs, NodeStatus, Principal, ResultRecord, State, Transport, topics,
};
use mgmt_controller::{
    core::Settings,
    wire::{Assumed, PeerSession, Wire},
};

const NODES: u16 = 20;
const PEER: EndpointId = EndpointId::from_bytes([1; 16]);

fn main() {
    divan::main();
}

fn session() -> PeerSession {
    let mut wire = Wire::new(Settings::default(), Assumed::default());
    let principal = Principal {
        transport: Transport::Broker { peer: PEER },
        address: None,
        certificate: None,
        grant: None,
    };
    wire.peer_added(PEER, false, principal);
    wire.session(PEER).expect("the peer was added")
}

/// The envelope in which an agent says it.
fn envelope(message: &AgentMessage) -> Bytes {
    let event = Event::of(message).expect("an event").native();
    let payload = Payload::of(&event.into_data()).expect("it can be encoded");
    let topic = topics::agent(topics::AGENT_PREFIX.as_bytes(), b"sensor-1");
    let envelope = Envelope {
        sender: PEER,
        receiver: EndpointId::NIL,
        kind: EnvelopeKind::Data,
        ttl: 20,
        topic: Topic::new(&topic).expect("a topic"),
        payload: payload.to_bytes(),
    };
    let mut bytes = BytesMut::new();
    envelope.encode(&mut bytes);
    bytes.freeze()
}

fn result() -> ResultRecord {
    ResultRecord {
        instance: Some("sensor-1".into()),
        ..ResultRecord::success("qpRfrGWUsmg".into())
    }
}

fn hello() -> AgentMessage {
    AgentMessage::Hello {
        instance: "sensor-1".into(),
        id: PEER.to_string().into(),
        connecting: true,
        api_version: 1,
    }
}

fn deployed() -> AgentMessage {
    let of_node = |number| ResultRecord {
        data: Some(to_data(&NodeOutputs::default()).expect("data")),
        node: Some(format!("worker-{number:02}").into()),
        ..result()
    };
    AgentMessage::Deploy {
        reqid: "qpRfrGWUsmg".into(),
        results: (0..NODES).map(of_node).collect(),
    }
}

fn nodes() -> AgentMessage {
    let of_node = |number| NodeStatus {
        cluster_role: ClusterRole::Worker,
        pid: Some(4711),
        p: Some(Port::tcp(2200 + number)),
        metrics_port: Some(Port::tcp(9000 + number)),
        ..NodeStatus::new(format!("worker-{number:02}"), State::Running)
    };
    let nodes: Vec<NodeStatus> = (0..NODES).map(of_node).collect();
    AgentMessage::GetNodes {
        reqid: "qpRfrGWUsmg".into(),
        result: ResultRecord {
            data: Some(to_data(&nodes).expect("data")),
            ..result()
        },
    }
}

fn read(bencher: Bencher<'_, '_>, message: &AgentMessage) {
    let (mut session, frame) = (session(), envelope(message));
    bencher.bench_local(|| {
        let envelope = Envelope::decode(divan::black_box(&frame).clone()).expect("an envelope");
        let data: Data = binary::decode(&envelope.payload).expect("a value");
        session.read(envelope.topic.as_bytes(), data).expect("an event")
    });
}

#[divan::bench]
fn hello_of_an_agent(bencher: Bencher<'_, '_>) {
    read(bencher, &hello());
}

#[divan::bench]
fn deploy_response_of_20_nodes(bencher: Bencher<'_, '_>) {
    read(bencher, &deployed());
}

#[divan::bench]
fn get_nodes_response_of_20_nodes(bencher: Bencher<'_, '_>) {
    read(bencher, &nodes());
}
