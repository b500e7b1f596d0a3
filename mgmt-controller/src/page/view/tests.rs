use mgmt_api::{
    ClusterRole,
    operator::{ClusterStatus, ClusterSummary, ConfigurationFile, Deployments},
};
use serde_json::{from_value, json};

use super::*;

const HOSTILE: &str = "a\u{1b}[2J<script>alert(1)</script>\u{202e}\"'&\0";

fn node(name: &str, state: State) -> NodeReport {
    NodeReport {
        node: name.into(),
        role: ClusterRole::Worker,
        state,
        pid: Some(4711),
        uptime: Some(3700),
        restarts: 2,
        zeek: Some(name.into()),
        reason: Some(name.into()),
        ..NodeReport::default()
    }
}

fn of_nodes(instance: &str, nodes: Vec<NodeReport>) -> Cluster {
    let status = ClusterStatus {
        cluster: "lab".into(),
        deployed: Some("c1".into()),
        instances: vec![InstanceReport {
            instance: instance.into(),
            is_deployed: true,
            is_connected: true,
            address: Some(instance.into()),
            nodes,
            ..InstanceReport::default()
        }],
        ..ClusterStatus::default()
    };
    let verdict = Verdict::of_cluster(&status);
    Cluster {
        summary: ClusterSummary {
            cluster: "lab".into(),
            deployed: Some(instance.into()),
            ..ClusterSummary::default()
        },
        status: Ok((status, verdict)),
        deployed: ConfigurationFile::default(),
        staged: None,
        deployments: Deployments::default(),
        running: None,
        outputs: Vec::new(),
    }
}

fn shown(clusters: Vec<Cluster>) -> Shown {
    Shown {
        controller: "hub".into(),
        reader: "token t".into(),
        time: "2026-11-30T12:00:00Z".into(),
        open_ports: [].into(),
        is_one: false,
        clusters,
        events: Vec::new(),
    }
}

fn written(shown: &Shown) -> String {
    document(shown, "0123").into_string()
}

#[test]
fn nothing_from_outside_is_markup_or_hides_what_stands_beside_it() {
    let mut cluster = of_nodes(HOSTILE, vec![node(HOSTILE, State::Crashed)]);
    if let Ok((status, verdict)) = &mut cluster.status {
        status.instances[0].warnings.push(HOSTILE.into());
        *verdict = Verdict::of_cluster(status);
    }
    cluster.outputs.push(Written {
        node: HOSTILE.into(),
        instance: HOSTILE.into(),
        state: State::Crashed,
        outputs: Outputs {
            stdout: HOSTILE.into(),
            stderr: format!("first\n{HOSTILE}\n"),
        },
    });
    let summary = DeploymentSummary {
        id: HOSTILE.into(),
        configuration: HOSTILE.into(),
        asked_by: HOSTILE.into(),
        begun: HOSTILE.into(),
        errors: vec![HOSTILE.into()],
        ..DeploymentSummary::default()
    };
    cluster.deployments.deployments.push(summary.clone());
    cluster.running = from_value(
        json!({ "id": "r", "instances": [{ "instance": HOSTILE, "state": "failed", "reason": HOSTILE }] }),
    )
    .ok();
    let staged: ConfigurationFile =
        from_value(json!({ "instances": [{ "name": HOSTILE }], "nodes": [] })).unwrap();
    cluster.staged = Some(staged);
    let mut shown = shown(vec![cluster]);
    shown.events.push(Arc::new(Event {
        cluster: HOSTILE.into(),
        message: HOSTILE.into(),
        ..Event::default()
    }));
    (shown.controller, shown.reader) = (HOSTILE.into(), HOSTILE.into());
    shown.open_ports = [HOSTILE.to_owned()].into();
    let page = written(&shown);
    assert!(page.matches("&lt;script&gt;alert(1)").count() > 20, "{page}");
    assert!(!page.contains("<script>") && !page.contains("\"'&"), "{page}");
    let hidden = page
        .chars()
        .filter(|c| broker_codec::data::is_hostile(*c) && *c != '\n');
    assert_eq!(hidden.count(), 0, "{page}");
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("nonce=\"0123\"").count(), 2);
    assert!(!page.contains("style=") && !page.contains("onclick"), "{page}");
}

#[test]
fn what_is_wrong_comes_first_and_states_are_words() {
    let nodes = vec![node("worker-1", State::Crashed), node("worker-2", State::Running)];
    let page = written(&shown(vec![of_nodes("sensor", nodes)]));
    assert!(
        page.contains("<title>NOT well: Zeek clusters of hub</title>"),
        "{page}"
    );
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    let told = at("NOT as deployed (worker-1): 1 of 1 instance connected, 2 nodes (1 CRASHED, 1 RUNNING)");
    assert!(told < at("<h2 id=\"cluster/lab\">"));
    assert!(at("worker-1 on sensor is CRASHED: worker-1") < at("<h2 id=\"cluster/lab\">"));
    at("<strong class=\"state bad\">CRASHED</strong>");
    at("<td>4711</td><td>");
    let page = written(&shown(vec![of_nodes(
        "sensor",
        vec![node("worker-2", State::Running)],
    )]));
    assert!(
        page.contains("<title>all well: Zeek clusters of hub</title>"),
        "{page}"
    );
    assert!(written(&shown(Vec::new())).contains("there is no cluster that you may read"));
}

#[test]
fn a_cluster_that_does_not_answer_in_time_is_shown_by_its_numbers() {
    let mut cluster = of_nodes("sensor", Vec::new());
    cluster.status = Err("not all of its agents have answered within 2 s".into());
    let page = written(&shown(vec![cluster, of_nodes("other", Vec::new())]));
    assert!(
        page.contains("not all of its agents have answered within 2 s"),
        "{page}"
    );
    assert!(page.contains("<a href=\"/?cluster=lab\">"), "{page}");
}

#[test]
fn a_page_of_a_thousand_nodes_is_not_large() {
    let nodes = (0..1000).map(|number| node(&format!("worker-{number}"), State::Crashed));
    let page = written(&shown(vec![of_nodes("sensor", nodes.collect())]));
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert!(page.contains("and 990 more"));
}
