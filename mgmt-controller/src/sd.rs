//! Where Prometheus finds the metrics of nodes: its HTTP service discovery.
//!
//! A node that listens where others do not reach it, as in a cluster on one host, is asked through its agent, if that answers over TCP.

use std::net::{IpAddr, SocketAddr};

use futures_util::{StreamExt, stream};
use mgmt_api::operator::{
    ClusterRequest, ClusterStatus, Clusters, ConfigurationFile, InstanceReport, NodeEntry, Station, text,
};
use mgmt_daemon::http::{
    Door, Operator, Problem, Routes,
    axum::Json,
    read,
    utoipa::{self, ToSchema},
};
use serde::Serialize;

use crate::{
    http::{CLUSTERS_AT_A_TIME, asked},
    request::Request,
};

/// What Prometheus is to scrape, as `http_sd_config` has it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Target {
    #[schema(value_type = Vec<String>)]
    targets: [String; 1],
    labels: Labels,
}

/// Those that begin with `__` say how, and are gone then.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Labels {
    cluster: String,
    zeek_instance: String,
    node: String,
    role: String,
    #[serde(rename = "__scheme__")]
    scheme: &'static str,
    #[serde(rename = "__metrics_path__")]
    path: String,
}

pub(crate) fn routes() -> Routes<Door<Request>> {
    mgmt_daemon::routes!(targets)
}

/// Where Prometheus finds the metrics of nodes
///
/// As its `http_sd_config` takes it; of clusters that one may read.
#[utoipa::path(
    get,
    path = "/sd",
    responses((status = 200, body = Vec<Target>, description = "The nodes, or their agents where those alone are reached")),
)]
async fn targets(operator: Operator<Request>) -> Result<Json<Vec<Target>>, Problem> {
    let operator = operator.for_several();
    let all: Clusters = read(&operator.asks(Request::Clusters).await?.0)?;
    let deployed = all
        .clusters
        .into_iter()
        .filter(|summary| summary.deployed.is_some());
    let of_clusters = deployed.map(|summary| of_cluster(&operator, summary.cluster));
    let found: Vec<Vec<Target>> = stream::iter(of_clusters)
        .buffered(CLUSTERS_AT_A_TIME)
        .collect()
        .await;
    Ok(Json(found.into_iter().flatten().collect()))
}

/// None of one that was deleted meanwhile.
async fn of_cluster(operator: &Operator<Request>, cluster: String) -> Vec<Target> {
    let deployed = asked(
        operator,
        &cluster,
        ClusterRequest::Configuration(Station::Deployed),
    )
    .await;
    let status = asked(operator, &cluster, ClusterRequest::Status).await;
    match (deployed, status) {
        (Ok(deployed), Ok(status)) => found(&deployed, &status),
        _ => Vec::new(),
    }
}

fn found(deployed: &ConfigurationFile, status: &ClusterStatus) -> Vec<Target> {
    let targets = deployed.nodes.iter().filter_map(|node| {
        let mut reports = status.instances.iter();
        let report = reports.find(|report| node.instance == report.instance.as_str())?;
        let (scheme, at, path) = place(deployed, node, report)?;
        Some(Target {
            targets: [at.to_string()],
            labels: Labels {
                cluster: status.cluster.clone(),
                zeek_instance: text(&node.instance),
                node: text(&node.name),
                role: node.role.to_string(),
                scheme,
                path,
            },
        })
    });
    targets.collect()
}

/// Where a node's metrics are to be had: scheme, address and path.
fn place(
    deployed: &ConfigurationFile,
    node: &NodeEntry,
    report: &InstanceReport,
) -> Option<(&'static str, SocketAddr, String)> {
    let mut instances = deployed.instances.iter();
    let configured = instances.find(|instance| instance.name == node.instance)?.host;
    let seen = report.address.as_ref().and_then(|address| address.parse().ok());
    let host: IpAddr = seen.or(configured.map(IpAddr::from))?;
    let listening = report.nodes.iter().find(|known| node.name == known.node.as_str());
    let listening = listening.and_then(|known| known.metrics);
    let Some(listening) = listening else {
        // An agent of ours would have told; of one that is away, and of Zeek's, nothing else is known.
        let port = node.metrics_port.filter(|_| report.agent.is_none())?;
        return Some(("http", (host, port.get()).into(), "/metrics".to_owned()));
    };
    if let Some(at) = reached(listening, host) {
        return Some(("http", at, "/metrics".to_owned()));
    }
    let http = report.http?;
    let scheme = if http.is_tls { "https" } else { "http" };
    let path = format!("/v1/nodes/{}/metrics", text(&node.name));
    Some((scheme, reached(http.address, host)?, path))
}

