//! Native peers come and go: what that means for the instances they speak for, and where we connect to.

use std::collections::BTreeSet;

use broker_codec::{
    Elapsed, EndpointId,
    data::{Address, ZeekString},
};

use super::{
    action::{Action, Level},
    controller::Controller,
    instances::{Seen, target_of},
    membership::{CheckedIn, Hello, LostName, Peering, REFUSED_HELLOS_MAX, Refusal, Target},
    requests::Key,
    turn::Turn,
};

impl Controller {
    pub(super) fn peer_added(&mut self, turn: &mut Turn, peer: EndpointId, peering: Peering) {
        let Peering { address, port, .. } = peering;
        turn.debug(format!("broker peer {peer} added: {address}:{port}"));
        if self.membership.peering(peer).is_some() {
            turn.warning(format!("broker peer {peer} was there already"));
        }
        if let Some(lost) = self.membership.connected(turn.now, peer, peering) {
            self.agent_lost(turn, lost, "it connected again");
        }
    }

    /// DIFFERENCE(lost-connections): Zeek takes notice of connections that break, but not of those that are ended in
    /// good order, and it goes on connecting to agents that it has dropped.
    pub(super) fn peer_lost(&mut self, turn: &mut Turn, peer: EndpointId, reason: &str) {
        turn.debug(format!("broker peer {peer} lost: {reason}"));
        let target = self.membership.target(peer);
        if let Some(target) = target {
            if self.instances.are_at(target) {
                // Where we ended the connection, nothing connects there again by itself.
                self.connect(turn, target);
            } else {
                self.disconnect(turn, target);
            }
        }
        if let Some(lost) = self.membership.ended(turn.now, peer) {
            self.agent_lost(turn, lost, reason);
        }
    }

    /// An agent says that it is there (`notify_agent_hello`).
    ///
    /// DIFFERENCE(agent-names): an agent holds one name, a name has one agent, and a hello that is refused changes nothing; a peer of
    /// which [`REFUSED_HELLOS_MAX`] were refused is disconnected. Zeek believes every hello, the latest first.
    pub(super) fn hello(&mut self, turn: &mut Turn, peer: EndpointId, topic: &ZeekString, hello: Hello) {
        let Hello {
            instance: name,
            id,
            connecting,
            ..
        } = hello.clone();
        let prefix = &self.settings.agent_topic_prefix;
        let outcome = self.membership.hello(turn.now, peer, topic, prefix, hello);
        if !matches!(outcome, Err(Refusal::TooLong { .. })) {
            let flag = if connecting { "T" } else { "F" };
            turn.info(format!(
                "rx Management::Agent::API::notify_agent_hello {name} {id} {flag}"
            ));
        }
        match outcome {
            Ok(checked_in) => self.checked_in(turn, &name, checked_in),
            Err(refusal) => {
                self.refuse_hello(turn, peer, &name, &id, &refusal);
                self.progress(turn);
            }
        }
    }

    fn refuse_hello(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        name: &ZeekString,
        id: &ZeekString,
        refusal: &Refusal,
    ) {
        let gathered = self.instances.gathered.get(name);
        if gathered.is_some_and(|instance| self.membership.waits_at(name, target_of(instance)) == Some(peer))
        {
            let address = self.address_of(peer);
            turn.info(format!(
                "instance {name}: its agent at {address} is there; {refusal} until the deployment is accepted"
            ));
            return;
        }
        self.counters.hellos_refused += 1;
        turn.warning(match refusal {
            Refusal::TooLong { .. } => format!("refused an agent: {refusal} (peer {peer})"),
            // DIFFERENCE(incompatible-agent): the instance stays what it was. Zeek drops it from the cluster, so that deployments go
            // on without it.
            Refusal::Incompatible { api_version } => {
                format!("instance {name}/{id} has checked in with incompatible API version {api_version}")
            }
            Refusal::UnknownId
            | Refusal::OtherTopic(_)
            | Refusal::NameHeld { .. }
            | Refusal::HoldsOtherName(_) => {
                let address = self.address_of(peer);
                format!("instance {name}: refused the agent at {address}: {refusal} (peer {peer})")
            }
        });
        if self.membership.exceeds_refusals(peer) {
            let reason = format!("{REFUSED_HELLOS_MAX} of its hellos were refused");
            let address = self.address_of(peer);
            turn.warning(format!(
                "closing the connection of the agent at {address}: {reason} (peer {peer})"
            ));
            turn.push(Action::Close {
                peer,
                reason: reason.clone(),
            });
            if let Some(target) = self.membership.target(peer) {
                self.targets.remove(&target);
            }
            self.close_peer(turn, peer, &reason);
        }
    }

