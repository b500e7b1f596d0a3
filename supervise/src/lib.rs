//! Keeps processes: the agent's nodes, its `zeek -j` and its controller, and the nodes of `zeek-simulator`.
//!
//! | module | what |
//! |---|---|
//! | [`process`] | what is to become of one process: a pure machine, whose policy is data |
//! | [`unix`] | processes that cannot be mistaken for others, also those of an earlier program |
//! | [`stale`] | ends what an earlier process has left running |
//! | [`sessions`] | ends what the leader of a session has left |
//! | [`init`] | process 1 of a container: waits for the processes whose parents have ended |
//! | [`output`] | what processes write, by lines and bounded |

pub mod init;
pub mod output;
pub mod process;
pub mod sessions;
pub mod stale;
pub mod unix;
