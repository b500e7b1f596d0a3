//! What needs instances that are connected, which no input brings about yet.

use broker_codec::data::{Port, Set, ZeekString, to_data};
use mgmt_api::{
    AgentRequest, ClientRequest, ClientResponse, ClusterRole, Configuration, Instance, Node, Now,
    ResultRecord, SequentialIds, State,
};

use super::{Action, Configurations, Controller, Input, Outgoing, Settings};

fn instance(name: &str, host: &str, listen_port: Option<Port>) -> Instance {
    Instance {
        name: name.into(),
        host: host.parse().unwrap(),
        listen_port,
    }
}

fn node(name: &str, instance: &str) -> Node {
    Node {
        name: name.into(),
        instance: instance.into(),
        role: ClusterRole::Worker,
        state: State::Running,
        p: None,
        scripts: None,
        options: None,
        interface: None,
        cpu_affinity: None,
        env: std::collections::BTreeMap::new(),
        metrics_port: None,
    }
}

/// Three instances are connected, two of them wanted, one of these ready.
fn with_instances() -> Controller {
    let deployed = Configuration {
        id: "c1".into(),
        instances: Set::from_iter([
            instance("host1", "10.0.0.1", None),
            instance("host10", "10.0.0.10", None),
        ]),
        nodes: Set::from_iter([node("a", "host1"), node("b", "host10")]),
    };
    let restored = Configurations {
        deployed: Some(deployed.clone()),
        ..Configurations::default()
    };
    let mut controller = Controller::new(Settings::default(), restored, Box::new(SequentialIds::default()));
    let instances = &mut controller.instances;
    for wanted in deployed.instances {
        instances.wanted.insert(wanted.name.clone(), wanted);
    }
    for known in [
        instance("host1", "10.0.0.1", None),
        instance("host10", "10.0.0.10", None),
        instance("host2", "10.0.0.2", Some(Port::tcp(2151))),
    ] {
        instances.known.insert(known.name.clone(), known);
    }
    instances.ready.insert("host1".into());
    controller
}

/// What is published, with the topics' last parts.
fn published(actions: Vec<Action>) -> Vec<(String, Outgoing)> {
    let publish = |action| match action {
        Action::Publish { topic, event, .. } => {
            let topic = topic.to_string();
            Some((topic.rsplit('/').next().unwrap().to_owned(), event))
        }
        _ => None,
    };
    actions.into_iter().filter_map(publish).collect()
}

fn ask(controller: &mut Controller, request: ClientRequest) -> Vec<(String, Outgoing)> {
    let client = "client-1".into();
    published(controller.step(Now::START, Input::Request { client, request }))
}

fn time_out(controller: &mut Controller) -> Vec<(String, Outgoing)> {
    let deadline = controller.deadline().unwrap();
    published(controller.step(deadline, Input::Tick))
}

fn to_agent(name: &str, request: AgentRequest) -> (String, Outgoing) {
    (name.into(), Outgoing::Agent(request))
}

fn to_client(response: ClientResponse) -> Vec<(String, Outgoing)> {
    vec![("controller".into(), Outgoing::Client(response))]
}

fn failure(error: &str) -> ResultRecord {
    ResultRecord::failure("r1".into(), error)
}

fn unknown_node(name: &str) -> ResultRecord {
    ResultRecord {
        node: Some(name.into()),
        ..failure("unknown cluster node")
    }
}

fn names(names: &[&str]) -> Set<ZeekString> {
    names.iter().map(|name| ZeekString::from(*name)).collect()
}

#[test]
fn connected_instances_are_listed_by_name_with_what_was_observed() {
    let mut controller = with_instances();
    let known: Vec<_> = controller.instances.known.values().cloned().collect();
    assert_eq!(
        ask(
            &mut controller,
            ClientRequest::GetInstances { reqid: "r1".into() }
        ),
        to_client(ClientResponse::GetInstances {
            reqid: "r1".into(),
            result: ResultRecord {
                data: Some(to_data(&known).unwrap()),
                ..ResultRecord::success("r1".into())
            }
        })
    );
}

#[test]
fn observed_hosts_are_filled_in_where_the_client_left_them_open() {
    let mut controller = with_instances();
    let config = Configuration {
        id: "c2".into(),
        instances: Set::from_iter([
            instance("host1", "0.0.0.0", None),
            instance("host2", "10.9.9.9", Some(Port::tcp(2151))),
            instance("host3", "0.0.0.0", None),
        ]),
        nodes: Set::new(),
    };
    let actions = controller.step(
        Now::START,
        Input::Request {
            client: "client-1".into(),
            request: ClientRequest::StageConfiguration {
                reqid: "r1".into(),
                config: config.clone(),
            },
        },
    );
    let Some(Action::Persist { entries, .. }) = actions.last() else {
        panic!("{actions:?}")
    };
    assert_eq!(entries[0].1, config);
    let hosts: Vec<String> = entries[1]
        .1
        .instances
        .iter()
        .map(|instance| instance.host.to_string())
        .collect();
    assert_eq!(hosts, ["10.0.0.1", "10.9.9.9", "0.0.0.0"]);
}

