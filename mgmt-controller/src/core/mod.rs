//! The controller as a pure state machine: inputs in, actions out (`controller/main.zeek`).
//!
//! ```text
//!              Input                                              Action
//!   Started, Request, Persisted, Tick,   -> step(now) ->   Log, Persist, Publish,   in the order of execution
//!   PeerAdded, PeerLost, Agent                             Connect, Disconnect
//!                                           deadline() -> when the next Tick is due
//! ```
//!
//! The [`controller`] holds [`clusters`], `default` and others, and gives each what is its own: an agent's connection belongs to the cluster that
//! has its instance ([`owners`]). A [`cluster`] holds what is durable, the requests under way, and two machines:
//!
//! * [`membership`]: an agent is a native peer that said hello; from then on it speaks for its instance, and no other peer does
//!   ([`peers`]). Wanted instances are connected to and welcomed, and ready when they have answered ([`gathering`]).
//! * [`deployment`]: when all instances of a configuration are ready and see nothing in its way ([`preparing`]), it is stored as the deployed one, then handed out, and the answers are
//!   collected; that the deployed one is handed out again to agents that return is the same thing without a client. What it wants done,
//!   the cluster does ([`deploying`]).
//! * [`rollout`]: a configuration is tried on one instance after another, before it is deployed as any other.
//!
//! Each configuration that became the deployed one is a revision ([`revisions`]), of which only the store has the configuration: it is fetched there by
//! [`Action::Recall`] ([`revised`]).
//!
//! A configuration is written in two halves: [`Action::Persist`] asks for it, [`Input::Persisted`] tells how it went.
//! Only then does the controller's own state change and the client get its answer, so nothing is announced that a
//! crash could undo. Other requests go on meanwhile and see what is durable.
//!
//! Every client request is answered exactly once, by its outcome or by its time-out, with two exceptions:
//! `test_timeout_request` without state is never answered, and a request that repeats a live one, kind and id alike,
//! has that one's answer.

mod absence;
mod access;
mod action;
mod agents;
mod asking;
mod cluster;
mod cluster_name;
mod clusters;
mod configurations;
mod configuring;
mod controller;
mod deploying;
mod deployment;
mod deployments;
mod dials;
mod fanout;
mod gathering;
mod heard;
mod histories;
mod input;
mod instances;
mod link;
mod membership;
mod older;
mod operators;
mod owners;
mod ownership;
mod peers;
mod pending;
mod planning;
mod plans;
mod ports;
mod preparing;
mod progress;
mod queries;
mod refused;
mod removal;
mod requests;
mod returning;
mod revised;
mod revisions;
mod rollout;
mod settings;
mod skew;
mod staging;
mod states;
mod status;
mod turn;
mod validate;
mod variables;
mod vitals;
mod wishes;

pub use access::{may_hear, may_read};
pub use action::{Action, Audience, Level, Outgoing, SharedRequest};
pub use cluster::{REQUESTS_MAX, WRITES_MAX};
pub use cluster_name::{ClusterName, DEFAULT, NotAName};
pub use clusters::CLUSTERS_MAX;
pub use configurations::{Changes, Configurations, RolloutChange, Slot};
pub use controller::Controller;
pub use deployment::DEPLOYMENT_FIFTHS;
pub use deployments::DEPLOYMENTS_MAX;
pub use input::{Input, Listener, RecallId, WriteId};
pub use peers::{INSTANCE_NAME_BYTES_MAX, REFUSED_HELLOS_MAX};
pub use revised::RECALLS_MAX;
pub use revisions::{REVISIONS_BYTES_MAX, REVISIONS_MAX, Recorded, Revision, Revisions, sealed};
pub use rollout::StoredRollout;
pub use settings::{AbsentInstances, Settings};
