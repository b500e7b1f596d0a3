//! The dialects of the API that no recording shows, or not all of: transcripts at the wire, of the controller with its translators and
//! of the agent with its.

mod agent;
mod controller;
pub(crate) mod notation;
mod processes;
