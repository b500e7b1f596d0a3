//! What clients and operators are told of instances that are not there.

use std::collections::BTreeMap;

use broker_codec::data::{Set, ZeekString};
use mgmt_api::{Configuration, Node, ResultRecord, log::some_of};

use super::{
    action::Level,
    instances::{Seen, target_of},
    membership::Membership,
    turn::{About, Turn},
};
use crate::Counted;

impl Membership {
    /// Why an instance cannot be asked for anything: `instance sensor3 is not connected (since
    /// 2026-11-28T14:48:15Z, was at 10.0.0.2: peer was silent for 30 s)`.
    pub(super) fn absence(&self, turn: &Turn<'_>, name: &ZeekString) -> String {
        let gathered = self.instances.gathered.get(name);
        let needed = gathered.or_else(|| self.instances.wanted.get(name));
        let place = needed.and_then(target_of);
        if let Some(refusal) = self.refusal(turn, name) {
            return refusal;
        }
        if let Some(agent) = self.peers.agent(name) {
            let address = agent.observed.host;
            let present = self.peers.target(agent.peer);
            return match (needed, place, present) {
                (Some(needed), Some((host, port)), Some((address, other))) if self.is_elsewhere(needed) => {
                    format!(
                        "instance {name} is not connected at {host}, port {port} (its agent is at {address}, port {other})"
                    )
                }
                _ => format!(
                    "instance {name} does not answer (connected since {} from {address})",
                    turn.wall_clock(agent.since).to_rfc3339()
                ),
            };
        }
        let found = place.and_then(|place| turn.common.dials.found(place));
        let absence = match (found, self.instances.last_seen(name), place) {
            (Some(found), _, Some((host, port))) => format!(
                "instance {name} is not connected (the agent at {host}, port {port} is called {found}: start it with --name {name}, or \
                 correct [instances])"
            ),
            (_, Some(Seen { at, address, reason }), _) => {
                let since = turn.wall_clock(*at).to_rfc3339();
                format!("instance {name} is not connected (since {since}, was at {address}: {reason})")
            }
            (_, None, Some((host, port))) => {
                format!("instance {name} is not connected (never seen at {host}, port {port})")
            }
            (_, None, None) => format!("instance {name} is not connected (never seen)"),
        };
        match turn.common.refused.in_place_of(name) {
            Some(refused) => format!("{absence}; {refused}"),
            None => absence,
        }
    }

    /// That the agent of an instance obeys another controller, and why, if it does.
    pub(super) fn refusal(&self, turn: &Turn<'_>, name: &ZeekString) -> Option<String> {
        let obeyed = self.peers.obeys_other(name)?;
        let why = match &turn.common.id {
            Some(id) => id.refused_for(obeyed),
            None => format!("it obeys {obeyed}"),
        };
        Some(format!("instance {name} refuses this controller: {why}"))
    }

    pub(super) fn warn_of_refusal(&self, turn: &mut Turn<'_>, name: &ZeekString) {
        if let Some(refusal) = self.refusal(turn, name) {
            turn.counters.increment(Counted::Refusals);
            turn.report(Level::Warning, About::Instance(name), refusal);
        }
    }

    /// One failure for each of these nodes of the deployed configuration, or of all if none is named, whose instance cannot be asked.
    ///
    /// DIFFERENCE(absent-nodes): Zeek leaves the nodes of instances that are not connected out of the answer, which then says nothing of
    /// them and succeeds.
    pub(super) fn absent_nodes(
        &self,
        turn: &Turn<'_>,
        reqid: &ZeekString,
        deployed: &Configuration,
        nodes: &Set<ZeekString>,
    ) -> Vec<ResultRecord> {
        let missing = self.instances.wanted_missing();
        let asked = |node: &&Node| nodes.is_empty() || nodes.contains(&node.name);
        missing
            .flat_map(|name| {
                let absence = self.absence(turn, name);
                nodes_on(deployed, name)
                    .filter(asked)
                    .map(move |node| ResultRecord {
                        instance: Some(name.clone()),
                        node: Some(node.name.clone()),
                        ..ResultRecord::failure(reqid.clone(), absence.as_str())
                    })
            })
            .collect()
    }

