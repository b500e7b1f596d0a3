//! How a cluster is, as far as that is known without asking.

use mgmt_api::{
    State,
    operator::{ClusterVitals, NodeVitals, Vitals, text},
};

use super::{cluster::Cluster, heard::Node, turn::Turn};

impl Cluster {
    pub(super) fn examine(&self, turn: &Turn<'_>, vitals: &mut Vitals) {
        let agent = |name| self.members.peers.agent(name);
        let wanted = self.members.instances.wanted.keys();
        let instances = wanted.map(|name| (text(name), agent(name).is_some())).collect();
        let absent = self.members.instances.wanted.keys();
        let absent = absent.filter(|name| agent(name).is_none());
        vitals
            .failing
            .extend(absent.map(|name| self.members.absence(turn, name)));
        vitals.clusters.push(ClusterVitals {
            cluster: self.name.to_owned(),
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
                    cluster: self.name.to_owned(),
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
}
