//! The endpoints of a capture, what each of them is, and the connections of one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use broker_codec::{
    Data, EndpointId, Topic,
    data::ZeekString,
    handshake::Message as Handshake,
    json::{Ack, Answer, ServerMessage},
    zeek::Event,
};

use mgmt_api::{Dialect, SupervisorLayout, topics};

use super::{
    capture::{Capture, Connection, Content, Message, Protocol},
    ids::COORDINATES,
    message::{event_in, event_of, find, is_hello, is_of_extension, lossy},
    standin::node_of,
};
use crate::tcp::{Addresses, Speaker};

/// Whose place the peer under test takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Controller,
    /// The agent of this instance.
    Agent(String),
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Controller => f.write_str("controller"),
            Self::Agent(instance) => write!(f, "agent {instance}"),
        }
    }
}

/// What a Supervisor is called.
const SUPERVISOR: &str = "Supervisor";

/// One run of a process in a role, from its first connection to its end.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) role: Role,
    pub(super) id: EndpointId,
    /// Its connections by their number in the capture.
    pub(super) links: BTreeMap<usize, Link>,
    /// What it spoke.
    pub(super) dialect: Dialect,
}

/// A connection, seen from one of its ends.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Which end that is.
    pub(super) own: Speaker,
    /// Both ends.
    pub(super) addresses: Addresses,
    /// The endpoint at the other one; none for WebSocket clients.
    pub(super) peer: Option<EndpointId>,
    /// The filter that this end has announced in the handshake.
    pub(super) filter: Vec<Topic>,
    /// The filter that the other end has announced.
    pub(super) peer_filter: Vec<Topic>,
    /// What a WebSocket client was told when it had subscribed.
    pub(super) ack: Option<Ack>,
    /// Who is at the other end, in words.
    pub(super) with: String,
    /// Whether the other end answered as a Supervisor does.
    pub(super) is_supervisor: bool,
    /// Whether a controller and an agent of ours speak their extension on it, and this is the controller's end.
    pub(super) plays_extension: bool,
    /// Whether the border of Zeek 7.0, across which releases do not understand each other, is between the two ends.
    pub(super) crosses_7_0: bool,
}

/// The endpoints in a capture, and what each is.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    /// By endpoint, the instance that it is the agent of; in the order in which they said hello.
    agents: Vec<(EndpointId, String)>,
    controllers: Vec<EndpointId>,
    names: BTreeMap<EndpointId, String>,
    acks: BTreeMap<usize, Ack>,
    filters: BTreeMap<(usize, Speaker), Vec<Topic>>,
    spoke: BTreeSet<(usize, Speaker)>,
    /// The connections with messages of the extension.
    extended: BTreeSet<usize>,
}

impl Endpoints {
    /// Tells what each endpoint is by its events: an agent says hello, a controller sends those of its API.
    pub(super) fn of(capture: &Capture) -> Self {
        let mut endpoints = Self::default();
        for message in &capture.messages {
            let Some(connection) = capture.connections.get(message.connection) else {
                continue;
            };
            endpoints.see(connection, message);
        }
        endpoints
    }

    fn see(&mut self, connection: &Connection, message: &Message) {
        let place = (message.connection, message.from);
        match &message.content {
            Content::Handshake(frame) => {
                self.spoke.insert(place);
                let filter = match Handshake::decode(frame) {
                    Ok(Handshake::OriginatorSyn(syn)) => syn.filter,
                    Ok(Handshake::ResponderSynAck(ack)) => ack.filter,
                    _ => return,
                };
                self.filters.insert(place, filter);
            }
            Content::Envelope(envelope) => {
                if is_of_extension(envelope) {
                    self.extended.insert(message.connection);
                }
                if let (Some(id), Some(event)) = (connection.id(message.from), event_of(envelope)) {
                    self.speaks(id, &event);
                }
            }
            Content::Text(text) if message.from == Speaker::Server => {
                self.spoke.insert(place);
                if let Ok(ServerMessage::Answer(Answer::Ack(ack))) = ServerMessage::decode(text) {
                    if let Some(id) = endpoint_of(&ack) {
                        self.is_controller(id);
                    }
                    self.acks.insert(message.connection, ack);
                }
            }
            _ => {}
        }
    }

    fn speaks(&mut self, id: EndpointId, event: &Event) {
        let name = event.name.to_string();
        let first = match event.args.first() {
            Some(Data::String(text)) => lossy(text),
            _ => String::new(),
        };
        if is_hello(event) {
            if self.agents.iter().all(|(known, _)| *known != id) {
                self.names.insert(id, format!("agent {first}"));
                self.agents.push((id, first));
            }
        } else if name.ends_with("::notify_node_hello") {
            self.names.insert(id, format!("node {first}"));
        } else if name.starts_with("SupervisorControl::") && name.ends_with("_response") {
            self.names.insert(id, SUPERVISOR.into());
        } else if name.contains("Agent::API::") && name.ends_with("_request")
            || name.contains("Controller::API::") && name.ends_with("_response")
        {
            self.is_controller(id);
        }
    }

