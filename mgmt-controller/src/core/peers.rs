//! Native peers: which instance each speaks for, and where we connect to.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::{
    EndpointId,
    data::{Address, Port, ZeekString},
};
use mgmt_api::{API_VERSION, Instance, topics};

use super::{
    action::Action,
    controller::{Controller, INSTANCE_NAME_BYTES_MAX},
    instances::Agent,
    requests::Key,
    turn::Turn,
};

/// Where we connect to.
pub(super) type Target = (Address, Port);

/// The native peers that are connected, agents and others.
#[derive(Debug, Default)]
pub(super) struct Peers {
    connected: BTreeMap<EndpointId, Peer>,
    /// Where we connect to, and connect again.
    targets: BTreeSet<Target>,
}

#[derive(Debug)]
struct Peer {
    address: Address,
    port: Port,
    dialled: bool,
    /// We have ended the connection and have not heard of its end yet.
    leaving: bool,
    /// Its last hello, whether it was accepted or not.
    hello: Option<Hello>,
}

impl Peer {
    fn is_at(&self, target: Target) -> bool {
        self.dialled && (self.address, self.port) == target
    }
}

/// What an agent says of itself.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    pub(super) instance: ZeekString,
    /// The Broker endpoint ID that it believes to have.
    pub(super) id: ZeekString,
    pub(super) connecting: bool,
    pub(super) api_version: u64,
}

impl Controller {
    pub(super) fn peer_added(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        address: Address,
        port: Port,
        dialled: bool,
    ) {
        turn.debug(format!("broker peer {peer} added: {address}:{port}"));
        let peering = Peer {
            address,
            port,
            dialled,
            leaving: false,
            hello: None,
        };
        if self.peers.connected.contains_key(&peer) {
            turn.warning(format!("broker peer {peer} was there already"));
            self.forget_instance_of(turn, peer);
        }
        self.peers.connected.insert(peer, peering);
    }

    /// DIFFERENCE(lost-connections): Zeek takes notice of connections that break, but not of those that are ended in
    /// good order, and it goes on connecting to agents that it has dropped.
    pub(super) fn peer_lost(&mut self, turn: &mut Turn, peer: EndpointId, reason: &str) {
        turn.debug(format!("broker peer {peer} lost: {reason}"));
        let Some(lost) = self.peers.connected.get(&peer) else {
            return;
        };
        let target = (lost.address, lost.port);
        if lost.dialled && !self.is_wanted(target) {
            self.disconnect(turn, target);
        }
        self.forget_instance_of(turn, peer);
        self.peers.connected.remove(&peer);
    }

    /// An agent is there (`notify_agent_hello`).
    pub(super) fn hello(&mut self, turn: &mut Turn, peer: EndpointId, topic: &ZeekString, hello: Hello) {
        let Hello {
            instance,
            id,
            connecting,
            api_version,
        } = &hello;
        let length = instance.len().max(id.len());
        if length > INSTANCE_NAME_BYTES_MAX {
            turn.warning(format!(
                "refusing notify_agent_hello of {peer}: its name or ID has {length} bytes"
            ));
            self.counters.hellos_refused += 1;
            return;
        }
        let flag = if *connecting { "T" } else { "F" };
        turn.info(format!(
            "rx Management::Agent::API::notify_agent_hello {instance} {id} {flag}"
        ));
        // DIFFERENCE(agent-names): an agent speaks for itself only, on its own topic, and its name is its own for as
        // long as it is connected. Zeek believes whatever name and ID an event holds, whoever sent it.
        if id.as_bytes() != peer.to_string().as_bytes() {
            turn.warning(format!(
                "notify_agent_hello from {instance} with unknown Broker ID {id}"
            ));
            self.counters.hellos_refused += 1;
            return;
        }
        if *topic != topics::agent(&self.settings.agent_topic_prefix, instance) {
            turn.warning(format!(
                "notify_agent_hello from {instance} on topic {topic}, Broker ID {id}"
            ));
            self.counters.hellos_refused += 1;
            return;
        }
        let holder = self.instances.known.get(instance).map(|agent| agent.peer);
        let other_name = self.instance_of(peer).filter(|name| *name != instance);
        let refusal = match (holder, other_name) {
            (Some(holder), _) if holder != peer => Some(format!(
                "refusing instance {instance}/{id}: {holder} is connected under this name"
            )),
            (_, Some(name)) => Some(format!(
                "refusing instance {instance}/{id}: it is connected as {name}"
            )),
            _ => None,
        };
        if *api_version != API_VERSION {
            turn.warning(format!(
                "instance {instance}/{id} has checked in with incompatible API version {api_version}"
            ));
            self.counters.hellos_refused += 1;
            if refusal.is_none() {
                self.drop_incompatible(turn, instance, peer);
            }
            return;
        }
        let accepted = refusal.is_none();
        if let Some(refusal) = refusal {
            turn.warning(refusal);
            self.counters.hellos_refused += 1;
        }
        if let Some(connected) = self.peers.connected.get_mut(&peer) {
            connected.hello = Some(hello);
        }
        if accepted {
            self.check_in(turn, peer);
        }
    }

