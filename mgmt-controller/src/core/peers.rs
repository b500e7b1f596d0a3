//! The native peers that are connected, and the agents among them by name.
//!
//! A name has one way in, [`Peers::hello`], which accepts it or changes nothing, and one way out, the end of its peer:
//! [`Peers::ended`] when the connection is gone, [`Peers::closing`] when we end it. So a peer holds one name at most,
//! a name has one holder at most, and the holder is connected.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use broker_codec::{
    EndpointId,
    data::{Address, Port, ZeekString},
};
use mgmt_api::{API_VERSION, Configuration, ControllerId, Instance, Now, access::Grant, topics};

use super::older::Api;

mod party;

pub(super) use party::Party;

/// How long the name and the Broker ID of an agent may be, in bytes. Agents with longer ones are refused.
pub const INSTANCE_NAME_BYTES_MAX: usize = 1024;

/// How many hellos of one peer are refused before its connection is closed.
pub const REFUSED_HELLOS_MAX: u32 = 10;

/// Where we connect to.
pub(super) type Target = (Address, Port);

/// The native peers that are connected, and the names that agents among them hold.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<EndpointId, Peer>,
    agents: BTreeMap<ZeekString, Agent>,
}

/// A connection as it was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peering {
    pub(super) address: Address,
    pub(super) port: Port,
    /// Whether we connected to the peer, which [`Self::target`] then says.
    pub(super) dialled: bool,
    /// Whether it speaks the extension.
    pub(super) is_ours: bool,
}

#[derive(Debug)]
struct Peer {
    peering: Peering,
    /// What it may, where roles are set.
    grant: Option<Grant>,
    /// We have ended the connection and have not heard of its end yet.
    leaving: bool,
    /// The name that it holds.
    name: Option<ZeekString>,
    /// Its last hello under a name that another peer held. It gets the name when that peer ends.
    waiting: Option<Hello>,
    refused: u32,
    api: Api,
    /// What it has said that it can be asked for, if it has said so.
    features: Option<Features>,
}

/// What a peer that speaks the extension has said that it can be asked for.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "it has each feature or has it not, apart from the others"
)]
pub(super) struct Features {
    /// To [prepare](mgmt_api::link::PREPARE).
    pub(super) prepares: bool,
    /// It starts nodes [itself](mgmt_api::link::LAUNCH).
    pub(super) launches: bool,
    /// It says what a deployment [would do](mgmt_api::link::PLAN).
    pub(super) plans: bool,
    /// It answers what operators ask: the kinds of [`mgmt_api::operator`].
    pub(super) is_operated: bool,
    /// Among these, what has become of a [node](mgmt_api::operator::NodeHistory).
    pub(super) remembers: bool,
    /// It takes a configuration on [trial](mgmt_api::link::TRIAL).
    pub(super) tries: bool,
    /// The controller that it obeys, if that is another one.
    pub(super) obeys_other: Option<ControllerId>,
}

/// What holds a name.
#[derive(Debug)]
pub(super) struct Agent {
    /// Its peer, which is the only one that can speak for the instance.
    pub(super) peer: EndpointId,
    /// The instance as it was observed.
    pub(super) observed: Instance,
    /// Since when it holds the name.
    pub(super) since: Now,
    /// The id of the `agent_welcome_request` that it has not answered yet.
    pub(super) welcome: Option<ZeekString>,
    /// What it has said when it was stopped in good order.
    pub(super) farewell: Option<String>,
    /// The configuration that it was given last, if it is one of ours and has said since it came that all went well. It looks after its
    /// nodes itself.
    runs: Weak<Configuration>,
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

/// A hello that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckedIn {
    Newly,
    Again,
    /// The agent that held the name is gone.
    InPlaceOfAnother,
}

/// Why a hello was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    TooLong {
        bytes: usize,
    },
    /// Its certificate is not for this instance.
    NotItsAgent {
        grant: Grant,
    },
    UnknownId,
    OtherTopic(ZeekString),
    Incompatible {
        api_version: u64,
    },
    NameHeld {
        address: Address,
    },
    HoldsOtherName(ZeekString),
}

