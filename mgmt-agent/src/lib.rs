//! Drop-in replacement for the agent of Zeek's Management framework.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`config`] | the configuration, from the command line, the environment and Zeek scripts |
//! | [`core`] | the agent as a pure state machine, and the one that speaks to a `zeek -j` process |
//! | [`journal`] | what [`mgmt_daemon::journal`] needs to know about the agent |
//! | [`runtime`] | the task that owns the core, and everything around it |
//! | [`simulate`] | stand-ins for Zeek, in this program |

pub mod cli;
pub mod config;
pub mod core;
pub mod journal;
pub mod runtime;
mod scripts;
pub mod simulate;
