//! The agent of Zeek's Management framework.
//!
//! [`core`] is the agent itself, without I/O. What runs it is in preparation.

pub mod core;
