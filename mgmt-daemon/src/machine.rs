//! What a daemon's core is.

use mgmt_api::{HostState, IdSource, Now};
use serde::{Serialize, de::DeserializeOwned};

/// A core: it decides everything, and does nothing itself. As time and ids come from outside, its runs can be recorded and
/// repeated ([`crate::journal`]).
pub trait Machine: Sized {
    /// What it starts with, besides ids: a struct whose fields stand in the first line of a journal.
    type Start: Serialize + DeserializeOwned;
    type Input: Serialize + DeserializeOwned + Clone + Send + 'static;
    type Action: Serialize;
    /// What tells one request under way from another.
    type Request: Ord;

    /// The input when [`Self::deadline`] has come.
    const TICK: Self::Input;

    /// The input by which it hears how its host is.
    fn host(state: HostState) -> Self::Input;

    fn start(start: Self::Start, ids: Box<dyn IdSource>) -> Self;

    /// Takes one input in and returns everything that has to happen because of it, in this order.
    fn step(&mut self, now: Now, input: Self::Input) -> Vec<Self::Action>;

    /// When [`Self::TICK`] is due. Later than the `now` of the last step.
    fn deadline(&self) -> Option<Now>;

    /// The request that an input is, if it is one.
    fn request(input: &Self::Input) -> Option<Self::Request>;

    /// Whether this request is under way: its answer is still to come.
    fn owes_answer(&self, request: &Self::Request) -> bool;
}
