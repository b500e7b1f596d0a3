//! Our script for nodes in an installed Zeek, a cluster of one node, with an endpoint in the agent's place: all that is said arrives as
//! what we take it for. Where there is no Zeek it cannot run, and says so.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use broker_codec::{
    Data,
    data::{Set, ZeekString},
};
use broker_endpoint::{EndpointEvent, tls::TlsConfig};
use mgmt_api::{NodeLinkMessage, NodeLinkRequest, topics};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    live::installed_zeek,
    support::{
        limit::{Limit, end_of},
        peer::{Peer, data_of},
        runtime,
    },
};

const LINK: &str = include_str!("../mgmt-agent/scripts/node-link.zeek");
const LAYOUT: &str = include_str!("../mgmt-agent/scripts/node-layout.zeek");

const TOKEN: &str = "what only node and agent know";

/// A process that does not outlive its test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It has ended unless the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the only node of a cluster, as an agent would that listens on this port.
fn start(prefix: &Path, directory: &Path, port: u16) -> Child {
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("it can be written");
    write("node-link.zeek", &LINK.replace("@NODE_TOPIC@", topics::NODE));
    write("node-layout.zeek", LAYOUT);
    write(
        "cluster-layout.zeek",
        "redef Cluster::nodes = { [\"manager\"] = [$node_type=Cluster::MANAGER, $ip=127.0.0.1] };\n",
    );
    // Older ones have it built in.
    let backend = "policy/frameworks/cluster/backend/broker";
    let has_backend = prefix.join("share/zeek").join(backend).is_dir();
    Command::new(prefix.join("bin/zeek"))
        .args(has_backend.then_some(backend))
        .args(["./node-link.zeek", "Broker::disable_ssl=T"])
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("CLUSTER_NODE", "manager")
        .env("MGMT_NODE_AGENT", "127.0.0.1")
        .env("MGMT_NODE_PORT", port.to_string())
        .env("MGMT_NODE_TOKEN", TOKEN)
        .env("MGMT_NODE_HEARTBEAT", "0.2")
        .stdin(Stdio::null())
        .spawn()
        .expect("Zeek can be started")
}

/// What the node says next, but for heartbeats.
fn hears(agent: &mut Peer, what: &str) -> NodeLinkMessage {
    agent.hear(&Limit::new(what), |event| {
        let said = event.parse().expect("it is of the link");
        (!matches!(said, NodeLinkMessage::Heartbeat { .. })).then_some(said)
    })
}

/// The answer to a request: its data, or its error.
fn asks(agent: &mut Peer, request: &NodeLinkRequest) -> Result<String, String> {
    agent.publish("zeek/management/node-link/nodes", &data_of(request));
    let NodeLinkMessage::Reply { reqid, result } = hears(agent, "an answer") else {
        panic!("no answer");
    };
    assert_eq!((reqid, result.node), ("r".into(), Some("manager".into())));
    match (result.data, result.error) {
        (Some(Data::String(json)), None) => Ok(json.to_str_lossy().into_owned()),
        (None, None) => Ok(String::new()),
        (None, Some(error)) => Err(error.to_string()),
        other => panic!("{other:?}"),
    }
}

fn get(id: &str) -> NodeLinkRequest {
    NodeLinkRequest::GetId {
        reqid: "r".into(),
        id: id.into(),
        only: ["manager".into()].into(),
    }
}

#[test]
fn a_node_of_the_installed_zeek_is_understood() {
    let Some(prefix) = installed_zeek() else { return };
    let home = crate::support::home();
    let mut agent = Peer::start(TlsConfig::Off, topics::NODE);
    let listening = runtime().block_on(agent.endpoint.handle().listen("127.0.0.1", 0));
    let port = listening.expect("it can listen")[0].port();
    let mut node = Node(start(&prefix, home.path(), port));
    let connected = agent.event(&Limit::new("the node"));
    assert!(matches!(connected, EndpointEvent::PeerAdded(_)), "{connected:?}");

    let NodeLinkMessage::Hello {
        node: name,
        pid,
        role,
        protocol,
        token,
        ..
    } = hears(&mut agent, "a hello")
    else {
        panic!("no hello");
    };
    assert_eq!((name, role), ("manager".into(), "Cluster::MANAGER".into()));
    assert_eq!((pid, protocol, token), (node.0.id().into(), 1, TOKEN.into()));
    let beats: Vec<_> = (0..2)
        .map(|_| {
            agent.hear(&Limit::new("a heartbeat"), |event| match event.parse() {
                Ok(NodeLinkMessage::Heartbeat { beat, .. }) => Some(beat),
                _ => None,
            })
        })
        .collect();
    assert!(beats[0].number < beats[1].number, "{beats:?}");
    assert_eq!(
        (&*beats[1].source.to_string(), beats[1].every.0),
        ("none", 200_000_000)
    );

    assert_eq!(asks(&mut agent, &get("Cluster::node")), Ok("\"manager\"".into()));
    assert_eq!(asks(&mut agent, &get("No::such")), Err("unknown id".into()));
    assert_eq!(asks(&mut agent, &get("connection")), Err("no ID value".into()));
    let status = NodeLinkRequest::Status {
        reqid: "r".into(),
        only: Set::default(),
    };
    assert!(asks(&mut agent, &status).is_ok_and(|json| json.contains("\"source\":\"none\"")));

    let name: ZeekString = "worker-1".into();
    let adds = NodeLinkRequest::AddNode {
        reqid: "r".into(),
        name: name.clone(),
        ip: "127.0.0.1".parse().expect("an address"),
        manager: "manager".into(),
        only: Set::default(),
    };
    let removes = NodeLinkRequest::RemoveNode {
        reqid: "r".into(),
        name,
        only: Set::default(),
    };
    assert_eq!(asks(&mut agent, &adds), Ok(String::new()));
    assert_eq!(
        asks(&mut agent, &adds),
        Err("node worker-1 is in the layout already".into())
    );
    assert!(asks(&mut agent, &get("Cluster::nodes")).is_ok_and(|json| json.contains("worker-1")));
    assert_eq!(asks(&mut agent, &removes), Ok(String::new()));
    assert_eq!(
        asks(&mut agent, &removes),
        Err("no worker worker-1 is in the layout".into())
    );

    kill_process(Pid::from_child(&node.0), Signal::TERM).expect("it runs");
    let bye = NodeLinkMessage::Bye {
        node: "manager".into(),
    };
    assert_eq!(hears(&mut agent, "a farewell"), bye);
    drop(agent);
    assert!(end_of(&mut node.0, "the node").success());
}