    fn address_of(&self, peer: EndpointId) -> Address {
        let peering = self.membership.peering(peer);
        peering.map_or(Address::UNSPECIFIED_V4, |peering| peering.address)
    }

    /// A peer is the agent of an instance, now or still.
    fn checked_in(&mut self, turn: &mut Turn, name: &ZeekString, checked_in: CheckedIn) {
        turn.debug(match checked_in {
            CheckedIn::Newly | CheckedIn::InPlaceOfAnother => format!("instance {name} newly checked in"),
            CheckedIn::Again => format!("instance {name} checked in again"),
        });
        let Some(agent) = self.membership.agent(name) else {
            return;
        };
        let (peer, address) = (agent.peer, agent.observed.host);
        let target = self.membership.target(peer);
        if let Some(target) = target {
            self.instances.occupied(target, name);
        }
        if checked_in != CheckedIn::Again {
            let away = self.instances.found(name, turn.now);
            let away = away.filter(|_| self.instances.wanted.contains_key(name));
            let what = match away {
                _ if checked_in == CheckedIn::InPlaceOfAnother => {
                    "goes on with another agent of this name".to_owned()
                }
                Some(away) => format!("is back after {}", Elapsed(away)),
                None => "is connected".to_owned(),
            };
            turn.push(Action::Report {
                level: Level::Info,
                message: format!("instance {name} {what}: its agent is at {address} (peer {peer})"),
            });
        }
        // DIFFERENCE(told-again): an agent that was away when its instance was dropped is stood down when it returns. Zeek
        // has forgotten it, and its nodes run on.
        if self.instances.dismissed.contains_key(name) {
            self.stand_down(turn, name, Some(peer));
        }
        if self.instances.are_needed(name) && !self.instances.ready.contains(name) {
            self.welcome(turn, name);
        }
    }

    /// The agent of an instance is gone, and another that waited for the name may have taken its place.
    fn agent_lost(&mut self, turn: &mut Turn, lost: LostName, reason: &str) {
        let LostName {
            name,
            agent,
            successor,
        } = lost;
        if let Some(reqid) = agent.welcome {
            self.requests.remove(&Key::Welcome(reqid));
        }
        let address = agent.observed.host;
        let at = turn.now;
        self.instances.lost(name.clone(), Seen { at, address });
        turn.info(format!("dropped state for instance {name}"));
        if self.instances.wanted.contains_key(&name) {
            let nodes = match self.nodes_on(&name).count() {
                0 => String::new(),
                1 => ", with 1 node that may run on".into(),
                nodes => format!(", with {nodes} nodes that may run on"),
            };
            let peer = agent.peer;
            let message = match agent.farewell {
                Some(farewell) => format!("instance {name} is gone: {farewell} (peer {peer})"),
                None => format!(
                    "instance {name} is lost{nodes}: its agent at {address} is gone: {reason} (peer {peer})"
                ),
            };
            turn.push(Action::Report {
                level: Level::Warning,
                message,
            });
        }
        self.fail_awaited(turn, &name, reason);
        if successor.is_some() {
            self.checked_in(turn, &name, CheckedIn::InPlaceOfAnother);
        }
        self.progress(turn);
    }

    /// From now on this peer has nothing to say. The caller sees to it that its connection ends.
    pub(super) fn close_peer(&mut self, turn: &mut Turn, peer: EndpointId, reason: &str) {
        if let Some(lost) = self.membership.closing(turn.now, peer) {
            self.agent_lost(turn, lost, reason);
        }
    }

    /// Connects to an agent, if that is not done already; and whether it was not.
    pub(super) fn connect(&mut self, turn: &mut Turn, target: Target) -> bool {
        let is_new = self.targets.insert(target);
        if is_new {
            let (host, port) = target;
            turn.push(Action::Connect { host, port });
        }
        is_new
    }

    /// No instance of the cluster may be at this place any more. A connection to it stays, as in Zeek.
    pub(super) fn release(&mut self, turn: &mut Turn, target: Target) {
        if !self.instances.are_at(target) && self.membership.at(target).is_none() {
            self.disconnect(turn, target);
        }
    }

    pub(super) fn disconnect(&mut self, turn: &mut Turn, target: Target) {
        if self.targets.remove(&target) {
            let (host, port) = target;
            turn.push(Action::Disconnect { host, port });
        }
    }
}

/// Where we connect to, and connect again.
pub(super) type Targets = BTreeSet<Target>;
