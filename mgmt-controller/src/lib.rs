//! Drop-in replacement for the cluster controller of Zeek's Management framework.
//!
//! | module | what |
//! |---|---|
//! | [`authority`] | the controller's own CA, and enrolment |
//! | [`backup`] | backups, and the subcommand `store` |
//! | [`check`] | whether the host has what the settings name |
//! | [`config`] | the settings, and the configuration that they result in |
//! | [`Counted`] | what the controller counts |
//! | [`core`] | the controller as a pure state machine |
//! | [`events`] | what has happened, for those who follow it |
//! | [`machine`] | the core as the daemon and a journal drive it |
//! | [`Measured`] | what the controller measures |
//! | [`page`] | the status page, for browsers |
//! | [`RunError`] | why the daemon cannot start or go on |
//! | [`runtime`] | the task that owns the core, and everything around it |
//! | [`sd`] | where Prometheus finds the metrics of nodes |
//! | [`store`] | the durable state, in Zeek's SQLite file |
//! | [`wire`] | what travels, between the core and its peers |

pub mod authority;
pub mod backup;
pub mod check;
pub mod config;
pub mod core;
mod counted;
mod error;
mod events;
mod http;
pub mod machine;
mod measured;
mod page;
mod request;
pub mod runtime;
mod sd;
pub mod store;
pub mod wire;

pub use counted::Counted;
pub use error::RunError;
pub use measured::Measured;
