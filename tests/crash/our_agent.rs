//! `kill -9` in the middle of a deployment with our own agent, whose nodes are processes: they are what is deployed, in the end.

use std::collections::BTreeSet;

use broker_codec::data::from_data;
use mgmt_api::{ClientRequest, ClusterRole, Configuration, Instance as InstanceRecord, Node, NodeStatus};

use super::ARGUMENTS;
use crate::support::{
    cluster::{Instance, Plan, Protection, wait_for_running},
    controller::Controller,
    home,
    relay::Relay,
    session::{Session, stage_request},
    websocket::Client,
};

const AGENT: &str = "instance-1";

fn configuration(id: &str, nodes: &[&str]) -> Configuration {
    let node = |name: &&str| Node::new(*name, AGENT, ClusterRole::Worker);
    Configuration::new(id, [InstanceRecord::new(AGENT)], nodes.iter().map(node))
}

#[test]
fn nodes_of_our_agent_are_those_that_were_being_deployed_when_the_controller_was_killed() {
    let relay = Relay::start();
    let home = home();
    let start = || {
        let controller = Controller::start_in(&home, &ARGUMENTS);
        relay.point_to(controller.broker());
        controller
    };
    let mut controller = start();
    let protection = Protection::Off;
    let plan = Plan::new(AGENT, Some(relay.address()), &protection);
    let mut instance = Instance::start(plan);
    let mut session = Session::open(controller.websocket());
    while session.instances().is_empty() {}
    let before = configuration("before", &["old-1", "old-2"]);
    session.stage(&before);
    let reqid = "deploy".into();
    let deployed = session.ask(&ClientRequest::Deploy { reqid });
    assert!(
        deployed.results().iter().all(|result| result.success),
        "{deployed:?}"
    );

    let after = configuration("after", &["new-1", "new-2", "new-3"]);
    let mut session = Session::open(controller.websocket());
    let mut observer = Client::observing(controller.websocket());
    assert!(session.ask(&stage_request(&after)).results()[0].success);
    session.send(&ClientRequest::Deploy {
        reqid: "never-answered".into(),
    });
    observer.text_about("Management::Agent::API::deploy_request");
    controller.kill();

    let mut controller = start();
    // The agent and the nodes.
    wait_for_running(&mut controller, 1 + after.nodes.len());
    let mut session = Session::open(controller.websocket());
    assert_eq!(
        session.configuration(true).map(|config| config.id),
        Some(after.id)
    );
    let nodes = session.ask(&ClientRequest::GetNodes {
        reqid: "nodes".into(),
    });
    let states: Vec<NodeStatus> =
        from_data(nodes.results()[0].data.clone().expect("data")).expect("states of nodes");
    let names: BTreeSet<_> = states.iter().map(|status| status.node.to_string()).collect();
    let expected = [AGENT, "new-1", "new-2", "new-3"].map(str::to_owned);
    assert_eq!(names, expected.into());
    instance.stop();
    controller.stop();
}
