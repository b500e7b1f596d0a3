//! `mgmt-agent --simulate` with nothing else of this workspace's tests around it: what an operator sees who has no Zeek, by the
//! real controller and zeek-client.

use serde_json::json;

use crate::{
    agent_failures::{AGENT, CLUSTER, World},
    support::cluster::Zeek,
};

#[test]
fn a_cluster_without_zeek_is_deployed_queried_restarted_emptied_and_announced_as_a_simulation() {
    let mut world = World::start(|plan| plan.zeek = Zeek::Simulated);
    world.deploy();
    let nodes = world.nodes();
    let states: Vec<_> = nodes.values().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states, ["RUNNING"; 3], "{nodes:?}");
    world.all_nodes_answer();
    world.restart_worker();

    let failing = format!(
        "{CLUSTER}env = 'STAND_IN_NODE={{\"exit\": {{\"status\": 1}}, \"stderr\": \"no such device\"}}'\n"
    );
    let printed = world.fail(&["deploy-config", "-"], Some(&failing));
    let worker = &printed["results"]["nodes"]["worker-01"];
    assert_eq!(worker["stderr"], "no such device", "{printed}");
    assert_eq!(
        printed["results"]["nodes"]["manager"],
        json!({ "instance": AGENT, "success": true })
    );

    let output = world.instance.read("state/nodes/manager/stdout");
    assert!(
        output.starts_with("SIMULATION: this is a stand-in for a Zeek node"),
        "{output}"
    );
    let output = world
        .instance
        .read(&format!("state/nodes/{AGENT}/supervisor/stderr"));
    assert!(output.starts_with("SIMULATION: "), "{output}");
    world.empty();
    let log = world.instance.stop();
    assert!(
        log.contains("SIMULATION: --simulate runs stand-ins for Zeek"),
        "{log}"
    );
}
