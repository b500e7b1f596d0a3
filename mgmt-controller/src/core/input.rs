use std::{fmt, sync::Arc};

use broker_codec::{
    EndpointId,
    data::{Address, Port, ZeekString},
};
use mgmt_api::{
    AgentMessage, ClientRequest, Configuration, Dialect, HostState, LinkMessage, Principal, WallClock,
    access::Grant, operator::ClusterRequest,
};
use serde::{Deserialize, Serialize};

/// What happens to the controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The process is up and its listeners are open. Comes first, once.
    Started {
        /// The Broker endpoint ID, as text.
        broker_id: String,
        /// Where agents connect to, if they can.
        broker: Option<Listener>,
        /// Where clients connect to, if they can.
        websocket: Option<Listener>,
        /// The time of day, which answers and log lines count from.
        #[serde(default)]
        wall_clock: WallClock,
    },
    /// A client's request, over WebSocket or from a native peer. What cannot be read as one never gets here.
    Request {
        principal: Principal,
        request: ClientRequest,
    },
    /// The request of a client of Zeek before 5.0 that stands for two: the configuration is staged and, if that succeeds, deployed.
    SetConfiguration {
        principal: Principal,
        reqid: ZeekString,
        config: Configuration,
    },
    /// What an operator asks of a cluster. The answer is [`super::Action::Answer`].
    Operator {
        id: u64,
        principal: Principal,
        /// The name of the cluster.
        cluster: String,
        request: ClusterRequest,
    },
    /// Which clusters are there, of those that an operator may see? The answer is [`super::Action::Answer`].
    Clusters { id: u64, principal: Principal },
    /// How is the controller? The answer is [`super::Action::Vitals`].
    Vitals { id: u64 },
    /// The host is another than it was, or than the start said.
    Host(HostState),
    /// A native peering is established. Comes before everything else of that peer, and after the end of an earlier
    /// peering with it.
    PeerAdded {
        peer: EndpointId,
        /// Its address; if we connected to it, the one that [`super::Action::Connect`] named.
        address: Address,
        /// Its port, likewise.
        port: Port,
        /// Whether we connected to it, rather than the reverse.
        dialled: bool,
        /// Whether it has subscribed to [`mgmt_api::topics::LINK`]: it is an agent of this project then.
        #[serde(default)]
        is_ours: bool,
        /// What it may, where roles are set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<Grant>,
    },
    /// A native peering has ended, by either side.
    PeerLost { peer: EndpointId, reason: String },
    /// An event of the agents' API. What cannot be read as one never gets here.
    Agent {
        /// The peer whose connection it came in on.
        peer: EndpointId,
        topic: ZeekString,
        message: AgentMessage,
        /// What the peer speaks, as far as is known.
        #[serde(default)]
        dialect: Dialect,
    },
    /// A message of the extension. What cannot be read as one never gets here.
    Link { peer: EndpointId, message: LinkMessage },
    /// The end of a write that [`super::Action::Persist`] asked for. Writes end in the order in which they were asked
    /// for, each exactly once.
    Persisted {
        write: WriteId,
        /// Whether everything in it is durable, or nothing; and then why.
        outcome: Result<(), String>,
    },
    /// What [`super::Action::Recall`] asked for, exactly once.
    Recalled {
        recall: RecallId,
        /// The configuration, or why it cannot be told.
        outcome: Result<Arc<Configuration>, String>,
    },
    /// Time has passed; due at [`super::Controller::deadline`].
    Tick,
    /// The process is about to end.
    Stopping,
}

/// An address and a port that the process listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The address, as configured.
    pub address: String,
    pub port: Port,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

/// Names a write between [`super::Action::Persist`] and [`Input::Persisted`]: 1, 2, 3, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriteId(pub u64);

impl From<u64> for WriteId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names what is fetched from the store between [`super::Action::Recall`] and [`Input::Recalled`]: 1, 2, 3, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecallId(pub u64);

impl From<u64> for RecallId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}
