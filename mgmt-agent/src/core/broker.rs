//! The agent as its Broker peers see it: [`Agent`] and [`ZeekSupervisor`] as one machine, whose inputs are what an
//! endpoint hears and whose actions are what it is to say.
//!
//! ```text
//!   Supervisor's peer -- any event ----------------------------> ZeekSupervisor <--commands, reports--> Agent
//!   any other peer ----- AgentRequest on the agent's topic, ---------------------------------------------^
//!                        NodeMessage on the topic of nodes
//! ```
//!
//! Here alone events are told apart by their topic and sender, read, and written. A Broker endpoint drives an
//! agent with it, or a recording of one.

mod controllers;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use broker_codec::{
    Data, EndpointId,
    data::{Address, DataError, ZeekString},
    zeek::Event,
};
use mgmt_api::{
    AgentRequest, Dialect, DialectError, IdSource, Level, NodeMessage, Now, SupervisorLayout,
    dialect::Published, topics,
};
use serde::{Deserialize, Serialize};

use super::{
    Agent, Program, action, input,
    supervision::Report,
    zeek::{self, ZeekSupervisor},
};
use controllers::{Addressed, Controllers};

/// What an operator can choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub agent: super::Settings,
    pub supervisor: zeek::Settings,
    /// Where the Management framework's part of the Supervisor tells about nodes:
    /// `Management::Supervisor::topic_prefix`.
    pub shim_topic: ZeekString,
    /// What controllers are taken to speak that have not said anything. Those from 5.0 on understand the model, and those
    /// of 4.x have a topic of their own and are spoken to there as well.
    pub controller_api: Dialect,
    /// The agent's own address. Controllers up to Zeek's commit 54aaf3a623 are told.
    pub address: Address,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            agent: super::Settings::default(),
            supervisor: zeek::Settings::default(),
            shim_topic: topics::SUPERVISOR_SHIM.into(),
            controller_api: Dialect::V7_0,
            address: LOCALHOST,
        }
    }
}

/// What agents up to 54aaf3a623 took for their address, unless they were told another one (`agent/config.zeek`,
/// `default_address`).
const LOCALHOST: Address = Address::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);

impl Settings {
    /// The topic on which controllers and agent talk.
    pub fn agent_topic(&self) -> ZeekString {
        topics::agent(&self.agent.topic_prefix, &self.agent.name)
    }

    /// The topics of this agent of which a controller has subscribed to one.
    pub fn controller_topics(&self) -> [ZeekString; 2] {
        [self.agent_topic(), Controllers::old_topic(self)]
    }

