//! What keeps the nodes running, for the agent: [`zeek`] is a `zeek -j` process, reached over Broker; [`own`] needs none.

pub mod own;
pub mod zeek;

use mgmt_api::Now;

use crate::core::{Command, Report, Turn};

/// What happens to a Supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<News> {
    /// The agent wants something done.
    Command(Command),
    /// Something has happened to what stands behind it.
    News(News),
    /// Time has passed; due at [`Supervisor::deadline`].
    Tick,
}

/// A machine of the same form as the agent, between it and what really starts processes.
pub trait Supervisor {
    /// What can happen to what stands behind it.
    type News;

    /// Takes one input in. What has to happen because of it is in the turn then; what the agent has to know comes back, in this
    /// order. Commands that have not been answered fail first.
    fn step(&mut self, turn: &mut Turn, input: Input<Self::News>) -> Vec<Report>;

    /// When [`Input::Tick`] is due. Later than the time of the last turn.
    fn deadline(&self) -> Option<Now>;
}
