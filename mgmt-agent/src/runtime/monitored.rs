//! What those hear that monitor the agent: what the core knows, and what is known of the host.

use mgmt_api::{
    OperatorRequest,
    operator::{Heartbeat, Vitals},
};
use mgmt_daemon::{
    http::Asked,
    metrics::{Metrics, number, of_node},
};

use super::{Daemon, Runtime, audited::describe};
use crate::{Counted, Measured, core};

impl Runtime {
    pub(super) fn asked(&self, asked: Asked<OperatorRequest>) -> core::Input {
        match asked {
            Asked::Vitals { id } => core::Input::Vitals { id },
            Asked::Request {
                id,
                principal,
                request,
            } => {
                self.counters.increment(Counted::OperatorRequests);
                self.operators.note(id, |what| describe(&request, what));
                core::Input::Operator {
                    id,
                    principal,
                    request,
                }
            }
        }
    }

    pub(super) fn examined(&mut self, daemon: &Daemon, id: u64, vitals: &Vitals) {
        let Some(watch) = self.operators.watch(id) else {
            return;
        };
        let known = vitals.failing.iter().cloned();
        let failing = known.chain(self.troubles()).chain(daemon.failing()).collect();
        watch.answer(failing, || self.metrics(daemon, vitals));
    }

    /// What keeps the agent itself from doing its work.
    pub(super) fn troubles(&self) -> impl Iterator<Item = String> {
        let scripts = self.scripts_trouble.as_ref();
        let scripts =
            scripts.map(|reason| format!("the scripts that nodes load cannot be written: {reason}"));
        scripts
            .into_iter()
            .chain(self.certificates.failing(self.renewing.as_ref()))
    }

    fn metrics(&self, daemon: &Daemon, vitals: &Vitals) -> Metrics {
        let mut metrics = daemon.metrics();
        metrics.certificates(self.certificates.iter());
        metrics.peers(self.broker.kinds());
        metrics.nodes(&vitals.nodes);
        for (measured, value) in [
            (
                Measured::NodeHeartbeatAgeSeconds,
                (|beat| beat.age) as fn(&Heartbeat) -> u64,
            ),
            (Measured::NodePacketsReceivedTotal, |beat| beat.received),
            (Measured::NodePacketsDroppedTotal, |beat| beat.dropped),
        ] {
            let samples = vitals.nodes.iter().filter_map(|node| {
                let heartbeat = node.heartbeat.as_ref()?;
                Some((of_node(node), number(value(heartbeat))))
            });
            metrics.show(measured, samples);
        }
        metrics
    }
}
