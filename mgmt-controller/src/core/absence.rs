//! What clients and operators are told of instances that are not there.

use broker_codec::data::{Set, ZeekString};
use mgmt_api::{Node, Now, ResultRecord, WallClock, log::some_of};

use super::{
    controller::Controller,
    instances::{Seen, target_of},
};

impl Controller {
    pub(super) fn wall_clock(&self, now: Now) -> WallClock {
        self.epoch + now.since_start()
    }

    /// A time of day, as it is told now.
    pub(super) fn told(&self, now: Now, at: Now) -> String {
        self.wall_clock(at).told_at(self.wall_clock(now))
    }

    /// Why an instance cannot be asked for anything: `instance sensor3 is not connected (last seen 14:48:15 from 10.0.0.2)`.
    pub(super) fn absence(&self, now: Now, name: &ZeekString) -> String {
        let gathered = self.instances.gathered.get(name);
        let needed = gathered.or_else(|| self.instances.wanted.get(name));
        let place = needed.and_then(target_of);
        if let Some(agent) = self.membership.agent(name) {
            let address = agent.observed.host;
            let present = self.membership.target(agent.peer);
            return match (needed, place, present) {
                (Some(needed), Some((host, port)), Some((address, other))) if self.is_elsewhere(needed) => {
                    format!(
                        "instance {name} is not connected at {host}, port {port} (its agent is at {address}, port {other})"
                    )
                }
                _ => format!(
                    "instance {name} does not answer (connected since {} from {address})",
                    self.told(now, agent.since)
                ),
            };
        }
        match (self.instances.last_seen(name), place) {
            (Some(Seen { at, address }), _) => {
                let at = self.told(now, at);
                format!("instance {name} is not connected (last seen {at} from {address})")
            }
            (None, Some((host, port))) => {
                format!("instance {name} is not connected (never seen at {host}, port {port})")
            }
            (None, None) => format!("instance {name} is not connected (never seen)"),
        }
    }

    /// The nodes that the deployed configuration has on an instance.
    pub(super) fn nodes_on<'a>(&'a self, name: &'a ZeekString) -> impl Iterator<Item = &'a Node> {
        let deployed = self.configurations.deployed.iter();
        let nodes = deployed.flat_map(|config| &config.nodes);
        nodes.filter(move |node| node.instance == *name)
    }

    /// One failure for each of these nodes, or of all if none is named, whose instance cannot be asked.
    ///
    /// DIFFERENCE(absent-nodes): Zeek leaves the nodes of instances that are not connected out of the answer, which then says nothing of
    /// them and succeeds.
    pub(super) fn absent_nodes(
        &self,
        now: Now,
        reqid: &ZeekString,
        nodes: &Set<ZeekString>,
    ) -> Vec<ResultRecord> {
        let missing = self.instances.wanted_missing();
        let asked = |node: &&Node| nodes.is_empty() || nodes.contains(&node.name);
        missing
            .flat_map(|name| {
                let absence = self.absence(now, name);
                self.nodes_on(name).filter(asked).map(move |node| ResultRecord {
                    instance: Some(name.clone()),
                    node: Some(node.name.clone()),
                    ..ResultRecord::failure(reqid.clone(), absence.as_str())
                })
            })
            .collect()
    }

    /// One failure for each instance of the cluster that is not connected.
    pub(super) fn absent_instances(&self, now: Now, reqid: &ZeekString) -> Vec<ResultRecord> {
        let wanted = self.instances.wanted.keys();
        let absent = wanted.filter(|name| self.membership.agent(name).is_none());
        absent
            .map(|name| ResultRecord {
                instance: Some(name.clone()),
                ..ResultRecord::failure(reqid.clone(), self.absence(now, name))
            })
            .collect()
    }
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