#[test]
fn every_connected_instance_is_asked_for_its_nodes() {
    let mut controller = with_instances();
    let get_nodes = |reqid: &str| AgentRequest::GetNodes { reqid: reqid.into() };
    assert_eq!(
        ask(&mut controller, ClientRequest::GetNodes { reqid: "r1".into() }),
        [
            to_agent("host1", get_nodes("#1")),
            to_agent("host10", get_nodes("#2")),
            to_agent("host2", get_nodes("#3")),
        ]
    );
    assert_eq!(
        time_out(&mut controller),
        to_client(ClientResponse::GetNodes {
            reqid: "r1".into(),
            results: vec![failure("request timed out")],
        })
    );
}

#[test]
fn ready_instances_are_asked_for_values_of_the_nodes_that_exist() {
    let mut controller = with_instances();
    let request = |nodes: &[&str]| ClientRequest::GetIdValue {
        reqid: "r1".into(),
        id: "bits_per_uid".into(),
        nodes: names(nodes),
    };
    assert_eq!(
        ask(&mut controller, request(&["b", "c", "a"])),
        [to_agent(
            "host1",
            AgentRequest::NodeDispatch {
                reqid: "#1".into(),
                action: vec!["get_id_value".into(), "bits_per_uid".into()],
                nodes: names(&["a", "b"]),
            }
        )]
    );
    assert_eq!(
        time_out(&mut controller),
        to_client(ClientResponse::GetIdValue {
            reqid: "r1".into(),
            results: vec![unknown_node("c"), failure("request timed out")],
        })
    );
    assert_eq!(
        ask(&mut controller, request(&["d", "c"])),
        to_client(ClientResponse::GetIdValue {
            reqid: "r1".into(),
            results: vec![unknown_node("c"), unknown_node("d")],
        })
    );
}

#[test]
fn ready_instances_are_asked_to_restart_nodes() {
    let mut controller = with_instances();
    let request = |nodes: &[&str]| ClientRequest::Restart {
        reqid: "r1".into(),
        nodes: names(nodes),
    };
    let response = |results| {
        to_client(ClientResponse::Restart {
            reqid: "r1".into(),
            results,
        })
    };
    assert_eq!(
        ask(&mut controller, request(&["a", "c"])),
        [to_agent(
            "host1",
            AgentRequest::Restart {
                reqid: "#1".into(),
                nodes: names(&["a", "c"]),
            }
        )]
    );
    assert_eq!(
        time_out(&mut controller),
        response(vec![unknown_node("c"), failure("request timed out")])
    );
    assert_eq!(
        ask(&mut controller, request(&["c"])),
        response(vec![unknown_node("c")])
    );

    // With nobody to ask, the answer comes at once.
    controller.instances.ready.clear();
    assert_eq!(
        ask(&mut controller, request(&[])),
        response(vec![failure("no instances ready")])
    );

    // controller/main.zeek, restart_request.
    controller.configurations.deployed = None;
    assert_eq!(
        ask(&mut controller, request(&[])),
        response(vec![failure("no active cluster deployment")])
    );
    assert_eq!(controller.deadline(), None);
}

#[test]
fn a_wanted_instance_that_connected_by_itself_is_where_it_was_seen() {
    let mut controller = with_instances();
    controller.configurations.ready = Some(Configuration {
        id: "c2".into(),
        instances: Set::from_iter([
            instance("host1", "0.0.0.0", None),
            instance("host2", "10.9.9.9", Some(Port::tcp(2151))),
            instance("host3", "0.0.0.0", None),
        ]),
        nodes: Set::new(),
    });
    let standby = AgentRequest::AgentStandby { reqid: "".into() };
    assert_eq!(
        ask(&mut controller, ClientRequest::Deploy { reqid: "r1".into() }),
        [to_agent("host10", standby)]
    );
    let hosts: Vec<_> = controller
        .instances
        .wanted
        .values()
        .map(|wanted| wanted.host.to_string())
        .collect();
    assert_eq!(hosts, ["10.0.0.1", "10.9.9.9", "0.0.0.0"]);
    assert!(controller.instances.ready.contains(&ZeekString::from("host1")));
}
