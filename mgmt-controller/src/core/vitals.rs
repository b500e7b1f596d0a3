//! How a cluster is, as far as that is known without asking.

use broker_codec::data::ZeekString;
use mgmt_api::{
    State,
    operator::{ClusterSummary, ClusterVitals, NodeVitals, Vitals, text},
};

use super::{cluster::Cluster, heard::Node, turn::Turn};

impl Cluster {
    pub(super) fn examine(&self, turn: &Turn<'_>, vitals: &mut Vitals) {
        let agent = |name| self.members.peers.agent(name);
        let wanted = self.members.instances.wanted.keys();
        let instances = wanted.map(|name| (text(name), agent(name).is_some())).collect();
        let absent = self.members.instances.wanted.keys();
        let absent = absent.filter(|name| !self.members.peers.has_obedient(name));
        let of_cluster = match self.name().besides_default() {
            Some(cluster) => format!("cluster {cluster}: "),
            None => String::new(),
        };
        let absent = absent.map(|name| format!("{of_cluster}{}", self.members.absence(turn, name)));
        vitals.failing.extend(absent);
        vitals.clusters.push(ClusterVitals {
            cluster: self.name().to_string(),
            deployed_at: self.deployed_at.map(|at| turn.unix_seconds(at)),
            instances,
            agents: self.members.peers.agents().count(),
        });
        let deployed = self.configurations.deployed.iter();
        vitals
            .nodes
            .extend(deployed.flat_map(|config| &config.nodes).map(|node| {
                let Node {
                    state,
                    starts,
                    crashes,
                } = self.heard.of(&node.instance, &node.name);
                let is_to_run = state.filter(|state| *state != State::Stopped);
                NodeVitals {
                    cluster: self.name().to_string(),
                    instance: text(&node.instance),
                    node: text(&node.name),
                    state: state.unwrap_or(State::Unknown),
                    is_running: is_to_run.map(|state| state == State::Running),
                    starts,
                    crashes,
                    heartbeat: None,
                }
            }));
    }

    /// The same in numbers.
    pub(super) fn summary(&self) -> ClusterSummary {
        let deployed = self.configurations.deployed.as_ref();
        let nodes = deployed.into_iter().flat_map(|config| &config.nodes);
        let states = nodes.map(|node| self.heard.of(&node.instance, &node.name).state);
        let states: Vec<_> = states.filter(|state| *state != Some(State::Stopped)).collect();
        let wanted = &self.members.instances.wanted;
        let is_connected = |name: &&ZeekString| self.members.peers.has_obedient(name);
        let is_running = |state: &&Option<State>| **state == Some(State::Running);
        ClusterSummary {
            cluster: self.name().to_string(),
            deployed: deployed.map(|config| text(&config.id)),
            instances: wanted.len(),
            connected: wanted.keys().filter(is_connected).count(),
            nodes: states.len(),
            running: states.iter().filter(is_running).count(),
            unknown: states.iter().filter(|state| state.is_none()).count(),
        }
    }
}
