//! The agent as a pure state machine: inputs in, actions out (`agent/main.zeek`).
//!
//! ```text
//!   controller        Input::Request                       Action::Publish
//!   cluster nodes     Input::Node         +-------+        Action::MakeDirectory
//!   peerings          Input::PeerAdded -->| Agent |------> Action::RunArchiver
//!   the clock         Input::Tick         +-------+        Action::Log
//!                                          ^     |
//!                       Input::Supervisor  |     |  Action::Supervise
//!                       with a Report      |     v  with a Command
//!                                       a Supervisor, for one [`zeek::ZeekSupervisor`]
//! ```
//!
//! The agent never starts a process. It tells a Supervisor what it wants done by [`Command`]s and hears by [`Report`]s.
//! [`zeek::ZeekSupervisor`] passes both on to a `zeek -j` process, as another small machine of the same form.
//!
//! [`broker::BrokerAgent`] puts the two together, and is what a runtime or a replay of a recording drives.
//!
//! # How to drive it
//!
//! Call [`Agent::step`] for everything that happens, carry out the actions in their order, and send [`Input::Tick`] when
//! [`Agent::deadline`] is due. Every command ends in exactly one report with its id, or in [`Report::Lost`], which ends
//! all of them.
//!
//! Every request of a controller is answered exactly once, by its outcome or by its time-out. A request that repeats a
//! live one, kind and id alike, has that one's answer.

mod action;
mod agent;
pub mod broker;
mod crash;
mod deploy;
mod dispatch;
mod get_nodes;
mod input;
mod node_config;
mod nodes;
mod program;
mod recovery;
mod requests;
mod restart;
mod settings;
mod starts;
mod supervision;
mod turn;
pub mod zeek;

pub use action::{Action, Outgoing};
pub use agent::{Agent, REQUESTS_MAX};
pub use crash::OUTPUT_BYTES_MAX;
pub use input::Input;
pub use program::{FileIdentity, Program};
pub use settings::{Archival, Settings};
pub use supervision::{Command, Report};