    /// What the endpoint subscribes to: as Zeek's agent does (`agent/main.zeek`), and as that of 4.x does.
    pub fn subscriptions(&self) -> [ZeekString; 5] {
        [
            self.agent_topic(),
            self.supervisor.topic.clone(),
            self.agent.node_topic.clone(),
            self.shim_topic.clone(),
            Controllers::old_topic(self),
        ]
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The process is up. Comes first, once.
    Started {
        broker_id: EndpointId,
        pid: i64,
        /// The time by the clock on the wall, since 1970 in UTC.
        clock: Duration,
    },
    PeerAdded {
        peer: EndpointId,
        address: String,
        /// Whether it is the Supervisor: the peer that was found at the Supervisor's address, never one that connected to us.
        is_supervisor: bool,
        /// Whether it has subscribed to [`topics::LINK`]: if it is a controller, it is one of this project.
        is_ours: bool,
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
    /// The Supervisor's process, which is ours, was started.
    SupervisorStarted,
    /// The Supervisor's process, which we have started, has ended or could not be started.
    SupervisorEnded {
        reason: String,
    },
    /// Another Zeek is installed now.
    Installed {
        /// The layout of its Supervisor's records, if it is known.
        layout: Option<SupervisorLayout>,
    },
    Program(Program),
    /// A peer published something on a topic of [`Settings::subscriptions`].
    Message {
        peer: EndpointId,
        topic: ZeekString,
        /// What, an event if all is well.
        data: Data,
    },
    /// A directory of [`Action::MakeDirectory`] cannot be created.
    DirectoryFailed {
        path: ZeekString,
        reason: String,
    },
    /// Time has passed; due at [`BrokerAgent::deadline`].
    Tick,
    /// The process is about to end.
    Stopping,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Write a line into the management log.
    Log {
        level: Level,
        /// The id of the request or command that it is about: the controller's, if a request of one is behind it.
        reqid: Option<ZeekString>,
        /// One line: names in it are escaped.
        message: String,
    },
    /// See [`action::Action::Report`].
    Report {
        level: Level,
        message: String,
    },
    Publish {
        /// To this peer, also if it has not subscribed; else to every peer that has subscribed to the topic.
        to: Option<EndpointId>,
        topic: ZeekString,
        /// The event, without metadata.
        event: Event,
    },
    MakeDirectory {
        path: ZeekString,
    },
    RunArchiver {
        /// The directory of rotated logs.
        directory: String,
        command: String,
        /// The line for the log.
        message: String,
    },
    /// End the Supervisor's process, which is ours, and start it again.
    EndSupervisor {
        /// How long it has been silent.
        silence: Duration,
    },
    /// Count a message that is not obeyed, and say so.
    Refuse {
        peer: EndpointId,
        topic: ZeekString,
        /// What is wrong with it.
        reason: String,
    },
    /// An event could not be written, so no peer gets it. A fault of ours.
    Unsendable {
        event: String,
        reason: String,
    },
}

/// The agent with its Supervisor, as a Broker endpoint drives it.
pub struct BrokerAgent {
    settings: Settings,
    agent: Agent,
    supervisor: ZeekSupervisor,
    controllers: Controllers,
    /// The Supervisor's peering, while there is one.
    supervisor_peer: Option<EndpointId>,
    /// Which peers are nodes of this instance, by their latest hello.
    node_peers: BTreeMap<EndpointId, ZeekString>,
    /// The commands that the Supervisor is to carry out for requests: by the command's id, the request's.
    commands: BTreeMap<ZeekString, ZeekString>,
    now: Now,
}

/// An input of one of the two machines.
enum Inner {
    Agent(input::Input),
    Supervisor(zeek::Input),
}

impl BrokerAgent {
    /// An agent that has no peers.
    pub fn new(settings: Settings, ids: Box<dyn IdSource>) -> Self {
        Self {
            agent: Agent::new(settings.agent.clone(), ids),
            supervisor: ZeekSupervisor::new(settings.supervisor.clone()),
            controllers: Controllers::new(settings.clone()),
            settings,
            supervisor_peer: None,
            node_peers: BTreeMap::new(),
            commands: BTreeMap::new(),
            now: Now::START,
        }
    }

    /// Takes one input in and returns everything that has to happen because of it, in this order.
    ///
    /// What is due at `now` happens first, before any input. A `now` before that of an earlier call counts as that
    /// one.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        // The Supervisor's silence is the reason for what times out in the agent later: however late we are, the agent
        // hears of it at its time.
        while let Some(due) = self.supervisor.deadline().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            self.run(&mut actions, Inner::Supervisor(zeek::Input::Tick));
        }
        self.now = self.now.max(now);
        let inner = match input {
            Input::Started {
                broker_id,
                pid,
                clock,
            } => Inner::Agent(input::Input::Started {
                broker_id: broker_id.to_string().into(),
                pid,
                clock,
            }),
            Input::PeerAdded {
                peer,
                is_supervisor: true,
                ..
            } => {
                self.supervisor_peer = Some(peer);
                Inner::Supervisor(zeek::Input::Connected)
            }
            Input::PeerAdded {
                peer,
                address,
                is_ours,
                ..
            } => {
                self.controllers.added(peer, is_ours);
                Inner::Agent(input::Input::PeerAdded {
                    peer: format!("{peer} at {address}"),
                })
            }
            Input::PeerLost { peer, reason } | Input::PeerSilent { peer, reason }
                if self.supervisor_peer == Some(peer) =>
            {
                self.supervisor_peer = None;
                Inner::Supervisor(zeek::Input::Disconnected { reason })
            }
            Input::SupervisorStarted => Inner::Supervisor(zeek::Input::ProcessStarted),
            Input::SupervisorEnded { reason } => {
                self.supervisor_peer = None;
                Inner::Supervisor(zeek::Input::ProcessEnded { reason })
            }
            Input::Installed { layout } => Inner::Supervisor(zeek::Input::Installed(layout)),
            // The agent does not mind: controllers come back, and of nodes the Supervisor tells.
            Input::PeerLost { peer, .. } => {
                self.controllers.lost(peer);
                self.node_peers.remove(&peer);
                Inner::Agent(input::Input::Tick)
            }
            Input::PeerSilent { peer, reason } => {
                self.controllers.lost(peer);
                Inner::Agent(match self.node_peers.remove(&peer) {
                    Some(node) => input::Input::NodeSilent { node, reason },
                    None => input::Input::Tick,
                })
            }
            Input::Tick => Inner::Agent(input::Input::Tick),
            Input::Message { peer, topic, data } => {
                self.message(&mut actions, peer, topic, data);
                return actions;
            }
            Input::Program(program) => Inner::Agent(input::Input::Program(program)),
            Input::DirectoryFailed { path, reason } => {
                Inner::Agent(input::Input::DirectoryFailed { path, reason })
            }
            Input::Stopping => Inner::Agent(input::Input::Stopping {
                without_nodes: self.supervisor.is_ours(),
            }),
        };
        self.run(&mut actions, inner);
        actions
    }