    fn is_controller(&mut self, id: EndpointId) {
        if !self.controllers.contains(&id) {
            self.controllers.push(id);
            self.names.insert(id, "controller".into());
        }
    }

    /// The roles that a capture has.
    pub(super) fn roles(&self) -> Vec<Role> {
        let controller = self.controllers.first().map(|_| Role::Controller);
        let mut roles = Vec::from_iter(controller);
        for (_, instance) in &self.agents {
            let role = Role::Agent(instance.clone());
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        roles
    }

    /// The processes that had a role one after the other, in the order of the capture.
    pub(super) fn processes(&self, capture: &Capture, role: &Role) -> Vec<Process> {
        let ids: Vec<EndpointId> = match role {
            Role::Controller => self.controllers.clone(),
            Role::Agent(instance) => {
                let agents = self.agents.iter().filter(|(_, name)| name == instance);
                agents.map(|(id, _)| *id).collect()
            }
        };
        let process = |id| {
            let connections = capture.connections.iter().enumerate();
            let links = connections
                .filter_map(|(number, connection)| Some((number, self.link(number, connection, id)?)));
            let mut process = Process {
                role: role.clone(),
                id,
                links: links.collect(),
                dialect: Dialect::V7_0,
            };
            for (number, link) in &mut process.links {
                link.plays_extension = process.role == Role::Controller && self.extended.contains(number);
            }
            process.find_dialects(capture);
            process
        };
        ids.into_iter().map(process).collect()
    }

    /// A connection from the point of view of an endpoint, if it is one of its ends and has spoken: a process that is about
    /// to end accepts connections and says nothing.
    fn link(&self, number: usize, connection: &Connection, id: EndpointId) -> Option<Link> {
        let ack = self.acks.get(&number);
        let own = match connection.protocol {
            Protocol::WebSocket if ack.and_then(endpoint_of) == Some(id) => Speaker::Server,
            Protocol::Broker if connection.id(Speaker::Client) == Some(id) => Speaker::Client,
            Protocol::Broker if connection.id(Speaker::Server) == Some(id) => Speaker::Server,
            _ => return None,
        };
        let spoke = |speaker| self.spoke.contains(&(number, speaker));
        if !spoke(own) || connection.protocol == Protocol::Broker && !spoke(own.other()) {
            return None;
        }
        let peer = connection.id(own.other());
        let filter = |speaker| self.filters.get(&(number, speaker)).cloned().unwrap_or_default();
        let hears = |speaker, prefix| filter(speaker).iter().any(|topic| *topic == prefix);
        // An agent connects to its Supervisor, which answers only if it is asked. Zeek's controller has subscribed to the same and more.
        let supervises = own == Speaker::Client
            && [own, own.other()]
                .iter()
                .all(|end| hears(*end, topics::SUPERVISOR))
            && !hears(own.other(), topics::AGENT_PREFIX);
        let name = peer.and_then(|peer| self.names.get(&peer).cloned());
        let with = match (connection.protocol, name) {
            (Protocol::WebSocket, _) => "WebSocket client".into(),
            (_, Some(name)) => name,
            _ if supervises => SUPERVISOR.into(),
            _ => "peer".into(),
        };
        Some(Link {
            own,
            addresses: connection.addresses,
            peer,
            filter: filter(own),
            peer_filter: filter(own.other()),
            ack: ack.cloned(),
            is_supervisor: with == SUPERVISOR,
            with,
            plays_extension: false,
            crosses_7_0: false,
        })
    }
}

/// What of an agent's settings a recording shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentTraits {
    /// Whether it connected to the controller.
    pub(super) connecting: bool,
    /// Where it listens, if a peer connected to that: as a node sees it, if one did.
    pub(super) listen: Option<SocketAddr>,
    /// What nodes are told of that in their environment, if they are.
    pub(super) node_env: BTreeMap<ZeekString, ZeekString>,
    /// Where its nodes' directories are.
    pub(super) state_dir: Option<String>,
    /// The layout of the Supervisor's records, if it created nodes.
    pub(super) layout: Option<SupervisorLayout>,
    /// Its process ID, if it said that.
    pub(super) pid: i64,
}

impl Process {
    #[cfg(test)]
    pub(super) fn without_connections(role: Role) -> Self {
        Self {
            role,
            id: EndpointId::NIL,
            links: BTreeMap::new(),
            dialect: Dialect::V7_0,
        }
    }

