//! What is written about what happens: the management log, and standard error for operators.

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    ClientResponse, Configuration, MESSAGE_BYTES_MAX, Principal, RequestKind, ResultRecord, log::some_of,
};

use crate::{
    core::{Controller, Slot},
    store::{Restored, Store},
};

/// A peer is gone. Of an instance of the deployed configuration the core says more.
pub(super) fn log_loss(controller: &Controller, peer: EndpointId, reason: &str) {
    match controller.instance_of(peer) {
        Some((_, true)) => {}
        Some((name, false)) => tracing::info!(%peer, "instance {name}: its agent is gone: {reason}"),
        None => tracing::debug!(%peer, "a peer is gone: {reason}"),
    }
}

/// What a request is called by zeek-client: `stage-config`, `get-nodes`.
fn name_of(kind: RequestKind) -> String {
    let name: &str = kind.into();
    name.replace('_', "-").replace("configuration", "config")
}

/// How the error of an agent ends that has not done in time what it was asked for.
const TIMED_OUT: &[u8] = b"request timed out";

/// Whether requests of this kind change something. The others are for developers: a client that looks at the cluster each second must not
/// push warnings out of the log.
const fn changes_something(kind: RequestKind) -> bool {
    matches!(
        kind,
        RequestKind::StageConfiguration | RequestKind::Deploy | RequestKind::Restart
    )
}

/// Tells that a client has asked for something.
pub(super) fn log_request(principal: &Principal, kind: RequestKind, reqid: &ZeekString) {
    let (name, client) = (name_of(kind), principal.to_string());
    if changes_something(kind) {
        tracing::info!(client, %reqid, "{name} requested");
    } else {
        tracing::debug!(client, %reqid, "{name} requested");
    }
}

/// Tells how a request ended.
pub(super) fn log_answer(response: &ClientResponse, deployed: Option<&Configuration>) {
    let (kind, reqid) = (response.kind(), response.reqid());
    let name = name_of(kind);
    let Some(why) = failure(response.results()) else {
        match deployed.filter(|_| kind == RequestKind::Deploy) {
            Some(config) => {
                let (instances, nodes) = (config.instances.len(), config.nodes.len());
                tracing::info!(instances, nodes, configuration = %config.id, %reqid, "{name} answered");
            }
            None if changes_something(kind) => tracing::info!(%reqid, "{name} answered"),
            None => tracing::debug!(%reqid, "{name} answered"),
        }
        return;
    };
    if kind == RequestKind::Deploy {
        let is_up = |result: &ResultRecord| result.success && result.node.is_some();
        let how = if response.results().iter().any(is_up) {
            "deployed, but"
        } else {
            "deploy failed:"
        };
        tracing::warn!(%reqid, "{how} {why}");
    } else if changes_something(kind) {
        tracing::info!(%reqid, "{name} failed: {why}");
    } else {
        tracing::debug!(%reqid, "{name} failed: {why}");
    }
}

/// What went wrong, if anything did: the nodes that failed, the first reason, and how many others there are.
fn failure(results: &[ResultRecord]) -> Option<String> {
    let failed: Vec<_> = results.iter().filter(|result| !result.success).collect();
    failed.first()?;
    let nodes: Vec<_> = failed.iter().filter_map(|result| result.node.as_ref()).collect();
    let mut reasons: Vec<_> = failed.iter().filter_map(|result| result.error.as_ref()).collect();
    reasons.dedup();
    // That time is up says less than what was not done by then.
    let telling = |reason: &&ZeekString| !reason.ends_with(TIMED_OUT);
    if reasons.iter().any(telling) {
        reasons.retain(telling);
    }
    let reason = reasons.first().map_or_else(
        || "no reason given".to_owned(),
        |reason| reason.excerpt(MESSAGE_BYTES_MAX).to_string(),
    );
    let named = some_of(nodes.iter().copied());
    let nodes = match nodes.len() {
        0 => String::new(),
        1 if reason.contains(&format!("node {named} ")) => String::new(),
        1 => format!("node {named}: "),
        _ => format!("nodes {named}: "),
    };
    let further = match reasons.len().saturating_sub(1) {
        0 => String::new(),
        count => format!(", and {count} more"),
    };
    Some(format!("{nodes}{reason}{further}"))
}

/// Says what the store held.
pub(super) fn report_restored(store: &Store, restored: &Restored) {
    let held = |slot| {
        restored
            .configurations
            .get(slot)
            .map(|configuration| configuration.id.to_string())
    };
    tracing::info!(
        path = %store.path().display(),
        staged = held(Slot::Staged),
        ready = held(Slot::Ready),
        deployed = held(Slot::Deployed),
        "opened the configuration store"
    );
    if restored.broker_version.is_none() {
        let dir = store.path().parent().unwrap_or(store.path()).display();
        tracing::warn!(
            "no earlier state in {dir}, starting empty. If there should be one, look at the name, --state-dir and --zeek-prefix"
        );
    }
    for slot in &restored.adopted {
        tracing::info!(%slot, id = held(*slot), "adopted a configuration that another controller wrote");
    }
    for row in &restored.unreadable {
        tracing::warn!(
            slot = row.slot.map(|slot| slot.to_string()),
            key = %row.key.escape_ascii(),
            reason = row.reason,
            "ignored a row of the configuration store that cannot be read; it stays in the file"
        );
    }
    if let Some(error) = &restored.not_writable {
        let path = store.path().display();
        tracing::error!(
            "cannot write {path}: {error}; until that is mended, nothing can be staged or deployed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A failed result, of this node if the text begins with an `@`.
    fn failed(text: &str) -> ResultRecord {
        let (node, error) = match text.strip_prefix('@') {
            Some(of_node) => of_node.split_once(' ').unwrap_or((of_node, "")),
            None => ("", text),
        };
        let given = |text: &str| (!text.is_empty()).then(|| text.into());
        ResultRecord {
            success: false,
            node: given(node),
            error: given(error),
            ..ResultRecord::success("r".into())
        }
    }

    #[test]
    fn a_failure_names_nodes_first_and_counts_other_reasons_only() {
        const TIMED_OUT: &str = "instance sensor1: request timed out";
        const SLOW: &str = "instance sensor1: node w1 is still starting after 15 s";
        for (results, expected) in [
            (&["@w1"][..], "node w1: no reason given"),
            (&[TIMED_OUT, "@w1"], &format!("node w1: {TIMED_OUT}")),
            (&[TIMED_OUT, "@w1", "@w2"], &format!("nodes w1, w2: {TIMED_OUT}")),
            (&[TIMED_OUT, SLOW, "@w1"], SLOW),
            (
                &["lost", "lost", SLOW, "@w1", "@w2"],
                "nodes w1, w2: lost, and 1 more",
            ),
            (&["@w1 unknown id", "@w2 unknown id"], "nodes w1, w2: unknown id"),
        ] {
            let results: Vec<_> = results.iter().copied().map(failed).collect();
            assert_eq!(failure(&results).as_deref(), Some(expected));
        }
        assert_eq!(failure(&[ResultRecord::success("r".into())]), None);
    }
}
