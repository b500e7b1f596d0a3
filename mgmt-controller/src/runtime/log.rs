//! What is written about what happens: the management log, and standard error for operators.

use std::{collections::BTreeSet, fmt};

use broker_codec::{
    EndpointId,
    data::{ZeekString, from_data},
};
use mgmt_api::{
    ClientResponse, Configuration, ControllerId, MESSAGE_BYTES_MAX, NodeOutputs, Principal, RequestKind,
    ResultRecord, TIMED_OUT, log::some_of, operator::Event,
};

use crate::{
    core::{ClusterName, Controller, Slot},
    store::{Restored, Store},
};

/// What standard error says of an event.
pub(super) fn line(event: &Event) -> String {
    let cluster = ClusterName::try_from(event.cluster.as_str()).ok();
    cluster.map_or_else(|| event.message.clone(), |cluster| cluster.line(&event.message))
}

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
pub(super) fn log_request(principal: &Principal, kind: RequestKind, nodes: &str, reqid: &ZeekString) {
    let (name, client) = (name_of(kind), principal.to_string());
    let nodes = Some(nodes).filter(|nodes| !nodes.is_empty());
    if changes_something(kind) {
        tracing::info!(client, nodes, %reqid, "{name} requested");
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
            "deployed, but "
        } else if why.starts_with("not deployed") {
            ""
        } else {
            "deploy failed: "
        };
        tracing::warn!(%reqid, "{how}{why}");
    } else if changes_something(kind) {
        tracing::info!(%reqid, "{name} failed: {why}");
    } else {
        tracing::debug!(%reqid, "{name} failed: {why}");
    }
}

/// How many reasons a line shows.
const REASONS_SHOWN: usize = 2;

/// What went wrong, if anything did: first the reasons that name nodes, and how many others there are.
fn failure(results: &[ResultRecord]) -> Option<String> {
    let failed: Vec<_> = results.iter().filter(|result| !result.success).collect();
    failed.first()?;
    let (explained, unexplained): (Vec<_>, Vec<_>) = failed
        .iter()
        .map(|result| (*result, reason(result)))
        .partition(|(_, reason)| reason.is_some());
    let is_late = |text: &ZeekString| text.ends_with(TIMED_OUT.as_bytes());
    // That time is up says less than what the same agent says of its nodes.
    let told: BTreeSet<_> = explained
        .iter()
        .filter(|(_, reason)| !reason.as_ref().is_some_and(is_late))
        .map(|(result, _)| &result.instance)
        .collect();
    let mut reasons: Vec<Reason<'_>> = Vec::new();
    for (result, text) in explained {
        let text = text.filter(|text| !is_late(text) || !told.contains(&result.instance));
        Reason::add(&mut reasons, result, text);
    }
    for (result, _) in unexplained {
        let is_about = |node| reasons.iter().any(|reason| reason.is_about(node));
        let node = result.node.as_ref().filter(|node| !is_about(node));
        Reason::add(&mut reasons, result, node.map(|_| "not running".into()));
    }
    let nodes: Vec<_> = failed.iter().filter_map(|result| result.node.as_ref()).collect();
    let names_a_node =
        |reason: &Reason<'_>| !reason.nodes.is_empty() || nodes.iter().any(|node| reason.is_about(node));
    reasons.sort_by_key(|reason| !names_a_node(reason));
    let shown: Vec<_> = reasons
        .iter()
        .take(REASONS_SHOWN)
        .map(Reason::to_string)
        .collect();
    Some(match (shown.is_empty(), reasons.len() - shown.len()) {
        (true, _) => "no reason given".to_owned(),
        (false, 0) => shown.join("; "),
        (false, others) => format!("{}; and {others} more", shown.join("; ")),
    })
}

/// Why something failed: what its result says, else the last line that its node wrote.
fn reason(result: &ResultRecord) -> Option<ZeekString> {
    let written = || {
        let outputs: NodeOutputs = from_data(result.data.clone()?).ok()?;
        Some(
            [b"not running, last line: ", outputs.last_line()?]
                .concat()
                .into(),
        )
    };
    result.error.clone().or_else(written)
}

/// Why something failed, on which instance, and for which nodes.
struct Reason<'a> {
    instance: Option<&'a ZeekString>,
    text: ZeekString,
    nodes: Vec<&'a ZeekString>,
}

impl<'a> Reason<'a> {
    /// Adds the reason of a result, or its node to one that says the same.
    fn add(reasons: &mut Vec<Self>, result: &'a ResultRecord, text: Option<ZeekString>) {
        let (Some(text), instance, node) = (text, result.instance.as_ref(), &result.node) else {
            return;
        };
        let same = |reason: &&mut Self| reason.text == text && reason.instance == instance;
        match reasons.iter_mut().find(same) {
            Some(reason) => reason.nodes.extend(node),
            None => reasons.push(Self {
                instance,
                text,
                nodes: node.iter().collect(),
            }),
        }
    }

    fn is_about(&self, node: &ZeekString) -> bool {
        self.text.to_string().contains(&format!("node {node} "))
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.to_string();
        if let Some(instance) = self.instance.map(|name| format!("instance {name}"))
            && !text.contains(&instance)
        {
            write!(f, "{instance}: ")?;
        }
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
        identity = restored.identity.as_ref().map(ControllerId::identity),
        generation = restored.identity.as_ref().map(|id| id.generation),
        "opened the configuration store"
    );
    for (cluster, configurations) in &restored.clusters {
        let deployed = configurations
            .deployed
            .as_ref()
            .map(|config| config.id.to_string());
        tracing::info!(%cluster, deployed, "the configuration store has another cluster");
    }
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
        const LATE: &str = "instance sensor1: request timed out";
        const SLOW: &str = "instance sensor1: node w1 is still starting after 15 s";
        for (results, expected) in [
            (&["@w1"][..], "node w1: not running"),
            (&[LATE, "@w1"], &format!("node w1: not running; {LATE}")),
            (&[LATE, SLOW, "@w1"], SLOW),
            (&["lost", "lost", SLOW, "@w1"], &format!("{SLOW}; lost")),
            (
                &["a", "b", "a", "@w1", "@w2"],
                "nodes w1, w2: not running; a; and 1 more",
            ),
            (&["@w1 unknown id", "@w2 unknown id"], "nodes w1, w2: unknown id"),
            (
                &["@a lost 1", "@b lost 2", "@c lost 1"],
                "nodes a, c: lost 1; node b: lost 2",
            ),
        ] {
            let results: Vec<_> = results.iter().copied().map(failed).collect();
            assert_eq!(failure(&results).as_deref(), Some(expected));
        }
        let of = |instance: &str, text| ResultRecord {
            instance: Some(instance.into()),
            ..failed(text)
        };
        let outputs = NodeOutputs {
            stdout: "starting".into(),
            stderr: "a\nno such device\n\n".into(),
        };
        let written = ResultRecord {
            data: to_data(&outputs).ok(),
            ..of("sensor1", "@w2")
        };
        let absent = of("sensor2", "instance sensor2 is not connected");
        for (results, expected) in [
            // What an instance says is no reason for another one's.
            (
                vec![of("sensor1", LATE), of("sensor2", "@w1")],
                &*format!("instance sensor2: node w1: not running; {LATE}"),
            ),
            (
                vec![of("sensor1", LATE), written, absent],
                "instance sensor1: node w2: not running, last line: no such device; instance sensor2 is not connected",
            ),
        ] {
            assert_eq!(failure(&results).as_deref(), Some(expected));
        }
        assert_eq!(failure(&[ResultRecord::success("r".into())]), None);
    }
}
