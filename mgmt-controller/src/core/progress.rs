//! How far a deployment is on each instance and with each node, as operators are told.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::{ZeekString, from_data};
use mgmt_api::{
    MESSAGE_BYTES_MAX, NodeOutputs, ResultRecord,
    operator::{InstanceProgress, NodeProgress, Progress, text},
};

use super::{absence::nodes_by_instance, deployment::Deployment, membership::Membership};

/// Of one that is under way.
pub(super) fn under_way(deployment: &Deployment, members: &Membership) -> Vec<InstanceProgress> {
    let missing = deployment.missing(members);
    let missing: BTreeSet<&ZeekString> = missing.iter().collect();
    instances(deployment, deployment.results(), |name| {
        deployment.progress_of(name, missing.contains(name))
    })
}

/// Of one that has ended with these results.
pub(super) fn at_the_end(deployment: &Deployment, results: &[ResultRecord]) -> Vec<InstanceProgress> {
    let otherwise = if deployment.is_new() {
        Progress::Unchanged
    } else {
        Progress::Up
    };
    instances(deployment, results, |_| otherwise)
}

/// Why one has failed, as far as that is of no instance.
pub(super) fn errors(results: &[ResultRecord]) -> Vec<String> {
    let of_all =
        |result: &&ResultRecord| !result.success && result.instance.is_none() && result.node.is_none();
    results
        .iter()
        .filter(of_all)
        .map(|result| reason_of(result, None))
        .collect()
}

fn instances(
    deployment: &Deployment,
    results: &[ResultRecord],
    otherwise: impl Fn(&ZeekString) -> Progress,
) -> Vec<InstanceProgress> {
    let mut of_nodes: BTreeMap<&ZeekString, &ResultRecord> = BTreeMap::new();
    let mut of_instances: BTreeMap<&ZeekString, Vec<String>> = BTreeMap::new();
    for result in results {
        match (&result.node, &result.instance) {
            (Some(node), _) => _ = of_nodes.insert(node, result),
            (None, Some(instance)) if !result.success => {
                of_instances
                    .entry(instance)
                    .or_default()
                    .push(reason_of(result, None));
            }
            _ => {}
        }
    }
    let nodes_on = nodes_by_instance(&deployment.config);
    let of_instance = |name: &ZeekString| {
        let reasons = of_instances.get(name).map(|reasons| reasons.join("; "));
        let state = otherwise(name);
        // What an instance has failed at, its nodes have as far as nothing else is known, unless nothing was to be done with them.
        let (state_of_rest, reason_of_rest) = match &reasons {
            Some(reason) if !deployment.is_new() => (Progress::Failed, Some(reason.clone())),
            _ => (state, None),
        };
        let nodes = nodes_on.get(name).into_iter().flatten().map(|node| {
            let (state, reason) = match of_nodes.get(&node.name) {
                Some(result) if result.success => (Progress::Up, None),
                Some(result) => (Progress::Failed, Some(reason_of(result, reasons.as_deref()))),
                None => (state_of_rest, reason_of_rest.clone()),
            };
            let node = text(&node.name);
            NodeProgress { node, state, reason }
        });
        let nodes: Vec<NodeProgress> = nodes.collect();
        let has_failed = reasons.is_some() || nodes.iter().any(|node| node.state == Progress::Failed);
        InstanceProgress {
            instance: text(name),
            state: if has_failed { Progress::Failed } else { state },
            reason: reasons,
            nodes,
        }
    };
    let names = deployment.config.instances.iter().map(|instance| &instance.name);
    names.map(of_instance).collect()
}

/// Why something has failed: what its result says, with the last line that a node wrote, if the error does not quote it. What a result does not say its
/// instance may.
pub(super) fn reason_of(result: &ResultRecord, of_instance: Option<&str>) -> String {
    let error = result.error.as_ref();
    let error = error.map(|error| error.excerpt(MESSAGE_BYTES_MAX).to_string());
    let outputs = result.data.clone();
    let outputs = outputs.and_then(|data| from_data::<NodeOutputs>(data).ok());
    let line = outputs.as_ref().and_then(NodeOutputs::last_line);
    let line = line.map(|line| ZeekString::from(line).excerpt(MESSAGE_BYTES_MAX).to_string());
    match (error, line) {
        (Some(error), Some(line)) if !error.contains(&line) => format!("{error}, last line: {line}"),
        (Some(error), _) => error,
        (None, Some(line)) if !of_instance.is_some_and(|told| told.contains(&line)) => {
            format!("not running, last line: {line}")
        }
        (None, _) => of_instance.unwrap_or("its agent gives no reason").to_owned(),
    }
}
