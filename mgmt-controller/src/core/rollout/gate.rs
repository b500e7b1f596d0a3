//! Whether nodes that were changed do as well as before.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::ZeekString;
use mgmt_api::{
    State,
    operator::{Heartbeat, NodeReport},
};

/// How long ago a node's latest heartbeat may be, in seconds: six of them are missing then.
const SILENT_MAX: u64 = 30;

/// How many packets a node has received before its losses say something.
const PACKETS_MIN: u64 = 1_000;

/// By how many percent of all packets a node may lose more than before.
const LOSSES_MAX: f64 = 5.0;

/// What a node had lost when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    received: u64,
    dropped: u64,
}

impl Sample {
    fn of(heartbeat: &Heartbeat) -> Option<Self> {
        let sample = Self {
            received: heartbeat.received,
            dropped: heartbeat.dropped,
        };
        (sample.all() >= PACKETS_MIN).then_some(sample)
    }

    const fn all(self) -> u64 {
        self.received.saturating_add(self.dropped)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "no one counts 2^53 packets, and these are percent"
    )]
    fn percent_lost(self) -> f64 {
        self.dropped as f64 * 100.0 / self.all().max(1) as f64
    }
}

/// What these nodes have lost, as far as that says something.
pub(crate) fn samples(nodes: &BTreeSet<ZeekString>, told: &[NodeReport]) -> BTreeMap<ZeekString, Sample> {
    let told = told
        .iter()
        .map(|node| (ZeekString::from(node.node.as_str()), node));
    let told = told.filter(|(name, _)| nodes.contains(name));
    told.filter_map(|(name, node)| Some((name, Sample::of(node.heartbeat.as_ref()?)?)))
        .collect()
}

/// What is wrong with the first of these nodes that does not do well, `watch` seconds after they were up.
pub(crate) fn complaint(
    nodes: &BTreeSet<ZeekString>,
    before: &BTreeMap<ZeekString, Sample>,
    told: &[NodeReport],
    watch: u64,
) -> Option<String> {
    nodes.iter().find_map(|name| {
        let Some(node) = told.iter().find(|node| *name == node.node.as_str()) else {
            return Some(format!("its agent says nothing of node {name}"));
        };
        // An operator knows why.
        if node.stopped_by_operator {
            return None;
        }
        wrong(node, before.get(name), watch).map(|what| format!("node {name} {what}"))
    })
}

fn wrong(node: &NodeReport, before: Option<&Sample>, watch: u64) -> Option<String> {
    if node.state != State::Running {
        let reason = node.reason.as_ref().map(|reason| format!(": {reason}"));
        return Some(format!("is {}{}", node.state, reason.unwrap_or_default()));
    }
    // A second is lost in rounding.
    if let Some(uptime) = node.uptime.filter(|uptime| *uptime + 1 < watch) {
        return Some(format!(
            "was started again {uptime} s ago, while it was watched for {watch} s"
        ));
    }
    let heartbeat = node.heartbeat.as_ref()?;
    if heartbeat.age > SILENT_MAX {
        return Some(format!("was last heard of {} s ago", heartbeat.age));
    }
    let (before, after) = (before?.percent_lost(), Sample::of(heartbeat)?.percent_lost());
    (after > before + LOSSES_MAX)
        .then(|| format!("loses {after:.1} % of its packets, and lost {before:.1} % before"))
}
