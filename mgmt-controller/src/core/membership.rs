//! Which agents speak for the instances of a cluster, whether they are ready, and where we connect to.
//!
//! What is to be done about an agent that is gone ([`LostName`]) is up to the caller: requests may wait for it.

use std::time::Duration;

use broker_codec::{
    Elapsed, EndpointId,
    data::{Address, ZeekString},
};
use mgmt_api::{
    AgentMessage, AgentRequest, Dialect, Instance, LinkMessage, Now, RequestTable, ResultRecord,
    access::Grant, log::bracketed, topics,
};

use super::{
    action::{Action, Audience, Level, Outgoing},
    cluster_name::ClusterName,
    fanout::Fanout,
    instances::{Instances, Seen, target_of},
    peers::{CheckedIn, Hello, LostName, Peering, Peers, REFUSED_HELLOS_MAX, Refusal, Target},
    settings::Settings,
    turn::{About, Follow, Turn},
};
use crate::Counted;

/// A lost welcome is not repeated sooner, however short requests are.
const WELCOME_RETRY_MIN: Duration = Duration::from_millis(100);

/// Which agents are connected, under which name, and which instances there are to be.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) cluster: ClusterName,
    pub(super) peers: Peers,
    pub(super) instances: Instances,
    agent_topic_prefix: ZeekString,
    /// Half of what a request may take is left when a lost welcome is repeated.
    pub(super) welcome_timeout: Duration,
    /// Welcomes that have not been answered, by their ids, and the instances.
    pub(super) welcomes: RequestTable<ZeekString, ZeekString>,
}

