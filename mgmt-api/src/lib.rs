//! Records, enums, events and topics of Zeek's Management framework, and what its state machines share.
//!
//! Types exist for one dialect only, the one of Zeek 7.0 and later. A peer that speaks an older one is translated
//! between `Data` and `Data` by a [`Translator`], so nothing above this crate knows more than one model.
//!
//! | module | what | upstream, below `scripts/policy/frameworks/management/` |
//! |---|---|---|
//! | [`records`] | [`Instance`], [`Node`], [`Configuration`], [`ResultRecord`], ... | `types.zeek` |
//! | [`enums`] | [`State`], [`Role`], [`ClusterRole`] | `types.zeek`, and `base/frameworks/supervisor/api.zeek` |
//! | [`controller`] | [`ClientRequest`], [`ClientResponse`] | `controller/api.zeek` |
//! | [`agent`] | [`AgentRequest`], [`AgentMessage`] | `agent/api.zeek` |
//! | [`node`] | [`NodeRequest`], [`NodeMessage`] | `node/api.zeek` |
//! | [`node_link`] | [`NodeLinkRequest`], [`NodeLinkMessage`] | none: our own script for nodes |
//! | [`supervisor`] | [`SupervisorRequest`], [`SupervisorResponse`], [`SupervisorMessage`] | `supervisor/api.zeek`, and `base/frameworks/supervisor/` |
//! | [`dialect`] | [`Dialect`], [`Translator`] | `api.zeek` and `types.zeek` of every release |
//! | [`schema`] | [`schema::Layout`] | what all of them declare, by the names of fields |
//! | [`link`] | [`LinkMessage`] | none: the extension |
//! | [`controller_id`] | [`ControllerId`] | none: by what agents tell controllers apart |
//! | [`operator`] | [`OperatorRequest`], [`ClusterRequest`](operator::ClusterRequest) | none: what operators ask of agents and controllers |
//! | [`topics`] | topic names | `*/config.zeek` |
//! | [`requests`] | [`RequestTable`], [`NotAdmitted`] | `request.zeek` |
//! | [`plain_name`] | what clusters, tokens and enrolled instances can be called | |
//! | [`principal`] | [`Principal`] | |
//! | [`access`] | [`Grant`](access::Grant) | |
//! | [`ids`] | [`IdSource`] | `unique_id()` |
//! | [`log`] | [`Level`] | `log.zeek` |
//! | [`time`] | [`Now`] | |
//! | [`turn`] | [`Turn`] | |
//!
//! An event travels through serde: `Event::of(&request)` and `event.parse::<ClientRequest>()` of
//! [`broker_codec::zeek`].

pub mod access;
pub mod agent;
pub mod backend;
pub mod controller;
pub mod controller_id;
pub mod dialect;
pub mod enums;
pub mod ids;
pub mod link;
pub mod log;
pub mod node;
pub mod node_link;
pub mod operator;
pub mod plain_name;
pub mod principal;
pub mod records;
pub mod requests;
pub mod schema;
pub mod supervisor;
pub mod time;
pub mod topics;
pub mod turn;

pub use agent::{AGENT_STOPPED, AgentMessage, AgentRequest, ENDING, TIMED_OUT};
pub use backend::CLUSTER_BACKEND;
pub use controller::{ClientRequest, ClientResponse, RequestKind};
pub use controller_id::ControllerId;
pub use dialect::{Dialect, DialectError, Translator};
pub use enums::{ClusterRole, Role, State};
pub use ids::{IdSource, SequentialIds, UniqueIds};
pub use link::LinkMessage;
pub use log::{Level, MESSAGE_BYTES_MAX};
pub use node::{NodeMessage, NodeRequest};
pub use node_link::{NodeLinkMessage, NodeLinkRequest};
pub use operator::OperatorRequest;
pub use principal::{Certificate, Principal, Proof, Transport};
pub use records::{Configuration, Instance, Node, NodeOutputs, NodeStatus, OptionRecord, ResultRecord};
pub use requests::{NotAdmitted, REQID_BYTES_MAX, RequestTable};
pub use supervisor::{
    ClusterEndpoint, NodeConfig, SupervisedNode, SupervisorLayout, SupervisorMessage, SupervisorRequest,
    SupervisorResponse, SupervisorStatus, release,
};
pub use time::{HostState, Now, WallClock};
pub use turn::{LogLine, Turn};

/// The version of the controller's, agent's and node's API: 1 in every Zeek release so far
/// (`controller/api.zeek`, `version`).
pub const API_VERSION: u64 = 1;
