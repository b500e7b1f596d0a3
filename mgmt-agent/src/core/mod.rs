//! The agent as a pure state machine: inputs in, actions out (`agent/main.zeek`).
//!
//! ```text
//!   controller        Input::Request                       Action::Tell, Action::Ask
//!   cluster nodes     Input::Node         +-------+        Action::MakeDirectory
//!   peerings          Input::PeerAdded -->| Agent |------> Action::RunArchiver
//!   the clock         Input::Tick         +-------+        Action::Log
//!                                          ^     |
//!                       Input::Supervisor  |     |  Action::Supervise
//!                       with a Report      |     v  with a Command
//!                                       a Supervisor ([`crate::supervisors`])
//! ```
//!
//! The agent never starts a process. It tells a Supervisor what it wants done by [`Command`]s and hears by [`Report`]s.
//! [`crate::machine`] puts agent, Supervisor and peers together, and is what the daemon or a replay of a recording drives.
//!
//! # How to drive it
//!
//! Call [`Agent::step`] for everything that happens, carry out the actions in their order, and send [`Input::Tick`] when
//! [`Agent::deadline`] is due. How a command ends, [`Command`] says.
//!
//! Every request of a controller is answered exactly once, by its outcome or by its time-out. A request that repeats a
//! live one, kind and id alike, has that one's answer.

mod access;
mod action;
mod agent;
mod archival;
mod controllers;
mod crash;
mod deploy;
mod deployment;
mod desired;
mod dispatch;
mod ends;
mod fates;
mod get_nodes;
mod heartbeat;
mod history;
mod input;
mod link;
mod lives;
mod memory;
mod node_metrics;
mod node_spec;
mod nodes;
mod obey;
mod operator;
pub mod order;
mod outcome;
mod pending;
mod plan;
mod prepare;
mod program;
mod reports;
mod requests;
mod restart;
mod settings;
mod starts;
mod states;
mod supervision;
mod trial;
mod trials;
mod vitals;

pub use access::check_controller;
pub use action::{Action, To, Turn};
pub use agent::{Agent, REQUESTS_MAX};
pub use crash::OUTPUT_BYTES_MAX;
pub use desired::Desired;
pub(crate) use desired::{Fate, fate};
pub use input::{Input, KeptController};
pub use lives::{Life, LifeSign};
pub use node_spec::Candidate;
pub use program::{FileIdentity, Program};
pub use settings::{Archival, LaunchSettings, NodePolicy, Settings, Supervise, ZeekSettings};
pub use supervision::{
    ClusterNode, Command, NodeSpec, Processes, Report, Supervised, is_on_one_host, writes_logs,
};
