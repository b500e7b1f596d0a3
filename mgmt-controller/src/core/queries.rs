//! What clients ask of the cluster and its agents.

use broker_codec::data::{Set, ZeekString, to_data};
use mgmt_api::{AgentRequest, Configuration, Instance, RequestKind, ResultRecord};

use super::{
    cluster::Cluster,
    pending::{Key, Logged},
    turn::Turn,
};

impl Cluster {
    /// The instances that are connected, wanted or not.
    pub(super) fn get_instances(&mut self, turn: &mut Turn<'_>, reqid: ZeekString) {
        let kind = RequestKind::GetInstances;
        let agents = self.members.peers.agents();
        let instances: Vec<&Instance> = agents.map(|(_, agent)| &agent.observed).collect();
        let result = with_data(&reqid, &instances);
        self.respond(turn, kind, reqid, vec![result], Logged::Id);
    }

    /// The staged or the deployed configuration.
    pub(super) fn get_configuration(&mut self, turn: &mut Turn<'_>, reqid: ZeekString, deployed: bool) {
        let (config, name) = if deployed {
            (&self.configurations.deployed, "deployed")
        } else {
            (&self.configurations.staged, "staged")
        };
        let result = match config {
            Some(config) => with_data(&reqid, config),
            None => ResultRecord::failure(reqid.clone(), format!("no {name} configuration available")),
        };
        let kind = RequestKind::GetConfiguration;
        self.respond(turn, kind, reqid, vec![result], Logged::Result);
    }

    /// The state of all processes on all connected instances, wanted or not.
    pub(super) fn get_nodes(&mut self, turn: &mut Turn<'_>, reqid: ZeekString) {
        let kind = RequestKind::GetNodes;
        // DIFFERENCE(absent-instances): Zeek leaves instances that are not connected out.
        let mut absent = self.members.absent_instances(turn, &reqid);
        if self.members.peers.agents().len() == 0 {
            absent.insert(0, ResultRecord::failure(reqid.clone(), "no instances connected"));
            self.respond(turn, kind, reqid, absent, Logged::Id);
            return;
        }
        let agents = self.members.peers.agents();
        let instances = agents.map(|(name, _)| name.clone()).collect();
        self.ask_agents(turn, Key::Client(kind, reqid), instances, absent, |reqid| {
            AgentRequest::GetNodes { reqid }
        });
    }

    /// The value of an identifier in nodes of the deployed cluster.
    pub(super) fn get_id_value(
        &mut self,
        turn: &mut Turn<'_>,
        reqid: ZeekString,
        id: ZeekString,
        nodes: &Set<ZeekString>,
    ) {
        let kind = RequestKind::GetIdValue;
        // DIFFERENCE(nothing-deployed): the answer is the same where instances are wanted and nothing is deployed
        // yet. Zeek's handler fails there, and the request times out.
        let deployed = match &self.configurations.deployed {
            Some(deployed) if !self.members.instances.wanted.is_empty() => deployed,
            _ => {
                self.refuse(turn, kind, reqid, "no cluster deployed", Logged::Id);
                return;
            }
        };
        let (nodes, mut unknown) = split_by_existence(nodes, deployed, &reqid);
        if nodes.is_empty() && !unknown.is_empty() {
            self.respond(turn, kind, reqid, unknown, Logged::Pending);
            return;
        }
        unknown.extend(self.members.absent_nodes(turn, &reqid, deployed, &nodes));
        let action = vec!["get_id_value".into(), id];
        let instances = self.members.instances.wanted_ready().cloned().collect();
        self.ask_agents(turn, Key::Client(kind, reqid), instances, unknown, |reqid| {
            AgentRequest::NodeDispatch {
                reqid,
                action: action.clone(),
                nodes: nodes.clone(),
            }
        });
    }

    /// Restarts nodes of the deployed cluster.
    pub(super) fn restart(&mut self, turn: &mut Turn<'_>, reqid: ZeekString, nodes: &Set<ZeekString>) {
        let kind = RequestKind::Restart;
        if self.members.peers.agents().len() == 0 {
            self.refuse(turn, kind, reqid, "no instances connected", Logged::Pending);
            return;
        }
        let Some(deployed) = &self.configurations.deployed else {
            self.refuse(turn, kind, reqid, "no active cluster deployment", Logged::Pending);
            return;
        };
        let (known, mut unknown) = split_by_existence(nodes, deployed, &reqid);
        if known.is_empty() && !unknown.is_empty() {
            self.respond(turn, kind, reqid, unknown, Logged::Pending);
            return;
        }
        unknown.extend(self.members.absent_nodes(turn, &reqid, deployed, &known));
        let instances = self.members.instances.wanted_ready().cloned().collect();
        // Agents get the names as they came, the unknown ones too.
        self.ask_agents(turn, Key::Client(kind, reqid), instances, unknown, |reqid| {
            AgentRequest::Restart {
                reqid,
                nodes: nodes.clone(),
            }
        });
    }
}

/// The nodes that a configuration has, and one failure for each that it has not.
fn split_by_existence(
    nodes: &Set<ZeekString>,
    config: &Configuration,
    reqid: &ZeekString,
) -> (Set<ZeekString>, Vec<ResultRecord>) {
    let all: Set<ZeekString> = config.nodes.iter().map(|node| node.name.clone()).collect();
    let (known, unknown): (Vec<_>, Vec<_>) = nodes.iter().cloned().partition(|node| all.contains(node));
    let failures = unknown
        .into_iter()
        .map(|node| ResultRecord {
            node: Some(node),
            ..ResultRecord::failure(reqid.clone(), "unknown cluster node")
        })
        .collect();
    (known.into_iter().collect(), failures)
}

fn with_data<T: serde::Serialize>(reqid: &ZeekString, value: &T) -> ResultRecord {
    match to_data(value) {
        Ok(data) => ResultRecord {
            data: Some(data),
            ..ResultRecord::success(reqid.clone())
        },
        Err(error) => ResultRecord::failure(reqid.clone(), error.to_string()),
    }
}