    /// One failure for each instance of the cluster that is not connected.
    pub(super) fn absent_instances(&self, turn: &Turn<'_>, reqid: &ZeekString) -> Vec<ResultRecord> {
        let wanted = self.instances.wanted.keys();
        let absent = wanted.filter(|name| self.peers.agent(name).is_none());
        absent
            .map(|name| ResultRecord {
                instance: Some(name.clone()),
                ..ResultRecord::failure(reqid.clone(), self.absence(turn, name))
            })
            .collect()
    }

    /// Tells operators of instances of the deployed configuration that have not connected since the controller was started.
    pub(super) fn warn_of_absent(&self, turn: &mut Turn<'_>) {
        for result in self.absent_instances(turn, &ZeekString::default()) {
            let (absence, name) = (
                result.error.unwrap_or_default(),
                result.instance.unwrap_or_default(),
            );
            let message =
                format!("{absence}, and belongs to the deployed configuration: look at its host and agent");
            turn.report(Level::Warning, About::Instance(&name), message);
        }
    }

    /// What is said of instances that are not there when the others get their configuration: a failure for each, which zeek-client prints, and
    /// one for each of its nodes.
    pub(super) fn not_deployed(
        &self,
        turn: &Turn<'_>,
        reqid: &ZeekString,
        config: &Configuration,
    ) -> Vec<ResultRecord> {
        let mut results = Vec::new();
        for name in self.instances.wanted_missing() {
            let absence = self.absence(turn, name);
            let failure = |node: Option<&ZeekString>| ResultRecord {
                instance: Some(name.clone()),
                node: node.cloned(),
                ..ResultRecord::failure(
                    reqid.clone(),
                    format!("{absence}: its nodes were not deployed, they follow when it returns"),
                )
            };
            results.push(failure(None));
            results.extend(nodes_on(config, name).map(|node| failure(Some(&node.name))));
        }
        results
    }

    /// One failure for each of these instances, which are gathered and not there.
    pub(super) fn not_gathered(
        &self,
        turn: &Turn<'_>,
        reqid: &ZeekString,
        missing: Vec<ZeekString>,
    ) -> Vec<ResultRecord> {
        let failure = |name: ZeekString| {
            let absence = self.absence(turn, &name);
            let error = format!("not deployed: {absence}; the deployed configuration is unchanged");
            ResultRecord {
                instance: Some(name),
                ..ResultRecord::failure(reqid.clone(), error)
            }
        };
        missing.into_iter().map(failure).collect()
    }
}

/// The nodes that a configuration has on an instance.
pub(super) fn nodes_on<'a>(
    config: &'a Configuration,
    name: &'a ZeekString,
) -> impl Iterator<Item = &'a Node> {
    config.nodes.iter().filter(move |node| node.instance == *name)
}

/// The nodes of a configuration by their instances, for those who ask for all.
pub(super) fn nodes_by_instance(config: &Configuration) -> BTreeMap<&ZeekString, Vec<&Node>> {
    let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for node in &config.nodes {
        nodes.entry(&node.instance).or_default().push(node);
    }
    nodes
}

/// Names of instances in a sentence.
pub(super) fn named<'a>(names: impl IntoIterator<Item = &'a ZeekString>) -> String {
    let mut names = names.into_iter().peekable();
    let first = names.next();
    let noun = if names.peek().is_none() {
        "instance"
    } else {
        "instances"
    };
    format!("{noun} {}", some_of(first.into_iter().chain(names)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_instances_some_are_named() {
        let names: Vec<ZeekString> = (0..10).map(|number| format!("host{number}").into()).collect();
        assert_eq!(named(&names[..1]), "instance host0");
        assert_eq!(named(&names[..2]), "instances host0, host1");
        assert!(named(&names).ends_with("host7 and 2 more"));
    }
}