/// A name that has lost its agent, and may have the next one already.
#[derive(Debug)]
pub(super) struct LostName {
    pub(super) name: ZeekString,
    pub(super) agent: Agent,
    pub(super) successor: Option<EndpointId>,
    /// Why the agent is gone.
    pub(super) reason: String,
    /// Whether the instance is to be reached elsewhere from now on.
    pub(super) moves: bool,
}

impl Peering {
    /// Where we connected to, if we did.
    pub(super) fn target(&self) -> Option<Target> {
        self.dialled.then_some((self.address, self.port))
    }
}

impl Peers {
    /// A connection is there. It may replace one whose end was never told.
    pub(super) fn connected(
        &mut self,
        now: Now,
        peer: EndpointId,
        peering: Peering,
        grant: Option<Grant>,
    ) -> Option<LostName> {
        let lost = self.ended(now, peer, "it connected again");
        let peer_state = Peer {
            peering,
            grant,
            leaving: false,
            name: None,
            waiting: None,
            refused: 0,
            api: Api::default(),
            features: None,
        };
        self.peers.insert(peer, peer_state);
        lost
    }

    pub(super) fn ended(&mut self, now: Now, peer: EndpointId, reason: &str) -> Option<LostName> {
        let gone = self.peers.remove(&peer)?;
        self.release(now, gone.name, reason)
    }

    /// We end a connection: from now on its peer has nothing to say.
    pub(super) fn closing(&mut self, now: Now, peer: EndpointId, reason: &str) -> Option<LostName> {
        let leaving = self.peers.get_mut(&peer)?;
        leaving.leaving = true;
        leaving.waiting = None;
        let name = leaving.name.take();
        self.release(now, name, reason)
    }

    fn release(&mut self, now: Now, name: Option<ZeekString>, reason: &str) -> Option<LostName> {
        let name = name?;
        let agent = self.agents.remove(&name)?;
        // Where we connect to is where the instance is to be.
        let successor = self
            .waiting_for(&name, |peering| peering.dialled)
            .or_else(|| self.waiting_for(&name, |_| true));
        if let Some(peer) = successor
            && let Some(hello) = self.peers.get_mut(&peer).and_then(|peer| peer.waiting.take())
        {
            self.give_name(now, peer, hello);
        }
        Some(LostName {
            name,
            agent,
            successor,
            reason: reason.to_owned(),
            moves: false,
        })
    }

    /// A peer that said hello under a name that it did not get.
    fn waiting_for(&self, name: &ZeekString, is: impl Fn(&Peering) -> bool) -> Option<EndpointId> {
        let waits = |peer: &Peer| {
            let hello = peer.waiting.as_ref();
            hello.is_some_and(|hello| hello.instance == *name) && is(&peer.peering)
        };
        self.peers
            .iter()
            .find_map(|(id, peer)| waits(peer).then_some(*id))
    }

    /// The peer at a place that waits for a name.
    pub(super) fn waits_at(&self, name: &ZeekString, target: Option<Target>) -> Option<EndpointId> {
        self.waiting_for(name, |peering| peering.dialled && peering.target() == target)
    }

    /// An agent is there (`notify_agent_hello`). A refused hello changes nothing, except that the peer is remembered for a name
    /// that another one holds.
    pub(super) fn hello(
        &mut self,
        now: Now,
        peer: EndpointId,
        topic: &ZeekString,
        agent_topic_prefix: &ZeekString,
        hello: Hello,
    ) -> Result<CheckedIn, Refusal> {
        let refusal = self.refusal(peer, topic, agent_topic_prefix, &hello);
        let Some(refusal) = refusal else {
            return Ok(self.give_name(now, peer, hello));
        };
        if let Some(state) = self.peers.get_mut(&peer) {
            state.refused = state.refused.saturating_add(1);
            if matches!(refusal, Refusal::NameHeld { .. }) && state.name.is_none() {
                state.waiting = Some(hello);
            }
        }
        Err(refusal)
    }