    /// Whether a request with this id is still to be answered.
    pub fn owes_answer(&self, reqid: &ZeekString) -> bool {
        self.agent.owes_answer(reqid)
    }

    /// When [`Input::Tick`] is due. Later than the `now` of the last call.
    pub fn deadline(&self) -> Option<Now> {
        [self.agent.deadline(), self.supervisor.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes in what a peer published.
    fn message(&mut self, actions: &mut Vec<Action>, peer: EndpointId, topic: ZeekString, data: Data) {
        match self.read(actions, peer, &topic, data) {
            Ok(inners) => {
                for inner in inners {
                    self.run(actions, inner);
                }
            }
            Err(reason) => actions.push(Action::Refuse { peer, topic, reason }),
        }
        let owed = self.controllers.settle();
        address(actions, "an answer", owed);
    }

    /// What a message means, or why it means nothing.
    ///
    /// DIFFERENCE(peer-topics): Zeek's agent handles any event that it has a handler for, from any peer and on any
    /// topic (Q-21): any peer could speak for the Supervisor.
    fn read(
        &mut self,
        actions: &mut Vec<Action>,
        peer: EndpointId,
        topic: &ZeekString,
        data: Data,
    ) -> Result<Vec<Inner>, String> {
        let event = Event::from_data(data).map_err(|error| error.to_string())?;
        if self.supervisor_peer == Some(peer) {
            return Ok(vec![Inner::Supervisor(zeek::Input::Event(event))]);
        }
        let Settings {
            agent,
            supervisor,
            shim_topic,
            ..
        } = &self.settings;
        let of_controllers = topic.starts_with(&self.settings.agent_topic())
            || topic.starts_with(&Controllers::old_topic(&self.settings));
        if !of_controllers && *topic != agent.node_topic {
            return Err(
                if topic.starts_with(&supervisor.topic) || topic.starts_with(shim_topic) {
                    "only the Supervisor speaks on this topic"
                } else {
                    "no agent and no node listens on this topic"
                }
                .into(),
            );
        }
        let translated = self.controllers.incoming(peer, topic, event);
        let (said, answers) = translated.map_err(|error| error.to_string())?;
        address(actions, "an answer", Ok(answers));
        let of_ours = self.controllers.is_ours(peer);
        let readable = |error: DataError| error.to_string();
        said.into_iter()
            .map(|Published { topic, event }| {
                let input = if of_controllers {
                    let request: AgentRequest = event.parse().map_err(readable)?;
                    input::Input::Request {
                        topic,
                        request,
                        of_ours,
                    }
                } else {
                    let message: NodeMessage = event.parse().map_err(readable)?;
                    if let NodeMessage::Hello { node } = &message {
                        self.node_has_peer(peer, node);
                    }
                    input::Input::Node(message)
                };
                Ok(Inner::Agent(input))
            })
            .collect()
    }

    /// A node of this instance is that peer, and no earlier one.
    fn node_has_peer(&mut self, peer: EndpointId, node: &ZeekString) {
        self.node_peers.retain(|_, known| known != node);
        if self.agent.nodes.contains_key(node) {
            self.node_peers.insert(peer, node.clone());
        }
    }

    /// Has the machines take an input in, and what they tell each other because of it.
    fn run(&mut self, actions: &mut Vec<Action>, input: Inner) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            match input {
                Inner::Agent(input) => self.agent_step(actions, &mut inputs, input),
                Inner::Supervisor(input) => {
                    let reqid = match &input {
                        zeek::Input::Event(event) => reqid_of(event).map(|id| self.request_of(id)),
                        _ => None,
                    };
                    self.supervisor_step(actions, &mut inputs, reqid.as_ref(), input);
                }
            }
        }
    }

    fn agent_step(&mut self, actions: &mut Vec<Action>, inputs: &mut VecDeque<Inner>, input: input::Input) {
        let reqid = about(&input).map(|id| self.request_of(id));
        match &input {
            input::Input::Supervisor(Report::Lost { .. } | Report::GivenUp { .. }) => self.commands.clear(),
            input::Input::Supervisor(_) => drop(about(&input).and_then(|id| self.commands.remove(id))),
            _ => {}
        }
        for action in self.agent.step(self.now, input) {
            let action = match action {
                action::Action::Supervise(command) => {
                    let id = command.id().clone();
                    if let Some(reqid) = &reqid {
                        self.commands.insert(id.clone(), reqid.clone());
                    }
                    let asked = reqid.as_ref().unwrap_or(&id);
                    self.supervisor_step(actions, inputs, Some(asked), zeek::Input::Command(command));
                    continue;
                }
                action::Action::Log {
                    level,
                    reqid: of_line,
                    message,
                } => Action::Log {
                    level,
                    reqid: of_line.or_else(|| reqid.clone()),
                    message,
                },
                action::Action::Publish { topic, event } => {
                    self.publish(actions, topic, &event);
                    continue;
                }
                action::Action::Report { level, message } => Action::Report { level, message },
                action::Action::MakeDirectory { path } => Action::MakeDirectory { path },
                action::Action::RunArchiver {
                    directory,
                    command,
                    message,
                } => Action::RunArchiver {
                    directory,
                    command,
                    message,
                },
            };
            actions.push(action);
        }
    }

