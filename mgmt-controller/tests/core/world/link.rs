//! Agents that speak the extension.

use std::time::Duration;

use broker_codec::EndpointId;
use mgmt_api::{
    LinkMessage,
    link::{PREPARE, Prepare, Prepared, Problem, from_json, to_json},
    operator::{NotDone, NotDoneKind, OUTPUTS, START, STATUS, STOP},
};

use super::{Happening, World};

impl World {
    /// An agent is told something, and answers after a while.
    pub(super) fn link(&mut self, peer: EndpointId, message: LinkMessage) {
        let host = self.network.host_of(peer).map(|host| &self.hosts[host]);
        assert!(host.is_none_or(|host| host.is_ours), "{message:?}");
        let (Some(connection), Some(_)) = (self.network.connection_of(peer), host) else {
            return;
        };
        let mut delay = self.dice.millis(1, 40);
        let answer = match message {
            LinkMessage::Announce { .. } => LinkMessage::announce(&[PREPARE, STATUS, OUTPUTS, STOP, START]),
            LinkMessage::Request { reqid, kind, json } => {
                if self.troubled && self.dice.percent(5) {
                    return;
                }
                if self.troubled && self.dice.percent(10) {
                    delay += self.dice.millis(1000, 12_000);
                }
                let (ok, json) = if kind == *PREPARE {
                    self.look(&from_json(&json).unwrap())
                } else {
                    self.operated_by_agent(&kind, &json)
                };
                LinkMessage::Reply { reqid, ok, json }
            }
            LinkMessage::Reply { .. } => panic!("the controller was asked nothing: {message:?}"),
        };
        if self.troubled && self.dice.percent(5) {
            let again = delay + Duration::from_millis(5);
            self.after(again, Happening::Link(connection, peer, answer.clone()));
        }
        self.after(delay, Happening::Link(connection, peer, answer));
    }

    fn look(&mut self, asked: &Prepare) -> (bool, broker_codec::data::ZeekString) {
        if self.troubled && self.dice.percent(5) {
            let refusal = NotDone::new(NotDoneKind::Unavailable, "no");
            return (false, to_json(&refusal).unwrap());
        }
        let first = asked.nodes.first();
        let first = first.filter(|_| self.troubled && self.dice.percent(10));
        let problem = |node: &mgmt_api::Node| Problem {
            node: node.name.clone(),
            reason: "no".into(),
        };
        let problems = first.map(problem).into_iter().collect();
        let backend = self.dice.percent(50).then(|| "zeromq".into());
        let prepared = Prepared {
            problems,
            backend,
            fates: None,
        };
        (true, to_json(&prepared).unwrap())
    }
}
