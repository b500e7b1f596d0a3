//! What is written about what happens: the management log, and standard error for operators.

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{ClientResponse, Configuration, MESSAGE_BYTES_MAX, Principal, RequestKind, ResultRecord};

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

/// Tells how a request ended: with the first of its errors, if there are any.
pub(super) fn log_answer(response: &ClientResponse, deployed: Option<&Configuration>) {
    let (kind, reqid) = (response.kind(), response.reqid());
    let name = name_of(kind);
    let failed = response.results().iter().filter(|result| !result.success);
    let errors: Vec<&ResultRecord> = failed.collect();
    // That time is up says less than what was not done by then.
    let telling = |result: &&&ResultRecord| {
        let error = result.error.as_ref();
        error.is_some_and(|error| !error.ends_with(TIMED_OUT))
    };
    let Some(why) = errors.iter().find(telling).or(errors.first()) else {
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
    let node = why.node.as_ref().map(|node| format!("node {node}: "));
    let node = node.unwrap_or_default();
    let why = why.error.as_ref().map_or_else(
        || "no reason given".to_owned(),
        |error| error.excerpt(MESSAGE_BYTES_MAX).to_string(),
    );
    let further = match errors.len() - 1 {
        0 => String::new(),
        count => format!(", and {count} more"),
    };
    if kind == RequestKind::Deploy {
        let is_some_node_up = response
            .results()
            .iter()
            .any(|result| result.success && result.node.is_some());
        let how = if is_some_node_up {
            "deployed, but"
        } else {
            "deploy failed:"
        };
        tracing::warn!(%reqid, "{how} {node}{why}{further}");
    } else if changes_something(kind) {
        tracing::info!(%reqid, "{name} failed: {node}{why}{further}");
    } else {
        tracing::debug!(%reqid, "{name} failed: {node}{why}{further}");
    }
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
