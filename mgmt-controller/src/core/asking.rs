//! What operators wait for.

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::{
    NodeStatus,
    operator::{Failure, NotDone},
};

use super::fanout::Fanout;

/// An operator's request that agents are asked for.
#[derive(Debug)]
pub(super) struct Asking {
    /// What the operator gets the answer under.
    pub(super) id: u64,
    pub(super) wanted: Wanted,
    pub(super) fanout: Fanout<(ZeekString, Told)>,
}

/// What the operator wants.
#[derive(Debug)]
pub(super) enum Wanted {
    Status,
    Outputs,
    /// That these nodes of instances stop or start; and what is known not to work.
    Change(BTreeMap<ZeekString, Vec<String>>, Vec<Failure>),
}

/// What an instance's agent answers.
pub(super) type Told = Result<Answered, NotDone>;

#[derive(Debug)]
pub(super) enum Answered {
    /// JSON, by the extension.
    Json(ZeekString),
    /// All that an agent of Zeek's can tell.
    Nodes(Vec<NodeStatus>),
}
