//! The controller with an agent, from the operator's view: real controller, real zeek-client, real Broker connections in both
//! directions, with and without TLS. The agent is a stand-in whose nodes always come up.

use std::thread;

use broker_codec::{
    Data,
    data::{Address, Port, ZeekString},
};
use broker_endpoint::{EndReason, EndpointEvent, tls::TlsConfig};
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClusterRole, Configuration, Instance, Node, topics,
};
use serde_json::{Value, json};
use testkit::ReservedPort;

use crate::support::{
    agent::{StandIn, Way},
    certificates::{Authority, PASSPHRASE, native_settings},
    controller::Controller,
    home,
    limit::Limit,
    peer::{Peer, data_of},
    relay::Relay,
    runtime,
    session::Session,
    websocket::{Client, request},
};

const AGENT: &str = "agent-1";

const NODES: &str = "
[manager]
instance = agent-1
role = manager

[worker]
instance = agent-1
role = worker
interface = lo
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialler {
    Agent,
    Controller,
}

#[test]
fn an_agent_that_connects_lives_through_every_crash() {
    live_in_each_tls_mode(Dialler::Agent);
}

#[test]
fn an_agent_that_is_connected_to_lives_through_every_crash() {
    live_in_each_tls_mode(Dialler::Controller);
}

fn live_in_each_tls_mode(dialler: Dialler) {
    live(dialler, &TlsConfig::Off, &["Broker::disable_ssl=T".to_owned()]);
    live(dialler, &TlsConfig::Anonymous, &[]);
    let ca = Authority::new("Cluster CA");
    let settings = native_settings(&ca, &ca.sign_encrypted("controller", PASSPHRASE));
    live(dialler, &ca.mutual(AGENT), &settings);
}

/// With these settings, agent and controller find each other, by one way or the other.
fn live(dialler: Dialler, tls: &TlsConfig, settings: &[String]) {
    let relay = Relay::start();
    let home = home();
    let start_controller = || {
        let arguments = [settings, &["Management::connect_retry=50msec".to_owned()]].concat();
        let controller = Controller::start_in(&home, &arguments);
        if dialler == Dialler::Agent {
            relay.point_to(controller.broker());
        }
        controller
    };
    let start_agent = || match dialler {
        Dialler::Agent => StandIn::start(AGENT, tls, Way::Connect(relay.address())),
        Dialler::Controller => {
            let agent = StandIn::start(AGENT, tls, Way::Listen);
            relay.point_to(agent.address());
            agent
        }
    };

    // The agent gets known: when it says hello, or when it is deployed to.
    let mut controller = start_controller();
    let mut observer = Client::observing(controller.websocket());
    let mut agent = start_agent();
    let (instance, shown) = match dialler {
        Dialler::Agent => (AGENT.to_owned(), json!({ "host": "127.0.0.1" })),
        Dialler::Controller => {
            let shown = json!({ "host": "127.0.0.1", "port": relay.address().port() });
            (format!("{AGENT} = {}", relay.address()), shown)
        }
    };
    if dialler == Dialler::Agent {
        observer.text_about("Management::Agent::API::notify_agent_hello");
        assert_eq!(
            zeek_client(&mut controller, &["get-instances"], None),
            json!({ AGENT: shown })
        );
    }

    // A deployment.
    let configuration = format!("[instances]\n{instance}\n{NODES}");
    let id = &deploy(&mut controller, &configuration);
    assert_eq!(agent.asked(deployed), deployment(id));
    for event in ["deploy_request", "deploy_response"] {
        observer.text_about(&format!("Management::Agent::API::{event}"));
    }
    assert_eq!(
        zeek_client(&mut controller, &["get-instances"], None),
        json!({ AGENT: shown })
    );
    use_nodes(&mut controller);

    // The agent crashes, and another one comes in its place.
    relay.cut();
    drop(agent);
    if dialler == Dialler::Agent {
        relay.point_to(controller.broker());
    }
    agent = start_agent();
    assert_eq!(agent.asked(deployed), deployment(id));
    use_nodes(&mut controller);

    // The controller crashes.
    controller.kill();
    controller = start_controller();
    assert_eq!(agent.asked(deployed), deployment(id));
    use_nodes(&mut controller);

    controller.stop();
}

