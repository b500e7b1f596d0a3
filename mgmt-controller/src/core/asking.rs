//! What operators wait for.

use broker_codec::data::ZeekString;
use mgmt_api::{
    NodeStatus,
    operator::{AgentStatus, Changed, Failure, NotDone, Outputs},
};

use super::fanout::Fanout;

/// An operator's request that agents are asked for.
#[derive(Debug)]
pub(super) struct Asking {
    /// What the operator gets the answer under.
    pub(super) id: u64,
    pub(super) what: What,
    pub(super) fanout: Fanout<(ZeekString, Result<Told, NotDone>)>,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Status,
    Outputs,
    /// Nodes stop or start; and what is known not to work.
    Change(Vec<Failure>),
}

/// What an agent answers.
#[derive(Debug)]
pub(super) enum Told {
    Status(Box<AgentStatus>),
    /// All that an agent of Zeek's can tell.
    Nodes(Vec<NodeStatus>),
    Outputs(Outputs),
    Changed(Changed),
}
