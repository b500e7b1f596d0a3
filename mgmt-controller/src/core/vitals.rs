//! How a cluster is, as far as that is known without asking.

use mgmt_api::operator::Vitals;

use super::{cluster::Cluster, turn::Turn};

impl Cluster {
    pub(super) fn examine(&self, turn: &Turn<'_>, vitals: &mut Vitals) {
        let wanted = self.members.instances.wanted.keys();
        let absent = wanted.filter(|name| self.members.peers.agent(name).is_none());
        vitals
            .failing
            .extend(absent.map(|name| self.members.absence(turn, name)));
    }
}