    /// The id of the controller's request, where one of our own stands for it with the Supervisor or with nodes.
    fn request_of(&self, id: &ZeekString) -> ZeekString {
        let asked = self.commands.get(id).or_else(|| self.agent.dispatches.get(id));
        asked.unwrap_or(id).clone()
    }

    /// What is told to nodes is the same in every dialect.
    fn publish(&mut self, actions: &mut Vec<Action>, topic: ZeekString, outgoing: &action::Outgoing) {
        let name = outgoing.event_name();
        let event = match outgoing.to_event() {
            Ok(event) => event,
            Err(error) => {
                actions.push(unsendable(name, &error));
                return;
            }
        };
        match outgoing {
            action::Outgoing::Node(_) => {
                let to = None;
                actions.push(Action::Publish { to, topic, event });
            }
            action::Outgoing::Agent(_) => {
                let addressed = self.controllers.outgoing(&topic, &event);
                address(actions, name, addressed);
            }
        }
    }

    fn supervisor_step(
        &mut self,
        actions: &mut Vec<Action>,
        inputs: &mut VecDeque<Inner>,
        reqid: Option<&ZeekString>,
        input: zeek::Input,
    ) {
        for action in self.supervisor.step(self.now, input) {
            match action {
                zeek::Action::Log { level, message } => actions.push(Action::Log {
                    level,
                    reqid: reqid.cloned(),
                    message,
                }),
                zeek::Action::Publish { topic, event } => {
                    let to = None;
                    actions.push(Action::Publish { to, topic, event });
                }
                zeek::Action::EndProcess { silence } => actions.push(Action::EndSupervisor { silence }),
                zeek::Action::Report(report) => {
                    inputs.push_back(Inner::Agent(input::Input::Supervisor(report)));
                }
            }
        }
    }
}

/// Has everything published, or says why it cannot be.
fn address(actions: &mut Vec<Action>, what: &str, addressed: Result<Vec<Addressed>, DialectError>) {
    match addressed {
        Ok(addressed) => actions.extend(
            addressed
                .into_iter()
                .map(|(to, Published { topic, event })| Action::Publish { to, topic, event }),
        ),
        Err(error) => actions.push(unsendable(what, &error)),
    }
}

fn unsendable(event: &str, reason: &dyn std::fmt::Display) -> Action {
    Action::Unsendable {
        event: event.into(),
        reason: reason.to_string(),
    }
}

/// The id of the request that an event is, or that it answers: by the convention of all these APIs the first argument.
pub fn reqid_of(event: &Event) -> Option<&ZeekString> {
    let has_one = event.name.ends_with(b"_request") || event.name.ends_with(b"_response");
    match event.args.first() {
        Some(Data::String(reqid)) if has_one => Some(reqid),
        _ => None,
    }
}

/// The same of an event that has not been read yet.
pub fn reqid_in(data: &Data) -> Option<&ZeekString> {
    match event_in(data)? {
        (name, [Data::String(reqid), ..]) if name.ends_with(b"_request") => Some(reqid),
        _ => None,
    }
}

/// The name and the arguments of the event that a message holds, which is not checked further.
pub fn event_in(data: &Data) -> Option<(&ZeekString, &[Data])> {
    let Data::Vector(message) = data else { return None };
    let [_, _, Data::Vector(event), ..] = &**message else {
        return None;
    };
    match &**event {
        [Data::String(name), Data::Vector(args), ..] => Some((name, args)),
        _ => None,
    }
}

/// The id of the request or command that an input is about.
fn about(input: &input::Input) -> Option<&ZeekString> {
    match input {
        input::Input::Request { request, .. } => Some(request.reqid()),
        input::Input::Node(NodeMessage::NodeDispatch { reqid, .. }) => Some(reqid),
        input::Input::Supervisor(
            Report::Status { id, .. }
            | Report::Created { id, .. }
            | Report::Restarted { id, .. }
            | Report::Destroyed { id, .. }
            | Report::Failed { id, .. }
            | Report::Late { id },
        ) => Some(id),
        _ => None,
    }
}
