//! How a cluster is, against how it is to be.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::ZeekString;
use mgmt_api::{
    NodeStatus, Role, State,
    operator::{ClusterStatus, InstanceReport, NodeReport, NotDone},
};

use super::{absence::nodes_on, asking::Told, cluster::Cluster, turn::Turn};

impl Cluster {
    /// What agents have told, and what is missing.
    pub(super) fn status(
        &self,
        turn: &Turn<'_>,
        told: Vec<(ZeekString, Result<Told, NotDone>)>,
    ) -> ClusterStatus {
        let mut told: BTreeMap<ZeekString, Result<Told, NotDone>> = told.into_iter().collect();
        let configurations = &self.configurations;
        let deployed = configurations.deployed.as_ref();
        let wanted = deployed.into_iter().flat_map(|config| &config.instances);
        let connected = self.members.peers.agents().map(|(name, _)| name);
        let names: BTreeSet<&ZeekString> = wanted.map(|instance| &instance.name).chain(connected).collect();
        let staged = configurations.staged.as_ref().map(|config| &config.id);
        ClusterStatus {
            cluster: "default".to_owned(),
            deployed: deployed.map(|config| config.id.to_string()),
            is_another_staged: staged
                .is_some_and(|staged| deployed.is_none_or(|config| config.id != *staged)),
            instances: names
                .into_iter()
                .map(|name| self.instance_report(turn, name, told.remove(name)))
                .collect(),
        }
    }

    fn instance_report(
        &self,
        turn: &Turn<'_>,
        name: &ZeekString,
        told: Option<Result<Told, NotDone>>,
    ) -> InstanceReport {
        let deployed = self.configurations.deployed.as_ref();
        let agent = self.members.peers.agent(name);
        let seen = self.members.instances.last_seen(name);
        let mut report = InstanceReport {
            instance: name.to_string(),
            is_deployed: deployed
                .is_some_and(|config| config.instances.iter().any(|known| known.name == *name)),
            is_connected: agent.is_some(),
            address: agent
                .map(|agent| agent.observed.host)
                .or(seen.map(|seen| seen.address))
                .map(|at| at.to_string()),
            since: agent
                .map(|agent| agent.since)
                .or(seen.map(|seen| seen.at))
                .map(|at| (turn.now - at).as_secs()),
            ..InstanceReport::default()
        };
        match told {
            Some(Ok(Told::Status(status))) => {
                report.agent = Some(status.version);
                report.supervise = Some(status.supervise);
                report.configuration = status.configuration;
                report.trouble = status.trouble;
                report.nodes = status.nodes;
            }
            Some(Ok(Told::Nodes(nodes))) => {
                let cluster_nodes = nodes.iter().filter(|node| node.mgmt_role == Role::None);
                report.nodes = cluster_nodes.map(of_status).collect();
            }
            Some(Err(NotDone { reason, .. })) => report.trouble = Some(reason.to_string()),
            Some(Ok(_)) => {}
            None => report.trouble = Some(self.members.absence(turn, name)),
        }
        let missing = deployed.into_iter().flat_map(|config| nodes_on(config, name));
        for node in missing {
            if !report.nodes.iter().any(|known| node.name == known.node.as_str()) {
                let reason = match &report.trouble {
                    Some(trouble) => trouble.clone(),
                    None => format!("the agent of instance {name} does not have it"),
                };
                report.nodes.push(NodeReport {
                    node: node.name.to_string(),
                    role: node.role,
                    state: State::Unknown,
                    reason: Some(reason),
                    ..NodeReport::default()
                });
            }
        }
        report.nodes.sort_by(|a, b| a.node.cmp(&b.node));
        report
    }
}

fn of_status(status: &NodeStatus) -> NodeReport {
    NodeReport {
        node: status.node.to_string(),
        role: status.cluster_role,
        state: status.state,
        pid: status.pid,
        ..NodeReport::default()
    }
}
