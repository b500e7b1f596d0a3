//! Drop-in replacement for the agent of Zeek's Management framework.
//!
//! | module | what |
//! |---|---|
//! | [`check`] | whether the host has what the settings name |
//! | [`config`] | the settings, and the configuration that they result in |
//! | [`Counted`] | what the agent counts |
//! | [`core`] | the agent as a pure state machine |
//! | `enrolment` | the certificate of the controller's own CA, got and renewed |
//! | [`launcher`] | the process that becomes a node |
//! | [`machine`] | core, peers and Supervisor as the one machine that is driven |
//! | [`Measured`] | what the agent measures |
//! | [`RunError`] | why the daemon cannot start or go on |
//! | [`runtime`] | the task that owns the core, and everything around it |
//! | [`simulate`] | stand-ins for Zeek, in this program |
//! | [`supervisors`] | what keeps the nodes running, for the core |
//! | [`wire`] | what travels, between the core and its peers |

pub mod check;
pub mod config;
mod coordinates;
pub mod core;
mod counted;
mod desired;
mod enrolment;
mod error;
mod http;
pub mod launcher;
pub mod machine;
mod measured;
mod relay;
pub mod runtime;
mod scripts;
pub mod simulate;
pub mod supervisors;
pub mod wire;

pub use counted::Counted;
pub use error::RunError;
pub use measured::Measured;
