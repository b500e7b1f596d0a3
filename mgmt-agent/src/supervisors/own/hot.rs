//! Workers that join while others run: these are told before the new ones start.
//!
//! A node that does not list a worker refuses its hello, and does not ask again; while it runs unlisted, `SumStats` of the whole cluster are
//! wrong. One that is listed and does not run harms nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use broker_codec::data::ZeekString;
use mgmt_api::{ClusterRole, NodeLinkRequest, Now};

use super::{layout::Cluster, node::Node};
use crate::core::{Action, NodeSpec, Turn};

/// How long a worker that others are told of waits before it is started: they hear of it within milliseconds on this host, and on others
/// as soon as their agents get the same deployment.
const WAIT: Duration = Duration::from_secs(1);

/// Tells all nodes that are up of the workers that they do not know yet. Returns until when new workers wait, if any were told of.
pub(super) fn tell(turn: &mut Turn, nodes: &mut BTreeMap<ZeekString, Node>) -> Option<Now> {
    let mut who_lacks: BTreeMap<ZeekString, BTreeSet<ZeekString>> = BTreeMap::new();
    let mut layout: Option<NodeSpec> = None;
    for (name, node) in nodes.iter_mut().filter(|(_, node)| node.is_up) {
        let cluster = &node.launch.spec.cluster;
        if Arc::ptr_eq(cluster, &node.knows) {
            continue;
        }
        for (worker, place) in &**cluster {
            if place.role == ClusterRole::Worker && !node.knows.contains_key(worker) {
                who_lacks.entry(worker.clone()).or_default().insert(name.clone());
                layout.get_or_insert_with(|| node.launch.spec.clone());
            }
        }
        node.knows = cluster.clone();
    }
    let layout = layout?;
    // Its release makes no difference to addresses.
    let cluster = Cluster::new(&layout.cluster, (9, 0)).ok()?;
    let (manager, _) = cluster.manager()?;
    for (name, who) in who_lacks {
        let Some(place) = layout.cluster.get(&name) else {
            continue;
        };
        turn.debug(format!("telling {} nodes of worker {name}", who.len()));
        turn.push(Action::AskLinked(NodeLinkRequest::AddNode {
            reqid: format!("add-{name}").into(),
            name,
            ip: cluster.address(place).into(),
            manager: manager.clone(),
            only: who.into_iter().collect(),
        }));
    }
    Some(turn.now + WAIT)
}
