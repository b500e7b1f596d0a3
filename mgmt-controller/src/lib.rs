//! Drop-in replacement for the cluster controller of Zeek's Management framework.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`config`] | the configuration, from the command line, the environment and Zeek scripts |
//! | [`core`] | the controller as a pure state machine |
//! | [`journal`] | what happens to the core, recorded and replayed |
//! | [`management_log`] | `management-<name>.log` |
//! | [`process`] | the process's name and its log on standard error |
//! | [`runtime`] | the task that owns the core, and everything around it |
//! | [`store`] | the durable state, in Zeek's SQLite file |
//! | [`wire`] | what travels, between the core and its peers |

pub mod cli;
pub mod config;
pub mod core;
pub mod journal;
pub mod management_log;
pub mod process;
pub mod runtime;
pub mod store;
pub mod wire;