/// Where a listener of a host is reached from elsewhere; from this host, if it is on this one.
fn reached(listening: SocketAddr, host: IpAddr) -> Option<SocketAddr> {
    match listening.ip() {
        ip if ip.is_unspecified() => Some((host, listening.port()).into()),
        ip if ip.is_loopback() && !host.is_loopback() => None,
        _ => Some(listening),
    }
}

#[cfg(test)]
mod tests {
    use mgmt_api::operator::{HttpAddress, NodeReport};
    use serde_json::{Value, from_value, json};

    use super::*;

    /// What is found of a node on an instance at this address, which listens there for metrics, and whose agent there for HTTP.
    fn of(host: Option<&str>, metrics: Option<&str>, http: Option<(&str, bool)>, is_ours: bool) -> Value {
        let deployed: ConfigurationFile = from_value(json!({
            "instances": [{ "name": "i", "host": "10.0.0.2" }],
            "nodes": [
                { "name": "w", "instance": "i", "role": "worker", "metrics_port": 9001 },
                { "name": "plain", "instance": "i", "role": "proxy" },
            ],
        }))
        .unwrap();
        let report = InstanceReport {
            instance: "i".into(),
            address: host.map(Into::into),
            agent: is_ours.then(|| "0.1.0".to_owned()),
            http: http.map(|(address, is_tls)| HttpAddress {
                address: address.parse().unwrap(),
                is_tls,
            }),
            nodes: vec![NodeReport {
                node: "w".into(),
                metrics: metrics.map(|address| address.parse().unwrap()),
                ..NodeReport::default()
            }],
            ..InstanceReport::default()
        };
        let status = ClusterStatus {
            cluster: "lab".into(),
            instances: vec![report],
            ..ClusterStatus::default()
        };
        json!(found(&deployed, &status))
    }

    #[test]
    fn a_target_is_a_node_or_its_agent_where_that_is_reached_and_the_node_is_not() {
        let direct = of(Some("10.0.0.3"), Some("0.0.0.0:9001"), None, true);
        assert_eq!(
            direct,
            json!([{
                "targets": ["10.0.0.3:9001"],
                "labels": {
                    "cluster": "lab",
                    "zeek_instance": "i",
                    "node": "w",
                    "role": "worker",
                    "__scheme__": "http",
                    "__metrics_path__": "/metrics",
                },
            }])
        );
        let place = |host, metrics, http, is_ours| {
            let found = of(host, metrics, http, is_ours);
            let labels = &found[0]["labels"];
            let all = [
                &labels["__scheme__"],
                &found[0]["targets"][0],
                &labels["__metrics_path__"],
            ];
            all.map(|text| text.as_str().unwrap_or("-").to_owned()).concat()
        };
        let (remote, local) = (Some("10.0.0.3"), Some("127.0.0.1"));
        let (all, tls) = (Some(("0.0.0.0:2148", false)), Some(("10.0.0.9:2148", true)));
        let own = Some(("127.0.0.1:2148", false));
        let on_loopback = Some("127.0.0.1:9001");
        for (host, metrics, http, is_ours, expected) in [
            (
                remote,
                Some("10.0.0.9:9001"),
                None,
                true,
                "http10.0.0.9:9001/metrics",
            ),
            (
                remote,
                on_loopback,
                tls,
                true,
                "https10.0.0.9:2148/v1/nodes/w/metrics",
            ),
            (
                remote,
                on_loopback,
                all,
                true,
                "http10.0.0.3:2148/v1/nodes/w/metrics",
            ),
            (remote, on_loopback, own, true, "---"),
            (remote, on_loopback, None, true, "---"),
            (local, on_loopback, None, true, "http127.0.0.1:9001/metrics"),
            (
                Some("::1"),
                Some("[::]:9001"),
                None,
                true,
                "http[::1]:9001/metrics",
            ),
            // Zeek's agent, or one that is away; and a Zeek without metrics.
            (None, None, None, false, "http10.0.0.2:9001/metrics"),
            (remote, None, None, false, "http10.0.0.3:9001/metrics"),
            (remote, None, all, true, "---"),
        ] {
            assert_eq!(place(host, metrics, http, is_ours), expected);
        }
    }
}
