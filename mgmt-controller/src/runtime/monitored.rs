//! What those hear that monitor the controller: what the core knows, and what is known of the host.

use mgmt_api::operator::Vitals;
use mgmt_daemon::{
    http::Asked,
    metrics::{Metrics, number},
};

use super::{Daemon, Runtime, peers::PEER};
use crate::{Counted, Measured, authority::Authority, core::Input, request::Request};

impl Runtime {
    pub(super) fn asked(&mut self, daemon: &Daemon, asked: Asked<Request>) -> Input {
        match asked {
            Asked::Vitals { id } => Input::Vitals { id },
            Asked::Request {
                id,
                principal,
                request,
            } => {
                self.counters.increment(Counted::OperatorRequests);
                let (controller, audited) = (daemon.machine(), &mut self.audited);
                self.operators.note(id, |what| {
                    audited.describe(controller, (id, &principal), &request, what);
                });
                match request {
                    Request::Clusters => Input::Clusters { id, principal },
                    Request::Of(cluster, request) => Input::Operator {
                        id,
                        principal,
                        cluster,
                        request,
                    },
                }
            }
        }
    }

    pub(super) fn examined(&mut self, daemon: &Daemon, id: u64, mut vitals: Vitals) {
        let Some(watch) = self.operators.watch(id) else {
            return;
        };
        let mut failing = std::mem::take(&mut vitals.failing);
        failing.extend(self.troubles());
        failing.extend(daemon.failing());
        watch.answer(failing, || self.metrics(daemon, &vitals));
    }

    /// What keeps the controller itself from doing its work.
    pub(super) fn troubles(&self) -> impl Iterator<Item = String> {
        let store = self.store_trouble.as_ref().map(|error| {
            format!(
                "the last write of the configuration store failed: {error}; until one succeeds, nothing can be staged or deployed"
            )
        });
        let directory = self.operators.lost_directory().map(|directory| {
            format!(
                "the directory {} is gone, and what is written there is lost: put it back, or restart the controller to begin anew",
                directory.display()
            )
        });
        let ca = self.authority.as_ref().and_then(Authority::failing);
        store
            .into_iter()
            .chain(directory)
            .chain(ca)
            .chain(self.certificates.failing(self.renewing.as_ref()))
    }

    fn metrics(&self, daemon: &Daemon, vitals: &Vitals) -> Metrics {
        let mut metrics = daemon.metrics();
        metrics.certificates(self.certificates.iter());
        let clusters = &vitals.clusters;
        let agents = clusters.iter().map(|cluster| cluster.agents).sum();
        let others = self.broker.peers.count(PEER).saturating_sub(agents);
        let clients = self.wire.client_count();
        metrics.peers([("agent", agents), ("client", clients), ("other", others)]);
        metrics.nodes(&vitals.nodes);
        let instances = clusters.iter().flat_map(|cluster| {
            let of = |(instance, is_connected): &(String, bool)| {
                let labels = vec![
                    ("cluster", cluster.cluster.clone()),
                    ("zeek_instance", instance.clone()),
                ];
                (labels, f64::from(*is_connected))
            };
            cluster.instances.iter().map(of)
        });
        metrics.show(Measured::InstanceConnected, instances);
        let deployed = clusters.iter().filter_map(|cluster| {
            let labels = vec![("cluster", cluster.cluster.clone())];
            Some((labels, number(cluster.deployed_at?)))
        });
        metrics.show(Measured::ConfigurationDeployedTimeSeconds, deployed);
        metrics.value(Measured::StoreBytes, number(self.store.bytes()));
        metrics.value(Measured::StoreWritable, f64::from(self.store_trouble.is_none()));
        metrics
    }
}