impl Membership {
    pub(super) fn new<'a>(
        cluster: ClusterName,
        settings: &Settings,
        dismissed: impl IntoIterator<Item = &'a Instance>,
    ) -> Self {
        let mut instances = Instances::default();
        dismissed
            .into_iter()
            .for_each(|instance| instances.dismiss(instance));
        Self {
            cluster,
            peers: Peers::default(),
            instances,
            agent_topic_prefix: settings.agent_topic_prefix.clone(),
            welcome_timeout: (settings.request_timeout / 2).max(WELCOME_RETRY_MIN),
            welcomes: RequestTable::new(),
        }
    }

    /// What always holds.
    pub(super) fn is_consistent(&self) -> bool {
        self.peers.is_consistent() && self.instances.are_consistent(&self.peers)
    }

    /// When a welcome is to be repeated.
    pub(super) fn deadline(&self) -> Option<Now> {
        self.welcomes.deadline()
    }

    pub(super) fn added(
        &mut self,
        turn: &mut Turn<'_>,
        peer: EndpointId,
        peering: Peering,
        grant: Option<Grant>,
    ) -> Option<LostName> {
        let Peering {
            address,
            port,
            is_ours,
            ..
        } = peering;
        turn.debug(format!("broker peer {peer} added: {address}:{port}"));
        if self.peers.peering(peer).is_some() {
            turn.warning(format!("broker peer {peer} was there already"));
        }
        turn.common.refused.remove(peer);
        let lost = self.peers.connected(turn.now, peer, peering, grant);
        if is_ours {
            let announcement = LinkMessage::announce_controller(turn.common.id.as_ref());
            say(turn, peer, Outgoing::Link(announcement));
        }
        self.noted(turn.now, lost)
    }

    /// DIFFERENCE(lost-connections): Zeek takes notice of connections that break, but not of those that are ended in
    /// good order, and it goes on connecting to agents that it has dropped.
    pub(super) fn lost(&mut self, turn: &mut Turn<'_>, peer: EndpointId, reason: &str) -> Option<LostName> {
        turn.debug(format!("broker peer {peer} lost: {reason}"));
        turn.common.refused.remove(peer);
        if let Some(target) = self.peers.target(peer) {
            if self.instances.are_at(target) {
                // Where we ended the connection, nothing connects there again by itself.
                self.connect(turn, target);
            } else {
                self.disconnect(turn, target);
            }
            // Other clusters may want it.
            if turn.common.dials.ended(target) {
                open(turn, target);
            }
        }
        let lost = self.peers.ended(turn.now, peer, reason);
        self.noted(turn.now, lost)
    }

    /// From now on this peer has nothing to say. The caller sees to it that its connection ends.
    pub(super) fn close_peer(
        &mut self,
        turn: &mut Turn<'_>,
        peer: EndpointId,
        reason: &str,
    ) -> Option<LostName> {
        if let Some(target) = self.peers.target(peer) {
            turn.common.dials.finds(target, None);
        }
        let lost = self.peers.closing(turn.now, peer, reason);
        self.noted(turn.now, lost)
    }

    /// Ends the connection that we opened to a place, and the peer there has nothing to say from now on.
    pub(super) fn leave(&mut self, turn: &mut Turn<'_>, target: Target, reason: &str) -> Option<LostName> {
        let is_ended = self.disconnect(turn, target);
        let peer = self.peers.at(target)?;
        // Another cluster goes on connecting there.
        if !is_ended && turn.common.dials.wanted_by(target).next().is_some() {
            self.close(turn, peer, reason);
        }
        self.close_peer(turn, peer, reason)
    }

    fn close(&self, turn: &mut Turn<'_>, peer: EndpointId, reason: &str) {
        let reason = reason.to_owned();
        turn.push(Action::Close { peer, reason });
        if let Some(target) = self.peers.target(peer) {
            turn.common.dials.closed(target, &self.cluster);
        }
    }

    fn noted(&mut self, at: Now, lost: Option<LostName>) -> Option<LostName> {
        let lost = lost?;
        if let Some(reqid) = &lost.agent.welcome {
            self.welcomes.remove(reqid);
        }
        let seen = Seen {
            at,
            address: lost.agent.observed.host,
            reason: lost.agent.farewell.as_ref().unwrap_or(&lost.reason).clone(),
        };
        self.instances.lost(lost.name.clone(), seen);
        Some(lost)
    }

    /// An agent says that it is there (`notify_agent_hello`). None if it is believed; else the agents that are lost by that, as its connection
    /// is closed if it is refused too often.
    ///
    /// DIFFERENCE(agent-names): an agent holds one name, a name has one agent, and a hello that is refused changes nothing; a peer of
    /// which [`REFUSED_HELLOS_MAX`] were refused is disconnected. Zeek believes every hello, the latest first.
    pub(super) fn hello(
        &mut self,
        turn: &mut Turn<'_>,
        peer: EndpointId,
        topic: &ZeekString,
        hello: Hello,
    ) -> Option<Vec<LostName>> {
        let Hello {
            instance: name,
            id,
            connecting,
            ..
        } = hello.clone();
        let prefix = &self.agent_topic_prefix;
        let outcome = self.peers.hello(turn.now, peer, topic, prefix, hello);
        if !matches!(outcome, Err(Refusal::TooLong { .. })) {
            let flag = if connecting { "T" } else { "F" };
            turn.info(format!(
                "rx Management::Agent::API::notify_agent_hello {name} {id} {flag}"
            ));
        }
        match outcome {
            Ok(checked_in) => {
                self.checked_in(turn, &name, checked_in);
                None
            }
            Err(refusal) => {
                let lost = self.refuse_hello(turn, peer, &name, &id, &refusal);
                Some(lost.into_iter().collect())
            }
        }
    }

    fn refuse_hello(
        &mut self,
        turn: &mut Turn<'_>,
        peer: EndpointId,
        name: &ZeekString,
        id: &ZeekString,
        refusal: &Refusal,
    ) -> Option<LostName> {
        let gathered = self.instances.gathered.get(name);
        if gathered.is_some_and(|instance| self.peers.waits_at(name, target_of(instance)) == Some(peer)) {
            let address = self.address_of(peer);
            turn.info(format!(
                "instance {name}: its agent at {address} is there; {refusal} until the deployment is accepted"
            ));
            return None;
        }
        turn.counters.increment(Counted::HellosRefused);
        let address = self.address_of(peer);
        let line = match refusal {
            Refusal::TooLong { .. } => format!("refused an agent: {refusal} (peer {peer})"),
            // DIFFERENCE(incompatible-agent): the instance stays what it was. Zeek drops it from the cluster, so that deployments go
            // on without it.
            Refusal::Incompatible { api_version } => {
                format!("instance {name}/{id} has checked in with incompatible API version {api_version}")
            }
            Refusal::NotItsAgent { .. }
            | Refusal::UnknownId
            | Refusal::OtherTopic(_)
            | Refusal::NameHeld { .. }
            | Refusal::HoldsOtherName(_) => {
                format!("instance {name}: refused the agent at {address}: {refusal} (peer {peer})")
            }
        };
        turn.warning(line.clone());
        let is_too_long = matches!(refusal, Refusal::TooLong { .. });
        if !is_too_long && turn.common.refused.insert(peer, name, address, refusal) {
            turn.tell(Level::Warning, About::Instance(name), line);
        }
        if !self.peers.exceeds_refusals(peer) {
            return None;
        }
        let reason = format!("{REFUSED_HELLOS_MAX} of its hellos were refused");
        turn.warning(format!(
            "closing the connection of the agent at {address}: {reason} (peer {peer})"
        ));
        self.close(turn, peer, &reason);
        self.close_peer(turn, peer, &reason)
    }

    pub(super) fn address_of(&self, peer: EndpointId) -> Address {
        let peering = self.peers.peering(peer);
        peering.map_or(Address::UNSPECIFIED_V4, |peering| peering.address)
    }

    /// A peer is the agent of an instance, now or still.
    pub(super) fn checked_in(&mut self, turn: &mut Turn<'_>, name: &ZeekString, checked_in: CheckedIn) {
        turn.debug(match checked_in {
            CheckedIn::Newly | CheckedIn::InPlaceOfAnother => format!("instance {name} newly checked in"),
            CheckedIn::Again => format!("instance {name} checked in again"),
        });
        let Some(agent) = self.peers.agent(name) else {
            return;
        };
        let (peer, address) = (agent.peer, agent.observed.host);
        turn.common.refused.remove(peer);
        let target = self.peers.target(peer);
        if let Some(target) = target {
            turn.common.dials.finds(target, Some(name));
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
            let message = format!("instance {name} {what}: its agent is at {address} (peer {peer})");
            turn.report(Level::Info, About::Instance(name), message);
            self.warn_of_refusal(turn, name);
            let expected = target.and_then(|target| self.instances.name_at(target));
            let absent = expected.filter(|expected| self.peers.agent(expected).is_none());
            if let Some(absent) = absent.filter(|_| !self.instances.are_needed(name)) {
                let absence = self.absence(turn, absent);
                turn.report(Level::Warning, About::Instance(absent), absence);
            }
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

    /// A peer has said something in this dialect.
    pub(super) fn heard(
        &mut self,
        turn: &mut Turn<'_>,
        peer: EndpointId,
        topic: &ZeekString,
        message: &AgentMessage,
        dialect: Dialect,
    ) {
        let api = self.peers.api(peer);
        if let Some(again) = api.and_then(|api| api.heard(dialect, message)) {
            tell(turn, peer, topic.clone(), again);
        }
    }

    /// A dropped instance knows that it is dropped.
    pub(super) fn stands_by(&mut self, turn: &mut Turn<'_>, name: &ZeekString) {
        let told = self.instances.dismissed.remove(name);
        if told.is_some() {
            turn.claims_have_changed = true;
            let message = format!("instance {name} was told that it is dropped: nodes that it still has end");
            turn.report(Level::Info, About::Instance(name), message);
        }
        if let Some(target) = told.as_ref().and_then(target_of) {
            self.release(turn, target);
        }
    }

    /// Asks instances, each under an id of its own.
    pub(super) fn ask(
        &mut self,
        turn: &mut Turn<'_>,
        instances: Vec<ZeekString>,
        results: Vec<ResultRecord>,
        request: impl Fn(ZeekString, &ZeekString) -> AgentRequest,
    ) -> Fanout {
        let mut fanout = Fanout::new(results);
        for instance in instances {
            let reqid = turn.ids.next_id();
            fanout.ask(reqid.clone(), instance.clone());
            let request = request(reqid, &instance);
            self.send(turn, &instance, request);
        }
        fanout
    }

    /// Logs and sends a request to the agent of a known instance.
    pub(super) fn send(&mut self, turn: &mut Turn<'_>, instance: &ZeekString, request: AgentRequest) {
        let peer = self.peers.agent(instance).map(|agent| agent.peer);
        self.send_to(turn, instance, peer, request);
    }

    /// Logs and sends a request to an agent. The log shows it as sent also if there is no agent, as Zeek's does.
    ///
    /// DIFFERENCE(agent-topic): only the addressee gets it. In Zeek every agent does whose name the addressee's name
    /// begins with, and every other peer that subscribed to the topic.
    pub(super) fn send_to(
        &mut self,
        turn: &mut Turn<'_>,
        instance: &ZeekString,
        peer: Option<EndpointId>,
        request: AgentRequest,
    ) {
        let event = request.event_name();
        turn.info(match &request {
            AgentRequest::AgentStandby { .. } => format!("tx {event} to {instance}"),
            AgentRequest::NodeDispatch { reqid, action, .. } => {
                format!("tx {event} {reqid} {} to {instance}", bracketed(action))
            }
            _ => format!("tx {event} {} to {instance}", request.reqid()),
        });
        if let Some(peer) = peer
            && let Some(api) = self.peers.api(peer)
        {
            let topic = topics::agent(&self.agent_topic_prefix, instance);
            let (request, answer) = api.ask(instance, request);
            if let Some(request) = request {
                tell(turn, peer, topic.clone(), request);
            }
            let answer = answer.map(|message| Follow::Agent { peer, topic, message });
            turn.follows.extend(answer);
        }
    }

    /// Tells an agent that it is not part of the cluster, or not any more.
    pub(super) fn stand_down(&mut self, turn: &mut Turn<'_>, name: &ZeekString, peer: Option<EndpointId>) {
        self.peers.may_run_other(name);
        let standby = AgentRequest::AgentStandby {
            reqid: ZeekString::default(),
        };
        self.send_to(turn, name, peer, standby);
    }

    /// Connects to an agent, if that is not done already; and whether it was not for this cluster.
    pub(super) fn connect(&mut self, turn: &mut Turn<'_>, target: Target) -> bool {
        let wanted = turn.common.dials.want(target, &self.cluster);
        if wanted.is_to_open {
            open(turn, target);
        }
        wanted.is_new
    }

    /// No instance of the cluster may be at this place any more. A connection to it stays, as in Zeek.
    pub(super) fn release(&mut self, turn: &mut Turn<'_>, target: Target) {
        if !self.instances.are_at(target) && self.peers.at(target).is_none() {
            self.disconnect(turn, target);
        }
    }

    /// Does not connect there any more; and whether the connection ends, as no other cluster does.
    pub(super) fn disconnect(&mut self, turn: &mut Turn<'_>, target: Target) -> bool {
        let is_to_end = turn.common.dials.leave(target, &self.cluster);
        if is_to_end {
            let (host, port) = target;
            turn.push(Action::Disconnect { host, port });
        }
        is_to_end
    }
}

fn open(turn: &mut Turn<'_>, (host, port): Target) {
    turn.push(Action::Connect { host, port });
}

/// Sends a request to an agent.
fn tell(turn: &mut Turn<'_>, peer: EndpointId, topic: ZeekString, request: AgentRequest) {
    turn.push(Action::Publish {
        topic,
        event: Outgoing::Agent(request),
        to: Audience::Peer(peer),
    });
}

/// Tells a peer something by the extension, which it speaks.
pub(super) fn say(turn: &mut Turn<'_>, peer: EndpointId, event: Outgoing) {
    turn.push(Action::Publish {
        topic: topics::LINK.into(),
        event,
        to: Audience::Peer(peer),
    });
}
