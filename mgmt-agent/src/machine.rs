//! The agent as the daemon and a replay drive it: [`Agent`], its [`Sessions`] and its [`AnySupervisor`] as one machine, whose inputs are
//! what a Broker endpoint hears.
//!
//! ```text
//!   Supervisor's peer -- any event ----------------------------> AnySupervisor <---commands, reports--> Agent
//!   any other peer ----- AgentRequest on the agent's topic, --> Sessions -------------------------------^
//!                        NodeMessage on the topic of nodes
//! ```

use std::collections::{BTreeMap, VecDeque};

use broker_codec::{Data, EndpointId, data::ZeekString, zeek::Event};
use counters::Counters;
use mgmt_api::{HostState, IdSource, NodeLinkMessage, NodeMessage, Now, Principal};
use mgmt_daemon::machine::Machine;
use serde::{Deserialize, Serialize};

pub use crate::core::{Action, Desired, Settings};
use crate::{
    Counted,
    core::{self, Agent, Turn},
    supervisors::{self, AnyNews, AnySupervisor, Supervisor, own, zeek::News},
    wire::{node_link::NODE_HELLO, peers::Sessions, reqid_in, reqid_of},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// What happens to the agent itself: its start, the clock, files, its end.
    Agent(core::Input),
    PeerAdded {
        peer: EndpointId,
        address: String,
        /// Whether it is the Supervisor: the peer that was found at the Supervisor's address, never one that connected to us.
        is_supervisor: bool,
        /// Whether it has subscribed to [`mgmt_api::topics::LINK`]: if it is a controller, it is one of this project.
        is_ours: bool,
        /// Who it is, where roles are set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        principal: Option<Box<Principal>>,
    },
    PeerLost {
        peer: EndpointId,
        reason: String,
    },
    /// A peering has ended, as the peer has said nothing, or taken nothing, for too long.
    PeerSilent {
        peer: EndpointId,
        reason: String,
    },
    /// A peer published something on a topic of [`Settings::subscriptions`].
    Message {
        peer: EndpointId,
        topic: ZeekString,
        /// What, an event if all is well.
        data: Data,
    },
    /// What becomes of the Supervisor's process, and of the Zeek that it is.
    Supervisor(News),
    /// What becomes of nodes, where no Supervisor of Zeek's keeps them.
    Nodes(own::News),
}

/// The agent with its peers and its Supervisor.
pub struct BrokerAgent {
    agent: Agent,
    peers: Sessions,
    supervisor: AnySupervisor,
    /// The Supervisor's peering, while there is one.
    supervisor_peer: Option<EndpointId>,
    /// Hellos of nodes that came before it was known which nodes run, by peer: a node says hello once.
    early: BTreeMap<EndpointId, (ZeekString, Event)>,
    now: Now,
}

impl BrokerAgent {
    /// An agent that has no peers.
    pub fn new(settings: Settings, ids: Box<dyn IdSource>) -> Self {
        Self {
            supervisor: AnySupervisor::new(&settings),
            peers: Sessions::new(settings.clone()),
            agent: Agent::new(settings, ids),
            supervisor_peer: None,
            early: BTreeMap::new(),
            now: Now::START,
        }
    }

    /// Whether no process of a node is left that is the agent's to end.
    pub fn has_no_node_process(&self) -> bool {
        match &self.supervisor {
            AnySupervisor::Own(own) => own.has_no_process(),
            AnySupervisor::Zeek(_) => true,
        }
    }

    /// Others count here, too.
    pub fn counters(&self) -> Counters<Counted> {
        self.agent.counters()
    }