    /// The instance that a peer speaks for.
    pub(super) fn instance_of(&self, peer: EndpointId) -> Option<&ZeekString> {
        let hello = self.peers.connected.get(&peer)?.hello.as_ref()?;
        let agent = self.instances.known.get(&hello.instance)?;
        (agent.peer == peer).then_some(&hello.instance)
    }

    /// Whether a peer is connected, and we have not ended the connection.
    pub(super) fn is_connected(&self, peer: EndpointId) -> bool {
        self.peers.connected.get(&peer).is_some_and(|peer| !peer.leaving)
    }

    /// Makes a peer the agent of the instance that its hello names.
    fn check_in(&mut self, turn: &mut Turn, peer: EndpointId) {
        let Some(connected) = self.peers.connected.get(&peer) else {
            return;
        };
        let Some(hello) = &connected.hello else { return };
        let name = hello.instance.clone();
        let observed = Instance {
            name: name.clone(),
            host: connected.address,
            listen_port: (!hello.connecting).then_some(connected.port),
        };
        if let Some(wanted) = self.instances.wanted.get_mut(&name)
            && wanted.host == Address::UNSPECIFIED_V4
            && wanted.listen_port.is_none()
        {
            wanted.host = observed.host;
        }
        if let Some(agent) = self.instances.known.get_mut(&name) {
            turn.debug(format!("instance {name} checked in again"));
            agent.observed = observed;
        } else {
            turn.debug(format!("instance {name} newly checked in"));
            let agent = Agent {
                peer,
                observed,
                welcome: None,
            };
            self.instances.known.insert(name.clone(), agent);
        }
        // DIFFERENCE(told-again): an agent that was away when its instance was dropped is stood down when it returns. Zeek
        // has forgotten it, and its nodes run on.
        if self.instances.dismissed.contains(&name) {
            self.stand_down(turn, &name, Some(peer));
        }
        if self.instances.wanted.contains_key(&name) && !self.instances.ready.contains(&name) {
            self.welcome(turn, &name);
        }
    }

    /// The instance that a peer spoke for has no agent any more, unless another that claimed the name is still there
    ///
    fn forget_instance_of(&mut self, turn: &mut Turn, peer: EndpointId) {
        let Some(name) = self.instance_of(peer).cloned() else {
            return;
        };
        self.forget(&name);
        turn.info(format!("dropped state for instance {name}"));
        self.fail_awaited(turn, &name);
        let successor = self.peers.connected.iter().find(|(id, other)| {
            let claims = other.hello.as_ref().is_some_and(|hello| hello.instance == name);
            **id != peer && !other.leaving && claims
        });
        if let Some((successor, _)) = successor {
            self.check_in(turn, *successor);
        }
    }

    /// Forgets the agent of an instance.
    fn forget(&mut self, name: &ZeekString) {
        self.instances.ready.remove(name);
        if let Some(agent) = self.instances.known.remove(name)
            && let Some(reqid) = agent.welcome
        {
            self.requests.remove(&Key::Welcome(reqid));
        }
    }

    fn drop_incompatible(&mut self, turn: &mut Turn, name: &ZeekString, peer: EndpointId) {
        if self.instances.wanted.contains_key(name) {
            self.stand_down(turn, name, Some(peer));
            self.unwant(turn, name, None);
        }
        self.forget(name);
        self.fail_awaited(turn, name);
    }

    /// Connects to an agent, if that is not done already.
    pub(super) fn connect(&mut self, turn: &mut Turn, target: Target) {
        if self.peers.targets.insert(target) {
            let (host, port) = target;
            turn.push(Action::Connect { host, port });
        }
    }

    /// Nobody wants the agent there any more. A connection to it stays, as in Zeek, unless the instance is to be
    /// reached elsewhere: then the name is free for the agent there.
    pub(super) fn release(&mut self, turn: &mut Turn, target: Target, moved: bool) {
        if self.is_wanted(target) {
            return;
        }
        let connected = self.peers.connected.iter();
        let mut at_target = connected.filter(|(_, peer)| !peer.leaving && peer.is_at(target));
        let peer = at_target.next().map(|(id, _)| *id);
        if moved || peer.is_none() {
            self.disconnect(turn, target);
        }
        if let (true, Some(peer)) = (moved, peer) {
            if let Some(name) = self.instance_of(peer).cloned() {
                self.forget(&name);
                self.fail_awaited(turn, &name);
            }
            if let Some(peer) = self.peers.connected.get_mut(&peer) {
                peer.leaving = true;
            }
        }
    }

    fn disconnect(&mut self, turn: &mut Turn, target: Target) {
        if self.peers.targets.remove(&target) {
            let (host, port) = target;
            turn.push(Action::Disconnect { host, port });
        }
    }

    fn is_wanted(&self, target: Target) -> bool {
        self.instances
            .wanted
            .values()
            .any(|instance| instance.listen_port.map(|port| (instance.host, port)) == Some(target))
    }
}