/// Its nodes belong to no configuration, and only the agent would end them.
#[test]
fn an_agent_that_was_away_when_its_instance_was_dropped_is_told_by_the_next_controller() {
    let relay = Relay::start();
    let home = home();
    let start = || Controller::start_in(&home, &["Broker::disable_ssl=T"]);
    let mut controller = start();
    relay.point_to(controller.broker());
    let mut observer = Client::observing(controller.websocket());
    let agent = StandIn::start(AGENT, &TlsConfig::Off, Way::Connect(relay.address()));
    observer.text_about("Management::Agent::API::notify_agent_hello");
    let configuration = format!("[instances]\n{AGENT}\n{NODES}");
    zeek_client(&mut controller, &["deploy-config", "-"], Some(&configuration));
    agent.asked(deployed);

    relay.cut();
    while zeek_client(&mut controller, &["get-instances"], None) != json!({}) {}
    zeek_client(&mut controller, &["deploy-config", "-"], Some(""));
    for life in 0..2 {
        controller.kill();
        controller = start();
        relay.point_to(controller.broker());
        agent.asked(|asked| matches!(asked, AgentRequest::AgentStandby { .. }).then_some(life));
    }

    // Not if it is wanted again.
    zeek_client(&mut controller, &["deploy-config", "-"], Some(&configuration));
    controller.kill();
    controller = start();
    relay.point_to(controller.broker());
    agent.asked(deployed);
    agent.asked(|asked| match asked {
        AgentRequest::AgentStandby { .. } => panic!("it is one of the cluster"),
        other => deployed(other),
    });
    controller.stop();
}

/// Stages and deploys a configuration of the manager and the worker, and returns its id.
fn deploy(controller: &mut Controller, configuration: &str) -> Value {
    let staged = zeek_client(controller, &["stage-config", "-"], Some(configuration));
    let id = &staged["results"]["id"];
    assert_eq!(staged, json!({ "errors": [], "results": { "id": id } }));
    let running = json!({ "instance": AGENT, "success": true });
    assert_eq!(
        zeek_client(controller, &["deploy"], None),
        json!({ "errors": [], "results": { "id": id, "nodes": { "manager": running, "worker": running } } })
    );
    id.clone()
}

/// What clients ask for when there is a cluster.
fn use_nodes(controller: &mut Controller) {
    let nodes = zeek_client(controller, &["get-nodes"], None);
    assert_eq!(nodes["errors"], json!([]));
    let roles = |name: &str| {
        let node = &nodes["results"][AGENT][name];
        [&node["state"], &node["mgmt_role"], &node["cluster_role"]]
    };
    assert_eq!(roles(AGENT), [&json!("RUNNING"), &json!("AGENT"), &Value::Null]);
    assert_eq!(
        roles("manager"),
        [&json!("RUNNING"), &Value::Null, &json!("MANAGER")]
    );
    assert_eq!(
        roles("worker"),
        [&json!("RUNNING"), &Value::Null, &json!("WORKER")]
    );
    assert_eq!(
        zeek_client(controller, &["get-id-value", "bits_per_uid"], None),
        json!({ "errors": [], "results": { "manager": 96, "worker": 96 } })
    );
    assert_eq!(
        zeek_client(controller, &["restart", "worker"], None),
        json!({ "errors": [], "results": { "worker": true } })
    );
}

/// Runs zeek-client, which must succeed, and returns what it printed.
#[track_caller]
fn zeek_client(controller: &mut Controller, arguments: &[&str], stdin: Option<&str>) -> Value {
    crate::support::zeek_client::zeek_client(controller, arguments, stdin).json(0)
}

/// What of a deployment is compared: the configuration's id and the names of its nodes.
type Deployment = (ZeekString, Vec<ZeekString>);

fn deployed(request: AgentRequest) -> Option<Deployment> {
    let AgentRequest::Deploy { config, .. } = request else {
        return None;
    };
    let nodes = &config.nodes;
    Some((
        config.id.clone(),
        nodes.iter().map(|node| node.name.clone()).collect(),
    ))
}

fn deployment(id: &Value) -> Deployment {
    let id = id.as_str().expect("an id");
    (id.into(), vec!["manager".into(), "worker".into()])
}

