//! Drop-in replacement for the cluster controller of Zeek's Management framework.

pub mod core;
