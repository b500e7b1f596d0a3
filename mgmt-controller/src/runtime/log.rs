//! What is written about what happens: the management log, and standard error for operators.

use std::{collections::BTreeSet, fmt};

use broker_codec::{
    EndpointId,
    data::{ZeekString, from_data},
};
use mgmt_api::{
    ClientResponse, Configuration, MESSAGE_BYTES_MAX, NodeOutputs, Principal, RequestKind, ResultRecord,
    TIMED_OUT, log::some_of,
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

/// What went wrong, if anything did: first the reasons that name nodes, and how many others there are. A node is named only before a reason
/// of its own.
fn failure(results: &[ResultRecord]) -> Option<String> {
    let failed: Vec<_> = results.iter().filter(|result| !result.success).collect();
    failed.first()?;
    let mut reasons: Vec<Reason<'_>> = Vec::new();
    let mut unexplained: Vec<&ZeekString> = Vec::new();
    // That time is up says less than what the same agent says of its nodes.
    let told: BTreeSet<_> = failed
        .iter()
        .filter(|result| reason(result).is_some_and(|reason| !reason.ends_with(TIMED_OUT.as_bytes())))
        .map(|result| &result.instance)
        .collect();
    for result in &failed {
        let Some(text) = reason(result) else {
            unexplained.extend(&result.node);
            continue;
        };
        if text.ends_with(TIMED_OUT.as_bytes()) && told.contains(&result.instance) {
            continue;
        }
        match reasons.iter_mut().find(|reason| reason.text == text) {
            Some(reason) => reason.nodes.extend(&result.node),
            None => reasons.push(Reason {
                text,
                nodes: result.node.iter().collect(),
            }),
        }
    }
    unexplained.retain(|node| !reasons.iter().any(|reason| reason.is_about(node)));
    let nodes: Vec<_> = failed.iter().filter_map(|result| result.node.as_ref()).collect();
    let names_a_node =
        |reason: &Reason<'_>| !reason.nodes.is_empty() || nodes.iter().any(|node| reason.is_about(node));
    reasons.sort_by_key(|reason| !names_a_node(reason));
    let first = reasons
        .first()
        .map_or_else(|| "no reason given".to_owned(), ToString::to_string);
    let names = some_of(unexplained.iter().copied());
    let first = match unexplained.len() {
        0 => first,
        1 => format!("node {names} does not run; {first}"),
        _ => format!("nodes {names} do not run; {first}"),
    };
    Some(match reasons.len().saturating_sub(1) {
        0 => first,
        count => format!("{first}, and {count} more"),
    })
}

/// Why something failed: what its result says, else the last line that its node wrote.
fn reason(result: &ResultRecord) -> Option<ZeekString> {
    let written = || {
        let outputs: NodeOutputs = from_data(result.data.as_ref()?).ok()?;
        Some([b"last line: ", outputs.last_line()?].concat().into())
    };
    result.error.clone().or_else(written)
}

/// Why something failed, and for which nodes.
struct Reason<'a> {
    text: ZeekString,
    nodes: Vec<&'a ZeekString>,
}

impl Reason<'_> {
    fn is_about(&self, node: &ZeekString) -> bool {
        self.text.to_string().contains(&format!("node {node} "))
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nodes.as_slice() {
            [] => {}
            [node] if self.is_about(node) => {}
            [node] => write!(f, "node {node}: ")?,
            nodes => write!(f, "nodes {}: ", some_of(nodes.iter().copied()))?,
        }
        self.text.excerpt(MESSAGE_BYTES_MAX).fmt(f)
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

#[cfg(test)]
mod tests {
    use broker_codec::data::to_data;

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
    fn a_failure_names_nodes_first_each_before_its_own_reason() {
        const TIMED_OUT: &str = "instance sensor1: request timed out";
        const SLOW: &str = "instance sensor1: node w1 is still starting after 15 s";
        const LATE: &str = "request timed out: instance sensor2 has not answered";
        for (results, expected) in [
            (&["@w1"][..], "node w1 does not run; no reason given"),
            (&[TIMED_OUT, "@w1"], &format!("node w1 does not run; {TIMED_OUT}")),
            (&[TIMED_OUT, SLOW, "@w1"], SLOW),
            (&["lost", "lost", SLOW, "@w1"], &format!("{SLOW}, and 1 more")),
            (
                &["a", "b", "a", "@w1", "@w2"],
                "nodes w1, w2 do not run; a, and 1 more",
            ),
            (&["@w1 unknown id", "@w2 unknown id"], "nodes w1, w2: unknown id"),
            (
                &["@a lost 1", "@b lost 2", "@c lost 1"],
                "nodes a, c: lost 1, and 1 more",
            ),
        ] {
            let results: Vec<_> = results.iter().copied().map(failed).collect();
            assert_eq!(failure(&results).as_deref(), Some(expected));
        }
        // Of two instances: what one of them says is no reason for the other's.
        let of = |instance: &str, text| ResultRecord {
            instance: Some(instance.into()),
            ..failed(text)
        };
        let results = [
            of("sensor1", TIMED_OUT),
            of("sensor2", LATE),
            of("sensor1", "@w1"),
        ];
        let expected = format!("node w1 does not run; {TIMED_OUT}, and 1 more");
        let outputs = NodeOutputs {
            stdout: "starting".into(),
            stderr: "a\nno such device\n\n".into(),
        };
        let written = ResultRecord {
            data: to_data(&outputs).ok(),
            ..of("sensor1", "@w2")
        };
        assert_eq!(
            failure(&[of("sensor1", TIMED_OUT), written]).as_deref(),
            Some("node w2: last line: no such device")
        );
        assert_eq!(failure(&results), Some(expected));
        assert_eq!(failure(&[ResultRecord::success("r".into())]), None);
    }
}