    fn take(&mut self, turn: &mut Turn, input: Input) {
        if let Input::PeerLost { peer, .. } | Input::PeerSilent { peer, .. } = &input {
            self.early.remove(peer);
        }
        let input = match input {
            Input::Agent(input) => input,
            Input::PeerAdded {
                peer,
                is_supervisor: true,
                ..
            } => {
                self.supervisor_peer = Some(peer);
                return self.hear(turn, News::Connected);
            }
            Input::PeerAdded {
                peer,
                address,
                is_ours,
                principal,
                ..
            } => {
                self.peers.added(peer, is_ours, principal);
                let peer_added = core::Input::PeerAdded {
                    peer: format!("{peer} at {address}"),
                };
                // What is due is not said because of it.
                self.run(turn, [core::Input::Tick]);
                self.peers.new_peer = Some(peer);
                self.run(turn, [peer_added]);
                self.peers.new_peer = None;
                return;
            }
            Input::PeerLost { peer, reason } | Input::PeerSilent { peer, reason }
                if self.supervisor_peer == Some(peer) =>
            {
                self.supervisor_peer = None;
                return self.hear(turn, News::Disconnected { reason });
            }
            // Controllers come back, and of nodes the Supervisor tells.
            Input::PeerLost { peer, .. } => {
                self.peers.lost(peer);
                core::Input::PeerLost { peer }
            }
            Input::PeerSilent { peer, reason } => match self.peers.lost(peer) {
                Some(node) => core::Input::NodeSilent { node, reason },
                None => core::Input::PeerLost { peer },
            },
            Input::Message { peer, topic, data } => return self.message(turn, peer, topic, data),
            Input::Nodes(news) => {
                self.supervise(turn, supervisors::Input::News(AnyNews::Own(news)));
                return self.hear_early(turn);
            }
            Input::Supervisor(news) => {
                if let News::ProcessEnded { .. } = news {
                    self.supervisor_peer = None;
                }
                return self.hear(turn, news);
            }
        };
        self.run(turn, [input]);
    }

    /// Takes in what a peer published. Only the Supervisor's peer speaks for the Supervisor, and only for that.
    fn message(&mut self, turn: &mut Turn, peer: EndpointId, topic: ZeekString, data: Data) {
        match Event::from_data(data) {
            Ok(event) if self.supervisor_peer == Some(peer) => {
                self.hear(turn, News::Event(event));
                self.peers.settle(turn);
            }
            Ok(event) if self.is_early(&event) => {
                self.early.insert(peer, (topic, event));
            }
            Ok(event) => self.heard(turn, peer, topic, event),
            Err(error) => {
                let reason = error.to_string();
                turn.push(Action::Refuse { peer, topic, reason });
            }
        }
    }

    /// Whether it is the hello of a node's process of which it is not known yet whether it runs.
    fn is_early(&self, event: &Event) -> bool {
        let may_be_early = event.name == NODE_HELLO && self.supervisor.is_looking();
        let hello = may_be_early.then(|| event.clone().parse::<NodeLinkMessage>());
        match hello {
            Some(Ok(NodeLinkMessage::Hello { node, token, .. })) => {
                self.supervisor.token_of(&node) != Some(&token)
            }
            _ => false,
        }
    }

    fn hear_early(&mut self, turn: &mut Turn) {
        if !self.supervisor.is_looking() {
            for (peer, (topic, event)) in std::mem::take(&mut self.early) {
                self.heard(turn, peer, topic, event);
            }
        }
    }

    fn heard(&mut self, turn: &mut Turn, peer: EndpointId, topic: ZeekString, event: Event) {
        let token_of = |node: &ZeekString| self.supervisor.token_of(node);
        match self.peers.read(turn, peer, &topic, event, &token_of) {
            Ok(inputs) => {
                for input in inputs {
                    let up = self.who_is_up(peer, &input);
                    self.run(turn, [input]);
                    if let Some(node) = up {
                        self.supervise(turn, supervisors::Input::Up(node));
                    }
                }
            }
            Err(reason) => turn.push(Action::Refuse { peer, topic, reason }),
        }
        self.peers.settle(turn);
    }

    /// The node that has said hello, if one has: that peer is it. One that the agent does not know yet may be known to its Supervisor.
    fn who_is_up(&mut self, peer: EndpointId, input: &core::Input) -> Option<ZeekString> {
        let core::Input::Node(NodeMessage::Hello { node }) = input else {
            return None;
        };
        if self.agent.has_node(node) {
            self.peers.is_node(peer, node);
        } else {
            self.supervisor.token_of(node)?;
        }
        Some(node.clone())
    }

    fn hear(&mut self, turn: &mut Turn, news: News) {
        self.supervise(turn, supervisors::Input::News(AnyNews::Zeek(news)));
    }

