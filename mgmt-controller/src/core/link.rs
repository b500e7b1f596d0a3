//! The extension ([`mgmt_api::link`]): agents say what they can be asked for.

use broker_codec::EndpointId;
use mgmt_api::{
    LinkMessage,
    link::{LAUNCH, PLAN, PREPARE, TRIAL, obeyed_in, other_version},
    operator::{HISTORY, STATUS},
};

use super::{
    action::Level,
    cluster::Cluster,
    peers::Features,
    turn::{About, Turn},
};
use crate::Counted;

impl Cluster {
    /// Takes a message of the extension in.
    pub(super) fn link_message(&mut self, turn: &mut Turn<'_>, peer: EndpointId, message: LinkMessage) {
        let event = message.event_name();
        let is_obeyed = match message {
            LinkMessage::Announce { version, features } => {
                let has = |known: &str| features.iter().any(|feature| *feature == *known);
                let features = Features {
                    prepares: has(PREPARE),
                    launches: has(LAUNCH),
                    plans: has(PLAN),
                    is_operated: has(STATUS),
                    remembers: has(HISTORY),
                    tries: has(TRIAL),
                    obeys_other: obeyed_in(&features),
                };
                self.members.peers.announces(peer, features) && {
                    self.obedience_told(turn, peer);
                    if let Some(other) = other_version(version) {
                        let address = self.members.address_of(peer);
                        turn.report(
                            Level::Info,
                            About::Cluster,
                            format!("the agent at {address} {other} (peer {peer})"),
                        );
                    }
                    true
                }
            }
            LinkMessage::Reply { reqid, ok, json } => match self.members.peers.name_of(peer).cloned() {
                Some(name) => {
                    if !self.trial_heard(&reqid) && !self.told(turn, &name, &reqid, ok, &json) {
                        self.looked(turn, &name, &reqid, ok, &json);
                    }
                    true
                }
                None => false,
            },
            LinkMessage::Request { .. } => false,
        };
        if !is_obeyed {
            turn.warning(format!("ignoring {event} of {peer}"));
            turn.counters.increment(Counted::AgentMessagesRefused);
        }
    }

    /// The agent of an instance has said whether it obeys. One that does not is not ready for anything.
    fn obedience_told(&mut self, turn: &mut Turn<'_>, peer: EndpointId) {
        let Some(name) = self.members.peers.name_of(peer).cloned() else {
            return;
        };
        if self.members.peers.obeys_other(&name).is_some() {
            self.members.instances.ready.remove(&name);
            self.members.peers.may_run_other(&name);
            self.members.forget_welcome(&name);
            self.members.warn_of_refusal(turn, &name);
            self.progress(turn);
        }
    }

    /// Instances of a deployment refuse this controller.
    pub(super) fn refused(&mut self, turn: &mut Turn<'_>) {
        if let Some(deployment) = &self.deployment {
            let refusing = self.members.refusing();
            let results = self.members.not_gathered(turn, deployment.key.reqid(), refusing);
            self.fail_deployment(turn, results);
        }
    }
}
