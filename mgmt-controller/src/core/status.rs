//! How a cluster is, against how it is to be.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::ZeekString;
use mgmt_api::{
    NodeStatus, Now, Role, State,
    link::from_json,
    operator::{AgentStatus, ClusterStatus, InstanceReport, NodeReport, NotDone, text},
};

use super::{
    absence::nodes_on,
    asking::{Answered, Told},
    cluster::Cluster,
    skew::Skew,
    turn::Turn,
};

impl Cluster {
    /// What agents have told, and what is missing.
    pub(super) fn status(&self, turn: &Turn<'_>, since: Now, told: Vec<(ZeekString, Told)>) -> ClusterStatus {
        let mut told: BTreeMap<ZeekString, Told> = told.into_iter().collect();
        let configurations = &self.configurations;
        let deployed = configurations.deployed.as_ref();
        let wanted = deployed.into_iter().flat_map(|config| &config.instances);
        let connected = self.members.peers.agents().map(|(name, _)| name);
        let names: BTreeSet<&ZeekString> = wanted.map(|instance| &instance.name).chain(connected).collect();
        let staged = configurations.staged.as_ref().map(|config| &config.id);
        ClusterStatus {
            cluster: self.name().to_string(),
            deployed: deployed.map(|config| text(&config.id)),
            deployed_at: self.deployed_at.map(|at| turn.wall_clock(at).to_rfc3339()),
            warnings: turn
                .common
                .warnings
                .iter()
                .cloned()
                .chain(self.rollout_warning())
                .collect(),
            is_another_staged: staged
                .is_some_and(|staged| deployed.is_none_or(|config| config.id != *staged)),
            instances: names
                .into_iter()
                .map(|name| self.instance_report(turn, name, since, told.remove(name)))
                .collect(),
        }
    }

    /// What is known of an instance, whose agent was asked at this time.
    pub(super) fn instance_report(
        &self,
        turn: &Turn<'_>,
        name: &ZeekString,
        asked: Now,
        told: Option<Told>,
    ) -> InstanceReport {
        let deployed = self.configurations.deployed.as_ref();
        let agent = self.members.peers.agent(name);
        let seen = self.members.instances.last_seen(name);
        let mut report = InstanceReport {
            instance: text(name),
            is_deployed: deployed
                .is_some_and(|config| config.instances.iter().any(|known| known.name == *name)),
            is_connected: agent.is_some(),
            address: agent
                .map(|agent| agent.observed.host)
                .or(seen.map(|seen| seen.address))
                .map(|at| at.to_string()),
            seconds: agent
                .map(|agent| agent.since)
                .or(seen.map(|seen| seen.at))
                .map(|at| (turn.now - at).as_secs()),
            ..InstanceReport::default()
        };
        let trouble = match told {
            Some(Ok(Answered::Json { json, at })) => match from_json::<AgentStatus>(&json) {
                Ok(status) => {
                    report.agent = Some(status.version);
                    report.supervise = Some(status.supervise);
                    report.configuration = status.configuration;
                    (report.http, report.cpus) = (status.http, status.cpus);
                    report.nodes = status.nodes;
                    let of_instance = |warning| format!("instance {name}: {warning}");
                    let skew = status.clock.map(|told| turn.skew((asked, at), told));
                    report.clock_ahead = skew.map(|skew| skew.ahead);
                    let warnings = status.warnings.into_iter().chain(skew.and_then(Skew::warning));
                    report.warnings = warnings.map(of_instance).collect();
                    status.trouble
                }
                Err(error) => Some(format!("its agent's answer cannot be read: {error}")),
            },
            Some(Ok(Answered::Nodes(nodes))) => {
                let cluster_nodes = nodes.iter().filter(|node| node.mgmt_role == Role::None);
                report.nodes = cluster_nodes.map(of_status).collect();
                None
            }
            Some(Err(NotDone { reason, .. })) => Some(reason.to_string()),
            None => None,
        };
        if let Some(agent) = agent {
            report
                .warnings
                .extend(turn.common.refused.besides(name, agent.peer));
        }
        report.refusal = self.members.refusal(turn, name);
        report.trouble = match agent {
            None => Some(self.members.absence(turn, name)),
            Some(_) if report.refusal.is_some() => report.refusal.clone(),
            Some(_) => trouble.map(|trouble| format!("instance {name}: {trouble}")),
        };
        let missing = deployed.into_iter().flat_map(|config| nodes_on(config, name));
        for node in missing {
            if !report.nodes.iter().any(|known| node.name == known.node.as_str()) {
                let reason = match &report.trouble {
                    Some(trouble) => trouble.clone(),
                    None => format!("the agent of instance {name} does not have it"),
                };
                report.nodes.push(NodeReport {
                    node: text(&node.name),
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
        node: text(&status.node),
        role: status.cluster_role,
        state: status.state,
        pid: status.pid,
        port: status.p.map(|port| port.number),
        metrics_port: status.metrics_port.map(|port| port.number),
        ..NodeReport::default()
    }
}