    fn supervise(&mut self, turn: &mut Turn, input: supervisors::Input<AnyNews>) {
        let reports = self.supervisor_step(turn, input);
        self.run(turn, reports);
    }

    /// Has the agent take inputs in, and its peers and its Supervisor what it wants because of that.
    fn run(&mut self, turn: &mut Turn, inputs: impl IntoIterator<Item = core::Input>) {
        let mut inputs: VecDeque<core::Input> = inputs.into_iter().collect();
        while let Some(input) = inputs.pop_front() {
            for action in self.agent.step(turn.now, input) {
                match action {
                    Action::Supervise(command) => {
                        inputs.extend(self.supervisor_step(turn, supervisors::Input::Command(command)));
                    }
                    Action::Tell(message) => self.peers.tell(turn, &message),
                    Action::TellOne { peer, message } => self.peers.tell_one(turn, peer, &message),
                    Action::Ask(request) => inputs.extend(self.peers.ask(turn, &request)),
                    Action::AskLinked(request) => self.peers.ask_linked(turn, &request),
                    Action::Link { peer, message } => Sessions::link(turn, peer, &message),
                    action => turn.push(action),
                }
            }
        }
    }

    /// What the Supervisor reports because of an input. Its lines are about the controller's request, where a command of ours stands for
    /// it.
    fn supervisor_step(
        &mut self,
        turn: &mut Turn,
        input: supervisors::Input<AnyNews>,
    ) -> impl Iterator<Item = core::Input> + use<> {
        let id = match &input {
            supervisors::Input::Command(command) => Some(command.id()),
            supervisors::Input::News(AnyNews::Zeek(News::Event(event))) => reqid_of(event),
            _ => None,
        };
        let reqid = id.map(|id| self.agent.request_of(id).clone());
        let mut part = Turn::new(turn.now);
        let reports = self.supervisor.step(&mut part, input);
        for action in part.into_actions() {
            match action {
                Action::AskLinked(request) => self.peers.ask_linked(turn, &request),
                action => turn.push(action.about(reqid.as_ref())),
            }
        }
        reports.into_iter().map(core::Input::Supervisor)
    }
}

/// What the agent starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub settings: Settings,
    /// What an earlier agent has written down.
    #[serde(default)]
    pub desired: Desired,
}

impl Machine for BrokerAgent {
    type Start = Start;
    type Input = Input;
    type Action = Action;
    type Request = ZeekString;

    const TICK: Input = Input::Agent(core::Input::Tick);

    fn host(state: HostState) -> Input {
        Input::Agent(core::Input::Host(state))
    }

    fn start(Start { settings, desired }: Start, ids: Box<dyn IdSource>) -> Self {
        let mut machine = Self::new(settings, ids);
        machine.agent.recall(desired);
        machine
    }

    /// Takes one input in and returns everything that has to happen because of it, in this order.
    ///
    /// What is due at `now` happens first, before any input. A `now` before that of an earlier call counts as that
    /// one.
    fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        let mut turn = Turn::new(self.now);
        self.now = self.now.max(now);
        // The Supervisor's silence is the reason for what times out in the agent later: however late we are, the agent
        // hears of it at its time.
        while let Some(due) = self.supervisor.deadline().filter(|due| *due <= self.now) {
            turn.now = turn.now.max(due);
            self.supervise(&mut turn, supervisors::Input::Tick);
        }
        turn.now = self.now;
        self.take(&mut turn, input);
        // All commands of this moment are known now.
        if self.supervisor.deadline().is_some_and(|due| due <= self.now) {
            self.supervise(&mut turn, supervisors::Input::Tick);
        }
        turn.into_actions()
    }

    /// When `core::Input::Tick` is due. Later than the `now` of the last call.
    fn deadline(&self) -> Option<Now> {
        [self.agent.deadline(), self.supervisor.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn request(input: &Input) -> Option<ZeekString> {
        match input {
            Input::Message { data, .. } => reqid_in(data).cloned(),
            _ => None,
        }
    }

    fn owes_answer(&self, reqid: &ZeekString) -> bool {
        self.agent.owes_answer(reqid)
    }
}

#[cfg(test)]
mod tests;
