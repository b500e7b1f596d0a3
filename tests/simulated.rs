//! `mgmt-agent --simulate` with nothing else of this workspace's tests around it: what an operator sees who has no Zeek, by the
//! real controller and zeek-client.

use serde_json::json;

use crate::agent_failures::{AGENT, CLUSTER, World};

#[test]
fn a_cluster_without_zeek_is_deployed_queried_restarted_emptied_and_announced_as_a_simulation() {
    let mut world = World::start(|plan| plan.simulate = true);
    world.deploy();
    let before = world.nodes();
    let states: Vec<_> = before.values().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states, ["RUNNING"; 3], "{before:?}");
    assert_eq!(
        world.succeed(&["get-id-value", "bits_per_uid"], None),
        json!({ "manager": 96, "worker-01": 96 })
    );
    assert_eq!(
        world.succeed(&["restart", "worker-01"], None),
        json!({ "worker-01": true })
    );
    world.wait_for_running(3);
    let after = world.nodes();
    assert_eq!(after["manager"], before["manager"]);
    assert_ne!(after["worker-01"].1, before["worker-01"].1);

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
    world.succeed(&["deploy-config", "-"], Some("[instances]\ninstance-1\n"));
    assert_eq!(world.nodes().len(), 1, "the agent alone");
    let log = world.instance.stop();
    assert!(
        log.contains("SIMULATION: --simulate runs stand-ins for Zeek"),
        "{log}"
    );
}