    /// What of the settings the recording shows, if this is an agent.
    pub(super) fn agent_traits(&self, capture: &Capture, instance: &str) -> AgentTraits {
        let accepted = self.links.values().filter(|link| link.own == Speaker::Server);
        let nearest = accepted.min_by_key(|link| !link.with.starts_with("node "));
        let mut traits = AgentTraits {
            connecting: self
                .links
                .values()
                .any(|link| link.own == Speaker::Client && link.with == "controller"),
            listen: nearest.map(|link| link.addresses.server),
            node_env: BTreeMap::new(),
            state_dir: None,
            layout: None,
            pid: 0,
        };
        for message in &capture.messages {
            let (Some(link), Some(event)) = (self.links.get(&message.connection), event_in(&message.content))
            else {
                continue;
            };
            let directory = |node: &str| {
                let end = format!("/nodes/{node}");
                let before = |data: &Data| match data {
                    Data::String(text) => lossy(text).strip_suffix(&end).map(str::to_owned),
                    _ => None,
                };
                event.args.iter().find_map(|arg| find(arg, &before))
            };
            let found = match (&*event.name.to_string(), link.own == message.from) {
                // A Supervisor's own nodes include its agent.
                ("SupervisorControl::status_response", false) => directory(instance),
                ("SupervisorControl::create_request", true) => {
                    traits.layout = traits.layout.or_else(|| layout_of(&event));
                    let tells = |arg: &Data| arg.to_string().contains(COORDINATES[1]);
                    if let Some(listen) = traits.listen.filter(|_| event.args.iter().any(tells)) {
                        let told = [listen.ip().to_string(), format!("{}/tcp", listen.port())];
                        let told = told.iter().map(|text| text.as_str().into());
                        traits.node_env = COORDINATES.map(Into::into).into_iter().zip(told).collect();
                    }
                    node_of(&event).and_then(|node| directory(&node.to_string()))
                }
                (name, true) if name.ends_with("::get_nodes_response") => {
                    traits.pid = pid_of(&event, instance).unwrap_or(traits.pid);
                    None
                }
                _ => None,
            };
            traits.state_dir = traits.state_dir.or(found);
        }
        traits
    }

    /// Finds out what the process spoke and what its peers did, by what they sent.
    fn find_dialects(&mut self, capture: &Capture) {
        let mut peers: BTreeMap<usize, Dialect> = BTreeMap::new();
        let mut says_hello = false;
        for message in &capture.messages {
            let Some(link) = self.links.get(&message.connection) else {
                continue;
            };
            let event = event_in(&message.content);
            let hello = event
                .as_ref()
                .filter(|event| link.own == message.from && is_hello(event));
            match hello.map(|event| event.name.starts_with(b"Management::")) {
                // Our agent also says hello as those of 4.x do, to controllers that have not spoken.
                Some(false) if says_hello => continue,
                is_current => says_hello |= is_current == Some(true),
            }
            let dialect = if link.own == message.from {
                &mut self.dialect
            } else {
                peers.entry(message.connection).or_insert(Dialect::V7_0)
            };
            // Of several dialects in which it can have sent that, the latest.
            *dialect = event.and_then(|event| dialect.detect(&event)).unwrap_or(*dialect);
        }
        if self.dialect == Dialect::V5_0Rc1 {
            // What a controller sends does not tell them apart, and none of 5.0.0-rc1 was recorded.
            self.dialect = Dialect::Seed;
        }
        let is_old = |dialect: Dialect| dialect < Dialect::V7_0;
        for (number, dialect) in peers {
            let managed = |link: &&mut Link| link.with == "controller" || link.with.starts_with("agent ");
            if let Some(link) = self.links.get_mut(&number).filter(managed) {
                link.crosses_7_0 = is_old(dialect) != is_old(self.dialect);
            }
        }
    }
}

/// The layout of a request to create a node: the latest in which it can be read.
fn layout_of(event: &Event) -> Option<SupervisorLayout> {
    let mut layouts = SupervisorLayout::ALL.into_iter().rev();
    layouts.find(|layout| layout.read(event.clone()).is_ok())
}

/// The process ID of the agent in the states of its nodes, of which it is one.
pub(super) fn pid_of(event: &Event, instance: &str) -> Option<i64> {
    let pid = |data: &Data| match data {
        Data::Vector(state) if matches!(state.first(), Some(Data::String(name)) if *name == *instance) => {
            state.iter().find_map(|field| match field {
                Data::Integer(pid) => Some(*pid),
                _ => None,
            })
        }
        _ => None,
    };
    event.args.iter().find_map(|arg| find(arg, &pid))
}

/// The endpoint whose WebSocket server says this: Zeek 9.0 adds the number of the client to its id.
fn endpoint_of(ack: &Ack) -> Option<EndpointId> {
    ack.endpoint.get(..36)?.parse().ok()
}
