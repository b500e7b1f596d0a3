use serde::{Deserialize, Serialize};

/// What the controller has seen of agents since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// `notify_agent_hello` of who is not, or not compatible with, what it says.
    pub hellos_refused: u64,
    /// Other events of agents that had no right to send them.
    pub agent_messages_refused: u64,
    /// Answers that came late, twice, or without a question.
    pub answers_ignored: u64,
    /// Welcomes that were sent again.
    pub welcomes_repeated: u64,
    /// `notify_change`
    pub agent_changes: u64,
    /// `notify_error`
    pub agent_errors: u64,
    /// `notify_log`
    pub agent_logs: u64,
}
