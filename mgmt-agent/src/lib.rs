//! Drop-in replacement for the agent of Zeek's Management framework.
//!
//! | module | what |
//! |---|---|
//! | [`check`] | whether the host has what the settings name |
//! | [`config`] | the settings, and the configuration that they result in |
//! | [`core`] | the agent as a pure state machine, and the one that speaks to a `zeek -j` process |
//! | [`journal`] | what [`mgmt_daemon::journal`] needs to know about the agent |
//! | [`RunError`] | why the daemon cannot start or go on |
//! | [`runtime`] | the task that owns the core, and everything around it |
//! | [`simulate`] | stand-ins for Zeek, in this program |

pub mod check;
pub mod config;
pub mod core;
mod error;
pub mod journal;
pub mod runtime;
mod scripts;
pub mod simulate;

pub use error::RunError;
