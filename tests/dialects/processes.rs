//! The controller as a process, with an agent of each dialect over a real connection, and the real zeek-client.

use std::{collections::BTreeSet, fmt::Write as _};

use broker_codec::data::ZeekString;
use broker_endpoint::tls::TlsConfig;
use mgmt_api::{AgentRequest, Dialect};
use serde_json::json;

use crate::support::{
    agent::{StandIn, Way, honest},
    controller::Controller,
    zeek_client::{ZeekClient, zeek_client},
};

/// Agents by name, sorted.
const AGENTS: [(&str, Dialect); 6] = [
    ("a41", Dialect::V4_1),
    ("b42", Dialect::V4_2),
    ("c-seed", Dialect::Seed),
    ("d-rc1", Dialect::V5_0Rc1),
    ("e60", Dialect::V5_0),
    ("f90", Dialect::V7_0),
];

#[test]
fn one_controller_leads_a_cluster_with_an_agent_of_each_dialect() {
    let mut controller = Controller::start::<&str>(&[]);
    // Half of them connect, half of them are connected to.
    let agents = AGENTS.map(|(name, dialect)| {
        let way = match dialect {
            Dialect::V4_1 | Dialect::Seed | Dialect::V5_0 => Way::Listen,
            _ => Way::Connect(controller.broker()),
        };
        (
            StandIn::start_as(name, &TlsConfig::Anonymous, way, (honest(), dialect)),
            matches!(way, Way::Listen),
        )
    });

    let config = cluster(&agents);
    let deployed = zeek_client(&mut controller, &["deploy-config", "-"], Some(&config)).json(0);
    let id = deployed["results"]["id"].as_str().expect("an id").to_owned();
    // Of the oldest, which have one result for all their nodes, zeek-client shows none.
    let running = |name: &str| json!({ "instance": name, "success": true });
    let expected = json!({
        "errors": [],
        "results": {
            "id": id,
            "nodes": {
                "node-d-rc1": running("d-rc1"),
                "node-e60": running("e60"),
                "node-f90": running("f90"),
            },
        },
    });
    assert_eq!(deployed, expected);
    for (agent, _) in &agents {
        assert_eq!(agent.asked(configuration), id.as_str());
    }

    let instances = zeek_client(&mut controller, &["get-instances"], None).json(0);
    let names: BTreeSet<&str> = instances
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(names, AGENTS.map(|(name, _)| name).into());

    get_nodes(&mut controller);
    // Where it exists, it works.
    let value = zeek_client(&mut controller, &["get-id-value", "bits_per_uid"], None).json(1);
    assert_eq!(
        value["results"],
        json!({ "node-d-rc1": 96, "node-e60": 96, "node-f90": 96 })
    );
    restart(&mut controller);

    // All of them are dropped.
    let nothing = "[instances]\n";
    let emptied = zeek_client(&mut controller, &["deploy-config", "-"], Some(nothing)).json(0);
    assert_eq!(emptied["errors"], json!([]));
    for ((agent, _), (name, dialect)) in agents.into_iter().zip(AGENTS) {
        if dialect == Dialect::V4_1 {
            assert_eq!(agent.asked(configuration), "", "{name} is told to run nothing");
        } else {
            agent.asked(|request| matches!(request, AgentRequest::AgentStandby { .. }).then_some(()));
        }
    }
    controller.stop();
}

/// A cluster of all agents, with a node each.
fn cluster(agents: &[(StandIn, bool)]) -> String {
    let mut config = String::from("[instances]\n");
    for ((name, _), (agent, listens)) in AGENTS.iter().zip(agents) {
        let at = listens
            .then(|| format!(" = {}", agent.address()))
            .unwrap_or_default();
        writeln!(config, "{name}{at}").expect("to memory");
    }
    for (name, _) in AGENTS {
        write!(config, "[node-{name}]\ninstance = {name}\nrole = worker\n").expect("to memory");
    }
    config
}

fn get_nodes(controller: &mut Controller) {
    // Those of 4.x cannot say.
    let nodes = zeek_client(controller, &["get-nodes"], None).json(1);
    let lacking = |source: &str, release: &str| {
        let error = format!("instance {source} runs the agent of {release}, which cannot list its nodes");
        json!({ "source": source, "error": error })
    };
    assert_eq!(
        nodes["errors"],
        json!([lacking("a41", "Zeek 4.1"), lacking("b42", "Zeek 4.2")])
    );
    for (name, _) in &AGENTS[2..] {
        let node = &nodes["results"][name][format!("node-{name}")];
        assert_eq!(node["state"], "RUNNING", "{nodes}");
        assert_eq!(node["cluster_role"], "WORKER", "{nodes}");
    }
}

/// Only what an agent of 5.0 or later runs can be restarted, as every zeek-client is told.
fn restart(controller: &mut Controller) {
    for release in ["1.2.0", "1.3.1", "1.4.0", "1.5.0"] {
        let client = ZeekClient::release(release);
        let restarted = client.run(controller.websocket(), &["restart"], None).json(1);
        assert_eq!(
            restarted["results"],
            json!({ "node-e60": true, "node-f90": true })
        );
        let errors = restarted["errors"].as_array().expect("a list").iter();
        let errors: BTreeSet<&str> = errors.filter_map(|error| error["error"].as_str()).collect();
        let expected = [
            "instance a41 runs the agent of Zeek 4.1, which cannot restart nodes",
            "instance b42 runs the agent of Zeek 4.2, which cannot restart nodes",
            "instance c-seed runs the agent of Zeek's commit 54aaf3a623, which cannot restart nodes",
            "instance d-rc1 runs the agent of Zeek 5.0.0-rc1, which cannot restart nodes",
        ];
        assert_eq!(errors, expected.into(), "zeek-client {release}");
    }
}

fn configuration(request: AgentRequest) -> Option<ZeekString> {
    match request {
        AgentRequest::Deploy { config, .. } => Some(config.id.clone()),
        _ => None,
    }
}