    fn refusal(
        &self,
        peer: EndpointId,
        topic: &ZeekString,
        agent_topic_prefix: &ZeekString,
        hello: &Hello,
    ) -> Option<Refusal> {
        let Hello {
            instance,
            id,
            api_version,
            ..
        } = hello;
        let bytes = instance.len().max(id.len());
        if bytes > INSTANCE_NAME_BYTES_MAX {
            return Some(Refusal::TooLong { bytes });
        }
        if let Some(grant) = self.grant_of(peer)
            && !grant.is_agent_of(instance)
        {
            let grant = grant.clone();
            return Some(Refusal::NotItsAgent { grant });
        }
        if *id != peer.to_string().as_str() {
            return Some(Refusal::UnknownId);
        }
        if *topic != topics::agent(agent_topic_prefix, instance) {
            return Some(Refusal::OtherTopic(topic.clone()));
        }
        if *api_version != API_VERSION {
            let api_version = *api_version;
            return Some(Refusal::Incompatible { api_version });
        }
        if let Some(holder) = self.agents.get(instance)
            && holder.peer != peer
        {
            let address = holder.observed.host;
            return Some(Refusal::NameHeld { address });
        }
        let other = self.name_of(peer).filter(|name| *name != instance);
        other.cloned().map(Refusal::HoldsOtherName)
    }

    /// What a peer may, where roles are set.
    fn grant_of(&self, peer: EndpointId) -> Option<&Grant> {
        self.peers.get(&peer)?.grant.as_ref()
    }

    /// Whether a peer may be the agent of an instance.
    pub(super) fn may_be_agent(&self, peer: EndpointId, instance: &ZeekString) -> bool {
        let grant = self.grant_of(peer);
        grant.is_none_or(|grant| grant.is_agent_of(instance))
    }

    /// Gives a peer the name of its hello, which is free or its own.
    fn give_name(&mut self, now: Now, peer: EndpointId, hello: Hello) -> CheckedIn {
        let Hello {
            instance: name,
            connecting,
            ..
        } = hello;
        let Some(state) = self.peers.get_mut(&peer) else {
            return CheckedIn::Again;
        };
        let Peering { address, port, .. } = state.peering;
        let observed = Instance {
            name: name.clone(),
            host: address,
            listen_port: (!connecting).then_some(port),
        };
        state.name = Some(name.clone());
        state.waiting = None;
        if let Some(agent) = self.agents.get_mut(&name) {
            agent.observed = observed;
            return CheckedIn::Again;
        }
        let agent = Agent {
            peer,
            observed,
            since: now,
            welcome: None,
            farewell: None,
            runs: Weak::new(),
        };
        self.agents.insert(name, agent);
        CheckedIn::Newly
    }

