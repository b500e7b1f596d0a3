//! What commands about several clusters ask for, and say.

use std::fmt::Write as _;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mgmt_api::operator::{
    Changed, ClusterStatus, ClusterSummary, Clusters, counted, first_of, warnings_of_controller,
};
use serde::Serialize;

use crate::{
    Exit,
    client::{ClientError, part},
    commands::Daemon,
    options::ClustersCommand,
    status::{self, lines, or_dash, table_of},
};

/// How many clusters are asked at a time: a controller has 8 requests of one user under way, who may have started several mgmtctl.
const ASKED_MAX: usize = 4;

/// How all clusters of a controller are.
#[derive(Serialize)]
struct StatusOfAll {
    clusters: Vec<ClusterStatus>,
}

impl Daemon<'_> {
    pub(crate) async fn clusters(&self, command: Option<&ClustersCommand>) -> Result<Exit, ClientError> {
        self.needs_controller()?;
        if let Some(ClustersCommand::Delete { name }) = command {
            let changed: Changed = self
                .client
                .delete(&format!("/v1/clusters/{}", part(name)))
                .await?;
            self.show(&changed, &format!("cluster {name} is deleted\n"));
            return Ok(Exit::Done);
        }
        let all: Clusters = self.client.get("/v1/clusters").await?;
        let (text, exit) = in_words(&all.clusters);
        self.show(&all, &text);
        Ok(exit)
    }

    /// How each cluster is; of a controller that has one, as if that was named.
    pub(crate) async fn status_of_all(&self, is_wide: bool) -> Result<Exit, ClientError> {
        // A controller up to 0.1 has but one.
        let all: Option<Clusters> = self.client.get_if_there("/v1/clusters").await?;
        let names = all.unwrap_or_default().clusters.into_iter();
        let names: Vec<String> = names.map(|summary| summary.cluster).collect();
        // One that is alone because others may not be seen is named.
        if names.len() <= 1 && names.iter().all(|name| name == "default") {
            return self.status_of_one(is_wide).await;
        }
        let asked = names.iter().map(async |name| {
            let path = format!("/v1/clusters/{}/status", part(name));
            self.client.get_if_there(&path).await
        });
        // One that was deleted meanwhile has nothing to tell.
        let told: Vec<Option<ClusterStatus>> = stream::iter(asked).buffered(ASKED_MAX).try_collect().await?;
        let clusters: Vec<ClusterStatus> = told.into_iter().flatten().collect();
        let (text, exit) = all_in_words(&clusters, is_wide);
        self.show_coloured(&StatusOfAll { clusters }, &text, exit);
        Ok(exit)
    }
}

/// How all clusters are, in words.
fn all_in_words(clusters: &[ClusterStatus], is_wide: bool) -> (String, Exit) {
    let (mut text, mut wrong) = (String::new(), Vec::new());
    let warnings = clusters.first().map(warnings_of_controller).unwrap_or_default();
    for status in clusters {
        let alone = ClusterStatus {
            warnings: Vec::new(),
            ..status.clone()
        };
        let (of_cluster, exit) = status::of_cluster(&alone, is_wide);
        text += &of_cluster;
        text += "\n";
        if exit != Exit::Done {
            wrong.push(status.cluster.clone());
        }
    }
    let all = counted(clusters.len(), "cluster");
    text.extend(warnings.iter().map(|warning| format!("WARNING: {warning}\n")));
    let _ = match &wrong[..] {
        [] if !warnings.is_empty() => writeln!(text, "as deployed in {all}, with WARNINGS (controller)"),
        [] => writeln!(text, "all as deployed in {all}"),
        _ => writeln!(
            text,
            "NOT as deployed in {} of {all}: {}",
            wrong.len(),
            first_of(&wrong)
        ),
    };
    (text, Exit::of(wrong.is_empty() && warnings.is_empty()))
}

/// The clusters and their numbers, in words.
fn in_words(all: &[ClusterSummary]) -> (String, Exit) {
    let mut table = table_of(["CLUSTER", "INSTANCES", "NODES", "DEPLOYED"]);
    for cluster in all {
        let mut nodes = format!("{} of {}", cluster.running, cluster.nodes);
        if cluster.unknown > 0 {
            let _ = write!(nodes, " ({} not known)", cluster.unknown);
        }
        table.add_row([
            cluster.cluster.clone(),
            format!("{} of {}", cluster.connected, cluster.instances),
            nodes,
            or_dash(cluster.deployed.clone()),
        ]);
    }
    let wrong = all.iter().filter(|cluster| {
        cluster.connected < cluster.instances || cluster.running + cluster.unknown < cluster.nodes
    });
    let wrong: Vec<String> = wrong.map(|cluster| cluster.cluster.clone()).collect();
    let mut text = lines(&table);
    let _ = match &wrong[..] {
        [] => writeln!(text, "{}: none has trouble", counted(all.len(), "cluster")),
        _ => writeln!(
            text,
            "{}: {} with TROUBLE: {}",
            counted(all.len(), "cluster"),
            wrong.len(),
            first_of(&wrong)
        ),
    };
    (text, Exit::of(wrong.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_trouble_if_an_instance_is_away_or_a_node_is_known_not_to_run() {
        let well = ClusterSummary {
            cluster: "well".into(),
            deployed: Some("c1".into()),
            instances: 1,
            connected: 1,
            nodes: 3,
            running: 2,
            unknown: 1,
        };
        let away = ClusterSummary {
            cluster: "away".into(),
            connected: 0,
            running: 0,
            unknown: 3,
            ..well.clone()
        };
        let down = ClusterSummary {
            cluster: "down".into(),
            unknown: 0,
            ..well.clone()
        };
        let (text, exit) = in_words(std::slice::from_ref(&well));
        assert_eq!(exit, Exit::Done);
        assert!(text.contains("2 of 3 (1 not known)"), "{text}");
        assert!(text.ends_with("1 cluster: none has trouble\n"), "{text}");
        let (text, exit) = in_words(&[well, away, down]);
        assert_eq!(exit, Exit::Failed);
        assert!(
            text.ends_with("3 clusters: 2 with TROUBLE: away, down\n"),
            "{text}"
        );
    }
}