#[test]
fn native_clients_and_websocket_clients_see_the_same_answers() {
    let mut controller = Controller::start::<&str>(&[]);
    let mut websocket = Client::subscribed(controller.websocket());
    let mut native = Peer::client_of(&controller);
    let request_of = |reqid: &str| data_of(&ClientRequest::GetInstances { reqid: reqid.into() });
    native.publish(topics::CONTROLLER, &request_of("native"));
    assert_eq!(native.response().reqid(), "native");
    // As every client sees what others ask. Metadata is not for WebSocket clients.
    for event in ["get_instances_request", "get_instances_response"] {
        let text = websocket.text();
        assert!(text.contains(event) && text.contains("\"native\""), "{text}");
    }

    websocket.send_text(&request("get_instances_request", "websocket", &[]));
    let text = websocket.text();
    assert!(
        text.contains("get_instances_response") && text.contains("\"websocket\""),
        "{text}"
    );
    assert_eq!(
        native.response().reqid(),
        "websocket",
        "and nothing before it: requests of WebSocket clients stay in the controller"
    );

    // A large request is read elsewhere, and yet not overtaken.
    native.publish(topics::CONTROLLER, &data_of(&large_request("large")));
    native.publish(topics::CONTROLLER, &request_of("small"));
    for event in ["stage_configuration_request", "get_instances_request"] {
        websocket.text_about(event);
    }
    let mut answered = [native.response(), native.response()].map(|response| response.reqid().clone());
    answered.sort_unstable();
    assert_eq!(answered, ["large", "small"]);

    // The controller leaves in good order.
    let stopping = thread::spawn(|| controller.stop());
    let event = native.event(&Limit::new("the end of the peering"));
    assert!(
        matches!(
            event,
            EndpointEvent::PeerLost {
                reason: EndReason::Left,
                ..
            }
        ),
        "{event:?}"
    );
    let stderr = stopping.join().expect("it ends with 0").stderr;
    // A new state directory is one for an operator to know of.
    let mut warnings = stderr.lines().filter(|line| line.contains("WARN"));
    assert!(warnings.all(|line| line.contains("no earlier state")), "{stderr}");
    assert!(!stderr.contains("ERROR"), "{stderr}");
}

/// A configuration of 100 KiB in JSON.
fn large_request(reqid: &str) -> ClientRequest {
    const NODES: usize = 500;
    let node = |number: usize| Node {
        interface: Some("lo".into()),
        ..Node::new(format!("worker-{number}"), AGENT, ClusterRole::Worker)
    };
    ClientRequest::StageConfiguration {
        reqid: reqid.into(),
        config: Configuration::new("large", [Instance::new(AGENT)], (0..NODES).map(node)),
    }
}

#[test]
fn what_a_peer_may_not_say_is_ignored_logged_once_and_counted() {
    let controller = Controller::start::<&str>(&[]);
    let mut native = Peer::client_of(&controller);
    let request = data_of(&ClientRequest::GetInstances { reqid: "r".into() });
    let news = data_of(&AgentMessage::Log {
        instance: "someone".into(),
        msg: "something".into(),
        node: "".into(),
    });
    let agent = "zeek/management/agent/someone";
    native.publish(topics::CONTROLLER, &Data::Count(1));
    native.publish(topics::CONTROLLER, &news);
    native.publish(agent, &request);
    native.publish("zeek/management/controller/below", &request);
    // It belongs there, but its sender has not said hello.
    native.publish(agent, &news);
    native.publish(topics::CONTROLLER, &request);
    assert_eq!(native.response().reqid(), "r", "the only answer");
    let peer = native.endpoint.id();
    runtime().block_on(native.endpoint.shutdown());
    let stderr = controller.stop().stderr;
    let logged: Vec<_> = stderr
        .lines()
        .filter(|line| line.contains("ignored a message of a peer"))
        .collect();
    assert_eq!(logged.len(), 1, "{stderr}");
    assert!(
        logged[0].contains(&peer.to_string()) && logged[0].contains("a Zeek message is a list"),
        "{}",
        logged[0]
    );
    for counted in ["\"peer_messages_refused\":4", "\"agent_messages_refused\":1"] {
        assert!(stderr.contains(counted), "{counted}: {stderr}");
    }
}

/// An operator at night knows instances, not addresses.
#[test]
fn an_instance_that_cannot_be_reached_is_called_by_its_name() {
    let mut controller = Controller::start(&["Management::Request::timeout_interval=1sec"]);
    let reserved = ReservedPort::new("127.0.0.1");
    let place = reserved.address();
    let instance = Instance {
        name: AGENT.into(),
        host: Address::from(place.ip()),
        listen_port: Some(Port::tcp(place.port())),
    };
    let mut session = Session::open(controller.websocket());
    session.stage(&Configuration::new("one", [instance], []));
    let response = session.ask(&ClientRequest::Deploy { reqid: "r".into() });
    assert!(!response.results()[0].success, "{response:?}");
    drop(session);
    let stderr = controller.stop().stderr;
    for words in [
        format!("cannot connect to instance {AGENT} at {place}: "),
        format!("WARN not deployed: instance {AGENT} is not connected"),
    ] {
        assert!(stderr.contains(&words), "{words}: {stderr}");
    }
}