    /// Whether so many hellos of a peer were refused that its connection is to be closed.
    pub(super) fn exceeds_refusals(&self, peer: EndpointId) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|peer| peer.refused >= REFUSED_HELLOS_MAX)
    }

    /// Whether a peer is connected, and we have not ended the connection.
    pub(super) fn is_connected(&self, peer: EndpointId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| !peer.leaving)
    }

    /// The connection to a peer, also if we have ended it and have not heard of its end.
    pub(super) fn peering(&self, peer: EndpointId) -> Option<Peering> {
        self.peers.get(&peer).map(|peer| peer.peering)
    }

    /// Where we connected to a peer, if it is us who connected.
    pub(super) fn target(&self, peer: EndpointId) -> Option<Target> {
        self.peering(peer)?.target()
    }

    /// The connection that we opened to a place, if it is there and we have not ended it.
    pub(super) fn at(&self, target: Target) -> Option<EndpointId> {
        let is_at = |peer: &Peer| !peer.leaving && peer.peering.target() == Some(target);
        self.peers
            .iter()
            .find_map(|(id, peer)| is_at(peer).then_some(*id))
    }

    /// What a peer that is connected, or whose connection we have ended, can be asked for as an agent.
    pub(super) fn api(&mut self, peer: EndpointId) -> Option<&mut Api> {
        self.peers.get_mut(&peer).map(|peer| &mut peer.api)
    }

    /// A peer that is connected says what it can be asked for. Returns whether it speaks the extension.
    pub(super) fn announces(&mut self, peer: EndpointId, features: Features) -> bool {
        let Some(peer) = self.peers.get_mut(&peer).filter(|peer| peer.peering.is_ours) else {
            return false;
        };
        peer.features = Some(features);
        true
    }

    /// What a peer can be asked for.
    pub(super) fn features_of(&self, peer: EndpointId) -> Features {
        let peer = self.peers.get(&peer);
        peer.and_then(|peer| peer.features.clone()).unwrap_or_default()
    }

    /// Whether a peer is about to say what it can be asked for: it speaks the extension, and has just connected.
    pub(super) fn is_to_announce(&self, peer: EndpointId) -> bool {
        let peer = self.peers.get(&peer);
        peer.is_some_and(|peer| peer.peering.is_ours && peer.features.is_none())
    }

    /// The controller that the agent of an instance obeys, if that is another one.
    pub(super) fn obeys_other(&self, name: &ZeekString) -> Option<&ControllerId> {
        let peer = self.peers.get(&self.agents.get(name)?.peer)?;
        peer.features.as_ref()?.obeys_other.as_ref()
    }

    /// Whether the agent of an instance is connected and obeys.
    pub(super) fn has_obedient(&self, name: &ZeekString) -> bool {
        self.agents.contains_key(name) && self.obeys_other(name).is_none()
    }

    /// The instance that a peer speaks for.
    pub(super) fn name_of(&self, peer: EndpointId) -> Option<&ZeekString> {
        self.peers.get(&peer)?.name.as_ref()
    }

    pub(super) fn agent(&self, name: &ZeekString) -> Option<&Agent> {
        self.agents.get(name)
    }

    /// The agent of an instance says that it ends in good order.
    pub(super) fn leaves(&mut self, name: &ZeekString, farewell: String) {
        if let Some(agent) = self.agents.get_mut(name) {
            agent.farewell = Some(farewell);
        }
    }

    /// The agent of an instance, whose welcome may change.
    pub(super) fn welcome_of(&mut self, name: &ZeekString) -> Option<&mut Option<ZeekString>> {
        self.agents.get_mut(name).map(|agent| &mut agent.welcome)
    }

    /// The agent of an instance has deployed this.
    pub(super) fn has_deployed(&mut self, name: &ZeekString, config: &Arc<Configuration>) {
        let Some(agent) = self.agents.get_mut(name) else {
            return;
        };
        let peer = self.peers.get(&agent.peer);
        if peer.is_some_and(|peer| peer.peering.is_ours) {
            agent.runs = Arc::downgrade(config);
        }
    }

    /// What the agent of an instance was given is not what it runs, as far as is known.
    pub(super) fn may_run_other(&mut self, name: &ZeekString) {
        if let Some(agent) = self.agents.get_mut(name) {
            agent.runs = Weak::new();
        }
    }

    /// Whether the agent of an instance runs this and goes on with it whatever happens.
    pub(super) fn runs(&self, name: &ZeekString, config: &Arc<Configuration>) -> bool {
        let agent = self.agents.get(name);
        agent.is_some_and(|agent| agent.runs.ptr_eq(&Arc::downgrade(config)))
    }

    /// The agents, by the names of their instances.
    pub(super) fn agents(&self) -> impl ExactSizeIterator<Item = (&ZeekString, &Agent)> {
        self.agents.iter()
    }

    /// The host of an instance, if its agent's address was observed.
    pub(super) fn observed_host(&self, name: &ZeekString) -> Option<Address> {
        let host = self.agents.get(name)?.observed.host;
        (host != Address::UNSPECIFIED_V4).then_some(host)
    }

    /// What always holds: names and peers belong together one to one, and every name is held by a peer that is connected.
    pub(super) fn is_consistent(&self) -> bool {
        let holders = self.agents.iter().all(|(name, agent)| {
            let peer = self.peers.get(&agent.peer);
            peer.is_some_and(|peer| !peer.leaving && peer.name.as_ref() == Some(name))
        });
        let named = self.peers.values().filter(|peer| peer.name.is_some()).count();
        holders && named == self.agents.len()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(f, "its name or ID has {bytes} bytes"),
            Self::NotItsAgent { grant } => {
                write!(f, "it may not be this instance's agent: it has {grant}")
            }
            Self::UnknownId => f.write_str("it says hello under a Broker ID that is not its own"),
            Self::OtherTopic(topic) => write!(f, "it says hello on topic {topic}"),
            Self::Incompatible { api_version } => {
                write!(
                    f,
                    "it speaks version {api_version} of the API, we speak {API_VERSION}"
                )
            }
            Self::NameHeld { address } => {
                write!(f, "the agent at {address} is connected under this name")
            }
            Self::HoldsOtherName(name) => write!(f, "it is connected as instance {name}"),
        }
    }
}
